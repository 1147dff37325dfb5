#include "engine/model_folder.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "base/digest.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

absl::StatusOr<at::ScalarType> TorchType(DType dtype) {
  switch (dtype) {
    case DType::kF32: return at::kFloat;
    case DType::kF16: return at::kHalf;
    case DType::kBF16: return at::kBFloat16;
    case DType::kF64: return at::kDouble;
    default:
      return Error(absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
                   "a weight is stored in a type that cannot be trained",
                   {{"dtype", std::string(DTypeName(dtype))}});
  }
}

// Hands a weight over in the stored type.
absl::Status HandOver(const at::Tensor& weight, const TensorInfo& info, const BytesSink& sink) {
  LETHE_ASSIGN_OR_RETURN(const at::ScalarType type, TorchType(info.dtype));
  return CatchTorch("saving a weight", [&]() -> absl::Status {
    at::NoGradGuard no_grad;
    const at::Tensor stored = weight.detach().to(at::kCPU, type).contiguous();
    return sink(std::string_view(static_cast<const char*>(stored.const_data_ptr()), stored.nbytes()));
  });
}

TensorProvider Provide(const at::Tensor& weight) {
  return [weight](const TensorInfo& info, const BytesSink& sink) {
    return HandOver(weight, info, sink);
  };
}

}  // namespace

absl::StatusOr<ModelFolder> ModelFolder::Load(const std::filesystem::path& path,
                                              const Device& device) {
  LETHE_ASSIGN_OR_RETURN(CheckpointFolder folder, CheckpointFolder::Open(path));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ParseDecoderConfig(folder.config_json()));
  LETHE_ASSIGN_OR_RETURN(std::vector<StoredExtra> extras, CheckTensors(config, folder));
  LETHE_ASSIGN_OR_RETURN(Decoder model, Decoder::Load(folder, device));
  return ModelFolder{std::move(folder), std::move(model), std::move(extras)};
}

absl::StatusOr<SavedCheckpoint> ModelFolder::SaveAs(const std::filesystem::path& out,
                                                    const std::string& lineage_json) const {
  SaveOptions save{.out = out, .overrides = {}, .lineage_json = lineage_json};
  for (const NamedTensor& named : model.Named()) {
    save.overrides[named.name] = Provide(named.tensor);
    for (const StoredExtra& extra : extras) {
      if (extra.copy_of == named.name) save.overrides[extra.name] = Provide(named.tensor);
    }
  }
  return SaveLike(folder, save);
}

absl::StatusOr<SavedCheckpoint> SaveNewModel(const Decoder& model, const std::string& config_json,
                                             const std::string& tokenizer_json,
                                             const std::filesystem::path& out,
                                             const std::string& lineage_json) {
  NewCheckpoint checkpoint{
      .out = out, .config_json = config_json, .files = {}, .tensors = {}, .provider = nullptr,
      .lineage_json = lineage_json};
  if (!tokenizer_json.empty()) checkpoint.files["tokenizer.json"] = tokenizer_json;
  std::map<std::string, at::Tensor> weights;
  for (const NamedTensor& named : model.Named()) {
    weights[named.name] = named.tensor;
    TensorInfo info{.name = named.name, .dtype = DType::kF32};
    info.shape.assign(named.tensor.sizes().begin(), named.tensor.sizes().end());
    checkpoint.tensors.push_back(std::move(info));
  }
  checkpoint.provider = [&](const TensorInfo& info, const BytesSink& sink) {
    return HandOver(weights.at(info.name), info, sink);
  };
  return SaveNew(checkpoint);
}

absl::Status CheckSequences(const Decoder& model, std::span<const Sequence> sequences,
                            std::string_view set) {
  const SequenceLimits limits{.vocab_size = static_cast<int32_t>(model.config().vocab_size),
                              .min_tokens = 2,
                              .max_tokens = static_cast<int32_t>(model.config().context)};
  for (size_t i = 0; i < sequences.size(); ++i) {
    const absl::Status status = CheckSequence(sequences[i], limits);
    if (status.ok()) continue;
    return Error(status.code(), ErrorReason(status),
                 "sequence " + std::to_string(i) + " of the " + std::string(set) + " text: " +
                     std::string(status.message()),
                 {{"set", std::string(set)}, {"index", std::to_string(i)}});
  }
  return absl::OkStatus();
}

absl::Status CheckDigest(const std::filesystem::path& folder, const std::string& expected,
                         std::string_view reason) {
  if (expected.empty()) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const std::string digest, FolderDigest(folder));
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
  run.threads = device.threads > 0 ? device.threads
                                   : static_cast<int>(std::thread::hardware_concurrency());
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
                         {"seed", run.seed},
                         {"data_digest", run.data_digest},
                         {"device", run.device},
                         {"threads", run.threads},
                         {"libraries", run.libraries},
                         {"stop_reason", run.stop_reason},
                         {"steps", run.steps}};
  for (const auto& [name, value] : lineage) json["lineage"][name] = value;
  return json.dump(2);
}

}  // namespace lethe
