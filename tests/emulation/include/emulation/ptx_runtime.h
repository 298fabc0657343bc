// What translated PTX calls: registers as unsigned integers, checked memory, the instructions that are no C++ operator.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>

#include "cuda_bf16.h"
#include "cuda_fp16.h"
#include "cuda_runtime.h"
#include "emulation/tensor_core.h"
#include "emulation/trace.h"

namespace ptx {

using u8 = uint8_t;
using u16 = uint16_t;
using u32 = uint32_t;
using u64 = uint64_t;
using i8 = int8_t;
using i16 = int16_t;
using i32 = int32_t;
using i64 = int64_t;

template <class To, class From>
inline To cast_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}
inline float f32(u32 bits) { return cast_bits<float>(bits); }
inline u32 bits(float value) { return cast_bits<u32>(value); }
inline double f64(u64 bits) { return cast_bits<double>(bits); }
inline u64 bits(double value) { return cast_bits<u64>(value); }
inline float half_to_float(u16 value) { return static_cast<float>(cast_bits<_Float16>(value)); }
inline u16 float_to_half(float value) { return cast_bits<u16>(static_cast<_Float16>(value)); }
inline float bfloat_to_float(u16 value) { return f32(static_cast<u32>(value) << 16); }
inline u16 float_to_bfloat(float value) { return __float2bfloat16(value).bits; }

// ---- memory: aligned accesses of their true size, so that the sanitizers see what a GPU would do
// ----------------------
inline unsigned char* shared_memory() { return emulation::worker->dynamic_shared.data(); }
inline u64 shared_size() { return emulation::worker->dynamic_shared.size() - 1; }
// Where the shared array starts: static arrays first. A multiple of 16 as on a GPU.
inline unsigned char* shared(u64 offset, u32 size) {
  if (offset + size > shared_size()) {
    emulation::fail("shared memory access of " + std::to_string(size) + " bytes at " + std::to_string(offset) + " of " +
                    std::to_string(shared_size()) + "; " + emulation::name_of(*emulation::worker->current));
  }
  return shared_memory() + offset;
}
inline void check_aligned(const void* address, size_t size, const char* what) {
  if (reinterpret_cast<u64>(address) % size != 0) emulation::fail(std::string("misaligned ") + what);
}
template <class T>
T load(const void* address) {
  return *static_cast<const T __attribute__((may_alias))*>(address);
}
#if defined(EMULATION_TSAN)
// Triton lets all lanes of a warp store one value to one shared word: what changes nothing is not written.
template <class T>
EMULATION_RUNTIME bool holds(const void* address, T value) {
  return std::memcmp(address, &value, sizeof value) == 0;
}
#endif
template <class T>
void store(void* address, T value) {
#if defined(EMULATION_TSAN)
  if (holds(address, value)) return;
#endif
  *static_cast<T __attribute__((may_alias))*>(address) = value;
}

// ---- arithmetic
// -------------------------------------------------------------------------------------------------------
inline float fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }
inline double fma(double a, double b, double c) { return __builtin_fma(a, b, c); }
// Toward minus infinity: exact in double for float operands up to the last rounding.
inline float fma_down(float a, float b, float c) {
  const double exact = static_cast<double>(a) * b + c;
  float rounded = static_cast<float>(exact);
  if (static_cast<double>(rounded) > exact) rounded = std::nextafterf(rounded, -INFINITY);
  return rounded;
}
inline float saturate(float value) { return value > 0.0f ? std::fmin(value, 1.0f) : 0.0f; }  // NaN becomes 0
template <class T>
T floating_min(T a, T b) {
  return std::fmin(a, b);
}
template <class T>
T floating_max(T a, T b) {
  return std::fmax(a, b);
}
template <class T>
bool is_nan_pair(T a, T b) {
  return std::isnan(a) || std::isnan(b);
}
template <class T>
T shift_left(T value, u32 count) {
  return count >= sizeof(T) * 8 ? T{0} : static_cast<T>(value << count);
}
template <class T>
T shift_right(T value, u32 count) {
  if (count >= sizeof(T) * 8) return value < 0 ? static_cast<T>(-1) : T{0};
  return static_cast<T>(value >> count);
}
template <class T>
T extract_bits(T value, u32 position, u32 length) {
  using U = std::make_unsigned_t<T>;
  constexpr u32 size = sizeof(T) * 8;
  position &= 255;
  length &= 255;
  if (length == 0) return 0;
  if (position >= size) return value < 0 ? static_cast<T>(-1) : T{0};
  if (position + length >= size) return static_cast<T>(value >> position);
  U field = static_cast<U>(static_cast<U>(value) >> position) & static_cast<U>((U{1} << length) - 1);
  if (std::is_signed<T>::value && (field >> (length - 1) & 1)) field |= static_cast<U>(~((U{1} << length) - 1));
  return static_cast<T>(field);
}
template <class T>
T insert_bits(T field, T into, u32 position, u32 length) {
  constexpr u32 size = sizeof(T) * 8;
  position &= 255;
  length &= 255;
  if (length == 0 || position >= size) return into;
  const T mask = static_cast<T>((length >= size ? ~T{0} : static_cast<T>((T{1} << length) - 1)) << position);
  return static_cast<T>((into & ~mask) | (static_cast<T>(field << position) & mask));
}
inline u32 permute(u32 low, u32 high, u32 selector) {
  const u64 bytes = static_cast<u64>(high) << 32 | low;
  u32 result = 0;
  for (int i = 0; i < 4; ++i) {
    const u32 select = selector >> (4 * i);
    u32 byte = static_cast<u32>(bytes >> (8 * (select & 7))) & 255;
    if (select & 8) byte = byte & 128 ? 255 : 0;
    result |= byte << (8 * i);
  }
  return result;
}

// ---- atomics, relaxed
// ---------------------------------------------------------------------------------------------------
template <class T>
T atomic_add(void* address, T value) {
  if constexpr (std::is_floating_point<T>::value) {
    return atomicAdd(static_cast<T*>(address), value);
  } else {
    return emulation::atomic_add_integer(static_cast<T*>(address), value);
  }
}
template <class T>
T atomic_exch(void* address, T value) {
  emulation::before_atomic(address);
  return __atomic_exchange_n(static_cast<T*>(address), value, __ATOMIC_RELAXED);
}
template <class T>
T atomic_cas(void* address, T compare, T value) {
  emulation::before_atomic(address);
  __atomic_compare_exchange_n(static_cast<T*>(address), &compare, value, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
  return compare;
}

// ---- warps
// --------------------------------------------------------------------------------------------------------------
enum class Shuffle { up, down, bfly, idx };
inline u32 shuffle(Shuffle mode, u32 value, u32 b, u32 clamp, u32 mask, bool& inside) {
  const int mine = emulation::lane(), segment = clamp >> 8 & 31, limit = clamp & 31;
  const int last = (mine & segment) | (limit & ~segment & 31), first = mine & segment, by = static_cast<int>(b);
  int source = 0;
  switch (mode) {
    case Shuffle::up:
      source = mine - by;
      inside = source >= last;
      break;
    case Shuffle::down:
      source = mine + by;
      inside = source <= last;
      break;
    case Shuffle::bfly:
      source = mine ^ by;
      inside = source <= last;
      break;
    case Shuffle::idx:
      source = first | (by & ~segment & 31);
      inside = source <= last;
      break;
  }
  return emulation::shuffle<u32>(mask, value, inside ? source : -1, "shfl.sync");
}

// `copied` of `size` bytes come from the source, the rest are zeros.
inline void copy_async(void* target, const void* source, int size, int copied) {
  check_aligned(target, static_cast<size_t>(size), "cp.async target");
  if (copied == 0) return emulation::copy_async(target, nullptr, size);
  if (copied != size) emulation::fail("cp.async of a part of its bytes is not supported");
  check_aligned(source, static_cast<size_t>(size), "cp.async source");
  emulation::copy_async(target, source, size);
}

// A barrier of translated code is known by its number in the kernel; EMULATION_WITHOUT=<kernel>:<number> removes it.
inline void barrier(const char* kernel, int number) { emulation::block_barrier(kernel, number); }

}  // namespace ptx
