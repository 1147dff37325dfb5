#include "workers/prepare_job.h"

#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/catalog.h"
#include "engine/prepare.h"
#include "text/sequence.h"
#include "text/tokenizer.h"
#include "workers/host/job_input.h"
#include "workers/incoming_work.h"

namespace lethe {

namespace fs = std::filesystem;

namespace {

struct NamedSet {
  std::string name;  // file name without ".jsonl"
  std::vector<Sequence> sequences;
};

absl::Status CopyCheckpoint(const fs::path& from, const fs::path& to,
                            const ProgressCallback& progress) {
  std::error_code error;
  fs::create_directories(to, error);
  if (error) return SystemError("cannot create", to, error.value());
  int64_t copied = 0;
  for (auto it = fs::directory_iterator(from, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    if (!it->is_regular_file(error) || !BelongsToCheckpoint(it->path().filename())) continue;
    LETHE_RETURN_IF_ERROR(Report(progress, {.phase = "loading", .step = copied++}));
    const fs::path copy = to / it->path().filename();
    fs::copy_file(it->path(), copy, error);
    if (error) return SystemError("cannot copy to", copy, error.value());
    fs::permissions(copy, fs::perms::owner_write, fs::perm_options::add, error);
  }
  if (error) return SystemError("cannot read", from, error.value());
  return absl::OkStatus();
}

// All registered sets as ids of this model; the first is the holdout set.
absl::StatusOr<std::vector<NamedSet>> LoadSets(const v1::PrepareWork& work,
                                               const ModelFacts& facts) {
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::Load(work.source_path()));
  SequenceLimits limits;
  limits.vocab_size = facts.vocab_size;
  limits.max_tokens = facts.context_length;
  std::vector<std::pair<std::string, std::string>> paths = {{"holdout", work.holdout_path()}};
  if (!work.retain_path().empty()) paths.emplace_back("retain", work.retain_path());
  for (const auto& [name, path] : work.other_paths()) paths.emplace_back("other-" + name, path);

  std::vector<NamedSet> sets;
  for (const auto& [name, path] : paths) {
    LETHE_ASSIGN_OR_RETURN(std::vector<Sequence> sequences,
                           LoadSequences(path, &tokenizer, limits));
    sets.push_back({name, std::move(sequences)});
  }
  if (sets.front().sequences.size() < kMinHoldout) {
    return Error(absl::StatusCode::kInvalidArgument, "HOLDOUT_TOO_SMALL",
                 absl::StrCat("the holdout set has ", sets.front().sequences.size(),
                              " sequences; at least ", kMinHoldout, " are needed"));
  }
  return sets;
}

double SecondsSince(absl::Time start) { return absl::ToDoubleSeconds(absl::Now() - start); }

// What the engine measured, how long this disk took, and how much text there is.
v1::ModelCosts CostsOf(const PrepareResult& measured, double save_seconds,
                       const std::vector<NamedSet>& sets) {
  ModelCosts costs = measured.costs;
  costs.save_seconds = save_seconds;
  v1::ModelCosts out = ToProto(costs, measured.run);
  for (const NamedSet& set : sets)
    (*out.mutable_texts())[set.name] = ToProto(SizeOf(set.sequences));
  return out;
}

absl::Status WriteSets(const std::vector<NamedSet>& sets, const fs::path& folder) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) return SystemError("cannot create", folder, error.value());
  for (const NamedSet& set : sets) {
    LETHE_RETURN_IF_ERROR(WriteSequences(folder / absl::StrCat(set.name, ".jsonl"), set.sequences));
  }
  return absl::OkStatus();
}

}  // namespace

bool BelongsToCheckpoint(const fs::path& file_name) {
  const std::string name = file_name.string();
  if (name.empty() || name[0] == '.' || name == "lethe.json") return false;
  for (std::string_view start : {"optimizer", "scheduler", "rng_state", "training_args"}) {
    if (name.compare(0, start.size(), start) == 0) return false;
  }
  const std::string ending = file_name.extension().string();
  for (std::string_view other : {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".h5", ".msgpack", ".onnx",
                                 ".gguf", ".ggml", ".npz", ".npy", ".tflite", ".ot"}) {
    if (ending == other) return false;
  }
  return true;
}

absl::StatusOr<v1::PrepareResult> PrepareJob(const v1::Job& job, const fs::path& models,
                                             const Device& device, const StepOptions& steps,
                                             const ProgressCallback& progress) {
  const v1::PrepareWork& work = job.prepare();
  LETHE_ASSIGN_OR_RETURN(const fs::path output, UnderModels(models, work.output_folder()));
  LETHE_ASSIGN_OR_RETURN(const fs::path data, UnderModels(models, work.data_folder()));
  LETHE_RETURN_IF_ERROR(Report(progress, {.phase = "loading"}));
  LETHE_ASSIGN_OR_RETURN(const ModelFacts facts, ReadModelFacts(work.source_path()));
  LETHE_ASSIGN_OR_RETURN(std::vector<NamedSet> sets, LoadSets(work, facts));

  LETHE_ASSIGN_OR_RETURN(IncomingWork incoming, IncomingWork::Start(models, job));
  const absl::Time copying = absl::Now();
  LETHE_RETURN_IF_ERROR(CopyCheckpoint(work.source_path(), incoming.checkpoint(), progress));
  double save_seconds = SecondsSince(copying);

  PrepareRequest request;
  request.model_folder = incoming.checkpoint();
  request.holdout = sets.front().sequences;
  for (const NamedSet& set : sets) {
    if (set.name == "retain") request.retain = set.sequences;
  }
  if (work.el_n_size() > 0) request.el_n.assign(work.el_n().begin(), work.el_n().end());
  request.digest_key = DigestKey(job);
  request.device = device;
  request.precision = steps.precision;
  LETHE_ASSIGN_OR_RETURN(const PrepareResult measured, PrepareModel(request, progress));

  LETHE_RETURN_IF_ERROR(Report(progress, {.phase = "saving"}));
  LETHE_RETURN_IF_ERROR(WriteSets(sets, data));
  const absl::Time publishing = absl::Now();
  LETHE_RETURN_IF_ERROR(incoming.Publish(output));
  save_seconds += SecondsSince(publishing);
  v1::PrepareResult result;
  *result.mutable_facts() = ToProto(measured.facts);
  *result.mutable_facts()->mutable_costs() = CostsOf(measured, save_seconds, sets);
  *result.mutable_thresholds() = ToProto(measured.thresholds);
  *result.mutable_run() = ToProto(measured.run);
  return result;
}

}  // namespace lethe
