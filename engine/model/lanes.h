// Sixteen floats at a time, by the compiler's vector extension: it becomes one AVX-512, two AVX or
// four SSE instructions.
//
// For cpu_kernels*.cc only. LETHE_CLONES before a function compiles it once for each of these
// machines.
#ifndef LETHE_ENGINE_MODEL_LANES_H_
#define LETHE_ENGINE_MODEL_LANES_H_

#include <cstdint>
#include <cstring>

// The choice among clones is made before a sanitizer's runtime is up, so sanitized builds have one
// version only.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || !defined(__x86_64__)
#define LETHE_CLONES
#else
#define LETHE_CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#endif
#define LETHE_INLINE static inline __attribute__((always_inline))

namespace lethe::cpu {

inline constexpr int64_t kLanes = 16;
typedef float Floats __attribute__((vector_size(64)));
typedef int32_t Ints __attribute__((vector_size(64)));

LETHE_INLINE Floats Load(const float* from) {
  Floats x;
  std::memcpy(&x, from, sizeof(x));
  return x;
}
LETHE_INLINE void Store(float* to, Floats x) { std::memcpy(to, &x, sizeof(x)); }
LETHE_INLINE Floats Splat(float x) { return Floats{} + x; }
LETHE_INLINE float Sum(Floats x) {
  float total = 0;
  for (int i = 0; i < kLanes; ++i) total += x[i];
  return total;
}
LETHE_INLINE float Largest(Floats x) {
  float largest = x[0];
  for (int i = 1; i < kLanes; ++i) largest = x[i] > largest ? x[i] : largest;
  return largest;
}
LETHE_INLINE Floats Max(Floats a, Floats b) { return a > b ? a : b; }

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
  std::memcpy(&scale, &exponent, sizeof(scale));
  const Floats result = p * scale;
  return x < low ? Splat(0.0f) : result;
}

}  // namespace lethe::cpu

#endif  // LETHE_ENGINE_MODEL_LANES_H_
