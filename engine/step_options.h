// How a process makes its training steps, as UnlearnRequest and PrepareRequest have it: a worker's
// settings on their way to its jobs. Values; any thread.
#ifndef LETHE_ENGINE_STEP_OPTIONS_H_
#define LETHE_ENGINE_STEP_OPTIONS_H_

#include <string>

namespace lethe {

struct StepOptions {
  std::string precision = "auto";  // or fp32, bf16, bf16_pure: precision.h
  bool recompute = false;          // activations, in the backward pass
};

}  // namespace lethe

#endif  // LETHE_ENGINE_STEP_OPTIONS_H_
