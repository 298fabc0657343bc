// Which instruction sets were compiled, which this machine runs, and which one is used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "spinecore/status.h"

namespace spinecore {

enum class Isa : int { baseline = 0, avx2 = 1, avx512 = 2 };

const char* isa_name(Isa isa);
std::vector<std::string> compiled_isas();

// The best one that was compiled and that both the processor and the operating system support.
Isa best_isa();

// best_isa() unless capped by the environment variable SPINECORE_CPU_ISA or by select_isa.
Isa selected_isa();

// Whether AVX-512 is selected and the processor multiplies pairs of bfloat16 as well (vdpbf16ps), faster than floats;
// kernels then do so for bfloat16 tensors.
bool has_bf16_products();

// Bytes of the second cache level of a core; 1 MiB where the system does not say.
int64_t second_level_bytes();

// "baseline", "avx2" or "avx512": uses that one, or says why it cannot.
Status select_isa(const std::string& name);

// What became of SPINECORE_CPU_ISA, which is read once and is a cap: asking for more than the machine has selects the
// best it has. An unknown value is an error, which every operator then reports.
const Status& isa_environment_status();

}  // namespace spinecore
