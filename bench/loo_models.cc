#include "bench/loo_models.h"

#include <cstdio>

#include "base/digest.h"
#include "engine/train.h"
#include "engine/train_slices.h"

namespace lethe::loo {
namespace {

struct Part {
  std::string name;            // of the folder
  std::vector<size_t> places;  // in corpus.texts
  int hidden = 0;
  double epochs = 0;
  uint64_t seed = 0;
};

absl::StatusOr<std::filesystem::path> TrainOn(const Corpus& corpus, const ModelOptions& options,
                                              const Part& part) {
  std::string content;
  for (const size_t place : part.places) {
    for (const int32_t id : corpus.texts[place].sequence.ids) content += std::to_string(id) + ",";
    content += "\n";
  }
  const TrainSlicesRequest request{
      .states_folder = options.folder / part.name,
      .config_json = SmallLlamaConfig(corpus.vocab_size, 256, part.hidden, options.layers),
      .tokenizer_json = corpus.tokenizer_json,
      .slices = {{.digest = Sha256Hex(content),
                  .sequences =
                      {.size = part.places.size(),
                       .read = [&](size_t i) { return corpus.texts[part.places[i]].sequence; }}}},
      .epochs = part.epochs,
      .batch_tokens = options.batch_tokens,
      .learning_rate = options.learning_rate,
      .warmup_steps = 100,
      .seed = part.seed,
      .device = options.device};
  LETHE_ASSIGN_OR_RETURN(const TrainSlicesResult result, TrainSlices(request));
  if (result.states.back().trained) {
    std::fprintf(stderr, "  %s: %lld steps, %.0f s, loss %.3f\n", part.name.c_str(),
                 static_cast<long long>(result.run.steps), result.run.seconds,
                 result.states.back().last_loss);
  }
  return result.states.back().model_folder;
}

}  // namespace

absl::StatusOr<Models> TrainModels(const Corpus& corpus, const ModelOptions& options) {
  Models models;
  LETHE_ASSIGN_OR_RETURN(models.base, TrainOn(corpus, options,
                                              {.name = "base",
                                               .places = corpus.TrainingData(true),
                                               .hidden = options.hidden,
                                               .epochs = options.epochs,
                                               .seed = options.seed}));
  for (uint32_t shard = 0; shard < corpus.shards; ++shard) {
    const auto number = static_cast<int>(shard);
    Teacher teacher;
    LETHE_ASSIGN_OR_RETURN(teacher.folder, TrainOn(corpus, options,
                                                   {.name = "teacher-" + std::to_string(shard),
                                                    .places = corpus.TrainingData(true, number),
                                                    .hidden = options.teacher_hidden,
                                                    .epochs = options.teacher_epochs,
                                                    .seed = options.seed * 1000 + shard}));
    for (size_t i = 0; i < corpus.forgotten.size(); ++i) {
      if (corpus.texts[corpus.forgotten[i]].shard == shard) teacher.saw.push_back(i);
    }
    models.teachers.push_back(std::move(teacher));
  }
  LETHE_ASSIGN_OR_RETURN(const PrepareResult prepared, PrepareModel({.model_folder = models.base,
                                                                     .holdout = corpus.watch,
                                                                     .measure_costs = false,
                                                                     .device = options.device}));
  models.thresholds = prepared.thresholds;
  return models;
}

absl::StatusOr<std::filesystem::path> TrainWithout(const Corpus& corpus,
                                                   const ModelOptions& options) {
  return TrainOn(corpus, options,
                 {.name = "retrained",
                  .places = corpus.TrainingData(false),
                  .hidden = options.hidden,
                  .epochs = options.epochs,
                  .seed = options.seed});
}

}  // namespace lethe::loo
