#include "engine/teachers.h"

#include <algorithm>
#include <set>
#include <string>
#include <utility>

#include "base/status.h"
#include "engine/checkpoint/ensemble_folder.h"
#include "engine/ensemble/slice_states.h"

namespace lethe {
namespace {

std::filesystem::path StatesFolder(const std::filesystem::path& teachers_folder, uint32_t shard) {
  return teachers_folder / ("shard-" + std::to_string(shard));
}

std::vector<TrainingSlice> SlicesOf(const Corpus& corpus, uint32_t shard) {
  std::vector<TrainingSlice> slices;
  for (uint32_t r = 0; r < corpus.slices(); ++r) {
    const Slice& slice = corpus.At({shard, r});
    slices.push_back({.digest = corpus.SliceDigest({shard, r}),
                      .sequences = {.size = slice.sequences(),
                                    .read = [&slice](size_t i) -> absl::StatusOr<Sequence> {
                                      LETHE_ASSIGN_OR_RETURN(StoredSequence stored, slice.At(i));
                                      return std::move(stored.sequence);
                                    }}});
  }
  return slices;
}

absl::StatusOr<std::set<uint32_t>> ShardsOf(const Corpus& corpus,
                                            const std::vector<uint32_t>& asked) {
  std::set<uint32_t> shards(asked.begin(), asked.end());
  if (asked.empty()) {
    for (uint32_t m = 0; m < corpus.shards(); ++m) shards.insert(m);
  }
  if (*shards.rbegin() < corpus.shards()) return shards;
  return Error(absl::StatusCode::kInvalidArgument, "SHARD_UNKNOWN",
               "the corpus has the shards 0 to " + std::to_string(corpus.shards() - 1),
               {{"shard", std::to_string(*shards.rbegin())}});
}

// The training of one shard.
TrainSlicesRequest RequestOf(const Corpus& corpus, const TrainTeachersRequest& request,
                             uint32_t shard) {
  TrainSlicesRequest slices = request.recipe;
  slices.states_folder = StatesFolder(request.teachers_folder, shard);
  slices.slices = SlicesOf(corpus, shard);
  slices.seed = request.recipe.seed + shard;
  slices.digest_key = corpus.key().states();
  return slices;
}

absl::StatusOr<int> RemoveStale(const TrainSlicesRequest& request) {
  std::error_code ignored;
  if (!std::filesystem::exists(request.states_folder, ignored)) return 0;
  LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> keys, SliceStateKeys(request));
  LETHE_ASSIGN_OR_RETURN(SliceStates states, SliceStates::Open(request.states_folder));
  return states.KeepOnly({keys.begin(), keys.end()});
}

absl::Status OfShard(const absl::Status& status, uint32_t shard) {
  return WithDetails(status, {{"shard", std::to_string(shard)}});
}

}  // namespace

std::filesystem::path TeacherFolder(const std::filesystem::path& teachers_folder, uint32_t shard) {
  return StatesFolder(teachers_folder, shard) / "model";
}

absl::StatusOr<EnsembleInfo> EnsembleOfTeachers(const Corpus& corpus,
                                                const TrainTeachersRequest& request) {
  LETHE_RETURN_IF_ERROR(corpus.CheckTokenizer(request.recipe.tokenizer_json));
  EnsembleInfo info{.folder = request.teachers_folder};
  for (uint32_t shard = 0; shard < corpus.shards(); ++shard) {
    const TrainSlicesRequest slices = RequestOf(corpus, request, shard);
    LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> keys, SliceStateKeys(slices));
    const std::filesystem::path model = slices.states_folder.filename() / keys.back() / "model";
    std::error_code ignored;
    if (!std::filesystem::exists(request.teachers_folder / model, ignored)) {
      return Error(absl::StatusCode::kFailedPrecondition, "TEACHER_STALE",
                   "shard " + std::to_string(shard) +
                       " has no teacher of what the corpus holds now, by these options; train it "
                       "(lethe-engine teachers train) and make the ensemble then",
                   {{"shard", std::to_string(shard)}});
    }
    info.members.push_back(model.generic_string());
  }
  LETHE_RETURN_IF_ERROR(WriteEnsemble(request.teachers_folder, info.members));
  LETHE_ASSIGN_OR_RETURN(info.digest, ModelDigest(request.teachers_folder));
  return info;
}

absl::StatusOr<std::vector<ShardTraining>> TrainTeachers(const Corpus& corpus,
                                                         const TrainTeachersRequest& request,
                                                         const ProgressCallback& progress) {
  LETHE_ASSIGN_OR_RETURN(const std::set<uint32_t> shards, ShardsOf(corpus, request.shards));
  LETHE_RETURN_IF_ERROR(corpus.CheckTokenizer(request.recipe.tokenizer_json));
  std::vector<ShardTraining> trained;
  for (const uint32_t shard : shards) {
    const TrainSlicesRequest slices = RequestOf(corpus, request, shard);
    const auto of_shard = [&](const EngineProgress& p) {
      EngineProgress shown = p;
      shown.figures["shard"] = shard;
      return progress(shown);
    };
    absl::StatusOr<TrainSlicesResult> result =
        TrainSlices(slices, progress == nullptr ? ProgressCallback() : of_shard);
    if (!result.ok()) return OfShard(result.status(), shard);
    trained.push_back({.shard = shard, .result = *std::move(result)});
  }
  return trained;
}

absl::StatusOr<int> RemoveStaleStates(const Corpus& corpus, const TrainTeachersRequest& request) {
  LETHE_ASSIGN_OR_RETURN(const std::set<uint32_t> shards, ShardsOf(corpus, request.shards));
  int removed = 0;
  for (const uint32_t shard : shards) {
    const absl::StatusOr<int> of_shard = RemoveStale(RequestOf(corpus, request, shard));
    if (!of_shard.ok()) return OfShard(of_shard.status(), shard);
    removed += *of_shard;
  }
  return removed;
}

absl::StatusOr<ShardsThatSaw> WhoSaw(const Corpus& corpus, std::span<const Sequence> forget,
                                     const NearOptions& options) {
  std::vector<std::set<size_t>> saw(corpus.shards());
  for (size_t i = 0; i < forget.size(); ++i) {
    LETHE_ASSIGN_OR_RETURN(const NearResult near, FindNear(corpus, forget[i].ids, options));
    for (const NearSequence& found : near.sequences) saw[found.place.shard].insert(i);
  }
  ShardsThatSaw result;
  for (const std::set<size_t>& shard : saw)
    result.sequences.emplace_back(shard.begin(), shard.end());
  return result;
}

absl::StatusOr<std::vector<Teacher>> TeachersFor(const Corpus& corpus,
                                                 const std::filesystem::path& teachers_folder,
                                                 std::span<const Sequence> forget,
                                                 const NearOptions& options) {
  LETHE_ASSIGN_OR_RETURN(ShardsThatSaw saw, WhoSaw(corpus, forget, options));
  std::vector<Teacher> teachers;
  for (uint32_t shard = 0; shard < corpus.shards(); ++shard) {
    const std::filesystem::path folder = TeacherFolder(teachers_folder, shard);
    std::error_code ignored;
    if (!std::filesystem::exists(folder, ignored)) {
      return Error(absl::StatusCode::kNotFound, "TEACHER_MISSING",
                   "shard " + std::to_string(shard) +
                       " has no teacher yet; train it first (lethe-engine teachers train)",
                   {{"shard", std::to_string(shard)}});
    }
    teachers.push_back({.folder = folder, .saw = std::move(saw.sequences[shard])});
  }
  return teachers;
}

}  // namespace lethe
