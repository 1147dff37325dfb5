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

// y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias (Ba et al. 2016).   x (N,D), weight
// and bias (D) or undefined: 1 and 0 -> (N,D)
at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     double eps);

// y = x weight^T + bias; bias (O) or undefined.   x (N,I), weight (O,I) -> (N,O)
// Without gradients a few rows read each weight once, at the speed of memory: a step of generation.
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias);

// silu(gate) * up (Shazeer 2020).   gate_up (N,2F): gate, then up -> (N,F)
at::Tensor SwiGlu(const at::Tensor& gate_up);

// x Phi(x) (Hendrycks and Gimpel 2016), Phi by the formula with tanh: "gelu_new".
//   x (N,F) -> (N,F)
at::Tensor GeluTanh(const at::Tensor& x);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_FUSED_OPS_H_
