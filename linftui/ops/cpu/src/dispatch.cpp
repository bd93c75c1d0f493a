// Which variants the processor at hand can run: each instruction set that CMakeLists.txt compiles one with. This file
// is compiled for the oldest processor of all.

#include <cstring>

extern "C" __attribute__((visibility("default"))) int linftui_supports(const char* variant) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool sse4 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");  // -msse4.2 means both
  const bool avx2 = sse4 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (strcmp(variant, "sse4") == 0) return sse4;
  if (strcmp(variant, "avx2") == 0) return avx2;
  if (strcmp(variant, "avx512") == 0)
    return avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
#endif
  return strcmp(variant, "portable") == 0;
}
