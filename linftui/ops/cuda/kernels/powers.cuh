// Powers of differences: whole ones by multiplication, real ones by special functions or a polynomial.
#pragma once
#include <intrinsics.cuh>

// The float32 numbers that depend on p lie in one array on the device (exponent.py writes it), so that a
// captured graph can be replayed at another p: p, 1 / p, then the block of the forward's exponent p and that
// of the backward's p - 1, each the exponent itself and the coefficients of its polynomial.
constexpr int FORWARD = 2, BACKWARD = 18;

// A power of |d| / largest needs 1 / largest, which overflows below 2^-126.
DEVICE float scale_of(float largest) { return fmaxf(largest, 0x1p-125f); }

template <int WHOLE>
DEVICE void add_whole_power(float& sum, float d) {
    float d2 = d * d, d4 = d2 * d2;
    if (WHOLE == 1) sum += fabsf(d);
    if (WHOLE == 2) sum = fmaf(d, d, sum);
    if (WHOLE == 3) sum = fmaf(d2, fabsf(d), sum);
    if (WHOLE == 4) sum = fmaf(d2, d2, sum);
    if (WHOLE == 5) sum = fmaf(d4, fabsf(d), sum);
    if (WHOLE == 6) sum = fmaf(d4, d2, sum);
    if (WHOLE == 7) sum = fmaf(d4 * d2, fabsf(d), sum);
    if (WHOLE == 8) sum = fmaf(d4, d4, sum);
}

// r^exponent for r in [0, 1]. Without SQUARINGS both ways are the special-function one.
struct Exponent {
    float value;
#ifdef SQUARINGS
    float coefficients[DEGREE + 1];
#endif

    DEVICE explicit Exponent(const float* numbers) : value(numbers[0]) {
#ifdef SQUARINGS
        UNROLL for (int i = 0; i <= DEGREE; i++) coefficients[i] = numbers[1 + i];
#endif
    }

    DEVICE float special(float ratio) const { return exp2_special(value * log2_special(ratio)); }

    // The power of |d| * inverse as the product of two equal factors, so that the last squaring and what is
    // done with the result are one instruction. The clamp keeps a rounded-up ratio inside the fit.
    DEVICE float root(float d, float inverse) const {
#ifdef SQUARINGS
        float z = saturated_fma(-fabsf(d), inverse, 1.0f), value = coefficients[DEGREE];
        UNROLL for (int i = DEGREE - 1; i >= 0; i--) value = fmaf(value, z, coefficients[i]);
        UNROLL for (int i = 1; i < SQUARINGS; i++) value *= value;
        return value;
#else
        return special(fabsf(d) * inverse);
#endif
    }

    DEVICE void add_ordinary(float& sum, float d, float inverse) const {
        float factor = root(d, inverse);
#ifdef SQUARINGS
        sum = fmaf(factor, factor, sum);
#else
        sum += factor;
#endif
    }
};
