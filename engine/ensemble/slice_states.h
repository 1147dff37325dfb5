// The states that training went through, each in a folder of its own that is named by its key.
//
//   LETHE_ASSIGN_OR_RETURN(SliceStates states, SliceStates::Open(folder));
//   if (states.Has(key)) { LETHE_ASSIGN_OR_RETURN(SliceState state, states.Load(key, device)); ... }
//   LETHE_RETURN_IF_ERROR(states.Save(key, {.model = model, .moments = moments}, description));
//
// A state     <key>/model/                  a Hugging Face folder
//             <key>/optimizer.safetensors   Adam's moments and step counts, bit for bit
//             <key>/state.json              both digests, slice, steps
//             is whole or not there: it is written under a hidden name, synced and renamed. Open
//             removes what a killed process left half-written. Beside them, `model` is a link to the
//             model of the state that Point named last.
// Damage      Load compares the digests: a state that was changed is BAD_STATE, and never gone on
//             from.
// Threads     one; one process at a time in a folder.
// Errors      ABORTED/STATES_IN_USE; FAILED_PRECONDITION/BAD_STATE; as the engine's folders.
#ifndef LETHE_ENGINE_ENSEMBLE_SLICE_STATES_H_
#define LETHE_ENGINE_ENSEMBLE_SLICE_STATES_H_

#include <filesystem>
#include <set>
#include <string>

#include "base/folder_lock.h"
#include "base/status.h"
#include "engine/device.h"
#include "engine/model/decoder.h"
#include "engine/train/adam.h"

namespace lethe {

struct SliceState {
  Decoder model;
  Adam::State moments;  // empty before the first step
  int64_t steps = 0;    // all that led here
};

// What stands in the folder beside the weights.
struct SliceStateFiles {
  std::string config_json, tokenizer_json;  // tokenizer: may be empty
  std::string lineage_json;
  int slice = 0;  // slices that the state has seen
};

class SliceStates {
 public:
  static absl::StatusOr<SliceStates> Open(const std::filesystem::path& folder);

  bool Has(const std::string& key) const;
  absl::StatusOr<SliceState> Load(const std::string& key, const Device& device) const;
  absl::Status Save(const std::string& key, const SliceState& state, const SliceStateFiles& files);
  absl::Status Remove(const std::string& key);
  // Makes `model` in the folder a link to the state's model: switched at once, never half.
  absl::Status Point(const std::string& key);
  // How many went. Where `model` is a link to one of them it goes too, before.
  absl::StatusOr<int> KeepOnly(const std::set<std::string>& keys);

  std::filesystem::path ModelFolderOf(const std::string& key) const;

 private:
  absl::Status UnlinkUnless(const std::set<std::string>& keys);

  SliceStates(std::filesystem::path folder, FolderLock lock)
      : folder_(std::move(folder)), lock_(std::move(lock)) {}

  std::filesystem::path folder_;
  FolderLock lock_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_ENSEMBLE_SLICE_STATES_H_
