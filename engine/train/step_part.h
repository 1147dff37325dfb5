// What a training step is made of: micro-batches, each with what is computed for it apart from the
// numbers that it is computed of, so that a device can repeat the one with others of the other.
//
//   StepPart part{.kind = "ascent",
//                 .inputs = batch.Tensors(),   // in the host's memory
//                 .loss = [=](std::span<const at::Tensor> inputs) {
//                   const at::Tensor nll = ComputeTokenLosses(model, batch.With(inputs)).nll;
//                   const at::Tensor loss = AscentLoss(nll, labelled);
//                   return PartLoss{.slope_of = loss, .value = loss};
//                 }};
//
// Repeated   a device may run `loss` for the first two steps of a kind and of shapes of inputs and
//            from then on do again what it did, with new inputs. So whatever differs between the
//            steps of one run is an input, or in `kind`; and `loss` waits for nothing and makes no
//            tensor of the host's numbers.
// Threads    none.
#ifndef LETHE_ENGINE_TRAIN_STEP_PART_H_
#define LETHE_ENGINE_TRAIN_STEP_PART_H_

#include <ATen/core/Tensor.h>

#include <functional>
#include <span>
#include <string>
#include <vector>

namespace lethe {

struct StepLoss {
  double loss = 0;
  double guarded = 0;  // the part of it that must not rise, for the guard; all of it in training
  double held = 0;     // the retain term before its weight, for the record
};

struct PartLoss {
  at::Tensor slope_of;  // () carries grad: its gradient is the part's
  at::Tensor value;     // () what is reported
};

struct StepPart {
  std::string kind;
  std::vector<at::Tensor> inputs;
  std::function<PartLoss(std::span<const at::Tensor> inputs)> loss;
  StepLoss share{.loss = 1, .guarded = 1};  // what a value of 1 adds to the step's numbers

  void AddTo(StepLoss& sum, double value) const {
    sum.loss += share.loss * value;
    sum.guarded += share.guarded * value;
    sum.held += share.held * value;
  }
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_STEP_PART_H_
