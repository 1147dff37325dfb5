#include "server/registration.h"

#include <unistd.h>

#include <filesystem>
#include <map>

#include "absl/strings/str_cat.h"
#include "base/ids.h"
#include "engine/catalog.h"
#include "server/errors.h"
#include "server/field_violations.h"
#include "server/policy/ladder.h"
#include "text/sequence.h"
#include "text/tokenizer.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

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

// How many sequences the set has. Without a tokenizer only the file is looked at, and 0 given.
absl::StatusOr<size_t> CheckDataset(const std::string& path, const std::string& field,
                                    const Tokenizer* tokenizer) {
  const auto unreadable = [&](std::string_view why, ErrorMetadata metadata = {}) {
    return FieldError("DATASET_UNREADABLE", field, why, std::move(metadata));
  };
  std::error_code ec;
  if (!fs::path(path).is_absolute()) return unreadable("wants an absolute path");
  if (!fs::is_regular_file(path, ec) || !Readable(path)) {
    return unreadable("there is no such file, or this server may not read it");
  }
  if (tokenizer == nullptr) return 0;
  absl::StatusOr<std::vector<Sequence>> sequences = LoadSequences(path, tokenizer);
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

absl::Status CheckHoldout(const std::string& path, const Tokenizer* tokenizer) {
  LETHE_ASSIGN_OR_RETURN(const size_t holdout, CheckDataset(path, "holdout_path", tokenizer));
  if (tokenizer == nullptr || holdout >= kMinHoldout) return absl::OkStatus();
  return FieldError("HOLDOUT_TOO_SMALL", "holdout_path",
                    absl::StrCat("it has ", holdout, " sequences; at least ", kMinHoldout,
                                 " of text that the model never saw are needed"),
                    {{"sequences", absl::StrCat(holdout)}, {"limit", absl::StrCat(kMinHoldout)}});
}

absl::Status CheckOther(const std::string& name, const std::string& path,
                        const Tokenizer* tokenizer) {
  if (!IsSetName(name)) {
    return FieldError("DATASET_UNREADABLE", "other_paths",
                      "a name of a set is 1 to 63 of [a-z0-9-], begins with a letter and is not "
                      "retain, holdout or control");
  }
  return CheckDataset(path, absl::StrCat("other_paths.", name), tokenizer).status();
}

}  // namespace

absl::StatusOr<storage::RegisterModel> CheckRegistration(const v1::RegisterModelRequest& request,
                                                         const ServerConfig& config) {
  FieldViolations wrong;
  if (!IsModelName(request.model_id())) {
    wrong.Add(FieldError("MODEL_ID_MALFORMED", "model_id",
                         "1 to 63 of [a-z0-9-], beginning with a letter"));
  }
  const absl::StatusOr<v1::ModelPolicy> policy = ResolvePolicy(request.policy(), config);
  wrong.Add(policy.status());
  const absl::StatusOr<Tokenizer> source = CheckSource(request.source_path());
  wrong.Add(source.status());
  const Tokenizer* const tokenizer = source.ok() ? &*source : nullptr;
  wrong.Add(CheckDataset(request.retain_path(), "retain_path", tokenizer).status());
  wrong.Add(CheckHoldout(request.holdout_path(), tokenizer));
  // In the order of their names: which are told does not depend on how a map happens to be stored.
  const std::map<std::string, std::string> others(request.other_paths().begin(),
                                                  request.other_paths().end());
  for (const auto& [name, path] : others) {
    if (!wrong.Enough()) wrong.Add(CheckOther(name, path, tokenizer));
  }
  LETHE_RETURN_IF_ERROR(wrong.status());
  return storage::RegisterModel{.model = ModelId{request.model_id()},
                                .policy = policy->SerializeAsString(),
                                .source_path = request.source_path(),
                                .retain_path = request.retain_path(),
                                .holdout_path = request.holdout_path(),
                                .other_paths = others};
}

}  // namespace lethe
