// The models of bench_loo, each trained from nothing: the deployed one on all of the corpus, the same
// without what is forgotten (exact unlearning, what all others are measured against), and a teacher a
// shard.
//
//   LETHE_ASSIGN_OR_RETURN(const loo::Models models, loo::TrainModels(corpus, options));
//   LETHE_ASSIGN_OR_RETURN(const fs::path retrained, loo::TrainWithout(corpus, options));
//
// Kept       under options.folder, keyed by all that they depend on (engine/train_slices.h): a second
//            run of the same seed and sizes trains nothing.
// Errors     as TrainSlices.
#ifndef LETHE_BENCH_LOO_MODELS_H_
#define LETHE_BENCH_LOO_MODELS_H_

#include <filesystem>
#include <vector>

#include "bench/loo_corpus.h"
#include "engine/device.h"
#include "engine/prepare.h"
#include "engine/teacher.h"

namespace lethe::loo {

struct ModelOptions {
  std::filesystem::path folder;
  int hidden = 64, layers = 2, teacher_hidden = 64;
  double epochs = 8, teacher_epochs = 3, learning_rate = 5e-3;
  int64_t batch_tokens = 2048;
  uint64_t seed = 1;
  Device device;
};

struct Models {
  std::filesystem::path base;
  std::vector<Teacher> teachers;  // each with what its shard saw of corpus.Forget()
  ModelThresholds thresholds;     // of the base, on corpus.watch
  int64_t steps = 0;              // of the base's training; 0 where it was there
};

absl::StatusOr<Models> TrainModels(const Corpus& corpus, const ModelOptions& options);

// Exact unlearning: the deployed model's training from the same first weights, without the forgotten.
absl::StatusOr<std::filesystem::path> TrainWithout(const Corpus& corpus,
                                                   const ModelOptions& options);

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_MODELS_H_
