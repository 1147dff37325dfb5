// What an audit has done so far, one small file a piece, so that a run that was killed goes on where
// it was.
//
//   ResumeFolder kept(request.resume_folder, binding);
//   if (auto figures = kept.Find("before 3 0")) ...            // done by an earlier run
//   LETHE_RETURN_IF_ERROR(kept.Keep("before 3 0", figures));   // when it is done
//
// A file   its name is the SHA-256 of binding and piece, its content lines of text:
//
//   lethe audit piece 1
//   figures <count> <value> ... <name>        one line a list; values as hexadecimal floats
//   note <text>                               at most one; no line break
//   sha256 <of binding, piece and the lines above>
//
// Bound    a file of another request, model, plan, seed or build has another name, and one that is
//          copied to a name does not fit its sum. Such files, and damaged ones, are as good as none;
//          Keep replaces what lies at its name.
// Privacy  figures only; the binding is keyed, so that no guess of the text can be tried on it.
// Whole    a file shows whole or not at all (base/file.h).
// Errors   Keep: FILE_ERROR, DISK_FULL. A folder without a name keeps nothing.
// Threads  any, on different pieces.
#ifndef LETHE_ENGINE_ATTACK_RESUME_H_
#define LETHE_ENGINE_ATTACK_RESUME_H_

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/attack/audit.h"

namespace lethe {

struct KeptFigures {
  std::map<std::string, std::vector<double>> lists;
  std::string note;
};

class ResumeFolder {
 public:
  ResumeFolder(std::filesystem::path folder, std::string binding)
      : folder_(std::move(folder)), binding_(std::move(binding)) {}

  std::optional<KeptFigures> Find(const std::string& piece) const;
  absl::Status Keep(const std::string& piece, const KeptFigures& figures) const;

 private:
  std::filesystem::path FileOf(const std::string& piece) const;

  const std::filesystem::path folder_;
  const std::string binding_;
};

// Of everything that decides an audit's figures on one side: texts, plan, seed, the folders, this
// build. The base's side does not hang on the candidate, so that audits of several candidates share
// it in one folder. Reads the folders where the request does not give their digests.
absl::StatusOr<std::string> BindingOf(const Audit& audit, Side side);

KeptFigures KeptOf(const PartResult& part);
// Nothing when the figures are not of a part with this aim.
std::optional<PartResult> PartOf(const KeptFigures& figures, const Aim& aim);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_RESUME_H_
