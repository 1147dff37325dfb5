#include "engine/model/model_folder.h"

#include <nlohmann/json.hpp>
#include <thread>

#include "base/digest.h"
#include "engine/checkpoint/decoder_config.h"
#include "engine/checkpoint/decoder_tensors.h"
#include "engine/checkpoint/finite.h"
#include "engine/ensemble.h"
#include "engine/model/adapter_folder.h"
#include "engine/model/decoder_io.h"

namespace lethe {
namespace {

// A decoder keeps tables of an angle's sine and cosine for each position (fp32, up to half a head
// each). Real models' are far smaller than their weights; a config.json of a few hundred bytes must
// not ask for gigabytes.
constexpr uint64_t kFreeTableBytes = uint64_t{64} << 20;

absl::Status CheckContext(const DecoderConfig& config, const CheckpointFolder& folder) {
  const uint64_t row_bytes = 2 * sizeof(float) * static_cast<uint64_t>(config.RotaryDim()) / 2;
  const uint64_t bytes = row_bytes * static_cast<uint64_t>(config.context);  // both below 2^24
  if (bytes <= kFreeTableBytes + folder.weight_bytes()) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT",
               "config.json: the context of " + std::to_string(config.context) +
                   " tokens takes more memory than the weights",
               {{"field", "max_position_embeddings"}});
}

}  // namespace

absl::StatusOr<ModelFolder> ModelFolder::Load(const std::filesystem::path& path,
                                              const Device& device,
                                              const std::filesystem::path& adapter) {
  LETHE_ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(path));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(folder));
  LETHE_RETURN_IF_ERROR(CheckTensors(config, folder).status());
  LETHE_RETURN_IF_ERROR(CheckContext(config, folder));
  LETHE_RETURN_IF_ERROR(CheckFinite(config, folder));
  LETHE_ASSIGN_OR_RETURN(Decoder model, Decoder::Load(folder, device));
  if (!adapter.empty()) LETHE_RETURN_IF_ERROR(LoadAdapter(adapter, folder, model));
  return ModelFolder{std::move(folder), std::move(model)};
}

absl::StatusOr<SavedCheckpoint> ModelFolder::SaveAs(const std::filesystem::path& out,
                                                    const std::string& lineage_json) const {
  if (model.adapter() != nullptr) return SaveAdapter(model, folder, out, lineage_json);
  return SaveDecoder(model, folder, {.out = out, .overrides = {}, .lineage_json = lineage_json});
}

absl::Status CheckSequences(const LanguageModel& model, std::span<const Sequence> sequences,
                            std::string_view set, const SequenceLengths& lengths) {
  const int64_t most = lengths.max_tokens > 0 ? lengths.max_tokens : model.context();
  const SequenceLimits limits{.vocab_size = static_cast<int32_t>(model.vocab_size()),
                              .min_tokens = static_cast<int32_t>(lengths.min_tokens),
                              .max_tokens = static_cast<int32_t>(most)};
  for (size_t i = 0; i < sequences.size(); ++i) {
    const absl::Status status = CheckSequence(sequences[i], limits);
    if (status.ok()) continue;
    return Error(status.code(), ErrorReason(status),
                 "sequence " + std::to_string(i) + " of the " + std::string(set) +
                     " text: " + std::string(status.message()),
                 {{"set", std::string(set)}, {"index", std::to_string(i)}});
  }
  return absl::OkStatus();
}

absl::Status CheckDigest(const std::filesystem::path& folder, const std::string& expected,
                         std::string_view reason) {
  if (expected.empty()) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const std::string digest, ModelDigest(folder));
  if (digest == expected) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, reason,
               "the folder's digest is not the one that was expected: its files were changed",
               {{"expected", expected}, {"found", digest}});
}

std::string DataDigest(const std::string& key, std::span<const std::span<const Sequence>> sets) {
  // Numbers as text with separators: no two inputs give the same bytes.
  std::string bytes;
  for (const auto& set : sets) {
    bytes += "set\n";
    for (const Sequence& sequence : set) {
      bytes += std::to_string(sequence.prompt_tokens) + ":";
      for (const int32_t id : sequence.ids) bytes += std::to_string(id) + ",";
      for (const Span& span : sequence.sensitive) {
        bytes += ";" + std::to_string(span.begin) + "-" + std::to_string(span.end);
      }
      bytes += "\n";
    }
  }
  return HmacSha256Hex(key, bytes);
}

RunRecord NewRunRecord(const Device& device) {
  RunRecord run;
  run.device = device.name;
  run.threads =
      device.threads > 0 ? device.threads : static_cast<int>(std::thread::hardware_concurrency());
  run.libraries = device.Describe();
  run.libraries.erase("device");
  run.libraries.erase("threads");
  return run;
}

std::string RunRecordJson(const RunRecord& run, const std::map<std::string, std::string>& lineage) {
  // No wall time: two runs of the same work give the same file.
  nlohmann::json json = {{"method", run.method},
                         {"preset", run.preset},
                         {"hyperparameters", run.hyperparameters},
                         {"precision", run.precision},
                         {"seed", run.seed},
                         {"data_digest", run.data_digest},
                         {"device", run.device},
                         {"threads", run.threads},
                         {"libraries", run.libraries},
                         {"stop_reason", run.stop_reason},
                         {"steps", run.steps}};
  if (run.ranks > 1) json["ranks"] = run.ranks;
  for (const auto& [name, value] : run.figures) json["figures"][name] = value;
  for (const TeacherRecord& teacher : run.teachers) {
    json["teachers"].push_back({{"digest", teacher.digest}, {"left_out_of", teacher.left_out_of}});
  }
  for (const auto& [name, value] : lineage) json["lineage"][name] = value;
  return json.dump(2);
}

}  // namespace lethe
