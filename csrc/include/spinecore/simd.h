// One vector of floats, as wide as the instruction set this file is compiled for, over the vector extensions of GCC and
// Clang. Everything lives in an unnamed namespace inside the namespace of the instruction set: a function with external
// linkage would be merged across objects by the linker, which might keep the AVX-512 copy for an old processor.
#pragma once

#include <cstdint>
#include <cstring>
#include <utility>

#if defined(__AVX2__) || defined(__AVX512F__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace spinecore {
namespace SPINECORE_ISA {
namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16;
#elif defined(__AVX2__)
constexpr int lanes = 8;
#else
constexpr int lanes = 4;
#endif

typedef float Vec __attribute__((vector_size(4 * lanes)));
typedef int32_t VecInt __attribute__((vector_size(4 * lanes)));
typedef uint32_t VecBits __attribute__((vector_size(4 * lanes)));
typedef uint16_t VecHalf __attribute__((vector_size(2 * lanes)));

struct BFloat16 {
  uint16_t bits;
};

#define SPINECORE_INLINE inline __attribute__((always_inline))

template <class To, class From>
SPINECORE_INLINE To bits_as(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "a reinterpretation keeps the size");
  To to;
  std::memcpy(&to, &from, sizeof(to));
  return to;
}

SPINECORE_INLINE Vec splat(float value) { return value - Vec{}; }

// ---- memory -------------------------------------------------------------------------------------------------------
SPINECORE_INLINE Vec widen(VecHalf half) { return bits_as<Vec>(__builtin_convertvector(half, VecBits) << 16); }

// To the nearest bfloat16, ties to even; NaN stays NaN.
SPINECORE_INLINE VecHalf narrow(Vec value) {
  const VecBits bits = bits_as<VecBits>(value);
  const VecBits rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const VecBits quiet = (bits >> 16) | 0x40u;
  const VecInt is_number = value == value;
  return __builtin_convertvector(is_number ? rounded : quiet, VecHalf);
}

SPINECORE_INLINE Vec load(const float* from) {
  Vec value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}
SPINECORE_INLINE Vec load(const BFloat16* from) {
  VecHalf half;
  std::memcpy(&half, from, sizeof(half));
  return widen(half);
}
SPINECORE_INLINE void store(float* to, Vec value) { std::memcpy(to, &value, sizeof(value)); }
SPINECORE_INLINE void store(BFloat16* to, Vec value) {
  const VecHalf half = narrow(value);
  std::memcpy(to, &half, sizeof(half));
}

// The first `count` lanes, 0 < count < lanes; the others read as zero and are not touched in memory.
#if defined(__AVX512F__)
SPINECORE_INLINE __mmask16 first_lanes(int64_t count) { return static_cast<__mmask16>((1u << count) - 1u); }
SPINECORE_INLINE Vec load_first(const float* from, int64_t count) {
  return bits_as<Vec>(_mm512_maskz_loadu_ps(first_lanes(count), from));
}
SPINECORE_INLINE Vec load_first(const BFloat16* from, int64_t count) {
  return widen(bits_as<VecHalf>(_mm256_maskz_loadu_epi16(first_lanes(count), from)));
}
SPINECORE_INLINE void store_first(float* to, Vec value, int64_t count) {
  _mm512_mask_storeu_ps(to, first_lanes(count), bits_as<__m512>(value));
}
SPINECORE_INLINE void store_first(BFloat16* to, Vec value, int64_t count) {
  _mm256_mask_storeu_epi16(to, first_lanes(count), bits_as<__m256i>(narrow(value)));
}
#else
template <class T>
SPINECORE_INLINE Vec load_first(const T* from, int64_t count) {
  T all[lanes] = {};
  for (int64_t i = 0; i < count; ++i) all[i] = from[i];
  return load(all);
}
template <class T>
SPINECORE_INLINE void store_first(T* to, Vec value, int64_t count) {
  T all[lanes];
  store(all, value);
  for (int64_t i = 0; i < count; ++i) to[i] = all[i];
}
#endif

// Past the caches, for results too large to be read again from them. `to` must be aligned to the vector.
#if defined(__AVX512F__)
SPINECORE_INLINE void stream(float* to, Vec value) { _mm512_stream_ps(to, bits_as<__m512>(value)); }
SPINECORE_INLINE void stream(BFloat16* to, Vec value) {
  _mm256_stream_si256(reinterpret_cast<__m256i*>(to), bits_as<__m256i>(narrow(value)));
}
#elif defined(__AVX2__)
SPINECORE_INLINE void stream(float* to, Vec value) { _mm256_stream_ps(to, bits_as<__m256>(value)); }
SPINECORE_INLINE void stream(BFloat16* to, Vec value) {
  _mm_stream_si128(reinterpret_cast<__m128i*>(to), bits_as<__m128i>(narrow(value)));
}
#elif defined(__SSE2__)
SPINECORE_INLINE void stream(float* to, Vec value) { _mm_stream_ps(to, bits_as<__m128>(value)); }
SPINECORE_INLINE void stream(BFloat16* to, Vec value) { store(to, value); }
#else
template <class T>
SPINECORE_INLINE void stream(T* to, Vec value) {
  store(to, value);
}
#endif
// Orders streamed stores before whatever tells another thread that they are done.
SPINECORE_INLINE void end_stream() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

// ---- sums across lanes --------------------------------------------------------------------------------------------
template <int... I>
SPINECORE_INLINE Vec add_neighbours(Vec a, Vec b, std::integer_sequence<int, I...>) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, (2 * I)...) + __builtin_shufflevector(a, b, (2 * I + 1)...);
#else  // GCC has the other builtin from version 12 on only
  return __builtin_shuffle(a, b, VecInt{(2 * I)...}) + __builtin_shuffle(a, b, VecInt{(2 * I + 1)...});
#endif
}

// Lane i of the result is the sum of the lanes of rows[i]; rows is used up.
SPINECORE_INLINE Vec sum_rows(Vec (&rows)[lanes]) {
#pragma GCC unroll 4
  for (int width = lanes / 2; width >= 1; width /= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < width; ++i) {
      rows[i] = add_neighbours(rows[2 * i], rows[2 * i + 1], std::make_integer_sequence<int, lanes>());
    }
  }
  return rows[0];
}

SPINECORE_INLINE float sum(Vec value) {
  float parts[lanes];
  store(parts, value);
  for (int width = lanes / 2; width >= 1; width /= 2) {
    for (int i = 0; i < width; ++i) parts[i] += parts[i + width];
  }
  return parts[0];
}

// ---- functions ----------------------------------------------------------------------------------------------------
// exp(x) for |x| <= 88, to about one unit in the last place (polynomial of Cephes' expf); NaN stays NaN.
SPINECORE_INLINE Vec exp_bounded(Vec x) {
  const float to_integer = 12582912.f;  // 1.5 * 2^23: adding it rounds to the nearest integer
  const Vec shifted = x * 1.44269504f + to_integer;
  const Vec power = shifted - to_integer;
  Vec r = x - power * 0.693359375f;
  r = r + power * 2.12194440e-4f;
  Vec series = r * 1.9875691500e-4f + 1.3981999507e-3f;
  series = series * r + 8.3334519073e-3f;
  series = series * r + 4.1665795894e-2f;
  series = series * r + 1.6666665459e-1f;
  series = series * r + 5.0000001201e-1f;
  const Vec value = series * (r * r) + r + 1.f;
  const VecInt exponent = (bits_as<VecInt>(shifted) - bits_as<int32_t>(to_integer) + 127) << 23;
  return value * bits_as<Vec>(exponent);
}

// 1 / (1 + exp(-x)), to about 1e-7; 0 where float32 has exp(-x) = inf; NaN stays NaN.
SPINECORE_INLINE Vec sigmoid(Vec x) {
  const Vec high = splat(88.f), low = splat(-88.f);
  const Vec bounded = x > high ? high : (x < low ? low : x);
  const Vec value = 1.f / (1.f + exp_bounded(-bounded));
  return x < splat(-88.72284f) ? splat(0.f) : value;
}

}  // namespace
}  // namespace SPINECORE_ISA
}  // namespace spinecore
