// Rotary positions and causal attention, one pass forward and one backward, with autograd.
//
//   at::Tensor out = RotateAndAttend(std::move(qkv), cos, sin, shape, batch);   // -> (B*T,H*h)
//
// Shapes     N = B*T tokens; H query heads, K key-value heads, h values a head.
// Where      fp32 and bf16 on the CPU run our own loops (cpu_kernels.h); all else runs the same
//            formulas in ATen. Either way scores and sums are fp32.
// Threads    any; no state.
#ifndef LETHE_ENGINE_MODEL_ATTENTION_H_
#define LETHE_ENGINE_MODEL_ATTENTION_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lethe {

struct AttentionShape {
  int64_t heads;       // H
  int64_t kv_heads;    // K, divides H
  int64_t head_dim;    // h
  double scale = 0;    // of the scores; 0: 1/sqrt(h)
  int64_t window = 0;  // tokens that a token sees, itself among them; 0: all before it

  double Scale() const;
};

// Rotates queries and keys by their positions (Su et al. 2021; pairs are (i, i + r/2), as in
// Hugging Face checkpoints; r values of a head turn, the rest stays), then causal softmax
// attention.
//   qkv       (B*T,(H+2K)h): all queries, all keys, all values; its memory is taken over
//   cos, sin  (>= T,r/2) fp32; r = 0: nothing turns
//   returns   (B*T,H*h)
at::Tensor RotateAndAttend(at::Tensor qkv, const at::Tensor& cos, const at::Tensor& sin,
                           const AttentionShape& shape, int64_t batch);

// The two halves of the above without autograd, for prefilling a cache.
//   Rotate    in place, qkv (N,(H+2K)h), queries and keys by row n's entry of cos, sin
//             ((period,r/2): row n uses n % period)
void Rotate(at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
            const AttentionShape& shape, int64_t period);
at::Tensor AttendCausal(const at::Tensor& rotated_qkv, const AttentionShape& shape, int64_t batch);

// Each head of the queries and of the keys divided by its root mean square and multiplied by a
// weight (h) that the heads share (Dehghani et al. 2023, as Qwen3 has it); values stay.
//   qkv (N,(H+2K)h) -> the same
at::Tensor NormHeads(const at::Tensor& qkv, const at::Tensor& query_weight,
                     const at::Tensor& key_weight, double eps, const AttentionShape& shape);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_ATTENTION_H_
