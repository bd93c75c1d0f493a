// Gradients at finite p: dy/dx = sign(d) (|d| / y)^(p - 1), and dy/dw = -dy/dx, so that one power serves both.
//
// A thread owns a slab of columns and walks over all pairs of rows, in an order that does not depend on the slab:
// nothing is shared, nothing is atomic, and the result has the same bits for any number of threads. Rows are copied
// into panels of one vector's width first, which lie densely in the cache whatever K is.
#pragma once

#include "powers.h"
#include "tiles.h"

namespace {

constexpr int64_t X_ROWS = 256, W_ROWS = 128;  // of a block: two panels of W_ROWS fill half a first-level cache
constexpr int PANELS = 4;                      // vectors in a slab: they share the work on pairs

// A block of rows as panels: panel[v][row] are the columns of vector v.
template <int64_t Count>
struct Panels {
  alignas(64) float at[PANELS][Count][W];

  void read(const Matrix& from, int64_t row0, int64_t rows, int64_t k0, int64_t columns) {
    for (int64_t row = 0; row < rows; ++row) {
      const float* values = from.row(smaller(row0 + row, from.rows - 1)) + k0;
      for (int64_t k = 0; k < columns; k += W)
        store(at[k / W][row], load_first(columns - k, values + k, 0));
    }
  }
  void write(float* to, int64_t K, int64_t row0, int64_t rows, int64_t k0, int64_t columns) const {
    for (int64_t row = 0; row < rows; ++row) {
      float* values = to + (row0 + row) * K + k0;
      for (int64_t k = 0; k < columns; k += W)
        store_first(columns - k, values + k, load(at[k / W][row]));
    }
  }
};

// What the inner loop needs of the pairs of TB rows of x with a block of rows of weight.
struct Pairs {
  float scale[TB][W_ROWS], flow[TB][W_ROWS], threshold[TB][W_ROWS];
};

struct Slab {
  Panels<X_ROWS> x, grad_x;
  Panels<W_ROWS> weight, grad_weight;
  Pairs pairs;
};

struct NormBackward {
  Matrix x, weight;
  const float *grad, *y;
  float *grad_x, *grad_weight;
  const float* drop_below;  // by the exponent of |grad|: the ratio below which a term is dropped; null: none
};

template <class Power>
inline void fill_pairs(const NormBackward& op, const Power& power, int64_t n0, int64_t m0, int64_t rows, Pairs& pairs) {
  for (int i = 0; i < TB; ++i) {
    const bool real = n0 + i < op.x.rows;
    const int64_t from = smaller(n0 + i, op.x.rows - 1) * op.weight.rows + m0;
    for (int64_t m = 0; m < rows; m += W) {
      const V y = load_first(rows - m, op.y + from + m, 0), grad = load_first(rows - m, op.grad + from + m, 0);
      const I differ = y > 0;
      const V divisor = choose(differ, y, broadcast(1));
      store(pairs.scale[i] + m, choose(differ, power.scale(divisor), V{}));
      store(pairs.flow[i] + m, choose(differ, real ? power.flow(grad, divisor) : V{}, V{}));
    }
    if (op.drop_below == nullptr) continue;
    for (int64_t m = 0; m < rows; ++m) {
      uint32_t bits;
      memcpy(&bits, &pairs.flow[i][m], 4);
      pairs.threshold[i][m] = op.y[from + m] * op.drop_below[(bits >> 23) & 0xff];
    }
  }
}

// One panel: TB rows of x stay in registers while the rows of weight pass by.
template <bool Drop, class Power>
inline void backward_panel(const float (*x)[W], float (*grad_x)[W], const float (*weight)[W], float (*grad_weight)[W],
                           int64_t rows, const Pairs& pairs, const Power& power) {
  V xs[TB], sums[TB];
#pragma GCC unroll 8
  for (int i = 0; i < TB; ++i) xs[i] = load(x[i]), sums[i] = load(grad_x[i]);
  for (int64_t m = 0; m < rows; ++m) {
    const V w = load(weight[m]);
    V sum = load(grad_weight[m]);
#pragma GCC unroll 8
    for (int i = 0; i < TB; ++i) {
      const V d = xs[i] - w;
      if (Drop && greater(absolute(d), broadcast(pairs.threshold[i][m])) == 0) continue;
      const V term = power.with_sign_of(d, broadcast(pairs.scale[i][m])) * broadcast(pairs.flow[i][m]);
      sums[i] += term;
      sum -= term;
    }
    store(grad_weight[m], sum);
  }
#pragma GCC unroll 8
  for (int i = 0; i < TB; ++i) store(grad_x[i], sums[i]);
}

// All pairs, for columns [k0, k0 + columns).
template <bool Drop, class Power>
inline void backward_slab(const NormBackward& op, const Power& power, int64_t k0, int64_t columns, Slab& slab) {
  const int64_t N = op.x.rows, M = op.weight.rows, K = op.x.k;
  for (int64_t n0 = 0; n0 < N; n0 += X_ROWS) {
    const int64_t n_rows = smaller(X_ROWS, N - n0);
    slab.x.read(op.x, n0, ceil_div(n_rows, TB) * TB, k0, columns);
    memset(&slab.grad_x, 0, sizeof slab.grad_x);
    for (int64_t m0 = 0; m0 < M; m0 += W_ROWS) {
      const int64_t m_rows = smaller(W_ROWS, M - m0);
      slab.weight.read(op.weight, m0, m_rows, k0, columns);
      if (n0 == 0)
        memset(&slab.grad_weight, 0, sizeof slab.grad_weight);
      else
        slab.grad_weight.read({op.grad_weight, M, K}, m0, m_rows, k0, columns);
      for (int64_t n = 0; n < n_rows; n += TB) {
        fill_pairs(op, power, n0 + n, m0, m_rows, slab.pairs);
        for (int64_t v = 0; v * W < columns; ++v)
          backward_panel<Drop>(slab.x.at[v] + n, slab.grad_x.at[v] + n, slab.weight.at[v], slab.grad_weight.at[v],
                               m_rows, slab.pairs, power);
      }
      slab.grad_weight.write(op.grad_weight, K, m0, m_rows, k0, columns);
    }
    slab.grad_x.write(op.grad_x, K, n0, n_rows, k0, columns);
  }
}

template <bool Drop, class Power>
inline int norm_backward(const NormBackward& op, const Power& power, int threads) {
  const int64_t K = op.x.k, vectors = ceil_div(K, W);
  threads = useful_threads(threads, op.x.rows * op.weight.rows * K);
  int64_t slabs = ceil_div(vectors, PANELS);
  while (slabs < vectors && slabs % threads != 0) ++slabs;
  int status = 0;
#pragma omp parallel num_threads(threads) reduction(| : status)
  {
    const OnHeap<Slab> slab;
#pragma omp for schedule(static)
    for (int64_t i = 0; i < slabs; ++i) {
      const int64_t k0 = vectors * i / slabs * W, k1 = smaller(vectors * (i + 1) / slabs * W, K);
      if (slab.at == nullptr)
        status = 1;
      else
        backward_slab<Drop>(op, power, k0, k1 - k0, *slab.at);
    }
  }
  return status;
}

// The range of many numbers, and whether all are finite.
inline Range range_of(const float* values, int64_t count, bool& finite) {
  const V none = broadcast(__builtin_inff());
  V least = none, greatest = {}, spoilt = {};
  for (int64_t i = 0; i < count; i += W) {
    const V v = absolute(load_first(count - i, values + i, 0));
    least = minimum(choose(v > 0, v, none), least);
    greatest = maximum(v, greatest);  // the second where the first is a NaN
    spoilt = multiply_add(v, V{}, spoilt);
  }
  finite = equal(spoilt, spoilt) == (1u << W) - 1;
  return {fold_four<Min>(least, least, least, least)[0], fold_four<Max>(greatest, greatest, greatest, greatest)[0]};
}

}  // namespace
