// The table of kernels of the selected instruction set, for the entries that call them.
#pragma once

#include "spinecore/cpu_features.h"

#if defined(SPINECORE_HAVE_AVX2)
#define SPINECORE_DECLARE_AVX2(Table, name) \
  namespace isa_avx2 {                      \
  extern const Table name;                  \
  }
#define SPINECORE_CASE_AVX2(name) \
  case Isa::avx2:                 \
    return isa_avx2::name;
#else
#define SPINECORE_DECLARE_AVX2(Table, name)
#define SPINECORE_CASE_AVX2(name)
#endif
#if defined(SPINECORE_HAVE_AVX512)
#define SPINECORE_DECLARE_AVX512(Table, name) \
  namespace isa_avx512 {                      \
  extern const Table name;                    \
  }
#define SPINECORE_CASE_AVX512(name) \
  case Isa::avx512:                 \
    return isa_avx512::name;
#else
#define SPINECORE_DECLARE_AVX512(Table, name)
#define SPINECORE_CASE_AVX512(name)
#endif

// Defines `const Table& name()`, which answers with the constant `name` that the kernel file `name`.cpp defines once
// per instruction set. Used in the namespace spinecore.
#define SPINECORE_ISA_KERNELS(Table, name) \
  namespace isa_baseline {                 \
  extern const Table name;                 \
  }                                        \
  SPINECORE_DECLARE_AVX2(Table, name)      \
  SPINECORE_DECLARE_AVX512(Table, name)    \
  const Table& name() {                    \
    switch (selected_isa()) {              \
      SPINECORE_CASE_AVX512(name)          \
      SPINECORE_CASE_AVX2(name)            \
      default:                             \
        return isa_baseline::name;         \
    }                                      \
  }
