// A bf16 number in memory: the upper half of a float. Arithmetic is fp32's; storing rounds to the
// nearest, ties to even.
//
// Free of LibTorch, for the files that are compiled once a level (cpu_kernels_internal.h says why
// every function here must be inlined).
#ifndef LETHE_ENGINE_MODEL_BF16_H_
#define LETHE_ENGINE_MODEL_BF16_H_

#include <stdint.h>
#include <string.h>

namespace lethe::cpu {

struct Bf16 {
  uint16_t bits;

  __attribute__((always_inline)) operator float() const {
    const uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float x;
    memcpy(&x, &wide, sizeof(x));
    return x;
  }
  __attribute__((always_inline)) Bf16& operator=(float x) {
    uint32_t wide;
    memcpy(&wide, &x, sizeof(wide));
    const bool nan = x != x;
    bits =
        static_cast<uint16_t>(nan ? wide >> 16 | 0x40 : (wide + 0x7fff + (wide >> 16 & 1)) >> 16);
    return *this;
  }
};

}  // namespace lethe::cpu

#endif  // LETHE_ENGINE_MODEL_BF16_H_
