// A register of floats at a time, by the compiler's vector extension: 16 with AVX-512, 8 with AVX2,
// 4 with SSE2.
//
// For the files that are compiled once a level (cpu_kernels_internal.h) only.
#ifndef LETHE_ENGINE_MODEL_LANES_H_
#define LETHE_ENGINE_MODEL_LANES_H_

#include <stdint.h>
#include <string.h>

#include "engine/model/bf16.h"

#define LETHE_INLINE static inline __attribute__((always_inline))

namespace lethe::cpu {
namespace {

// As many as one register of the level holds; memory is laid out in sixteens whatever this is.
#if defined(__AVX512F__)
constexpr int kLanes = 16;
#elif defined(__AVX__)
constexpr int kLanes = 8;
#else
constexpr int kLanes = 4;
#endif
typedef float Floats __attribute__((vector_size(4 * kLanes)));
typedef int32_t Ints __attribute__((vector_size(4 * kLanes)));

LETHE_INLINE Floats Load(const float* from) {
  Floats x;
  memcpy(&x, from, sizeof(x));
  return x;
}
LETHE_INLINE void Store(float* to, Floats x) { memcpy(to, &x, sizeof(x)); }

// bf16 is the upper half of a float: widened by a shift, rounded to the nearest even when stored.
typedef uint16_t Shorts __attribute__((vector_size(2 * kLanes)));
typedef uint32_t Bits __attribute__((vector_size(4 * kLanes)));
LETHE_INLINE Floats Load(const Bf16* from) {
  Shorts halves;
  memcpy(&halves, from, sizeof(halves));
  const Bits bits = __builtin_convertvector(halves, Bits) << 16;
  Floats x;
  memcpy(&x, &bits, sizeof(x));
  return x;
}
LETHE_INLINE void Store(Bf16* to, Floats x) {
  Bits bits;
  memcpy(&bits, &x, sizeof(bits));
  const Bits rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  // Rounding up could carry a NaN's last bits into its sign.
  const Bits kept = x == x ? rounded : (bits >> 16 | 0x40);
  const Shorts halves = __builtin_convertvector(kept, Shorts);
  memcpy(to, &halves, sizeof(halves));
}
LETHE_INLINE Floats Splat(float x) { return Floats{} + x; }
LETHE_INLINE Floats Max(Floats a, Floats b) { return a > b ? a : b; }

// x with its halves (of 16, 8, 4, 2 lanes) exchanged.
#if defined(__AVX512F__)
#define LETHE_SWAP(x, a)                                                                       \
  __builtin_shufflevector(x, x, 0 ^ a, 1 ^ a, 2 ^ a, 3 ^ a, 4 ^ a, 5 ^ a, 6 ^ a, 7 ^ a, 8 ^ a, \
                          9 ^ a, 10 ^ a, 11 ^ a, 12 ^ a, 13 ^ a, 14 ^ a, 15 ^ a)
#elif defined(__AVX__)
#define LETHE_SWAP(x, a) \
  __builtin_shufflevector(x, x, 0 ^ a, 1 ^ a, 2 ^ a, 3 ^ a, 4 ^ a, 5 ^ a, 6 ^ a, 7 ^ a)
#else
#define LETHE_SWAP(x, a) __builtin_shufflevector(x, x, 0 ^ a, 1 ^ a, 2 ^ a, 3 ^ a)
#endif
LETHE_INLINE float Sum(Floats x) {
#if defined(__AVX512F__)
  x += LETHE_SWAP(x, 8);
#endif
#if defined(__AVX__)
  x += LETHE_SWAP(x, 4);
#endif
  x += LETHE_SWAP(x, 2);
  return x[0] + x[1];
}
LETHE_INLINE float Largest(Floats x) {
#if defined(__AVX512F__)
  x = Max(x, LETHE_SWAP(x, 8));
#endif
#if defined(__AVX__)
  x = Max(x, LETHE_SWAP(x, 4));
#endif
  x = Max(x, LETHE_SWAP(x, 2));
  return x[0] > x[1] ? x[0] : x[1];
}
#undef LETHE_SWAP

// e^x to 2e-7 relative; 0 below -87, NaN stays NaN. x = n ln 2 + r, |r| <= ln 2 / 2, and a
// polynomial for e^r (Cephes' coefficients).
LETHE_INLINE Floats Exp(Floats x) {
  const Floats low = Splat(-87.0f), high = Splat(88.0f), shift = Splat(12582912.0f);  // 1.5 * 2^23
  Floats y = x > high ? high : x;
  y = y < low ? low : y;
  const Floats n = (y * 1.44269504088896341f + shift) - shift;  // rounds to the nearest integer
  Floats r = y - n * 0.693359375f;
  r = r + n * 2.12194440e-4f;
  Floats p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  const Ints exponent = (__builtin_convertvector(n, Ints) + 127) << 23;
  Floats scale;
  memcpy(&scale, &exponent, sizeof(scale));
  const Floats result = p * scale;
  return x < low ? Floats{} : result;
}

}  // namespace
}  // namespace lethe::cpu

#endif  // LETHE_ENGINE_MODEL_LANES_H_
