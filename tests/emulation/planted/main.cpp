// program KERNEL right|wrong: prints the results, or what the emulation complains about (exit status 3).
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>

#include "kernels.h"

int main(int count, char** arguments) {
  if (count != 3) return 2;
  constexpr size_t size = 64 * planted::blocks;
  auto* out = static_cast<float*>(std::calloc(size + 1, sizeof(float)));
  auto* in = static_cast<float*>(std::malloc(size * sizeof(float)));
  for (size_t i = 0; i < size; ++i) in[i] = static_cast<float>(i + 1);
  try {
    const int error = planted::launch(arguments[1], out, in, std::strcmp(arguments[2], "wrong") == 0);
    if (error != 0) return 2;
  } catch (const std::exception& complaint) {
    std::printf("%s\n", complaint.what());
    return 3;
  }
  for (size_t i = 0; i < size; ++i) std::printf("%g ", static_cast<double>(out[i]));
  std::free(out);
  std::free(in);
  return 0;
}
