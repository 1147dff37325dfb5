#include "engine/checkpoint/ensemble_folder.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "engine/checkpoint/checked_json.h"
#include "engine/checkpoint/checkpoint_folder.h"
#include "engine/checkpoint/decoder_config.h"

namespace lethe {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::json;

constexpr size_t kLimitBytes = size_t{1} << 20;
constexpr size_t kMostMembers = 256;
constexpr char kTokenizer[] = "tokenizer.json";

absl::Status Bad(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_ENSEMBLE",
               std::string(kEnsembleFile) + ": " + std::string(message));
}

absl::Status Changed(std::string_view what) {
  return Error(absl::StatusCode::kFailedPrecondition, "ENSEMBLE_CHANGED",
               std::string(what) +
                   " is not what the ensemble was made of; make the ensemble again "
                   "(lethe-engine teachers train --ensemble, or ensemble make)");
}

bool IsSha256(const Json& json) {
  if (!json.is_string()) return false;
  const std::string& text = json.get_ref<const std::string&>();
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

// Names with '/' between: what the file says is not a way out of the folder.
bool LeadsBelow(const std::string& folder) {
  if (folder.empty() || folder.size() > 4096 || folder.find('\0') != std::string::npos)
    return false;
  for (size_t begin = 0; begin <= folder.size();) {
    const size_t end = std::min(folder.find('/', begin), folder.size());
    const std::string name = folder.substr(begin, end - begin);
    if (name.empty() || name == "." || name == "..") return false;
    begin = end + 1;
  }
  return true;
}

bool HasOnly(const Json& object, std::initializer_list<std::string_view> names) {
  return std::all_of(object.items().begin(), object.items().end(), [&](const auto& item) {
    return std::find(names.begin(), names.end(), item.key()) != names.end();
  });
}

absl::StatusOr<EnsembleFolder::Member> ParseMember(const fs::path& folder, const Json& json) {
  if (!json.is_object() || !HasOnly(json, {"folder", "digest"}) || !json.contains("folder") ||
      !json["folder"].is_string() || !json.contains("digest") || !IsSha256(json["digest"])) {
    return Bad("a member is {\"folder\": NAME, \"digest\": SHA-256}");
  }
  const std::string& name = json["folder"].get_ref<const std::string&>();
  if (!LeadsBelow(name)) return Bad("a member's folder must lie below the ensemble's");
  return EnsembleFolder::Member{.path = folder / name, .digest = json["digest"].get<std::string>()};
}

bool Exists(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

// Digest of a folder's tokenizer.json; empty where there is none.
absl::StatusOr<std::string> TokenizerDigest(const fs::path& folder) {
  if (!Exists(folder / kTokenizer)) return std::string();
  return FileDigest(folder / kTokenizer);
}

absl::StatusOr<ModelLimits> ReadOne(const fs::path& path) {
  LETHE_ASSIGN_OR_RETURN(const CheckpointFolder folder, CheckpointFolder::Open(path));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(folder));
  return ModelLimits{.vocab_size = config.vocab_size, .context = config.context};
}

absl::Status Differs(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "ENSEMBLE_VOCABULARY_DIFFERS", message);
}

// What members have in common; the first one's is taken for all.
struct Common {
  int64_t vocab_size = 0;
  std::string tokenizer;
};

absl::StatusOr<Common> ReadCommon(const fs::path& member) {
  LETHE_ASSIGN_OR_RETURN(const ModelLimits limits, ReadOne(member));
  Common common{.vocab_size = limits.vocab_size};
  LETHE_ASSIGN_OR_RETURN(common.tokenizer, TokenizerDigest(member));
  return common;
}

absl::Status CheckCommon(const Common& first, const Common& member) {
  if (member.vocab_size != first.vocab_size) {
    return Differs("its vocabulary has another size than the first member's");
  }
  if (member.tokenizer != first.tokenizer) {
    return Differs(
        "its tokenizer.json is not the first member's, byte for byte: the same ids may be "
        "other tokens");
  }
  return absl::OkStatus();
}

}  // namespace

bool IsEnsemble(const fs::path& folder) { return Exists(folder / kEnsembleFile); }

absl::Status RefuseEnsemble(const fs::path& folder) {
  if (!IsEnsemble(folder)) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "MODEL_IS_ENSEMBLE",
               absl::StrCat(folder.string(),
                            " is an ensemble: it is read (generate, eval, score, extract, audit), "
                            "and no method changes it. To forget, erase from the corpus and train "
                            "the touched teacher again (lethe-engine corpus erase, teachers train "
                            "--ensemble --remove-others); its members are folders of their own"));
}

absl::Status OfMember(const absl::Status& status, size_t member) {
  ErrorMetadata metadata = ErrorDetails(status);
  const std::string place = metadata["member"] = std::to_string(member);
  return Error(status.code(), ErrorReason(status),
               absl::StrCat("member ", place, ": ", status.message()), metadata);
}

absl::StatusOr<EnsembleFolder> EnsembleFolder::Open(const fs::path& folder) {
  LETHE_ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / kEnsembleFile, kLimitBytes));
  const absl::StatusOr<Json> json = ParseJsonObject(text, kEnsembleFile);
  if (!json.ok()) {
    return Error(json.status().code(), "BAD_ENSEMBLE", std::string(json.status().message()));
  }
  if (Exists(folder / "config.json")) {
    return Bad("there is a config.json beside it: which of the two is the model?");
  }
  if (json->value("kind", Json()) != "ensemble" || json->value("version", Json()) != 1 ||
      !HasOnly(*json, {"kind", "version", "members", "tokenizer"})) {
    return Bad("wanted: kind \"ensemble\", version 1, members, tokenizer and nothing else");
  }
  EnsembleFolder ensemble;
  ensemble.folder_ = folder;
  if (json->contains("tokenizer")) {
    if (!IsSha256((*json)["tokenizer"])) return Bad("tokenizer is not a SHA-256");
    ensemble.tokenizer_ = (*json)["tokenizer"].get<std::string>();
  }
  const Json members = json->value("members", Json());
  if (!members.is_array() || members.empty() || members.size() > kMostMembers) {
    return Bad("members is a list of 1 to " + std::to_string(kMostMembers) + " folders");
  }
  std::set<fs::path> seen;
  for (size_t i = 0; i < members.size(); ++i) {
    absl::StatusOr<Member> member = ParseMember(folder, members[i]);
    if (!member.ok()) return OfMember(member.status(), i);
    if (!seen.insert(member->path).second) return OfMember(Bad("it stands in the list twice"), i);
    ensemble.members_.push_back(*std::move(member));
  }
  return ensemble;
}

absl::Status EnsembleFolder::CheckMembers() const {
  LETHE_ASSIGN_OR_RETURN(const std::string tokenizer, TokenizerDigest(folder_));
  if (tokenizer != tokenizer_) return Changed("tokenizer.json");
  for (size_t i = 0; i < members_.size(); ++i) {
    const Member& member = members_[i];
    if (!Exists(member.path)) {
      return OfMember(
          Error(absl::StatusCode::kNotFound, "ENSEMBLE_MEMBER_MISSING",
                member.path.string() +
                    " is not there; where its shard was trained again, make the ensemble again "
                    "(lethe-engine teachers train --ensemble)"),
          i);
    }
    LETHE_ASSIGN_OR_RETURN(const std::string digest, FolderDigest(member.path));
    if (digest != member.digest) return OfMember(Changed("the folder"), i);
    LETHE_ASSIGN_OR_RETURN(const std::string its, TokenizerDigest(member.path));
    if (its != tokenizer_) {
      return OfMember(Differs("its tokenizer.json is not the ensemble's, byte for byte"), i);
    }
  }
  return absl::OkStatus();
}

absl::Status WriteEnsemble(const fs::path& folder, const std::vector<std::string>& members) {
  if (members.empty() || members.size() > kMostMembers) {
    return Bad("an ensemble has 1 to " + std::to_string(kMostMembers) + " members");
  }
  Json list = Json::array();
  Common first;
  for (size_t i = 0; i < members.size(); ++i) {
    if (!LeadsBelow(members[i])) {
      return OfMember(Bad("a member's folder must lie below the ensemble's"), i);
    }
    const absl::StatusOr<Common> member = ReadCommon(folder / members[i]);
    if (!member.ok()) return OfMember(member.status(), i);
    if (i == 0) first = *member;
    if (const absl::Status same = CheckCommon(first, *member); !same.ok()) return OfMember(same, i);
    LETHE_ASSIGN_OR_RETURN(const std::string digest, FolderDigest(folder / members[i]));
    list.push_back({{"folder", members[i]}, {"digest", digest}});
  }
  nlohmann::ordered_json json = {{"kind", "ensemble"}, {"version", 1}, {"members", list}};
  if (!first.tokenizer.empty()) {
    json["tokenizer"] = first.tokenizer;
    LETHE_ASSIGN_OR_RETURN(const std::string text, ReadFile(folder / members[0] / kTokenizer));
    LETHE_RETURN_IF_ERROR(WriteFileAtomically(folder / kTokenizer, text));
  }
  return WriteFileAtomically(folder / kEnsembleFile, json.dump(2) + "\n");
}

absl::StatusOr<ModelLimits> ReadModelLimits(const fs::path& folder) {
  if (!IsEnsemble(folder)) return ReadOne(folder);
  LETHE_ASSIGN_OR_RETURN(const EnsembleFolder ensemble, EnsembleFolder::Open(folder));
  ModelLimits limits;
  for (size_t i = 0; i < ensemble.members().size(); ++i) {
    const absl::StatusOr<ModelLimits> member = ReadOne(ensemble.members()[i].path);
    if (!member.ok()) return OfMember(member.status(), i);
    limits.context = i == 0 ? member->context : std::min(limits.context, member->context);
    limits.vocab_size = member->vocab_size;
  }
  return limits;
}

}  // namespace lethe
