// Which variants the processor at hand can run. Compiled for the oldest processor of all.

#include <cstring>

extern "C" __attribute__((visibility("default"))) int linftui_supports(const char* variant) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (strcmp(variant, "v4") == 0)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512cd");
  if (strcmp(variant, "v3") == 0)
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  if (strcmp(variant, "v2") == 0) return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
#endif
  return strcmp(variant, "portable") == 0;
}
