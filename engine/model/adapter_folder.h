// Adapters to and from PEFT folders: adapter_config.json, adapter_model.safetensors, and the
// lethe.json of every folder that Lethe writes.
//
//   LETHE_RETURN_IF_ERROR(LoadAdapter("adapters/a-1", base.folder, base.model));   // attached
//   LETHE_ASSIGN_OR_RETURN(SavedCheckpoint saved, SaveAdapter(base, "adapters/a-2", lineage));
//
// Base       an adapter that Lethe wrote names the digest of its base, and is refused on another.
// Types      saved in F32; read in F32, F16 and BF16.
// Threads    none. Errors: lora.h's, CheckpointFolder's, MODEL_NOT_FINITE.
#ifndef LETHE_ENGINE_MODEL_ADAPTER_FOLDER_H_
#define LETHE_ENGINE_MODEL_ADAPTER_FOLDER_H_

#include <filesystem>
#include <string>

#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/model/decoder.h"

namespace lethe {

absl::Status LoadAdapter(const std::filesystem::path& adapter, const CheckpointFolder& base,
                         Decoder& model);

// The model's adapter. `lineage_json` is extended by the base's digest.
absl::StatusOr<SavedCheckpoint> SaveAdapter(const Decoder& model, const CheckpointFolder& base,
                                            const std::filesystem::path& out,
                                            const std::string& lineage_json);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_ADAPTER_FOLDER_H_
