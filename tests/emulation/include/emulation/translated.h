// Kernels that were translated from PTX, by their mangled name: launches reach them instead of the source's own code.
#pragma once

#include <dlfcn.h>

#include <cstring>
#include <map>
#include <string>
#include <vector>

#include "emulation/launch.h"
#include "emulation/trace.h"

namespace emulation {

struct Translated {
  void (*run)(const unsigned char* parameters);
  size_t static_shared;
};

inline std::map<std::string, Translated>& translated_kernels() {
  static std::map<std::string, Translated> all;
  return all;
}

// A static object of it makes a kernel known.
struct Registration {
  Registration(const char* name, void (*run)(const unsigned char*), size_t static_shared) {
    translated_kernels()[name] = {run, static_shared};
  }
};

// False where CUDA would refuse the configuration.
inline bool launch_by_name(const std::string& name, Index3 grid, Index3 block, size_t dynamic_shared,
                           const unsigned char* parameters) {
  const auto found = translated_kernels().find(name);
  if (found == translated_kernels().end()) fail("no translated PTX of " + name);
  const Translated kernel = found->second;
  const bool launched = launch(grid, block, kernel.static_shared + dynamic_shared, [=] { kernel.run(parameters); });
#if defined(EMULATION_TRACE)
  trace::finish_block();
#endif
  return launched;
}

// Parameters as CUDA lays them out: each at a multiple of its alignment.
class ParameterBuffer {
 public:
  template <class T>
  void add(const T& value) {
    used_ = (used_ + alignof(T) - 1) / alignof(T) * alignof(T);
    if (used_ + sizeof(T) > sizeof bytes_) fail("kernel parameters of more than 4 KiB");
    std::memcpy(bytes_ + used_, &value, sizeof(T));
    used_ += sizeof(T);
  }
  const unsigned char* bytes() const { return bytes_; }

 private:
  alignas(16) unsigned char bytes_[4096] = {};
  size_t used_ = 0;
};

inline std::string name_of_symbol(void* function) {
  Dl_info info;
  if (dladdr(function, &info) == 0 || info.dli_sname == nullptr) fail("a kernel has no exported symbol");
  return info.dli_sname;
}

template <class... Parameters>
cudaError_t launch_translated(void* kernel, Index3 grid, Index3 block, size_t dynamic_shared,
                              const Parameters&... given) {
  ParameterBuffer parameters;
  (parameters.add<Parameters>(given), ...);
  return launch_by_name(name_of_symbol(kernel), grid, block, dynamic_shared, parameters.bytes())
             ? cudaSuccess
             : cudaErrorInvalidConfiguration;
}

}  // namespace emulation
