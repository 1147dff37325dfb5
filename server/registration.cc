#include "server/registration.h"

#include <unistd.h>

#include <filesystem>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "server/errors.h"
#include "server/policy/ladder.h"
#include "text/sequence.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// So few sequences give thresholds and a control that mean something.
constexpr size_t kSmallestHoldout = 16;

bool Readable(const fs::path& path) { return access(path.c_str(), R_OK) == 0; }

absl::StatusOr<Tokenizer> CheckSource(const std::string& source) {
  const auto unreadable = [](std::string_view why) {
    return FieldError("SOURCE_UNREADABLE", "source_path", why);
  };
  const fs::path path(source);
  std::error_code ec;
  if (!path.is_absolute()) return unreadable("wants an absolute path");
  if (!fs::is_directory(path, ec))
    return unreadable("there is no such folder, or this server may not see it");
  for (const char* name : {"config.json", "tokenizer.json"}) {
    if (!Readable(path / name)) {
      return unreadable(absl::StrCat("the folder has no readable ", name));
    }
  }
  if (!Readable(path / "model.safetensors") && !Readable(path / "model.safetensors.index.json")) {
    return unreadable("the folder has no readable model.safetensors (nor its index)");
  }
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(path);
  if (!tokenizer.ok()) return unreadable("tokenizer.json cannot be used");
  return tokenizer;
}

// How many sequences the set has.
absl::StatusOr<size_t> CheckDataset(const std::string& path, const std::string& field,
                                    const Tokenizer& tokenizer) {
  const auto unreadable = [&](std::string_view why, ErrorMetadata metadata = {}) {
    return FieldError("DATASET_UNREADABLE", field, why, std::move(metadata));
  };
  std::error_code ec;
  if (!fs::path(path).is_absolute()) return unreadable("wants an absolute path");
  if (!fs::is_regular_file(path, ec) || !Readable(path)) {
    return unreadable("there is no such file, or this server may not read it");
  }
  absl::StatusOr<std::vector<Sequence>> sequences = LoadSequences(path, &tokenizer);
  if (!sequences.ok()) {
    // Its message names file and line and quotes nothing.
    return unreadable(
        std::string_view(sequences.status().message().data(), sequences.status().message().size()),
        {{"cause", ErrorReason(sequences.status())}});
  }
  if (sequences->empty()) return unreadable("the file has no sequence");
  return sequences->size();
}

bool IsSetName(const std::string& name) {
  return IsModelName(name) && name != "retain" && name != "holdout" && name != "control";
}

}  // namespace

absl::StatusOr<storage::RegisterModel> CheckRegistration(const v1::RegisterModelRequest& request,
                                                         const ServerConfig& config) {
  if (!IsModelName(request.model_id())) {
    return FieldError("MODEL_ID_MALFORMED", "model_id",
                      "1 to 63 of [a-z0-9-], beginning with a letter");
  }
  LETHE_ASSIGN_OR_RETURN(const v1::ModelPolicy policy, ResolvePolicy(request.policy(), config));
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, CheckSource(request.source_path()));
  LETHE_RETURN_IF_ERROR(CheckDataset(request.retain_path(), "retain_path", tokenizer).status());
  LETHE_ASSIGN_OR_RETURN(const size_t holdout,
                         CheckDataset(request.holdout_path(), "holdout_path", tokenizer));
  if (holdout < kSmallestHoldout) {
    return FieldError(
        "HOLDOUT_TOO_SMALL", "holdout_path",
        absl::StrCat("it has ", holdout, " sequences; at least ", kSmallestHoldout,
                     " of text that the model never saw are needed"),
        {{"sequences", absl::StrCat(holdout)}, {"limit", absl::StrCat(kSmallestHoldout)}});
  }
  storage::RegisterModel command{.model = ModelId{request.model_id()},
                                 .policy = policy.SerializeAsString(),
                                 .source_path = request.source_path(),
                                 .retain_path = request.retain_path(),
                                 .holdout_path = request.holdout_path()};
  for (const auto& [name, path] : request.other_paths()) {
    if (!IsSetName(name)) {
      return FieldError("DATASET_UNREADABLE", "other_paths",
                        "a name of a set is 1 to 63 of [a-z0-9-], begins with a letter and is not "
                        "retain, holdout or control");
    }
    LETHE_RETURN_IF_ERROR(
        CheckDataset(path, absl::StrCat("other_paths.", name), tokenizer).status());
    command.other_paths[name] = path;
  }
  return command;
}

}  // namespace lethe
