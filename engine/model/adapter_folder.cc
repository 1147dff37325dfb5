#include "engine/model/adapter_folder.h"

#include <ATen/ops/empty.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <vector>

#include "base/digest.h"
#include "base/file.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/finite.h"
#include "engine/torch_status.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

constexpr const char* kConfig = "adapter_config.json";
constexpr const char* kWeights = "adapter_model.safetensors";
constexpr const char* kBaseDigest = "adapter_of";
constexpr size_t kConfigLimitBytes = size_t{1} << 20;

absl::StatusOr<at::Tensor> Read(const SafetensorsFile& file, const TensorInfo& info) {
  const bool known =
      info.dtype == DType::kF32 || info.dtype == DType::kF16 || info.dtype == DType::kBF16;
  if (!known) {
    return Error(absl::StatusCode::kInvalidArgument, "ADAPTER_UNSUPPORTED",
                 "an adapter's tensor has a type that is not F32, F16 or BF16",
                 {{"tensor", info.name}});
  }
  const std::string_view bytes = file.Bytes(info);
  if (FirstNotFinite(info.dtype, bytes).has_value()) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_NOT_FINITE",
                 "the adapter holds a number that is NaN or infinite", {{"tensor", info.name}});
  }
  at::Tensor tensor = at::empty(info.shape, info.dtype == DType::kF32   ? at::kFloat
                                            : info.dtype == DType::kF16 ? at::kHalf
                                                                        : at::kBFloat16);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

// An adapter of others says nothing about its base that could be checked.
absl::Status CheckBase(const fs::path& adapter, const CheckpointFolder& base) {
  std::error_code ignored;
  if (!fs::exists(adapter / "lethe.json", ignored)) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const std::string text,
                         ReadFile(adapter / "lethe.json", kConfigLimitBytes));
  LETHE_ASSIGN_OR_RETURN(const nlohmann::json lineage, ParseJsonObject(text, "lethe.json"));
  const auto claimed = lineage.find(kBaseDigest);
  if (claimed == lineage.end() || !claimed->is_string()) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const std::string digest, FolderDigest(base.path()));
  if (digest == claimed->get_ref<const std::string&>()) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "BASE_CHANGED",
               "the adapter was made for another base than this folder; give the base that its "
               "lethe.json names by digest",
               {{"expected", claimed->get<std::string>()}, {"found", digest}});
}

}  // namespace

absl::Status LoadAdapter(const fs::path& adapter, const CheckpointFolder& base, Decoder& model) {
  LETHE_ASSIGN_OR_RETURN(const std::string config, ReadFile(adapter / kConfig, kConfigLimitBytes));
  LETHE_ASSIGN_OR_RETURN(const LoraConfig lora, ParseLoraConfig(config));
  LETHE_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Open(adapter / kWeights));
  LETHE_RETURN_IF_ERROR(CheckBase(adapter, base));
  return CatchTorch("loading the adapter", [&]() -> absl::Status {
    std::map<std::string, at::Tensor> tensors;
    for (const TensorInfo& info : file.tensors()) {
      LETHE_ASSIGN_OR_RETURN(tensors[info.name], Read(file, info));
    }
    LETHE_ASSIGN_OR_RETURN(LoraAdapter made, LoraAdapter::FromTensors(lora, model, tensors));
    model.Attach(std::move(made));
    return absl::OkStatus();
  });
}

absl::StatusOr<SavedCheckpoint> SaveAdapter(const Decoder& model, const CheckpointFolder& base,
                                            const fs::path& out, const std::string& lineage_json) {
  LETHE_ASSIGN_OR_RETURN(nlohmann::json lineage, ParseJsonObject(lineage_json, "the lineage"));
  LETHE_ASSIGN_OR_RETURN(lineage[kBaseDigest], FolderDigest(base.path()));
  const std::map<std::string, at::Tensor> named = model.adapter()->Named();
  NewCheckpoint checkpoint{
      .out = out,
      .config_json = LoraConfigJson(model.adapter()->config(), base.path().string()),
      .lineage_json = lineage.dump(),
      .config_name = kConfig,
      .weights_name = kWeights};
  for (const auto& [name, tensor] : named) {
    checkpoint.tensors.push_back({.name = name,
                                  .dtype = DType::kF32,
                                  .shape = tensor.sizes().vec(),
                                  .bytes = static_cast<uint64_t>(tensor.numel()) * 4});
  }
  checkpoint.provider = [&](const TensorInfo& info, const BytesSink& sink) -> absl::Status {
    const at::Tensor values = named.at(info.name).to(at::kCPU).contiguous();
    const std::string_view bytes(static_cast<const char*>(values.const_data_ptr()),
                                 values.nbytes());
    if (FirstNotFinite(DType::kF32, bytes).has_value()) {
      return Error(absl::StatusCode::kFailedPrecondition, "METHOD_DIVERGED",
                   "the adapter has become NaN or infinite", {{"tensor", info.name}});
    }
    return sink(bytes);
  };
  return CatchTorch("saving the adapter", [&] { return SaveNew(checkpoint); });
}

}  // namespace lethe
