#include "server/corpus_registration.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <set>

#include "absl/strings/str_cat.h"
#include "corpus/build.h"
#include "server/convert.h"
#include "server/errors.h"
#include "server/field_violations.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr int kMaxSources = 1'000;
constexpr int kHeadSize = 32;  // SmallLlamaConfig, engine/train.h
constexpr int kMaxHidden = 4'096, kMaxLayers = 64;
constexpr int kDefaultContext = 1'024;

absl::Status CheckSource(const std::string& path, int index) {
  const auto unreadable = [&](std::string_view why) {
    return FieldError("SOURCE_UNREADABLE", absl::StrCat("source_paths[", index, "]"), why);
  };
  std::error_code ec;
  if (!fs::path(path).is_absolute()) return unreadable("wants an absolute path");
  if (!fs::is_regular_file(path, ec) || access(path.c_str(), R_OK) != 0) {
    return unreadable("there is no such file, or this server may not read it");
  }
  return absl::OkStatus();
}

void CheckSources(const v1::RegisterCorpusRequest& request, FieldViolations* wrong) {
  if (request.source_paths().empty()) {
    wrong->Add(FieldError("SOURCE_UNREADABLE", "source_paths",
                          "name at least one file of JSON Lines; docs/corpus.md has the form"));
  }
  if (request.source_paths_size() > kMaxSources) {
    wrong->Add(FieldError("SOURCE_UNREADABLE", "source_paths",
                          absl::StrCat("at most ", kMaxSources, " files; join them")));
    return;
  }
  std::set<std::string> seen;
  for (int i = 0; i < request.source_paths_size() && !wrong->Enough(); ++i) {
    wrong->Add(CheckSource(request.source_paths(i), i));
    if (!seen.insert(request.source_paths(i)).second) {
      wrong->Add(FieldError("SOURCE_UNREADABLE", absl::StrCat("source_paths[", i, "]"),
                            "the file is named twice"));
    }
  }
}

absl::Status InRange(const char* reason, const char* field, int64_t value, int64_t least,
                     int64_t most) {
  if (value >= least && value <= most) return absl::OkStatus();
  return FieldError(reason, field, absl::StrCat(least, " to ", most));
}

v1::CorpusOptions CheckOptions(const v1::CorpusOptions& asked, FieldViolations* wrong) {
  constexpr char kReason[] = "CORPUS_OPTIONS_INVALID";
  v1::CorpusOptions options = asked;
  const CorpusOptions defaults;
  if (options.shards() == 0) options.set_shards(static_cast<int32_t>(defaults.shards));
  if (options.slices() == 0) options.set_slices(static_cast<int32_t>(defaults.slices));
  wrong->Add(InRange(kReason, "options.shards", options.shards(), 1, kMaxShards));
  wrong->Add(InRange(kReason, "options.slices", options.slices(), 1, kMaxSlices));
  if (static_cast<int64_t>(options.shards()) * options.slices() > kMaxSlicesInAll) {
    wrong->Add(FieldError(kReason, "options.slices",
                          absl::StrCat("at most ", kMaxSlicesInAll, " slices of all shards")));
  }
  return options;
}

// What teachers and the model's own training have in common.
template <typename Options>
void FillTraining(Options* options, Random* random) {
  if (options->epochs() == 0) options->set_epochs(8);
  if (options->learning_rate() == 0) options->set_learning_rate(1e-3);
  if (options->batch_tokens() == 0) options->set_batch_tokens(4'096);
  while (options->seed() == 0) {
    uint64_t seed = 0;
    for (const char byte : random->Bytes(sizeof(seed))) {
      seed = seed << 8 | static_cast<unsigned char>(byte);
    }
    options->set_seed(seed);
  }
}

absl::Status CheckTraining(const char* reason, const std::string& field, double epochs,
                           double learning_rate, int64_t batch_tokens) {
  FieldViolations wrong;
  wrong.Add(InRange(reason, (field + ".batch_tokens").c_str(), batch_tokens, 1, 1 << 24));
  if (!(epochs > 0 && epochs <= 1'000)) {
    wrong.Add(FieldError(reason, field + ".epochs", "more than 0, at most 1,000"));
  }
  if (!(learning_rate > 0 && learning_rate <= 1)) {
    wrong.Add(FieldError(reason, field + ".learning_rate", "more than 0, at most 1"));
  }
  return wrong.status();
}

v1::TeacherOptions CheckTeachers(const v1::TeacherOptions& asked, const v1::Model& model,
                                 Random* random, FieldViolations* wrong) {
  constexpr char kReason[] = "TEACHER_OPTIONS_INVALID";
  v1::TeacherOptions options = asked;
  const int longest = std::max(2, model.facts().context_length());
  if (options.hidden_size() == 0) options.set_hidden_size(128);
  if (options.layers() == 0) options.set_layers(4);
  if (options.context_length() == 0) options.set_context_length(std::min(longest, kDefaultContext));
  FillTraining(&options, random);
  wrong->Add(
      InRange(kReason, "teachers.hidden_size", options.hidden_size(), kHeadSize, kMaxHidden));
  if (options.hidden_size() % kHeadSize != 0) {
    wrong->Add(FieldError(kReason, "teachers.hidden_size",
                          absl::StrCat("a multiple of ", kHeadSize, ", the width of a head")));
  }
  wrong->Add(InRange(kReason, "teachers.layers", options.layers(), 1, kMaxLayers));
  wrong->Add(InRange(kReason, "teachers.context_length", options.context_length(), 2, longest));
  wrong->Add(CheckTraining(kReason, "teachers", options.epochs(), options.learning_rate(),
                           options.batch_tokens()));
  return options;
}

v1::BaseOptions CheckBase(const v1::BaseOptions& asked, Random* random, FieldViolations* wrong) {
  v1::BaseOptions options = asked;
  FillTraining(&options, random);
  wrong->Add(CheckTraining("BASE_OPTIONS_INVALID", "base", options.epochs(),
                           options.learning_rate(), options.batch_tokens()));
  return options;
}

}  // namespace

absl::StatusOr<storage::RegisterCorpus> CheckCorpusRegistration(
    const v1::RegisterCorpusRequest& request, const v1::Model& model, Random* random) {
  FieldViolations wrong;
  CheckSources(request, &wrong);
  const v1::CorpusOptions options = CheckOptions(request.options(), &wrong);
  const v1::TeacherOptions teachers = CheckTeachers(request.teachers(), model, random, &wrong);
  v1::BaseOptions base;
  if (request.has_base()) base = CheckBase(request.base(), random, &wrong);
  LETHE_RETURN_IF_ERROR(wrong.status());
  storage::RegisterCorpus command{.model = ModelId{model.model_id()},
                                  .seed = teachers.seed(),
                                  .options = DeterministicBytes(options),
                                  .teachers = DeterministicBytes(teachers),
                                  .base = request.has_base() ? DeterministicBytes(base) : ""};
  command.source_paths.assign(request.source_paths().begin(), request.source_paths().end());
  return command;
}

}  // namespace lethe
