// Exchanges rows and columns, a square of one vector's width at a time in registers. Arguments: spinecore/layout.h.
#include "spinecore/layout.h"

#include <utility>

#include "spinecore/parallel.h"
#include "spinecore/rows.h"

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

constexpr int64_t strip = 256;  // columns read one after the other of each of `lanes` rows

// Lane `lane` of the two results of one step: bit `width` of the row and of the lane change places.
constexpr int low_source(int lane, int width) { return lane & width ? lanes + lane - width : lane; }
constexpr int high_source(int lane, int width) { return lane & width ? lanes + lane : lane + width; }

template <int width, int... I>
SPINECORE_INLINE void exchange_bit(Vec& a, Vec& b, std::integer_sequence<int, I...>) {
  const Vec first = a, second = b;
#if defined(__clang__)
  a = __builtin_shufflevector(first, second, low_source(I, width)...);
  b = __builtin_shufflevector(first, second, high_source(I, width)...);
#else
  a = __builtin_shuffle(first, second, VecInt{low_source(I, width)...});
  b = __builtin_shuffle(first, second, VecInt{high_source(I, width)...});
#endif
}

template <int width>
SPINECORE_INLINE void exchange_bits(Vec (&square)[lanes]) {
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) {
    if (!(i & width)) {
      exchange_bit<width>(square[i], square[i + width], std::make_integer_sequence<int, lanes>());
    }
  }
  if constexpr (width > 1) exchange_bits<width / 2>(square);
}

template <class T, class From, class To>
SPINECORE_INLINE void square(const T* from, int64_t from_row, int64_t rows, T* to, int64_t to_row, int64_t columns,
                             const From& read, const To& write) {
  Vec values[lanes];
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) values[i] = i < rows ? read.get(from + i * from_row) : Vec{};
  exchange_bits<lanes / 2>(values);
#pragma GCC unroll 16
  for (int i = 0; i < lanes; ++i) {
    if (i < columns) write.put(to + i * to_row, values[i]);
  }
}

template <class T>
bool run(const Exchange& a) {
  const int64_t groups = (a.rows + lanes - 1) / lanes, strips = (a.columns + strip - 1) / strip;
  const int64_t grain = 1 + (int64_t{1} << 16) / (strip * lanes);
  return parallel_for(0, a.samples * strips * groups, grain, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task % groups * lanes, first = task / groups % strips * strip, n = task / groups / strips;
      const int64_t rows = smaller(lanes, a.rows - row), last = smaller(first + strip, a.columns);
      const T* from = static_cast<const T*>(a.from) + (n * a.rows + row) * a.columns;
      T* to = static_cast<T*>(a.to) + n * a.rows * a.columns + row;
      for (int64_t column = first; column < last; column += lanes) {
        const int64_t columns = smaller(lanes, last - column);
        const T* corner = from + column;
        T* result = to + column * a.rows;
        if (rows == lanes && columns == lanes) {
          square(corner, a.columns, lanes, result, a.rows, lanes, Whole{}, Whole{});
        } else if (rows == lanes) {
          square(corner, a.columns, rows, result, a.rows, columns, Partial{columns}, Whole{});
        } else if (columns == lanes) {
          square(corner, a.columns, rows, result, a.rows, columns, Whole{}, Partial{rows});
        } else {
          square(corner, a.columns, rows, result, a.rows, columns, Partial{columns}, Partial{rows});
        }
      }
    }
  });
}

bool exchange(const Exchange& a) { return a.dtype == DType::bfloat16 ? run<BFloat16>(a) : run<float>(a); }

}  // namespace

extern const LayoutKernels layout_kernels;
const LayoutKernels layout_kernels{exchange};

}  // namespace SPINECORE_ISA
}  // namespace spinecore
