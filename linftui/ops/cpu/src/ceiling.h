// What this machine could reach at best at p = inf: a subtraction and a maximum of absolutes an element, on registers.
#pragma once

#include "tiles.h"

// Makes the compiler think that a register may have changed, or it would see that every round is the same.
#if defined(__x86_64__)
#define LINFTUI_FORGET(v) asm volatile("" : "+v"(v))
#elif defined(__aarch64__)
#define LINFTUI_FORGET(v) asm volatile("" : "+w"(v))
#else
#define LINFTUI_FORGET(v) asm volatile("" : "+m"(v))
#endif

namespace {

// Does about `elements` of them on so many threads; the caller takes the time. Returns a number that depends on all.
inline double ceiling(int64_t elements, int threads) {
  double result = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : result)
  for (int thread = 0; thread < threads; ++thread) {
    V acc[TM][TN] = {}, x[TN], w = broadcast(1);
    for (int n = 0; n < TN; ++n) x[n] = broadcast(static_cast<float>(n));
    for (int64_t left = elements / threads; left > 0; left -= TM * TN * W) {
#pragma GCC unroll 8
      for (int m = 0; m < TM; ++m) {
        LINFTUI_FORGET(w);
#pragma GCC unroll 8
        for (int n = 0; n < TN; ++n) acc[m][n] = abs_max(acc[m][n], x[n] - w);
      }
    }
    for (int m = 0; m < TM; ++m) result += static_cast<double>(fold_four<Max>(acc[m][0], acc[m][1], acc[m][2], acc[m][3])[0]);
  }
  return result;
}

}  // namespace
