// The statuses that several files of this room give.
#ifndef LETHE_CORPUS_CORPUS_STATUS_H_
#define LETHE_CORPUS_CORPUS_STATUS_H_

#include <filesystem>
#include <string>

#include "base/status.h"

namespace lethe {

// DATA_LOSS: what stands in the file is not what was written. `what` quotes nothing of it.
inline absl::Status Damaged(const std::filesystem::path& file, const std::string& what) {
  return Error(absl::StatusCode::kDataLoss, "CORPUS_DAMAGED",
               file.string() + ": " + what + "; restore this folder, or build the corpus again",
               {{"file", file.filename().string()}});
}

}  // namespace lethe

#endif  // LETHE_CORPUS_CORPUS_STATUS_H_
