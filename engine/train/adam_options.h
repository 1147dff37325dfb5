// What Adam is told once (adam.h).
#ifndef LETHE_ENGINE_TRAIN_ADAM_OPTIONS_H_
#define LETHE_ENGINE_TRAIN_ADAM_OPTIONS_H_

#include <cstdint>

namespace lethe {

struct AdamOptions {
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  uint64_t seed = 0;  // of the rounding of bf16 leaves
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_ADAM_OPTIONS_H_
