// The product of a few rows with a weight, of cpu_kernels.h. It is memory that limits it: each weight
// is loaded once for up to eight rows, whose sums stay in registers; those rows lie in the cache.
//
// Compiled once a level, as cpu_kernels.cc.
#include "engine/model/cpu_kernels_internal.h"
#include "engine/model/lanes.h"

namespace lethe::cpu {
namespace LETHE_CPU_LEVEL {
namespace {

// Two outputs at a time where the registers suffice for eight rows of them.
constexpr int kOutputs = kLanes == 16 ? 2 : 1;
constexpr int kRowsAtOnce = kLanes == 4 ? 4 : 8;

// kRows rows of x, kCount rows of w -> y [row*outputs + output]
template <int kRows, int kCount>
LETHE_INLINE void Products(const FewRows& p, const float* x, const float* w, const float* bias,
                           float* y) {
  const int64_t inputs = p.inputs, whole = inputs / kLanes * kLanes;
  Floats sums[kRows][kCount] = {};
  for (int64_t d = 0; d < whole; d += kLanes) {
    Floats weights[kCount];
    for (int o = 0; o < kCount; ++o) weights[o] = Load(w + o * inputs + d);
    for (int r = 0; r < kRows; ++r) {
      const Floats from = Load(x + r * inputs + d);
      for (int o = 0; o < kCount; ++o) sums[r][o] += from * weights[o];
    }
  }
  for (int r = 0; r < kRows; ++r) {
    for (int o = 0; o < kCount; ++o) {
      float sum = Sum(sums[r][o]);
      for (int64_t d = whole; d < inputs; ++d) sum += x[r * inputs + d] * w[o * inputs + d];
      y[r * p.outputs + o] = sum + (bias ? bias[o] : 0.0f);
    }
  }
}

template <int kCount>
LETHE_INLINE void SomeRows(const FewRows& p, int64_t row, int64_t output) {
  const float *x = p.x + row * p.inputs, *w = p.weight + output * p.inputs;
  const float* bias = p.bias ? p.bias + output : nullptr;
  float* y = p.y + row * p.outputs + output;
  switch (p.rows - row) {
    case 1:
      return Products<1, kCount>(p, x, w, bias, y);
    case 2:
      return Products<2, kCount>(p, x, w, bias, y);
    case 3:
      return Products<3, kCount>(p, x, w, bias, y);
#if defined(__AVX__)
    case 4:
      return Products<4, kCount>(p, x, w, bias, y);
    case 5:
      return Products<5, kCount>(p, x, w, bias, y);
    case 6:
      return Products<6, kCount>(p, x, w, bias, y);
    case 7:
      return Products<7, kCount>(p, x, w, bias, y);
#endif
    default:
      return Products<kRowsAtOnce, kCount>(p, x, w, bias, y);
  }
}

}  // namespace

void MultiplyFewRows(const FewRows& p, int64_t first, int64_t count) {
  int64_t output = first;
  for (; output + kOutputs <= first + count; output += kOutputs) {
    for (int64_t row = 0; row < p.rows; row += kRowsAtOnce) SomeRows<kOutputs>(p, row, output);
  }
  for (; output < first + count; ++output) {
    for (int64_t row = 0; row < p.rows; row += kRowsAtOnce) SomeRows<1>(p, row, output);
  }
}

}  // namespace LETHE_CPU_LEVEL
}  // namespace lethe::cpu
