// Files that the commands read.
#ifndef LETHE_ENGINE_CLI_INPUTS_H_
#define LETHE_ENGINE_CLI_INPUTS_H_

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/prepare.h"
#include "engine/teacher.h"
#include "text/sequence.h"

namespace lethe::cli {

// A file of sequences for the model in `model_folder`: JSON lines as text/sequence.h reads them, or
// one JSON list of lists of ids. An empty name gives no sequences. At most the model's context of
// tokens each. What is wrong with a file is said with its line (JSON lines, or text that is not
// JSON) or the place in the lists; LINE_MALFORMED and text/sequence.h's reasons.
absl::StatusOr<std::vector<Sequence>> ReadSet(const std::string& file,
                                              const std::filesystem::path& model_folder);

// "NAME=VALUE", several of them.
absl::StatusOr<std::map<std::string, double>> ReadParameters(const std::vector<std::string>& words);

// "FOLDER" or "FOLDER=0,3,5", several of them: what stands behind the last '=' are places in the text
// to be forgotten. BAD_TEACHER.
absl::StatusOr<std::vector<Teacher>> ReadTeachers(const std::vector<std::string>& words);

// Thresholds to and from the JSON that `prepare` prints.
std::string ThresholdsJson(const ModelThresholds& thresholds);
absl::StatusOr<ModelThresholds> ReadThresholds(const std::filesystem::path& file);

}  // namespace lethe::cli

#endif  // LETHE_ENGINE_CLI_INPUTS_H_
