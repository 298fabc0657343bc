#include "spinecore/cpu_features.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdlib>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__unix__)
#include <unistd.h>
#endif

namespace spinecore {
namespace {

constexpr Isa all_isas[] = {Isa::baseline, Isa::avx2, Isa::avx512};

bool is_compiled(Isa isa) {
  switch (isa) {
    case Isa::baseline:
      return true;
    case Isa::avx2:
#if defined(SPINECORE_HAVE_AVX2)
      return true;
#else
      return false;
#endif
    case Isa::avx512:
#if defined(SPINECORE_HAVE_AVX512)
      return true;
#else
      return false;
#endif
  }
  return false;
}

#if defined(__x86_64__)
// The registers the operating system saves (XCR0): a processor may have AVX-512 under a system that does not keep it.
uint64_t saved_registers() {
  uint32_t low = 0, high = 0;
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return (static_cast<uint64_t>(high) << 32) | low;
}

bool machine_runs(Isa isa) {
  if (isa == Isa::baseline) return true;
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return false;
  const bool fma = c & bit_FMA, f16c = c & bit_F16C, avx = c & bit_AVX, osxsave = c & bit_OSXSAVE;
  if (!(fma && f16c && avx && osxsave)) return false;
  const uint64_t saved = saved_registers();
  if ((saved & 0x6) != 0x6) return false;  // xmm, ymm
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
  if (!(b & bit_AVX2)) return false;
  if (isa == Isa::avx2) return true;
  if ((saved & 0xe0) != 0xe0) return false;  // opmask, zmm0-15, zmm16-31
  constexpr unsigned needed = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
  return (b & needed) == needed;
}

// Intel's have the instruction at a quarter of the rate of multiply-adds (86 against 172 GF/s on Emerald Rapids), AMD's
// at the same rate.
bool pairs_are_fast() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(0, &a, &b, &c, &d) != 0 && b != signature_INTEL_ebx;
}

bool machine_has_bf16_products() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  if (!pairs_are_fast()) return false;
  return machine_runs(Isa::avx512) && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & (1u << 5)) != 0;
}
#else
bool machine_runs(Isa isa) { return isa == Isa::baseline; }
bool machine_has_bf16_products() { return false; }
#endif

Status parse(const std::string& name, const std::string& what, Isa* isa) {
  for (Isa candidate : all_isas) {
    if (name == isa_name(candidate)) {
      *isa = candidate;
      return {};
    }
  }
  return Status::wrong_value(what + "='" + name + "' is not an instruction set: use baseline, avx2 or avx512");
}

struct Selection {
  std::atomic<Isa> isa{best_isa()};
  Status environment;

  Selection() {
    const char* cap = std::getenv("SPINECORE_CPU_ISA");
    if (cap == nullptr || *cap == '\0') return;
    Isa wanted = Isa::baseline;
    environment = parse(cap, "SPINECORE_CPU_ISA", &wanted);
    if (environment.ok()) isa = std::min(wanted, best_isa());
  }
};

Selection& selection() {
  static Selection selected;
  return selected;
}

}  // namespace

const char* isa_name(Isa isa) {
  switch (isa) {
    case Isa::avx2:
      return "avx2";
    case Isa::avx512:
      return "avx512";
    case Isa::baseline:
      break;
  }
  return "baseline";
}

std::vector<std::string> compiled_isas() {
  std::vector<std::string> names;
  for (Isa isa : all_isas) {
    if (is_compiled(isa)) names.push_back(isa_name(isa));
  }
  return names;
}

Isa best_isa() {
  Isa best = Isa::baseline;
  for (Isa isa : all_isas) {
    if (is_compiled(isa) && machine_runs(isa)) best = isa;
  }
  return best;
}

Isa selected_isa() { return selection().isa.load(); }

int64_t second_level_bytes() {
#if defined(_SC_LEVEL2_CACHE_SIZE)
  const int64_t bytes = sysconf(_SC_LEVEL2_CACHE_SIZE);
  if (bytes > 0) return bytes;
#endif
  return int64_t{1} << 20;
}

bool has_bf16_products() {
  static const bool has = machine_has_bf16_products();
  return has && selected_isa() == Isa::avx512;
}

Status select_isa(const std::string& name) {
  Isa isa = Isa::baseline;
  Status status = parse(name, "instruction set", &isa);
  if (!status.ok()) return status;
  if (!is_compiled(isa)) {
    return Status::wrong_value("instruction set '" + name + "' was not compiled into this build of spinecore");
  }
  if (!machine_runs(isa)) {
    return Status::wrong_value("instruction set '" + name + "' is not available on this machine: the best it runs is " +
                               isa_name(best_isa()));
  }
  selection().isa = isa;
  return {};
}

const Status& isa_environment_status() { return selection().environment; }

}  // namespace spinecore
