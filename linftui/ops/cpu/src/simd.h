// One vector of floats, as wide as the instruction set this file is compiled for.
//
// Arithmetic is written with the compiler's vector operators; only what they cannot say has a branch for each
// instruction set. Everything lies in an unnamed namespace, and nothing of the standard library's templates is
// used: the same source is compiled for several processors, and a function that the linker merged across them
// could hold instructions that the processor at hand lacks.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__x86_64__) && !defined(LINFTUI_PORTABLE)
#define LINFTUI_X86 1
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

namespace {

#if defined(LINFTUI_X86) && defined(__AVX512F__)
#define LINFTUI_AVX512 1
constexpr int W = 16;
#elif defined(LINFTUI_X86) && defined(__AVX2__)
#define LINFTUI_AVX2 1
constexpr int W = 8;
#else
constexpr int W = 4;
#endif

// Register tiles: TN rows of x against TM rows of weight (TB rows of x in the backward). They fill 32 or 16 registers.
#if defined(LINFTUI_AVX512) || defined(__aarch64__)
constexpr int TN = 4, TM = 6, TB = 8;
#else
constexpr int TN = 4, TM = 2, TB = 4;
#endif

typedef float V __attribute__((vector_size(4 * W)));
typedef int32_t I __attribute__((vector_size(4 * W)));
typedef float V4 __attribute__((vector_size(16)));
typedef int32_t I4 __attribute__((vector_size(16)));
typedef float Unaligned __attribute__((vector_size(4 * W), aligned(4), may_alias));

inline V load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
inline void store(float* to, V v) { *reinterpret_cast<Unaligned*>(to) = v; }
inline V broadcast(float value) { return value - V{}; }  // not V{} + value: that changes -0

// The first `n` floats, at most W; where they are fewer, the other lanes hold `fill`.
inline V load_first(int64_t n, const float* from, float fill) {
  if (n >= W) return load(from);
#if defined(LINFTUI_AVX512)
  return _mm512_mask_loadu_ps(_mm512_set1_ps(fill), static_cast<__mmask16>((1u << n) - 1), from);
#else
  float lanes[W];
  for (int i = 0; i < W; ++i) lanes[i] = i < n ? from[i] : fill;
  return load(lanes);
#endif
}

// Stores the first `n` lanes, at most W.
inline void store_first(int64_t n, float* to, V v) {
  if (n >= W) {
    store(to, v);
    return;
  }
  for (int i = 0; i < n; ++i) to[i] = v[i];
}

inline V absolute(V v) { return (V)((I)v & 0x7fffffff); }

// magnitude >= 0 with the sign of `of`.
inline V with_sign(V magnitude, V of) { return (V)((I)magnitude | ((I)of & INT32_MIN)); }

// All lanes where `yes` is -1 from a, where it is 0 from b.
inline V choose(I yes, V a, V b) { return (V)((yes & (I)a) | (~yes & (I)b)); }

inline V maximum(V a, V b) {
#if defined(LINFTUI_AVX512)
  return _mm512_max_ps(a, b);
#elif defined(LINFTUI_AVX2)
  return _mm256_max_ps(a, b);
#elif defined(LINFTUI_X86)
  return _mm_max_ps(a, b);
#else
  return choose(a > b, a, b);
#endif
}

inline V minimum(V a, V b) {
#if defined(LINFTUI_AVX512)
  return _mm512_min_ps(a, b);
#elif defined(LINFTUI_AVX2)
  return _mm256_min_ps(a, b);
#elif defined(LINFTUI_X86)
  return _mm_min_ps(a, b);
#else
  return choose(a < b, a, b);
#endif
}

// max(|a|, |d|): one instruction of AVX-512.
inline V abs_max(V a, V d) {
#if defined(LINFTUI_AVX512)
  return _mm512_range_ps(a, d, 0x0b);
#else
  return maximum(a, absolute(d));
#endif
}

// a * b + c; rounded once where the processor has the instruction, never through a library call.
inline V multiply_add(V a, V b, V c) {
#if defined(LINFTUI_AVX512)
  return _mm512_fmadd_ps(a, b, c);
#elif defined(LINFTUI_AVX2)
  return _mm256_fmadd_ps(a, b, c);
#elif defined(__aarch64__)
  return (V)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
#else
  return a * b + c;
#endif
}

// a * b + c in the lanes where z < limit, 0 in the others.
inline V multiply_add_below(V z, V limit, V a, V b, V c) {
#if defined(LINFTUI_AVX512)
  return _mm512_maskz_fmadd_ps(_mm512_cmp_ps_mask(z, limit, _CMP_LT_OQ), a, b, c);
#else
  return (V)((z < limit) & (I)multiply_add(a, b, c));
#endif
}

// A bit for each lane where a > b.
inline uint32_t greater(V a, V b) {
#if defined(LINFTUI_AVX512)
  return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
#elif defined(LINFTUI_AVX2)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
#elif defined(LINFTUI_X86)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpgt_ps(a, b)));
#else
  const I yes = a > b;
  return (yes[0] & 1u) | (yes[1] & 2u) | (yes[2] & 4u) | (yes[3] & 8u);
#endif
}

// A bit for each lane where a == b.
inline uint32_t equal(V a, V b) {
#if defined(LINFTUI_AVX512)
  return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
#elif defined(LINFTUI_AVX2)
  return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
#elif defined(LINFTUI_X86)
  return static_cast<uint32_t>(_mm_movemask_ps(_mm_cmpeq_ps(a, b)));
#else
  const I yes = a == b;
  return (yes[0] & 1u) | (yes[1] & 2u) | (yes[2] & 4u) | (yes[3] & 8u);
#endif
}

// The ways to fold lanes together. Each is exact or, for the sum, of one fixed order.
struct Max {
  static V of(V a, V b) { return maximum(a, b); }
#if defined(LINFTUI_AVX512) || defined(LINFTUI_AVX2)
  static V4 of(V4 a, V4 b) { return _mm_max_ps(a, b); }
#endif
};
struct Min {
  static V of(V a, V b) { return minimum(a, b); }
#if defined(LINFTUI_AVX512) || defined(LINFTUI_AVX2)
  static V4 of(V4 a, V4 b) { return _mm_min_ps(a, b); }
#endif
};
struct Sum {
  template <class Vector>
  static Vector of(Vector a, Vector b) {
    return a + b;
  }
};

// Folds each of four vectors to one float.
template <class Fold>
inline V4 fold_four(V a, V b, V c, V d) {
#if defined(LINFTUI_AVX512)
  // Quarters of 128 bits: (a, a, b, b) and (c, c, d, d), then (a, b, c, d), then within the quarters.
  const V ab = Fold::of(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
  const V cd = Fold::of(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
  V abcd = Fold::of(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
  abcd = Fold::of(abcd, _mm512_permute_ps(abcd, 0x4e));
  abcd = Fold::of(abcd, _mm512_permute_ps(abcd, 0xb1));
  return _mm512_castps512_ps128(_mm512_permutexvar_ps(_mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0), abcd));
#else
#if defined(LINFTUI_AVX2)
  const auto half = [](V v) { return Fold::of(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1)); };
  const V4 p = half(a), q = half(b), r = half(c), s = half(d);
#else
  const V4 p = a, q = b, r = c, s = d;
#endif
  // Spelled out: the builtins for shuffles are not those of every compiler.
  const V4 pq = Fold::of(V4{p[0], q[0], p[1], q[1]}, V4{p[2], q[2], p[3], q[3]});
  const V4 rs = Fold::of(V4{r[0], s[0], r[1], s[1]}, V4{r[2], s[2], r[3], s[3]});
  return Fold::of(V4{pq[0], pq[1], rs[0], rs[1]}, V4{pq[2], pq[3], rs[2], rs[3]});
#endif
}

}  // namespace
