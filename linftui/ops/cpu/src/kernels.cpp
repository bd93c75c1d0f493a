// The kernels behind a plain C ABI, compiled once for each processor family: LINFTUI_VARIANT names it.
//
// Tensors are dense float32 with N, M, K >= 1. A function that returns an int returns 1 where its input is not for
// it (a NaN, an infinity, distances below 2^-100) or memory is out: its outputs are then of no use, and the caller
// takes the definition instead. `threads` is the most to use.

#include <type_traits>

#include "bounds.h"
#include "ceiling.h"
#include "inf.h"
#include "norm_backward.h"
#include "norm_forward.h"

#define LINFTUI_JOIN(variant, name) linftui_##variant##_##name
#define LINFTUI_NAME(variant, name) LINFTUI_JOIN(variant, name)
#define LINFTUI_EXPORT(name) __attribute__((visibility("default"))) LINFTUI_NAME(LINFTUI_VARIANT, name)

extern "C" {

int LINFTUI_EXPORT(inf_forward)(const float* x, const float* weight, float* y, int64_t N, int64_t M, int64_t K,
                                int threads) {
  const Matrix a = {x, N, K}, b = {weight, M, K};
  return for_each_task<InfSpace>(
      a, b, threads, [&](const Task& task, InfSpace& space) { return inf_forward_task(a, b, task, space, y); });
}

int LINFTUI_EXPORT(inf_argmax)(const float* x, const float* weight, float* y, int64_t* argmax, int64_t N, int64_t M,
                               int64_t K, int threads) {
  const Matrix a = {x, N, K}, b = {weight, M, K};
  return for_each_task<InfSpace>(a, b, threads, [&](const Task& task, InfSpace& space) {
    return inf_argmax_task(a, b, task, space, y, argmax);
  });
}

void LINFTUI_EXPORT(inf_backward)(const float* grad, const float* x, const float* weight, const int64_t* argmax,
                                  float* grad_x, float* grad_weight, int64_t N, int64_t M, int64_t K, int threads) {
  inf_backward({x, N, K}, {weight, M, K}, grad, argmax, grad_x, grad_weight, threads);
}

int LINFTUI_EXPORT(bounds)(const float* lower, const float* upper, const float* weight, int outward, float* low,
                           float* high, int64_t N, int64_t M, int64_t K, int threads) {
  const Matrix a = {lower, N, K}, b = {upper, N, K}, c = {weight, M, K};
  return for_each_task<BoundsSpace>(a, c, threads, [&](const Task& task, BoundsSpace& space) {
    return bounds_task(a, b, c, task, outward != 0, space, low, high);
  });
}

int LINFTUI_EXPORT(norm_forward)(const float* x, const float* weight, float* y, const PowerFit* fit, int64_t N,
                                 int64_t M, int64_t K, int threads) {
  const Matrix a = {x, N, K}, b = {weight, M, K};
  return with_power(*fit, [&](const auto& power) {
    return for_each_task<NormSpace>(a, b, threads, [&](const Task& task, NormSpace& space) {
      bool done = false;
      const bool tried =
          with_raw_power(*fit, [&](const auto& raw) { done = raw_task(a, b, task, *fit, raw, space, y); });
      if (done) return 0;
      if constexpr (std::remove_reference_t<decltype(power)>::MAY_DROP)
        if (fit->near > 0) return norm_near_task(a, b, task, *fit, power, space, y);
      return norm_task(a, b, task, *fit, power, tried, space, y);
    });
  });
}

int LINFTUI_EXPORT(norm_backward)(const float* grad, const float* x, const float* weight, const float* y,
                                  float* grad_x, float* grad_weight, const PowerFit* fit, const float* drop_below,
                                  int64_t N, int64_t M, int64_t K, int threads) {
  const NormBackward op = {{x, N, K}, {weight, M, K}, grad, y, grad_x, grad_weight, drop_below};
  bool finite, unused;
  const Range distances = range_of(y, N * M, finite), gradients = range_of(grad, N * M, unused);
  if (!finite || distances.least < SMALLEST) return 1;
  int status = 0;
  if (raw_powers_stay_in_range(*fit, distances, gradients) &&
      with_raw_power(*fit, [&](const auto& raw) { status = norm_backward<false>(op, raw, threads); }))
    return status;
  return with_power(*fit, [&](const auto& power) {
    if constexpr (std::remove_reference_t<decltype(power)>::MAY_DROP)
      if (drop_below != nullptr) return norm_backward<true>(op, power, threads);
    return norm_backward<false>(op, power, threads);
  });
}

double LINFTUI_EXPORT(ceiling)(int64_t elements, int threads) { return ceiling(elements, threads); }

}  // extern "C"
