// The matrix products of a model with its weights, with autograd.
//
//   at::Tensor y = Linear(x, weight, bias);             // (N,I), (O,I), (O) -> (N,O), in fp32
//   at::Tensor y = Linear(x, weight, bias, rounded);    // x and rounded bf16: so is y
//
// Masters    the gradient of `weight` has weight's own type, fp32, also where the product is made
//            with a rounded copy of it.
// Where      fp32 on a CPU with AVX-512 goes through oneDNN, which uses all of its width where
//            LibTorch's own product (MKL) does so on Intel's processors only: 2.3 times as fast
//            elsewhere. There, and without gradients, a few rows go through a loop of our own
//            that reads each weight once: a step of generation. All else is LibTorch's.
// Threads    any; no state. Errors: LibTorch's exceptions.
#ifndef LETHE_ENGINE_MODEL_LINEAR_H_
#define LETHE_ENGINE_MODEL_LINEAR_H_

#include <ATen/core/Tensor.h>

namespace lethe {

// x w^T + b, w the weight or its rounded copy.   x (N,I), weight (O,I), bias (O) or undefined
at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias = {},
                  const at::Tensor& rounded = {});

// a b^T without autograd.   a (N,K), b (M,K), of one type; either may be a transposed view
at::Tensor ProductWithTransposed(const at::Tensor& a, const at::Tensor& b);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_LINEAR_H_
