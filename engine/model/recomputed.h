// A part of a model that is run again in the backward pass, so that only its input is remembered
// (Chen et al. 2016, sublinear memory cost).
//
//   at::Tensor y = Recomputed(x, [&](at::Tensor in) { return RunLayer(in); });
//
// `run` must give the same bits both times, own what it uses (the graph may outlive the caller), and
// read weights that are leaves: their gradients are added as the backward pass comes by.
// Threads    any; no state. Errors: LibTorch's exceptions.
#ifndef LETHE_ENGINE_MODEL_RECOMPUTED_H_
#define LETHE_ENGINE_MODEL_RECOMPUTED_H_

#include <ATen/core/Tensor.h>

#include <functional>

namespace lethe {

using Part = std::function<at::Tensor(at::Tensor)>;

// x must require a gradient: what does not is not asked for one, and `run`'s weights get none.
at::Tensor Recomputed(const at::Tensor& x, Part run);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_RECOMPUTED_H_
