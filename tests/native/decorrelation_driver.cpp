// Runs the decorrelation penalties without Python, for the sanitizers: compared with plain double loops.
#include "driver.h"
#include "spinecore/covariance_decorrelation.h"
#include "spinecore/cross_decorrelation.h"

namespace spinecore::driver {
namespace {

using Matrix = std::vector<std::vector<double>>;

// Centred rows; those that do not count are zero.
Matrix centred(const Buffer& z, const Buffer* mask) {
  const int64_t rows = z.view.shape[0], width = z.view.shape[1];
  Matrix result(rows, std::vector<double>(width));
  std::vector<double> mean(width);
  double count = 0;
  for (int64_t r = 0; r < rows; ++r) {
    if (mask != nullptr && mask->get(r) == 0.f) continue;
    count += 1;
    for (int64_t c = 0; c < width; ++c) mean[c] += z.get(r * width + c);
  }
  for (int64_t r = 0; r < rows; ++r) {
    if (mask != nullptr && mask->get(r) == 0.f) continue;
    for (int64_t c = 0; c < width; ++c) result[r][c] = z.get(r * width + c) - mean[c] / count;
  }
  return result;
}

double squared_product(const Matrix& a, const Matrix& b, bool with_diagonal) {
  double total = 0;
  for (size_t i = 0; i < a[0].size(); ++i) {
    for (size_t j = 0; j < b[0].size(); ++j) {
      double element = 0;
      for (size_t r = 0; r < a.size(); ++r) element += a[r][i] * b[r][j];
      if (with_diagonal || i != j) total += element * element;
    }
  }
  return total;
}

void normalise_rows(Matrix& z) {
  for (auto& row : z) {
    double square = 0;
    for (const double value : row) square += value * value;
    for (double& value : row) value /= std::sqrt(square) + 1e-6;
  }
}

void require_finite(const Buffer& buffer, const std::string& name) {
  for (int64_t i = 0; i < buffer.view.numel(); ++i)
    require(std::isfinite(buffer.get(i)), name + ": " + buffer.view.name);
}

void require_near(float got, double want, const std::string& name) {
  require(std::fabs(got - want) <= 2e-5 * (1 + want),
          name + ": " + std::to_string(got) + " for " + std::to_string(want));
}

std::string place(DType dtype) {
  return std::string(dtype == DType::bfloat16 ? " bf16 " : " f32 ") + isa_name(selected_isa());
}

void run_covariance(int64_t rows, int64_t width, bool masked, DType dtype) {
  const std::string name =
      "covariance " + std::to_string(rows) + " x " + std::to_string(width) + (masked ? " masked" : "") + place(dtype);
  const CovarianceGeometry g = covariance_geometry(rows, width);
  Buffer z("z", {rows, width}, dtype), dz("dz", {rows, width}, dtype), mask("mask", {masked ? rows : 0});
  Buffer off("off_diagonal", {}), hinge("hinge", {}), d_off("d_off_diagonal", {}), d_hinge("d_hinge", {});
  Buffer kept("kept", {g.tiles.rows, g.tiles.rows}), moments("moments", {3, width});
  Buffer forward("workspace", {g.forward_workspace}), backward("workspace", {g.backward_workspace});
  z.randomise();
  for (int64_t r = 0; r < mask.view.numel(); ++r) mask.set(r, r % 3 == 1 ? 0.f : 1.f);
  d_off.set(0, 1.5f);
  d_hinge.set(0, -0.5f);
  for (Buffer* b : {&dz, &off, &hinge, &kept, &moments, &forward, &backward}) b->poison();
  Status status =
      covariance_forward({z.view, mask.view, off.view, hinge.view, kept.view, moments.view, forward.view}, 1.f, 1e-4f);
  require(status.ok(), name + ": " + status.message);
  status = covariance_backward(
      {z.view, mask.view, d_off.view, d_hinge.view, kept.view, moments.view, dz.view, backward.view}, 1.f, 1e-4f);
  require(status.ok(), name + ": " + status.message);

  const Matrix rows_of = centred(z, masked ? &mask : nullptr);
  double count = 0;
  for (int64_t r = 0; r < rows; ++r) count += masked ? mask.get(r) : 1.f;
  const double divisor = count > 2 ? count - 1 : 1;
  require_near(off.get(0), squared_product(rows_of, rows_of, false) / (divisor * divisor * width), name);
  for (Buffer* b : {&hinge, &kept, &moments, &dz}) require_finite(*b, name);
}

void run_cross(int64_t rows, int64_t width_a, int64_t width_b, bool normalise, DType dtype) {
  const std::string name = (normalise ? "orthogonality " : "cross ") + std::to_string(rows) + " x " +
                           std::to_string(width_a) + ", " + std::to_string(width_b) + place(dtype);
  const CrossGeometry g = cross_geometry(rows, width_a, width_b, normalise);
  Buffer a("a", {rows, width_a}, dtype), b("b", {rows, width_b}, dtype), da("da", {rows, width_a}, dtype),
      db("db", {rows, width_b}, dtype);
  Buffer penalty("penalty", {}), grad("grad", {}), kept("kept", {g.kept_rows, g.kept_columns});
  Buffer statistics("statistics", {g.statistics});
  Buffer forward("workspace", {g.forward_workspace}), backward("workspace", {g.backward_workspace});
  for (Buffer* buffer : {&a, &b}) buffer->randomise();
  grad.set(0, 1.5f);
  for (Buffer* buffer : {&da, &db, &penalty, &kept, &statistics, &forward, &backward}) buffer->poison();
  Status status = cross_forward({a.view, b.view, penalty.view, kept.view, statistics.view, forward.view}, normalise);
  require(status.ok(), name + ": " + status.message);
  status = cross_backward({a.view, b.view, grad.view, kept.view, statistics.view, da.view, db.view, backward.view},
                          normalise);
  require(status.ok(), name + ": " + status.message);

  Matrix left = centred(a, nullptr), right = centred(b, nullptr);
  if (normalise) {
    normalise_rows(left);
    normalise_rows(right);
  }
  const double divisor = normalise || rows < 3 ? 1 : static_cast<double>(rows - 1);
  const double want = squared_product(left, right, true) / (divisor * divisor * width_a * width_b);
  require_near(penalty.get(0), want, name);
  for (Buffer* buffer : {&kept, &statistics, &da, &db}) require_finite(*buffer, name);
}

int run_all(bool only_large) {
  int runs = 0;
  const int64_t shapes[][2] = {{1, 1},    {2, 3},    {5, 12},   {65, 17},  {300, 66},
                               {40, 130}, {67, 300}, {1100, 5}, {2100, 70}};
  for (const auto& s : shapes) {
    if (only_large && s[0] * s[1] < 20000) continue;
    for (const bool masked : {false, true}) {
      for (const DType dtype : {DType::float32, DType::bfloat16}) {
        run_covariance(s[0], s[1], masked, dtype);
        ++runs;
      }
    }
  }
  const int64_t pairs[][3] = {{1, 1, 2},     {3, 2, 5},      {7, 20, 18},   {300, 17, 66},
                              {66, 70, 129}, {65, 200, 140}, {2100, 33, 20}};
  for (const auto& s : pairs) {
    if (only_large && s[0] * s[1] < 12000) continue;
    for (const bool normalise : {false, true}) {
      for (const DType dtype : {DType::float32, DType::bfloat16}) {
        run_cross(s[0], s[1], s[2], normalise, dtype);
        ++runs;
      }
    }
  }
  return runs;
}

const Register registered(run_all);

}  // namespace
}  // namespace spinecore::driver
