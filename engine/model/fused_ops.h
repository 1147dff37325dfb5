// Norms and activations: what stands between the matrix products of a layer beside attention, each
// one pass forward and one backward, with autograd.
//
//   at::Tensor h = RmsNorm(x, weight, 1e-5);   // (N,D) -> (N,D)
//
// Shapes     N = B*T tokens; D = hidden size, F = MLP size.
// Where      fp32 and bf16 on the CPU run our own loops (cpu_kernels.h); all else runs the same
//            formulas in ATen.
// Types      norms read and know a row in fp32 and write what `type` says (unsaid: the type of x),
//            as the product behind them wants it; activations keep their type.
// Threads    any; no state.
#ifndef LETHE_ENGINE_MODEL_FUSED_OPS_H_
#define LETHE_ENGINE_MODEL_FUSED_OPS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>

namespace lethe {

// y = x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich 2019).   x (N,D), weight (D) -> (N,D)
at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps,
                   std::optional<at::ScalarType> type = std::nullopt);

// y = (x - mean(x)) / sqrt(variance(x) + eps) * weight + bias (Ba et al. 2016).   x (N,D), weight
// and bias (D) or undefined: 1 and 0 -> (N,D)
at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     double eps, std::optional<at::ScalarType> type = std::nullopt);

// x + part, what a layer's part adds to the stream.   x (N,D) fp32, part (N,D) of any type; its
// memory is taken over where it is fp32 -> (N,D) fp32
at::Tensor AddTo(const at::Tensor& x, at::Tensor part);

// silu(gate) * up (Shazeer 2020).   gate_up (N,2F): gate, then up -> (N,F)
at::Tensor SwiGlu(const at::Tensor& gate_up);

// x Phi(x) (Hendrycks and Gimpel 2016), Phi by the formula with tanh: "gelu_new".
//   x (N,F) -> (N,F)
at::Tensor GeluTanh(const at::Tensor& x);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_FUSED_OPS_H_
