/* A stand-in for the library of NVIDIA's driver, as far as linftui asks it anything.

What it says is in the file that NVML_SCENARIO names, read anew at every call; its lines are "what number":
"init", "count", "at.I" (which GPU is at that index), "G.figure" (its value), "G.figure.error" and "G.error";
with a new "generation" the driver has forgotten who initialised it. -DOLD: with the calls of an old driver. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS, UNINITIALIZED, INVALID = 2, INSUFFICIENT_SIZE = 7, VERSION_MISMATCH = 25 };
typedef struct { unsigned long long total, free, used; } memory_t;
typedef struct { unsigned gpu, memory; } utilization_t;
typedef struct { unsigned version, sensor; int celsius; } temperature_t;
typedef struct { unsigned pid; unsigned long long used; unsigned gpu_instance, compute_instance; } process_t;

static int gpus[8] = {0, 1, 2, 3, 4, 5, 6, 7};
static int inits, users, generation;

static unsigned long long told(const char *what, unsigned long long otherwise) {
  const char *path = getenv("NVML_SCENARIO");
  FILE *file = path ? fopen(path, "r") : NULL;
  char key[64];
  unsigned long long value;
  while (file && fscanf(file, "%63s %llu", key, &value) == 2)
    if (strcmp(key, what) == 0) otherwise = value;
  if (file) fclose(file);
  return otherwise;
}
static unsigned long long of(const int *gpu, const char *figure, unsigned long long otherwise) {
  char what[64];
  snprintf(what, sizeof what, "%d.%s", *gpu, figure);
  return told(what, otherwise);
}
static int stale(void) { return users < 1 || generation != (int)told("generation", 0); }
static int error(const int *gpu, const char *figure) {
  char what[64];
  snprintf(what, sizeof what, "%s.error", figure);
  return stale() ? UNINITIALIZED : (int)of(gpu, what, of(gpu, "error", SUCCESS));
}
static int text(const int *gpu, const char *figure, const char *format, char *buffer, unsigned size) {
  snprintf(buffer, size, format, *gpu);
  if (of(gpu, figure, 0)) strcpy(buffer, "caf\xe9");
  return error(gpu, figure);
}

int stand_in_inits(void) { return inits; }
int stand_in_users(void) { return users; }

const char *nvmlErrorString(int code) { return code == 998 ? "caf\xe9" : "Of another kind"; }
int nvmlInitWithFlags(unsigned flags) {
  int code = told("init", SUCCESS);
  inits++;
  if (code != SUCCESS) return code;
  if (generation != (int)told("generation", 0)) users = 0;
  generation = told("generation", 0);
  users++;
  return SUCCESS;
}
int nvmlShutdown(void) {
  if (stale()) return UNINITIALIZED;
  users--;
  return SUCCESS;
}
int nvmlDeviceGetCount_v2(unsigned *count) {
  *count = told("count", 2);
  return stale() ? UNINITIALIZED : told("count.error", SUCCESS);
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
  char what[16];
  snprintf(what, sizeof what, "at.%u", index);
  int *gpu = &gpus[told(what, index)];
  *device = gpu;
  return index < told("count", 2) ? error(gpu, "handle") : INVALID;
}
int nvmlDeviceGetUUID(int *gpu, char *buffer, unsigned size) {
  return text(gpu, "uuid", "GPU-0000000%d-aaaa", buffer, size);
}
int nvmlDeviceGetName(int *gpu, char *buffer, unsigned size) {
  return text(gpu, "name", "Stand-in %d", buffer, size);
}
int nvmlDeviceGetMemoryInfo(int *gpu, memory_t *memory) {
  memory->total = of(gpu, "total", 80ULL << 30);
  memory->used = of(gpu, "used", (unsigned long long)(*gpu + 1) << 30);
  memory->free = memory->total - memory->used;
  return error(gpu, "memory");
}
int nvmlDeviceGetUtilizationRates(int *gpu, utilization_t *rates) {
  rates->gpu = of(gpu, "utilisation", 25 * (*gpu + 1));
  return error(gpu, "utilisation");
}
int nvmlDeviceGetPowerUsage(int *gpu, unsigned *milliwatts) {
  *milliwatts = of(gpu, "power", 412500);
  return error(gpu, "power");
}
int nvmlDeviceGetEnforcedPowerLimit(int *gpu, unsigned *milliwatts) {
  *milliwatts = of(gpu, "limit", 700000);
  return error(gpu, "limit");
}
static int processes(int *gpu, unsigned *count, process_t *list) {
  unsigned room = *count, n = of(gpu, "processes", *gpu);
  if (error(gpu, "processes")) return error(gpu, "processes");
  *count = n;
  if (n > room || (list && of(gpu, "processes.grow", 0))) return INSUFFICIENT_SIZE;
  for (unsigned i = 0; i < n; i++)
    list[i] = (process_t){.pid = 100 + i, .used = of(gpu, "held", (unsigned long long)(i + 1) << 30)};
  return SUCCESS;
}
#ifdef OLD
int nvmlDeviceGetComputeRunningProcesses_v2(int *gpu, unsigned *count, process_t *list) {
  return processes(gpu, count, list);
}
int nvmlDeviceGetTemperature(int *gpu, unsigned sensor, unsigned *celsius) {
  *celsius = of(gpu, "temperature", 68);
  return sensor == 0 ? error(gpu, "temperature") : INVALID;
}
#else
int nvmlDeviceGetComputeRunningProcesses_v3(int *gpu, unsigned *count, process_t *list) {
  return processes(gpu, count, list);
}
int nvmlDeviceGetTemperatureV(int *gpu, temperature_t *temperature) {
  if (temperature->version != (sizeof(temperature_t) | 1 << 24)) return VERSION_MISMATCH;
  temperature->celsius = of(gpu, "temperature", 68);
  return temperature->sensor == 0 ? error(gpu, "temperature") : INVALID;
}
#endif
