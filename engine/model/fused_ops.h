// The three parts of a layer between matrix products, each one pass forward and one backward, with
// autograd.
//
// Shapes     N = B*T tokens; H query heads, K key-value heads, h values a head, D = hidden size,
//            F = MLP size.
// Where      fp32 on the CPU runs our own loops (cpu_kernels.h); all else runs the same formulas in
//            ATen.
// Threads    any; no state.
#ifndef LETHE_ENGINE_MODEL_FUSED_OPS_H_
#define LETHE_ENGINE_MODEL_FUSED_OPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lethe {

struct AttentionShape {
  int64_t heads;     // H
  int64_t kv_heads;  // K, divides H
  int64_t head_dim;  // h
};

// y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019).   x (N,D), weight (D) -> (N,D)
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up (Shazeer 2020).   gate_up (N,2F): gate, then up -> (N,F)
at::Tensor SwiGlu(const at::Tensor& gate_up);

// Rotates queries and keys by their positions (Su et al. 2021; pairs are (i, i + h/2), as in
// Hugging Face checkpoints), then causal softmax attention with scale 1/sqrt(h).
//   qkv (B*T,(H+2K)h): all queries, all keys, all values; its memory is taken over   cos, sin (>=
//   T, h/2) fp32   -> (B*T,H*h)
at::Tensor RotateAndAttend(at::Tensor qkv, const at::Tensor& cos, const at::Tensor& sin,
                           const AttentionShape& shape, int64_t batch);

// The two halves of the above without autograd, for prefilling a cache.
//   Rotate: in place, qkv (N,(H+2K)h), queries and keys by row n's entry of cos, sin ((period,
//   h/2): row n uses n % period)
void Rotate(at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
            const AttentionShape& shape, int64_t period);
at::Tensor AttendCausal(const at::Tensor& rotated_qkv, const AttentionShape& shape, int64_t batch);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_FUSED_OPS_H_
