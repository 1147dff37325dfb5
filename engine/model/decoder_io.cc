#include "engine/model/decoder_io.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cstring>
#include <optional>
#include <string_view>

#include "engine/checkpoint/finite.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

std::optional<at::ScalarType> TypeOf(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return at::kFloat;
    case DType::kF64:
      return at::kDouble;
    case DType::kF16:
      return at::kHalf;
    case DType::kBF16:
      return at::kBFloat16;
    default:
      return std::nullopt;
  }
}

absl::Status Unsupported(const TensorInfo& tensor) {
  return Error(absl::StatusCode::kInvalidArgument, "MODEL_UNSUPPORTED",
               "a weight has a type that is not F32, F64, F16 or BF16",
               {{"tensor", tensor.name}, {"dtype", std::string(DTypeName(tensor.dtype))}});
}

absl::Status TooLarge(const TensorInfo& tensor) {
  return Error(absl::StatusCode::kFailedPrecondition, "METHOD_DIVERGED",
               "a weight is not finite, or has become too large for the checkpoint's type",
               {{"tensor", tensor.name}, {"dtype", std::string(DTypeName(tensor.dtype))}});
}

// Copied, since the file's bytes need not be aligned.
absl::StatusOr<at::Tensor> ReadTensor(const CheckpointFolder& folder, const std::string& name) {
  const TensorInfo* info = folder.Find(name);
  if (info == nullptr) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_CHECKPOINT", "a tensor is missing",
                 {{"tensor", name}});
  }
  const std::optional<at::ScalarType> type = TypeOf(info->dtype);
  if (!type) return Unsupported(*info);
  at::Tensor tensor = at::empty(info->shape, *type);
  const std::string_view bytes = folder.Bytes(*info);
  std::memcpy(tensor.data_ptr(), bytes.data(), bytes.size());
  return tensor;
}

// Hands over `value` in the type that the file wants.
TensorProvider Hand(const at::Tensor& value) {
  return [value](const TensorInfo& info, const BytesSink& sink) -> absl::Status {
    return CatchTorch("saving a weight", [&]() -> absl::Status {
      at::NoGradGuard no_grad;
      const std::optional<at::ScalarType> type = TypeOf(info.dtype);
      if (!type) return Unsupported(info);
      const at::Tensor bytes = value.to(at::kCPU).to(*type).contiguous();
      const std::string_view handed(static_cast<const char*>(bytes.const_data_ptr()),
                                    bytes.nbytes());
      // What fp32 can hold, F16 may not: a folder that could not be loaded again is not written.
      if (FirstNotFinite(info.dtype, handed).has_value()) return TooLarge(info);
      return sink(handed);
    });
  };
}

}  // namespace

absl::StatusOr<Decoder> Decoder::Load(const CheckpointFolder& folder, const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(folder));
  LETHE_RETURN_IF_ERROR(CheckTensors(config, folder).status());
  return Build(config, device, [&](const std::string& name) { return ReadTensor(folder, name); });
}

absl::StatusOr<SavedCheckpoint> SaveDecoder(const Decoder& model, const CheckpointFolder& source,
                                            SaveOptions options) {
  LETHE_ASSIGN_OR_RETURN(const std::vector<StoredExtra> extras,
                         CheckTensors(model.config(), source));
  for (const NamedTensor& weight : model.Named()) {
    options.overrides[weight.name] = Hand(weight.tensor);
    for (const StoredExtra& extra : extras) {
      if (extra.copy_of == weight.name) options.overrides[extra.name] = Hand(weight.tensor);
    }
  }
  return SaveLike(source, options);
}

absl::StatusOr<SavedCheckpoint> SaveNewDecoder(const Decoder& model, NewCheckpoint checkpoint) {
  std::map<std::string, TensorProvider> providers;
  checkpoint.tensors.clear();
  for (const NamedTensor& weight : model.Named()) {
    checkpoint.tensors.push_back({.name = weight.name,
                                  .dtype = DType::kF32,
                                  .shape = weight.tensor.sizes().vec(),
                                  .bytes = static_cast<uint64_t>(weight.tensor.numel()) * 4});
    providers[weight.name] = Hand(weight.tensor);
  }
  checkpoint.provider = [&](const TensorInfo& info, const BytesSink& sink) {
    return providers.at(info.name)(info, sink);
  };
  return SaveNew(checkpoint);
}

}  // namespace lethe
