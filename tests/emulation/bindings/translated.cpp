// For ctypes: launches a translated kernel by name, and answers what a trace has counted.
#include <string>

#include "emulation/ptx_runtime.h"
#include "emulation/translated.h"

extern "C" {

// Null, or what went wrong.
const char* emulation_launch(const char* kernel, const unsigned* grid, const unsigned* block, size_t dynamic_shared,
                             const unsigned char* parameters) {
  static thread_local std::string message;
  try {
    const bool launched = emulation::launch_by_name(kernel, {grid[0], grid[1], grid[2]}, {block[0], block[1], block[2]},
                                                    dynamic_shared, parameters);
    message = launched ? "" : "invalid launch configuration";
  } catch (const std::exception& error) {
    message = error.what();
  }
  return message.empty() ? nullptr : message.c_str();
}

#if defined(EMULATION_TRACE)
// Everything counted since the last call: "kernel NAME loaded stored", then a line for every instruction that ran.
const char* emulation_trace() {
  static std::string text;
  text.clear();
  for (const auto& [name, kernel] : trace::kernels()) {
    text += "kernel " + name + " " + std::to_string(kernel.loaded_sectors) + " " +
            std::to_string(kernel.stored_sectors) + "\n";
    for (const auto& [id, totals] : kernel.totals) {
      text += kernel.names.at(id);
      for (const uint64_t value :
           {totals.executed, totals.requests, totals.sectors, totals.ideal_sectors, totals.ways}) {
        text += " " + std::to_string(value);
      }
      text += "\n";
    }
  }
  trace::kernels().clear();
  return text.c_str();
}
#endif
}
