// Work that a device does again and again without being told each operation: CUDA graphs.
//
//   const std::unique_ptr<StepGraphs> graphs = MakeStepGraphs(model.device());   // null on a CPU
//   const std::shared_ptr<LateNumbers> numbers = graphs->Run("8x208", inputs, work);
//   ... the next step's batch is prepared meanwhile ...
//   numbers->Read();   // waits for this step alone
//
// Run        does the work once, whatever the device does with it:
//              the first time that a name is met, operation by operation, which also makes the
//              libraries' handles and workspaces;
//              the second time it is recorded, which computes nothing, and what was recorded is
//              done;
//              from then on that is done again, with the new inputs: `work` itself is not called.
//            Where recording fails, `work` is called each time.
// Work       reads its inputs and tensors that outlive it, changes the latter in place, and gives
//            back numbers. It waits for nothing, makes no tensor of the host's numbers and leaves
//            nothing on the host that a repetition would have to change. Random numbers come from
//            a generator that Use() has named.
// Inputs     lie in the host's memory, of the same shapes and types for one name; they may be
//            dropped or changed when Run returns.
// Memory     what the device keeps for all its recordings is as large as the largest; Forget()
//            gives it back. Of many names the ones not used for longest are forgotten.
// Order      Run comes behind what the calling thread has asked of the device before, and before
//            what it asks later.
// Threads    one at a time. Errors: what `work` throws; LibTorch's exceptions.
#ifndef LETHE_ENGINE_TRAIN_CAPTURED_STEP_H_
#define LETHE_ENGINE_TRAIN_CAPTURED_STEP_H_

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace lethe {

class Ranks;

class LateNumbers {
 public:
  virtual ~LateNumbers() = default;
  virtual std::vector<double> Read() = 0;
};

class StepGraphs {
 public:
  // inputs on the device -> (K) float64 there
  using Work = std::function<at::Tensor(std::span<const at::Tensor> inputs)>;

  virtual ~StepGraphs() = default;
  virtual std::shared_ptr<LateNumbers> Run(const std::string& name,
                                           std::span<const at::Tensor> inputs,
                                           const Work& work) = 0;
  virtual void Use(const at::Generator& generator) = 0;
  virtual void Forget() = 0;
  // Why something could not be recorded, the first time; "" where all could.
  virtual const std::string& Refusal() const = 0;
};

// Null where the device is told each operation, as a CPU is.
std::unique_ptr<StepGraphs> MakeStepGraphs(const at::Device& device);

// Whether the steps of a run are repeated there: batches then come in buckets (sequence_loss.h).
// Processes that train together sum their gradients between two halves of a step, which the host
// tells.
inline bool RepeatsSteps(const at::Device& device, const Ranks* ranks) {
  return device.is_cuda() && ranks == nullptr;
}

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_CAPTURED_STEP_H_
