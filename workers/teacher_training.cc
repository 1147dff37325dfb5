#include "workers/teacher_training.h"

#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/train.h"
#include "workers/host/job_input.h"

namespace lethe {

namespace fs = std::filesystem;

template <typename Work>
absl::StatusOr<TeacherSetup> TeacherSetup::From(const fs::path& models, const Work& work) {
  TeacherSetup setup{.options = work.teachers()};
  LETHE_ASSIGN_OR_RETURN(setup.teachers_folder, UnderModels(models, work.teachers_folder()));
  LETHE_ASSIGN_OR_RETURN(setup.tokenizer_folder, UnderModels(models, work.tokenizer_folder()));
  return setup;
}
template absl::StatusOr<TeacherSetup> TeacherSetup::From(const fs::path&, const v1::TrainWork&);
template absl::StatusOr<TeacherSetup> TeacherSetup::From(const fs::path&, const v1::RetrainWork&);

absl::StatusOr<TrainTeachersRequest> TeacherRequest(const Corpus& corpus, const TeacherSetup& setup,
                                                    const Device& device) {
  const v1::TeacherOptions& options = setup.options;
  TrainTeachersRequest request{.teachers_folder = setup.teachers_folder};
  TrainSlicesRequest& recipe = request.recipe;
  recipe.config_json = SmallLlamaConfig(corpus.manifest().vocab_size, options.context_length(),
                                        options.hidden_size(), options.layers());
  LETHE_ASSIGN_OR_RETURN(recipe.tokenizer_json,
                         ReadFile(setup.tokenizer_folder / "tokenizer.json"));
  recipe.epochs = options.epochs();
  recipe.batch_tokens = options.batch_tokens();
  recipe.learning_rate = options.learning_rate();
  recipe.seed = options.seed();
  recipe.precision = "fp32";
  recipe.device = device;
  return request;
}

absl::StatusOr<v1::TeacherResult> ResultOf(const Corpus& corpus,
                                           const TrainTeachersRequest& request,
                                           const ShardTraining& trained) {
  v1::TeacherResult result;
  result.set_shard(static_cast<int32_t>(trained.shard));
  result.set_state_key(trained.result.states.back().key);
  result.set_trained_tokens(trained.result.run.steps * request.recipe.batch_tokens);
  uint64_t sequences = 0;
  for (uint32_t r = 0; r < corpus.slices(); ++r) {
    sequences += corpus.At({trained.shard, r}).sequences();
  }
  if (sequences == 0) return result;
  LETHE_ASSIGN_OR_RETURN(*result.mutable_model_digest(),
                         FolderDigest(TeacherFolder(request.teachers_folder, trained.shard)));
  return result;
}

v1::RunRecord RunOf(const std::vector<ShardTraining>& trained, const TrainTeachersRequest& request,
                    const std::string& digest_key) {
  RunRecord run = trained.front().result.run;
  run.seed = request.recipe.seed;
  run.steps = 0;
  run.seconds = 0;
  std::string states;
  for (const ShardTraining& shard : trained) {
    run.steps += shard.result.run.steps;
    run.seconds += shard.result.run.seconds;
    states += shard.result.states.back().key + "\n";
  }
  run.data_digest = HmacSha256Hex(digest_key, states);
  return ToProto(run);
}

}  // namespace lethe
