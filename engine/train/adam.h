// Adam (Kingma and Ba 2015) over a model's leaves, fused, without weight decay.
//
//   Adam adam(model.Leaves(), {.beta2 = 0.98});
//   loss.backward();
//   const double norm = adam.GradientNorm();
//   adam.Clip(norm, 1.0);
//   adam.Step(5e-5);
//
// Leaves in bf16 have no fp32 master beside them: the new weight is worked out in fp32 and rounded
// to one of its two bf16 neighbours by chance, the nearer the likelier, so that what is lost in one
// step is made up for in others (Gupta et al. 2015); rounding to the nearest would lose every update
// below 1/512 of its weight. The chance is a function of seed, leaf, step and place: the same on
// every run and any number of threads. Moments are fp32.
// A leaf without a gradient stays as it is. GradientNorm reads the device once; Clip and Step do
// not.
// Memory     Step takes little beside the moments. Where it runs out of memory after all, no leaf
//            is half-stepped, and calling Step once more goes on with the leaves that were not
//            stepped: what comes out is what one call would have given.
// Threads    none. Errors: LibTorch's exceptions; callers end at CatchTorch.
#ifndef LETHE_ENGINE_TRAIN_ADAM_H_
#define LETHE_ENGINE_TRAIN_ADAM_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

namespace lethe {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  uint64_t seed = 0;  // of the rounding of bf16 leaves
};

class Adam {
 public:
  Adam(std::vector<at::Tensor> leaves, const AdamOptions& options);

  double GradientNorm() const;              // L2 over all leaves
  void Clip(double norm, double max_norm);  // scales the gradients when norm > max_norm; 0: never
  void Step(double learning_rate);

  // Moments and step count, for taking a step back.
  struct State {
    std::vector<at::Tensor> moments;
  };
  State Save() const;
  void Restore(const State& state);
  void DropMomentum();  // the first moments: the next step follows its own gradient

 private:
  const AdamOptions options_;
  void StepLeaves(size_t begin, size_t end, double learning_rate);
  void StepRounded(size_t leaf, double learning_rate);  // of a bf16 leaf

  std::vector<at::Tensor> leaves_;
  std::vector<at::Tensor> first_, second_, steps_;  // one each a leaf
  size_t stepped_ = 0;  // leaves that a step has done which ran out of memory; else 0
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_ADAM_H_
