// The CUDA scSE gate on buffers of exactly the right size, for the sanitizers: every layout, element type and way
// through the kernels, several chunks and groups of chunks. Numbers are checked elsewhere; here only that they are
// finite.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "spinecore/cuda/scse_gate.h"

namespace {

using namespace spinecore;

// malloc'ed, so that the first byte beyond it is nobody's.
struct Floats {
  explicit Floats(int64_t count, bool fill = true) : data(static_cast<float*>(std::malloc(4 * count + (count == 0)))) {
    for (int64_t i = 0; i < count; ++i)
      data[i] = fill ? static_cast<float>(std::sin(0.7 * static_cast<double>(i))) : NAN;
  }
  Floats(Floats&& other) noexcept : data(std::exchange(other.data, nullptr)) {}
  ~Floats() { std::free(data); }
  float* data;
};

struct Image {
  Image(int64_t count, cuda::Element element) : data(std::malloc(count * (element == cuda::Element::float32 ? 4 : 2))) {
    for (int64_t i = 0; i < count; ++i) {
      const auto value = static_cast<float>(std::cos(0.3 * static_cast<double>(i)));
      if (element == cuda::Element::float32) {
        static_cast<float*>(data)[i] = value;
      } else if (element == cuda::Element::float16) {
        static_cast<_Float16*>(data)[i] = static_cast<_Float16>(value);
      } else {
        uint32_t bits = 0;
        std::memcpy(&bits, &value, 4);
        static_cast<uint16_t*>(data)[i] = static_cast<uint16_t>(bits >> 16);
      }
    }
  }
  ~Image() { std::free(data); }
  void* data;
};

bool run(int64_t n, int c, int p, int hidden, bool channels_last, cuda::Element element, GateMode mode) {
  const Image x(n * c * p, element), dy(n * c * p, element), y(n * c * p, element), dx(n * c * p, element);
  const Floats w1(hidden * c), b1(hidden), w2(c * hidden), b2(c), ws(c), bs(1);
  const Floats channel_gate(n * c, false), spatial_gate(n * p, false), pooled(n * c, false);
  const ScseGateParameters parameters{w1.data, b1.data, w2.data, b2.data, ws.data};
  const auto plan = cuda::scse_gate_plan(n, c, p, hidden, channels_last, element, false);
  const Floats workspace(plan.workspace, false);
  Status status = cuda::scse_gate_forward(
      plan, mode,
      {x.data, parameters, bs.data, y.data, channel_gate.data, spatial_gate.data, pooled.data, workspace.data},
      nullptr);
  if (status.ok()) {
    const auto back = cuda::scse_gate_plan(n, c, p, hidden, channels_last, element, true);
    const Floats dw1(hidden * c, false), db1(hidden, false), dw2(c * hidden, false), db2(c, false), dws(c, false),
        dbs(1, false), more(back.workspace, false);
    status = cuda::scse_gate_backward(back, mode,
                                      {x.data, dy.data, parameters, channel_gate.data, spatial_gate.data, pooled.data,
                                       dx.data, dw1.data, db1.data, dw2.data, db2.data, dws.data, dbs.data, more.data},
                                      nullptr);
    for (int i = 0; i < c; ++i) {
      if (!std::isfinite(dws.data[i]) || !std::isfinite(db2.data[i]))
        status = Status::internal("a gradient is not finite");
    }
  }
  if (!status.ok()) std::fprintf(stderr, "%s\n", status.message.c_str());
  return status.ok();
}

}  // namespace

int main(int count, char** arguments) {
  const bool quick = count > 1 && arguments[1][0] == 'q';
  bool ok = true;
  for (const bool channels_last : {false, true}) {
    for (const auto element : {cuda::Element::float32, cuda::Element::bfloat16, cuda::Element::float16}) {
      if (quick && element != cuda::Element::float32) continue;
      for (const GateMode mode : {GateMode::add, GateMode::max}) {
        if (quick && mode == GateMode::add) continue;
        // Aligned; four groups of chunks, so that more than one worker finishes one.
        ok = run(1, 24, channels_last ? 3200 : 1600, 7, channels_last, element, mode) && ok;
        if (quick) continue;
        ok = run(2, 5, 77, 3, channels_last, element, mode) && ok;
        ok = run(1, 264, 70, 40, channels_last, element, mode) && ok;
        ok = run(1, 3, 1, 1, channels_last, element, mode) && ok;
      }
    }
  }
  return ok ? 0 : 1;
}
