// Norms and activations: what stands between the matrix products of a layer beside attention, each
// one pass forward and one backward, with autograd.
//
//   at::Tensor h = RmsNorm(x, weight, 1e-5);   // (N,D) -> (N,D)
//
// Shapes     N = B*T tokens; D = hidden size, F = MLP size.
// Where      fp32 on the CPU runs our own loops (cpu_kernels.h); all else runs the same formulas in
//            ATen.
// Threads    any; no state.
#ifndef LETHE_ENGINE_MODEL_FUSED_OPS_H_
#define LETHE_ENGINE_MODEL_FUSED_OPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace lethe {

// y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019).   x (N,D), weight (D) -> (N,D)
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps);

// silu(gate) * up (Shazeer 2020).   gate_up (N,2F): gate, then up -> (N,F)
at::Tensor SwiGlu(const at::Tensor& gate_up);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_FUSED_OPS_H_
