// A whole training step, forward, backward, clip and Adam, as work that a device repeats by itself
// (captured_step.h): the host hands it the batch and the rate, and reads the numbers later.
//
//   DeviceStep step(model, adam, /*max_norm=*/1.0, *graphs);
//   std::shared_ptr<LateNumbers> late = step.Launch(parts, 1e-5);
//   ...
//   const DeviceStep::Numbers numbers = DeviceStep::Read(parts, *late);   // waits
//
// Same       as the step of loop.cc up to the order of operations: gradients are divided by the
//            clipped norm as Adam reads them. A step whose norm is not finite changes no weight.
// Memory     where it runs out before the weights are touched, the error is LibTorch's; where it
//            runs out while Adam steps, the step goes on with the leaves that are left.
// Threads    none. Errors: LibTorch's exceptions; what the parts throw.
#ifndef LETHE_ENGINE_TRAIN_DEVICE_STEP_H_
#define LETHE_ENGINE_TRAIN_DEVICE_STEP_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/model/language_model.h"
#include "engine/train/adam.h"
#include "engine/train/captured_step.h"
#include "engine/train/step_part.h"

namespace lethe {

class DeviceStep {
 public:
  DeviceStep(const LanguageModel& model, Adam& adam, double max_norm, StepGraphs& graphs);

  std::shared_ptr<LateNumbers> Launch(const std::vector<StepPart>& parts, double rate);

  struct Numbers {
    StepLoss loss;
    double norm = 0;  // before clipping
  };
  static Numbers Read(const std::vector<StepPart>& parts, LateNumbers& late);

 private:
  at::Tensor Do(const std::vector<StepPart>& parts, std::span<const at::Tensor> inputs) const;
  void FinishStep(const at::Tensor& norm, const at::Tensor& rate) const;

  const LanguageModel& model_;
  Adam& adam_;
  const double max_norm_;
  StepGraphs& graphs_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_DEVICE_STEP_H_
