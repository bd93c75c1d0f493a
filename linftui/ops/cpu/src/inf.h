// The distance at p = inf: maxima of absolute differences, and where they are attained first.
//
// No rounding follows the subtraction, so every order of taking the maximum gives the same bits.
#pragma once

#include "tiles.h"

namespace {

constexpr int64_t SEARCHED = 256;  // columns: a maximum is known to lie in one block of so many


// Maxima of |x - w| over [begin, end).
inline __attribute__((always_inline)) void abs_max_tile(const Rows<TN>& x, const Rows<TM>& w, int64_t begin,
                                                        int64_t end, V4* largest) {
  V acc[TM][TN] = {};
  over_columns<true>(begin, end, [&](auto at) __attribute__((always_inline)) {
    V xs[TN];
#pragma GCC unroll 8
    for (int n = 0; n < TN; ++n) xs[n] = at(x.at[n]);
#pragma GCC unroll 8
    for (int m = 0; m < TM; ++m) {
      const V ws = at(w.at[m]);
#pragma GCC unroll 8
      for (int n = 0; n < TN; ++n) acc[m][n] = abs_max(acc[m][n], xs[n] - ws);
    }
  });
#pragma GCC unroll 8
  for (int m = 0; m < TM; ++m) largest[m] = fold_four<Max>(acc[m][0], acc[m][1], acc[m][2], acc[m][3]);
}

// y[n, m] over all columns. Returns 1 where a row of the task holds a NaN or an infinity; y is then of no use.
inline int inf_forward_task(const Matrix& x, const Matrix& weight, const Task& task, float* y) {
  const int64_t M = weight.rows;
  bool not_finite = false;
  for (int64_t begin = 0; begin < x.k; begin += K_BLOCK) {
    const int64_t end = smaller(begin + K_BLOCK, x.k);
    not_finite |= any_not_finite(x, task.n0, task.n1, begin, end);
    for (int64_t m = task.m0; m < task.m1; m += TM) {
      const int64_t rows = smaller(TM, task.m1 - m);
      not_finite |= any_not_finite(weight, m, m + rows, begin, end);
      const Rows<TM> w(weight, m);
      for (int64_t n = task.n0; n < task.n1; n += TN) {
        V4 largest[TM];
        abs_max_tile(Rows<TN>(x, n), w, begin, end, largest);
        for (int i = 0; i < smaller(TN, task.n1 - n); ++i)
          for (int j = 0; j < rows; ++j) {
            float& out = y[(n + i) * M + m + j];
            out = begin > 0 && out > largest[j][i] ? out : largest[j][i];
          }
      }
    }
  }
  return not_finite;
}

// The first column in [begin, end) where |x - w| is `largest`; there is one.
inline int64_t first_attained(const float* x, const float* w, int64_t begin, int64_t end, float largest) {
  const V wanted = broadcast(largest);
  int64_t found = end;
  for (int64_t k = begin; k < end; k += W) {
    const int n = static_cast<int>(smaller(W, end - k));
    const V xs = n == W ? load(x + k) : load_part(x + k, n, x[k]);
    const V ws = n == W ? load(w + k) : load_part(w + k, n, w[k]);
    const uint32_t here = equal(absolute(xs - ws), wanted);
    if (here != 0) {
      found = k + __builtin_ctz(here);
      break;
    }
  }
  return found;
}

// As inf_forward_task, and the first column that attains each maximum: blocks are compared in order, then the
// winning one is searched.
inline int inf_argmax_task(const Matrix& x, const Matrix& weight, const Task& task, float* y, int64_t* argmax) {
  const int64_t M = weight.rows;
  bool not_finite = false;
  for (int64_t begin = 0; begin < x.k; begin += K_BLOCK) {
    const int64_t end = smaller(begin + K_BLOCK, x.k);
    not_finite |= any_not_finite(x, task.n0, task.n1, begin, end);
    for (int64_t m = task.m0; m < task.m1; m += TM) {
      const int64_t rows = smaller(TM, task.m1 - m);
      not_finite |= any_not_finite(weight, m, m + rows, begin, end);
      const Rows<TM> w(weight, m);
      for (int64_t n = task.n0; n < task.n1; n += TN) {
        const Rows<TN> xs(x, n);
        V4 largest[TM];
        I4 where[TM];
        for (int j = 0; j < TM; ++j) largest[j] = V4{} - 1, where[j] = I4{};
        for (int64_t block = begin; block < end; block += SEARCHED) {
          V4 here[TM];
          abs_max_tile(xs, w, block, smaller(block + SEARCHED, end), here);
#pragma GCC unroll 8
          for (int j = 0; j < TM; ++j) {
            const I4 more = here[j] > largest[j];
            largest[j] = Max::of(largest[j], here[j]);
            where[j] = (more & static_cast<int32_t>(block - begin)) | (~more & where[j]);
          }
        }
        for (int i = 0; i < smaller(TN, task.n1 - n); ++i)
          for (int j = 0; j < rows; ++j) {
            const int64_t out = (n + i) * M + m + j;
            if (begin > 0 && y[out] >= largest[j][i]) continue;
            const int64_t block = begin + where[j][i];
            y[out] = largest[j][i];
            argmax[out] = first_attained(xs.at[i], w.at[j], block, smaller(block + SEARCHED, end), largest[j][i]);
          }
      }
    }
  }
  return not_finite;
}

// What flows through the one coordinate of (n, m): none where the distance is 0 or not finite.
inline float inf_flow(float grad, float x, float w) {
  const float d = x - w;
  if (!(d - d == 0)) return 0;
  return d > 0 ? grad : d < 0 ? -grad : 0 * grad;
}

// Gradients in the order of the definition: along a row of grad for x, along a column for weight.
inline void inf_backward(const Matrix& x, const Matrix& weight, const float* grad, const int64_t* argmax,
                         float* grad_x, float* grad_weight, int threads) {
  constexpr int64_t AT_ONCE = 16;  // columns of grad: one line of the cache
  const int64_t N = x.rows, M = weight.rows, K = x.k;
  threads = useful_threads(threads, N * M * 8);
#pragma omp parallel num_threads(threads)
  {
#pragma omp for schedule(static) nowait
    for (int64_t n = 0; n < N; ++n) {
      float* sums = grad_x + n * K;
      memset(sums, 0, sizeof(float) * static_cast<size_t>(K));
      for (int64_t m = 0; m < M; ++m) {
        const int64_t k = argmax[n * M + m];
        sums[k] += inf_flow(grad[n * M + m], x.row(n)[k], weight.row(m)[k]);
      }
    }
#pragma omp for schedule(static)
    for (int64_t first = 0; first < M; first += AT_ONCE) {
      const int64_t last = smaller(first + AT_ONCE, M);
      memset(grad_weight + first * K, 0, sizeof(float) * static_cast<size_t>((last - first) * K));
      for (int64_t n = 0; n < N; ++n)
        for (int64_t m = first; m < last; ++m) {
          const int64_t k = argmax[n * M + m];
          grad_weight[m * K + k] -= inf_flow(grad[n * M + m], x.row(n)[k], weight.row(m)[k]);
        }
    }
  }
}

}  // namespace
