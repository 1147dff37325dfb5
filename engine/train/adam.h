// Adam (Kingma and Ba 2015) over a model's leaves, fused, without weight decay.
//
//   Adam adam(model.Leaves(), {.beta2 = 0.98});
//   loss.backward();
//   const double norm = adam.GradientNorm();
//   adam.Clip(norm, 1.0);
//   adam.Step(5e-5);
//
// Leaves in bf16 have no fp32 master beside them, and moments in bf16 too (rounded_adam.h). How they
// are rounded is a function of seed, leaf, step and place: the same on every run and any number of
// threads. On a GPU it is one of the seed and of the steps before.
// A leaf without a gradient stays as it is.
// Waiting    GradientNorm reads the device once; Clip and Step do not. Where nothing is to be read
//            at all, and work is to be recorded (captured_step.h), NormOnDevice and StepOnDevice
//            are the same in numbers that stay on the device. After a recording was done again,
//            NoteChange() tells what the host has not seen.
// Memory     Step takes little beside the moments. Where it runs out of memory after all, no leaf
//            is half-stepped, and calling Step once more goes on with the leaves that were not
//            stepped: what comes out is what one call would have given. So it is with StepOnDevice.
// Threads    none. Errors: LibTorch's exceptions; callers end at CatchTorch.
#ifndef LETHE_ENGINE_TRAIN_ADAM_H_
#define LETHE_ENGINE_TRAIN_ADAM_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/train/adam_options.h"

namespace lethe {

class Adam {
 public:
  Adam(std::vector<at::Tensor> leaves, const AdamOptions& options);

  double GradientNorm() const;              // L2 over all leaves
  void Clip(double norm, double max_norm);  // scales the gradients when norm > max_norm; 0: never
  void Step(double learning_rate);

  at::Tensor NormOnDevice() const;  // () float64
  // Clips and steps; rate () fp32. A norm that is not finite lets all as it is.
  void StepOnDevice(const at::Tensor& norm, double max_norm, const at::Tensor& rate);
  void StartAnew() { stepped_ = 0; }  // a step that broke off was only recorded, not done
  // LibTorch counts changes of a tensor on the host; rounded copies of the leaves go by the count.
  void NoteChange() const;
  // What StepOnDevice draws from; undefined where it draws nothing.
  const at::Generator& generator() const { return generator_; }

  // Moments and step count, for taking a step back; beside the leaves or on another device.
  struct State {
    std::vector<at::Tensor> moments;
  };
  State Save(std::optional<at::Device> where = std::nullopt) const;
  void Restore(const State& state);
  void DropMomentum();  // the first moments: the next step follows its own gradient

 private:
  void StepLeaves(size_t begin, size_t end, double learning_rate);
  void StepRounded(size_t leaf, double learning_rate);  // of a bf16 leaf

  const AdamOptions options_;
  std::vector<at::Tensor> leaves_;
  std::vector<at::Tensor> first_, second_, steps_;  // one each a leaf
  at::Generator generator_;
  size_t stepped_ = 0;  // leaves that a step has done which ran out of memory; else 0
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_ADAM_H_
