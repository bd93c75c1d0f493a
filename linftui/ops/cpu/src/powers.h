// Ways to compute r^q of a ratio 0 <= r <= 1, given the signed difference d and a scale that makes r of |d|.
//
// Each type has `scale(largest)`: the factor that belongs to a difference `largest` whose ratio is 1;
// `add(sum, d, scale)`: sum + r^q; `with_sign_of(d, scale)`: r^q with the sign of d, 0 where d is 0, to be multiplied
// by `flow(grad, largest)`. SCALED tells whether there is a scale at all. Which type serves a given q is decided on
// the host (`linftui/ops/cpu/powers.py`), where the polynomial of `Squared` is fitted too.
#pragma once

#include "logarithms.h"

namespace {

constexpr float SMALLEST = 0x1p-100f;  // of a distance that is not 0, or 1 / distance might overflow

enum Kind : int32_t { LOGARITHMIC = 0, WHOLE = 1, SQUARED = 2 };

// What the host says about r^q; the layout is repeated in `linftui/ops/cpu/library.py`.
struct PowerFit {
  double q;
  int32_t kind, degree, squarings;  // the last two of SQUARED alone
  float c, z_max, coefficients[7];  // of SQUARED alone; the constant comes first
  float near;                       // in a forward: ratios below add nothing; 0 where it does not pay to look
};

template <int Q, class Number>
inline __attribute__((always_inline)) Number whole_power(Number r) {
  if constexpr (Q == 0) {
    return Number{} + 1;
  } else if constexpr (Q == 1) {
    return r;
  } else {
    const Number half = whole_power<Q / 2>(r);
    return Q % 2 ? half * half * r : half * half;
  }
}

// A whole q. Without `Scaled` the difference itself is raised, where the caller knows that it stays in range.
template <int Q, bool Scaled>
struct Whole {
  static constexpr bool MAY_DROP = false, SCALED = Scaled;
  explicit Whole(const PowerFit&) {}
  template <class Number>
  static Number scale(Number largest) {
    return 1.0f / largest;
  }
  static V flow(V grad, V largest) { return Scaled ? grad : grad * whole_power<Q>(1.0f / largest); }
  static __attribute__((always_inline)) V add(V sum, V d, V scale) {
    const V r = Scaled ? d * scale : d;
    if constexpr (Q % 2 == 0) {
      const V root = whole_power<Q / 2>(r);
      return multiply_add(root, root, sum);
    } else {
      return sum + whole_power<Q>(absolute(r));
    }
  }
  static __attribute__((always_inline)) V with_sign_of(V d, V scale) {
    const V r = Scaled ? d * scale : d;
    if constexpr (Q == 0) return (V)((absolute(d) > 0) & (I)with_sign(V{} + 1, d));
    return Q % 2 ? whole_power<Q>(r) : with_sign(whole_power<Q>(r), d);
  }
};

// Any q, by way of the logarithm.
struct Logarithmic {
  static constexpr bool MAY_DROP = false, SCALED = true;
  explicit Logarithmic(const PowerFit& fit) : q(static_cast<float>(fit.q)) {}
  template <class Number>
  static Number scale(Number largest) {
    return 1.0f / largest;
  }
  static V flow(V grad, V) { return grad; }
  __attribute__((always_inline)) V of(V d, V scale) const {
    const V r = absolute(d) * scale;
    return (V)((r > 0) & (I)exp2_of(minimum(log2_of(r) * q, V{})));
  }
  __attribute__((always_inline)) V add(V sum, V d, V scale) const { return sum + of(d, scale); }
  __attribute__((always_inline)) V with_sign_of(V d, V scale) const { return with_sign(of(d, scale), d); }
  float q;
};

// r^q = P(z)^(2^K) with z = c (1 - r), c = q / 2^K, and P of low degree: no logarithm, no exponential. From z_max
// on, where r^q < 2^-44, a gradient's power is 0 and a sum's is what it is at z_max, which takes less time. K = 0 means
// that the number of squarings is only known as the program runs.
template <int Degree, int K>
struct Squared {
  static constexpr bool MAY_DROP = Degree == 3, SCALED = true;  // dropping pays for large q alone
  explicit Squared(const PowerFit& fit) : c(fit.c), z_max(broadcast(fit.z_max)), squarings(fit.squarings) {
    for (int i = 0; i <= Degree; ++i) coefficients[i] = broadcast(fit.coefficients[i]);
  }
  template <class Number>
  Number scale(Number largest) const {
    return -c / largest;
  }
  static V flow(V grad, V) { return grad; }
  template <bool Gradient>
  __attribute__((always_inline)) V root(V d, V scale) const {
    V z = multiply_add(absolute(d), scale, V{} + c);
    if constexpr (!Gradient) z = minimum(z, z_max);
    V power = coefficients[Degree];
#pragma GCC unroll 8
    for (int i = Degree - 1; i > 0; --i) power = multiply_add(power, z, coefficients[i]);
    if constexpr (Gradient)  // 0 before it is squared: never a denormal
      power = multiply_add_below(z, z_max, power, z, coefficients[0]);
    else
      power = multiply_add(power, z, coefficients[0]);
    const int times = K > 0 ? K : squarings;
#pragma GCC unroll 8
    for (int i = 1; i < times; ++i) power = power * power;
    return power;
  }
  __attribute__((always_inline)) V add(V sum, V d, V scale) const {
    const V half = root<false>(d, scale);
    return multiply_add(half, half, sum);
  }
  __attribute__((always_inline)) V with_sign_of(V d, V scale) const {
    const V half = root<true>(d, scale);
    return with_sign(half * half, d);
  }
  float c;
  V z_max, coefficients[Degree + 1];
  int squarings;
};

// Calls use(power) with the type that serves this fit other than by raw powers.
template <class Use>
inline int with_power(const PowerFit& fit, Use use) {
  if (fit.kind == WHOLE) {
    switch (static_cast<int>(fit.q)) {
      case 0: return use(Whole<0, true>(fit));
      case 1: return use(Whole<1, true>(fit));
      case 2: return use(Whole<2, true>(fit));
      case 3: return use(Whole<3, true>(fit));
      case 4: return use(Whole<4, true>(fit));
      case 5: return use(Whole<5, true>(fit));
      case 6: return use(Whole<6, true>(fit));
      case 7: return use(Whole<7, true>(fit));
      case 8: return use(Whole<8, true>(fit));
    }
  }
  if (fit.kind == SQUARED) {
    switch (100 * fit.degree + fit.squarings) {
      case 602: return use(Squared<6, 2>(fit));
      case 503: return use(Squared<5, 3>(fit));
      case 404: return use(Squared<4, 4>(fit));
      case 305: return use(Squared<3, 5>(fit));
      case 306: return use(Squared<3, 6>(fit));
      case 307: return use(Squared<3, 7>(fit));
      case 308: return use(Squared<3, 8>(fit));
      default: return use(Squared<3, 0>(fit));
    }
  }
  return use(Logarithmic(fit));
}

// Calls use(power) with a type for raw powers of this whole q, or does nothing and returns false.
template <class Use>
inline bool with_raw_power(const PowerFit& fit, Use use) {
  if (fit.kind != WHOLE) return false;
  switch (static_cast<int>(fit.q)) {
    case 1: use(Whole<1, false>(fit)); return true;
    case 2: use(Whole<2, false>(fit)); return true;
    case 3: use(Whole<3, false>(fit)); return true;
    case 4: use(Whole<4, false>(fit)); return true;
    case 5: use(Whole<5, false>(fit)); return true;
    case 6: use(Whole<6, false>(fit)); return true;
    case 7: use(Whole<7, false>(fit)); return true;
    case 8: use(Whole<8, false>(fit)); return true;
  }
  return false;
}

// The least and the greatest magnitude among numbers that are not 0; a NaN counts for neither.
struct Range {
  float least, greatest;
};

// Whether d^q of differences up to y, and grad / y^q, are floats with bits to spare. What the gradients far below the
// greatest lose then is below 2^-80.
inline bool raw_powers_stay_in_range(const PowerFit& fit, const Range& y, const Range& grad) {
  const double bits = 80 / (fit.q + 1);
  return y.least > __builtin_exp2(-bits) && y.greatest < __builtin_exp2(bits) && grad.greatest > 0x1p-40f &&
         grad.greatest < 0x1p+50f;
}

}  // namespace
