// What this machine could reach at best at p = inf: a subtraction and a maximum of absolutes an element, on registers.
#pragma once

#include "tiles.h"

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
      for (int m = 0; m < TM; ++m)
#pragma GCC unroll 8
        for (int n = 0; n < TN; ++n) {
          V d = x[n] - w;
          asm volatile("" : "+x"(d));  // or the compiler would see that every round is the same
          acc[m][n] = abs_max(acc[m][n], d);
        }
    }
    for (int m = 0; m < TM; ++m) result += static_cast<double>(fold_four<Max>(acc[m][0], acc[m][1], acc[m][2], acc[m][3])[0]);
  }
  return result;
}

}  // namespace
