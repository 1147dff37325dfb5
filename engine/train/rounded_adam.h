// Adam's step of a leaf in bf16 that has no fp32 master beside it, with moments in bf16 too: two
// bytes each for weight, gradient and the two moments.
//
// The new weight and the new moments are worked out in fp32 and each is rounded to one of its two
// bf16 neighbours by chance, the nearer the likelier, so that what is lost in one step is made up
// for in others (Gupta et al. 2015). Rounding to the nearest would lose every update below 1/512 of
// its weight, and the second moment, which moves by a thousandth of itself a step, would stand
// still.
// The step itself goes by the moments before they are rounded.
//
// Threads    none. Errors: LibTorch's exceptions.
#ifndef LETHE_ENGINE_TRAIN_ROUNDED_ADAM_H_
#define LETHE_ENGINE_TRAIN_ROUNDED_ADAM_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <cstdint>

#include "engine/train/adam_options.h"

namespace lethe {

struct RoundedLeaf {
  at::Tensor weight, gradient, first, second;  // bf16, contiguous, of one shape
};

// `step`: 1, 2, ... The chance is a function of `key` and of the place in the leaf: the same on
// every run and any number of threads. In the CPU's memory.
void StepRoundedLeaf(RoundedLeaf leaf, const AdamOptions& options, double learning_rate,
                     int64_t step, uint64_t key);

// The numbers of a step where they lie with the leaf, on any device: () fp32.
struct StepNumbers {
  at::Tensor rate;
  at::Tensor step;    // 1, 2, ...; of this leaf
  at::Tensor shrink;  // what gradients are divided by; undefined: nothing
  at::Tensor stays;   // 1: the leaf stays as it is; else 0
};
// The same without waiting for the device, a slice of the leaf at a time. The chance is drawn from
// the generator.
void StepRoundedLeafOnDevice(RoundedLeaf leaf, const AdamOptions& options,
                             const StepNumbers& numbers, const at::Generator& generator);

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_ROUNDED_ADAM_H_
