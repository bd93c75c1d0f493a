// log2 and exp2 by polynomials: of vectors of floats for powers, of doubles for the root at the end of a distance.
//
// The coefficients interpolate at Chebyshev points: log2(1 + t) / t on [sqrt(1/2) - 1, sqrt(2) - 1], which is where
// an exponent chosen by comparing with sqrt(1/2) leaves the mantissa, and 2^f on [-1/2, 1/2]; highest power first.
#pragma once

#include "simd.h"

namespace {

constexpr int32_t BITS_OF_SQRT_HALF = 0x3f3504f3;

constexpr float LOG2_SERIES[] = {0.12310968f,  -0.20586188f, 0.21607823f,  -0.23916988f, 0.28790326f,
                                 -0.36069327f, 0.48091075f,  -0.72134747f, 1.44269500f};
constexpr float EXP2_SERIES[] = {1.5461445e-4f, 1.3400428e-3f, 9.6180567e-3f, 5.5503272e-2f,
                                 0.24022651f,   0.69314721f,   1.0f};
constexpr double LOG2_LONG_SERIES[] = {-0.08433519761862157, 0.15345283774415594,  -0.1572265169157207,
                                       0.15931300959736489,  -0.17905123467810938, 0.20607165097593727,
                                       -0.24050279808625685, 0.2885414555328671,   -0.3606728453524367,
                                       0.4808983110825058,   -0.7213475248945345,  1.4426950409582302};
constexpr double EXP2_LONG_SERIES[] = {1.325497460306718e-06, 1.531007807039615e-05, 0.00015403457039410448,
                                       0.0013333450573018062, 0.009618129157656703,  0.055504109412010456,
                                       0.24022650695821055,   0.6931471805459343,    1.0};

// log2 of positive normal floats, within 2e-8 and a rounding; about -127 for 0.
inline __attribute__((always_inline)) V log2_of(V x) {
  const I bits = (I)x;
  const I exponent = (bits - BITS_OF_SQRT_HALF) >> 23;
  const V t = (V)(bits - (exponent << 23)) - 1;
  V series = {};
#pragma GCC unroll 16
  for (float next : LOG2_SERIES) series = multiply_add(series, t, V{} + next);
  return multiply_add(series, t, __builtin_convertvector(exponent, V));
}

// 2^x for x <= 0; what would be below 2^-126 is 2^-126.
inline __attribute__((always_inline)) V exp2_of(V x) {
  const float round = 12582912.0f;  // 1.5 * 2^23: added, it leaves the nearest whole number in the low bits
  const V shifted = maximum(x, V{} - 126) + round;
  const V f = maximum(x, V{} - 126) - (shifted - round);
  V series = {};
#pragma GCC unroll 16
  for (float next : EXP2_SERIES) series = multiply_add(series, f, V{} + next);
  return (V)((I)series + ((I)shifted << 23));
}

// largest * sum^inverse_p, rounded about once; sum is positive and normal.
inline float times_root(float largest, float sum, double inverse_p) {
  int32_t bits;
  memcpy(&bits, &sum, 4);
  const int32_t exponent = (bits - BITS_OF_SQRT_HALF) >> 23;
  bits -= exponent * (1 << 23);
  float mantissa;
  memcpy(&mantissa, &bits, 4);
  const double t = static_cast<double>(mantissa) - 1;
  double log = 0;
#pragma GCC unroll 16
  for (double next : LOG2_LONG_SERIES) log = log * t + next;
  const double x = (log * t + exponent) * inverse_p, round = 6755399441055744.0;  // 1.5 * 2^52
  const double whole = (x + round) - round, f = x - whole;
  double root = 0;
#pragma GCC unroll 16
  for (double next : EXP2_LONG_SERIES) root = root * f + next;
  const int32_t power_bits = (static_cast<int32_t>(whole) + 127) * (1 << 23);
  float power;
  memcpy(&power, &power_bits, 4);
  return static_cast<float>(root * static_cast<double>(largest) * static_cast<double>(power));
}

}  // namespace
