// The loops behind fused_ops.h on the CPU: plain pointers, no LibTorch, one thread. Callers split
// the rows or heads.
//
//   cpu::Layer<float>().swi_glu(gate_up, y, rows, width);
//
// Types      T is what lies in memory between the matrix products: float or Bf16. Arithmetic is
//            fp32's in registers either way; the stream that layers add to, what norms know of a
//            row, and softmax are float in memory too.
//
// Compiled once for AVX-512, once for AVX2 and once for plain x86-64; Best() is chosen once, by
// what the machine has. Sums run in 16 lanes, so results differ from a sequential sum in the last
// bits, and are the same on every run on one machine, whatever the number of threads.
#ifndef LETHE_ENGINE_MODEL_CPU_KERNELS_H_
#define LETHE_ENGINE_MODEL_CPU_KERNELS_H_

#include <stdint.h>

#include "engine/model/bf16.h"

namespace lethe::cpu {

// The two largest of some numbers; `second` is `largest` where two are equal, and -inf of one.
struct TopTwo {
  int64_t place;  // of the largest, the lowest of equals; 0 when none is a number
  float largest, second;
};

struct Choice {
  float nll;  // of `target`, nats
  TopTwo top;
};

// One key-value head of one sequence, with the `group` query heads that read it. Element d of token
// t of a head is at [t*stride + d].
template <typename T>
struct HeadGroup {
  int64_t tokens;    // T
  int64_t head_dim;  // h
  int64_t group;     // query heads; head g is at query + g*h, out + g*h, log_sums + g*T
  float scale;       // of the scores
  int64_t window;    // tokens that a token sees, itself among them; 0: all before it
  const T* query;
  const T* key;
  const T* value;
  int64_t stride;  // of query, key and value
  T* out;
  int64_t out_stride;
  float* log_sums;  // (group,T): log of the softmax's denominator, for the backward pass
  float* scratch;   // forward: ForwardScratch(T,h); backward: BackwardScratch(T,h) floats
};
int64_t ForwardScratch(int64_t tokens, int64_t head_dim);
int64_t BackwardScratch(int64_t tokens, int64_t head_dim);

template <typename T>
struct HeadGroupGrads {
  const T* grad_out;  // laid out like out
  T* grad_query;      // laid out like query, key and value, all written
  T* grad_key;
  T* grad_value;
};

// One query position against a cache: the first `prefix` positions of a text that many rows may
// share, then the row's own `tail`. Keys lie as columns (h, padded), so that the scores of sixteen
// positions are one load; values as rows of `width`, h rounded up to a multiple of 16.
struct CachedHead {
  int64_t head_dim, group, width;
  float scale;         // of the scores
  int64_t hidden;      // positions at the beginning that a window leaves out
  const float* query;  // (group,h)
  const float* prefix_keys;
  const float* prefix_values;
  int64_t prefix, prefix_padded;
  const float* tail_keys;
  const float* tail_values;
  int64_t tail, tail_padded;
  float* out;      // (group,h)
  float* scratch;  // prefix_padded + tail_padded + width
};

// y (rows,outputs) = x (rows,inputs) weight^T + bias; weight (outputs,inputs), bias (outputs) or
// null.
struct FewRows {
  const float* x;
  const float* weight;
  const float* bias;
  float* y;
  int64_t rows, inputs, outputs;
};

template <typename T>
struct LayerLoops {
  // x (rows,width) -> y (rows,width), inverse_rms (rows)
  void (*rms_norm)(const float* x, const float* weight, float eps, T* y, float* inverse_rms,
                   int64_t rows, int64_t width);
  // grad_x is written, grad_weight (width) is added to.
  void (*rms_norm_backward)(const T* grad, const float* x, const float* weight,
                            const float* inverse_rms, float* grad_x, float* grad_weight,
                            int64_t rows, int64_t width);

  // x (rows,width) -> y (rows,width), mean (rows), inverse_deviation (rows)
  void (*layer_norm)(const float* x, const float* weight, const float* bias, float eps, T* y,
                     float* mean, float* inverse_deviation, int64_t rows, int64_t width);
  // grad_x is written, grad_weight and grad_bias (width) are added to.
  void (*layer_norm_backward)(const T* grad, const float* x, const float* weight, const float* mean,
                              const float* inverse_deviation, float* grad_x, float* grad_weight,
                              float* grad_bias, int64_t rows, int64_t width);

  // RMS norm of one head: as above, where what is normed lies between two products.
  void (*head_norm)(const T* x, const float* weight, float eps, T* y, float* inverse_rms,
                    int64_t rows, int64_t width);
  void (*head_norm_backward)(const T* grad, const T* x, const float* weight,
                             const float* inverse_rms, T* grad_x, float* grad_weight, int64_t rows,
                             int64_t width);

  // y = x + part   (count)
  void (*add)(const float* x, const T* part, float* y, int64_t count);

  // gate_up (rows,2*width) -> y (rows,width)
  void (*swi_glu)(const T* gate_up, T* y, int64_t rows, int64_t width);
  void (*swi_glu_backward)(const T* grad, const T* gate_up, T* grad_gate_up, int64_t rows,
                           int64_t width);

  // The gelu that is written with tanh.   x (count) -> y (count)
  void (*gelu_tanh)(const T* x, T* y, int64_t count);
  void (*gelu_tanh_backward)(const T* grad, const T* x, T* grad_x, int64_t count);

  // In each of `rows` rows, `stride` apart, rotates the first 2*half values of each of the first
  // `heads` heads. Row n uses row (first + n) % period of cos and sin (period,half). `direction` -1
  // turns back.
  void (*rotate)(T* data, int64_t stride, int64_t first, int64_t rows, int64_t period,
                 const float* cos, const float* sin, int64_t heads, int64_t head_dim, int64_t half,
                 float direction);

  // Causal softmax attention.
  void (*causal_attention)(const HeadGroup<T>& head);
  void (*causal_attention_backward)(const HeadGroup<T>& head, const HeadGroupGrads<T>& grads);
};

struct Loops {
  const char* name;  // "avx512", "avx2", "generic"
  LayerLoops<float> fp32;
  LayerLoops<Bf16> bf16;

  // Writes `count` outputs of all rows, from the first on. For so few rows that it is the reading of
  // the weight that counts.
  void (*multiply_few_rows)(const FewRows& product, int64_t first, int64_t count);

  // Logits (width) become probabilities.
  Choice (*softmax_in_place)(float* logits, int64_t width, int64_t target);
  TopTwo (*top_two)(const float* numbers, int64_t width);

  void (*attend_cached)(const CachedHead& head);
};

const Loops& Best();

template <typename T>
const LayerLoops<T>& Layer();
template <>
inline const LayerLoops<float>& Layer() {
  return Best().fp32;
}
template <>
inline const LayerLoops<Bf16>& Layer() {
  return Best().bf16;
}

// All that this machine can run, for tests: they must agree.
struct LoopsList {
  const Loops* loops[3];
  int count;
};
LoopsList AllForTest();

}  // namespace lethe::cpu

#endif  // LETHE_ENGINE_MODEL_CPU_KERNELS_H_
