#include "engine/retrain.h"

#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "corpus/without.h"
#include "engine/ensemble/slice_states.h"
#include "engine/model/model_folder.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// Slice r of every shard, shard after shard.
absl::StatusOr<TrainingSlice> SliceOf(const Corpus& corpus, uint32_t r,
                                      const std::vector<SequenceId>& without) {
  auto parts = std::make_shared<std::vector<SliceWithout>>();
  Sha256 digest;
  size_t size = 0;
  for (uint32_t shard = 0; shard < corpus.shards(); ++shard) {
    LETHE_ASSIGN_OR_RETURN(SliceWithout part, SliceWithout::Of(corpus, {shard, r}, without));
    digest.Update(part.digest());
    size += part.size();
    parts->push_back(std::move(part));
  }
  const auto read = [parts](size_t i) -> absl::StatusOr<Sequence> {
    for (const SliceWithout& part : *parts) {
      if (i < part.size()) return part.Read(i);
      i -= part.size();
    }
    return Error(absl::StatusCode::kInternal, "OUT_OF_SLICE", "a sequence past a slice's end");
  };
  return TrainingSlice{.digest = digest.Hex(), .sequences = {.size = size, .read = read}};
}

absl::StatusOr<TrainSlicesRequest> TrainingOf(const Corpus& corpus, const RetrainRequest& request,
                                              const std::vector<SequenceId>& without) {
  LETHE_RETURN_IF_ERROR(corpus.CheckTokenizer(request.recipe.tokenizer_json));
  TrainSlicesRequest training = request.recipe;
  training.states_folder = request.states_folder;
  training.digest_key = corpus.key().states();
  training.remove_others = false;
  for (uint32_t r = 0; r < corpus.slices(); ++r) {
    LETHE_ASSIGN_OR_RETURN(TrainingSlice slice, SliceOf(corpus, r, without));
    training.slices.push_back(std::move(slice));
  }
  return training;
}

// Small files that loaders want beside the weights: generation_config.json, chat templates.
absl::Status CopyCompanions(const fs::path& from, const fs::path& to) {
  if (from.empty()) return absl::OkStatus();
  std::error_code error;
  for (fs::directory_iterator it(from, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool weights = name.find(".safetensors") != std::string::npos;
    if (weights || name == "lethe.json" || !it->is_regular_file(error)) continue;
    if (fs::exists(to / name, error)) continue;
    fs::copy_file(it->path(), to / name, error);
    if (error) return SystemError("cannot copy to", to / name, error.value());
  }
  if (error) return SystemError("cannot read", from, error.value());
  return SyncFolder(to);
}

}  // namespace

absl::StatusOr<RetrainResult> RetrainWithout(const Corpus& corpus, const RetrainRequest& request,
                                             const ProgressCallback& progress) {
  std::error_code error;
  if (fs::exists(fs::symlink_status(request.out_folder, error))) {
    return Error(absl::StatusCode::kInvalidArgument, "OUT_FOLDER_EXISTS",
                 "the folder for the candidate is already there");
  }
  LETHE_ASSIGN_OR_RETURN(const TrainSlicesRequest training,
                         TrainingOf(corpus, request, request.without));
  LETHE_ASSIGN_OR_RETURN(const TrainSlicesResult trained, TrainSlices(training, progress));
  RetrainResult result{.run = trained.run, .stages = static_cast<int>(trained.states.size())};
  for (const SliceStateInfo& state : trained.states) result.trained_stages += state.trained;
  result.run.method = "retrain";
  result.run.preset = "exact";
  if (result.run.stop_reason.empty()) result.run.stop_reason = "already_trained";
  result.run.data_digest = trained.states.back().key;
  LETHE_RETURN_IF_ERROR(Report(progress, {"saving", 0, 0, {}}));
  LETHE_RETURN_IF_ERROR(CopyFolder(trained.states.back().model_folder, request.out_folder));
  LETHE_RETURN_IF_ERROR(CopyCompanions(request.companions_of, request.out_folder));
  LETHE_RETURN_IF_ERROR(WriteFileAtomically(request.out_folder / "lethe.json",
                                            RunRecordJson(result.run, request.lineage)));
  LETHE_ASSIGN_OR_RETURN(result.out_digest, FolderDigest(request.out_folder));
  return result;
}

absl::StatusOr<int> RemoveStaleBaseStates(const Corpus& corpus, const RetrainRequest& request) {
  std::error_code error;
  if (!fs::exists(request.states_folder, error)) return 0;
  LETHE_ASSIGN_OR_RETURN(const TrainSlicesRequest training, TrainingOf(corpus, request, {}));
  LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> keys, SliceStateKeys(training));
  LETHE_ASSIGN_OR_RETURN(SliceStates states, SliceStates::Open(request.states_folder));
  return states.KeepOnly({keys.begin(), keys.end()});
}

}  // namespace lethe
