#include "engine/model/decoder_io.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include <cstring>
#include <optional>
#include <string_view>
#include <utility>

#include "engine/checkpoint/decoder_tensors.h"
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

// Hands over a weight of the model in the type that the file wants.
TensorProvider Hand(const Decoder& model, const std::string& name) {
  return [&model, name](const TensorInfo& info, const BytesSink& sink) -> absl::Status {
    return CatchTorch("saving a weight", [&]() -> absl::Status {
      at::NoGradGuard no_grad;
      const std::optional<at::ScalarType> type = TypeOf(info.dtype);
      if (!type) return Unsupported(info);
      const at::Tensor bytes = model.Named(name).to(at::kCPU).to(*type).contiguous();
      const std::string_view handed(static_cast<const char*>(bytes.const_data_ptr()),
                                    bytes.nbytes());
      // What fp32 can hold, F16 may not: a folder that could not be loaded again is not written.
      if (FirstNotFinite(info.dtype, handed).has_value()) return TooLarge(info);
      return sink(handed);
    });
  };
}

}  // namespace

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

absl::StatusOr<Decoder> Decoder::Load(const CheckpointFolder& folder, const Device& device) {
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(folder));
  LETHE_RETURN_IF_ERROR(CheckTensors(config, folder).status());
  return Build(config, device, [&](const std::string& name) { return ReadTensor(folder, name); });
}

absl::StatusOr<SavedCheckpoint> SaveDecoder(const Decoder& model, const CheckpointFolder& source,
                                            SaveOptions options) {
  LETHE_ASSIGN_OR_RETURN(const std::vector<StoredExtra> extras,
                         CheckTensors(model.config(), source));
  for (const TensorRule& weight : DecoderTensors(model.config())) {
    options.overrides[weight.name] = Hand(model, weight.name);
  }
  for (const StoredExtra& extra : extras) {
    if (!extra.copy_of.empty()) options.overrides[extra.name] = Hand(model, extra.copy_of);
  }
  return SaveLike(source, options);
}

absl::StatusOr<SavedCheckpoint> SaveNewDecoder(const Decoder& model, NewCheckpoint checkpoint) {
  checkpoint.tensors.clear();
  for (TensorRule& weight : DecoderTensors(model.config())) {
    int64_t bytes = 4;
    for (const int64_t size : weight.shape) bytes *= size;
    checkpoint.tensors.push_back({.name = std::move(weight.name),
                                  .dtype = DType::kF32,
                                  .shape = std::move(weight.shape),
                                  .bytes = static_cast<uint64_t>(bytes)});
  }
  checkpoint.provider = [&](const TensorInfo& info, const BytesSink& sink) {
    return Hand(model, info.name)(info, sink);
  };
  return SaveNew(checkpoint);
}

}  // namespace lethe
