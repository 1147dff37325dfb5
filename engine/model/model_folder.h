// A checkpoint folder and its decoder: loaded together, checked together, saved whole.
//
//   LETHE_ASSIGN_OR_RETURN(ModelFolder base, ModelFolder::Load(folder, device));
//   ... train base.model ...
//   LETHE_ASSIGN_OR_RETURN(SavedCheckpoint saved, base.SaveAs(out, lineage_json));
//
// Adapter    one that is loaded on top, or attached to the model, is what SaveAs writes: a PEFT
//            folder. Merged into the model first, it is in the weights of a whole folder.
//
// Errors     as CheckpointFolder, ParseDecoderConfig, CheckTensors, CheckFinite and Decoder::Load;
//            BAD_CHECKPOINT for a context out of all proportion to the weights.
#ifndef LETHE_ENGINE_MODEL_MODEL_FOLDER_H_
#define LETHE_ENGINE_MODEL_MODEL_FOLDER_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/model/decoder.h"
#include "engine/run_record.h"
#include "text/sequence.h"

namespace lethe {

struct ModelFolder {
  CheckpointFolder folder;
  Decoder model;

  // `adapter`: a PEFT folder to load on top; empty: none.
  static absl::StatusOr<ModelFolder> Load(const std::filesystem::path& path, const Device& device,
                                          const std::filesystem::path& adapter = {});
  absl::StatusOr<SavedCheckpoint> SaveAs(const std::filesystem::path& out,
                                         const std::string& lineage_json) const;
};

struct SequenceLengths {
  int64_t min_tokens = 2;
  int64_t max_tokens = 0;  // 0: the model's context
};

// Every sequence keeps its rules and fits the model. INVALID_ARGUMENT with CheckSequence's reason;
// metadata "set" and "index".
absl::Status CheckSequences(const LanguageModel& model, std::span<const Sequence> sequences,
                            std::string_view set, const SequenceLengths& lengths = {});

// OK when `expected` is empty or the folder has that digest; else FAILED_PRECONDITION with
// `reason`.
absl::Status CheckDigest(const std::filesystem::path& folder, const std::string& expected,
                         std::string_view reason);

// HMAC-SHA256 over all sequences under `key`, as lower-case hex.
std::string DataDigest(const std::string& key, std::span<const std::span<const Sequence>> sets);

// Device, threads and libraries of this process.
RunRecord NewRunRecord(const Device& device);

// The record as a JSON object, for lethe.json.
std::string RunRecordJson(const RunRecord& run, const std::map<std::string, std::string>& lineage);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_MODEL_FOLDER_H_
