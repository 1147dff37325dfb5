// A decoder's weights to and from Hugging Face folders.
//
//   LETHE_ASSIGN_OR_RETURN(CheckpointFolder base, CheckpointFolder::Open("/models/m/base"));
//   LETHE_ASSIGN_OR_RETURN(Decoder model, Decoder::Load(base, device));
//   ...
//   LETHE_ASSIGN_OR_RETURN(SavedCheckpoint saved,
//                          SaveDecoder(model, base, {.out = "/models/m/checkpoints/c-7"}));
//
// Types      weights are computed in fp32 and saved in the type that the source has; a weight that
//            has not changed comes out bit for bit (bf16 and f16 are exact in fp32).
// Copies     that a file stores of tied weights are written with them.
// Memory     one tensor at a time beside the model.
// Errors     as CheckpointFolder's; MODEL_UNSUPPORTED a weight in a type that is not a floating
//            one. Saving: FAILED_PRECONDITION/METHOD_DIVERGED for a weight that is not finite in
//            the file's type (metadata "tensor").
// Threads    any, while nobody writes the weights.
#ifndef LETHE_ENGINE_MODEL_DECODER_IO_H_
#define LETHE_ENGINE_MODEL_DECODER_IO_H_

#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/model/decoder.h"

namespace lethe {

// A tensor as it lies in the file, copied, in its own floating type.
absl::StatusOr<at::Tensor> ReadTensor(const CheckpointFolder& folder, const std::string& name);

// Writes a folder like `source` with the model's weights; `options.overrides` is filled in here.
absl::StatusOr<SavedCheckpoint> SaveDecoder(const Decoder& model, const CheckpointFolder& source,
                                            SaveOptions options);

// Writes a folder from nothing; `checkpoint.tensors` and `provider` are filled in here, in fp32.
absl::StatusOr<SavedCheckpoint> SaveNewDecoder(const Decoder& model, NewCheckpoint checkpoint);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_DECODER_IO_H_
