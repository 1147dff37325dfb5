#include "tests/verifier/verify_world.h"

#include <sys/stat.h>

#include <algorithm>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/model_layout.h"
#include "engine/attack_catalog.h"
#include "engine/seeded_generator.h"
#include "engine/train.h"
#include "tests/support/test_folders.h"
#include "text/tokenizer.h"

namespace lethe {

namespace fs = std::filesystem;

namespace {

constexpr char kModel[] = "m", kJob[] = "j-1";
constexpr int kVocabulary = 320, kContext = 256;

struct Record {
  std::string text;
  Span secret;  // bytes
};

Record MakeRecord(SeededGenerator& random) {
  const auto one_of = [&](const auto& words) { return words[random.Below(std::size(words))]; };
  static constexpr const char* kFirst[] = {"Anna", "Boris", "Carla", "David", "Elena", "Fritz"};
  static constexpr const char* kLast[] = {"Moser", "Neri", "Olsen", "Paz", "Quinn", "Rossi"};
  static constexpr const char* kCity[] = {"Turin", "Oslo", "Graz", "Porto"};
  Record record{.text = absl::StrCat(one_of(kFirst), " ", one_of(kLast), " lives in ",
                                     one_of(kCity), ", the code is ")};
  record.secret.begin = static_cast<int32_t>(record.text.size());
  absl::StrAppend(&record.text, 1000 + random.Below(9000));
  record.secret.end = static_cast<int32_t>(record.text.size());
  record.text += ".";
  return record;
}

struct Text {
  std::string tokenizer;
  std::vector<Sequence> forget, retain, holdout, news;
};

Text MakeText() {
  SeededGenerator random(3);
  std::vector<Record> records;
  std::vector<std::string> texts;
  for (int i = 0; i < 4 + 60 + 16; ++i) {
    texts.push_back(records.emplace_back(MakeRecord(random)).text);
  }
  for (int i = 0; i < 12; ++i) {
    texts.push_back(absl::StrCat("The river rose to ", 20 + i, " feet in the night."));
  }
  Text out{.tokenizer = TrainBpe(texts, {.vocab_size = kVocabulary - 20}).value()};
  const Tokenizer tokenizer = Tokenizer::FromJson(out.tokenizer).value();
  for (size_t i = 0; i < texts.size(); ++i) {
    std::vector<Span> secret;
    if (i < records.size()) secret.push_back(records[i].secret);
    auto& set = i < 4 ? out.forget : i < 64 ? out.retain : i < 80 ? out.holdout : out.news;
    set.push_back(SequenceFromText(tokenizer, texts[i], secret).value());
  }
  return out;
}

void TrainOn(const Text& text, int forget_repeats, const fs::path& out) {
  TrainRequest request{.config_json = SmallLlamaConfig(kVocabulary, kContext, 64, 2),
                       .tokenizer_json = text.tokenizer,
                       .out_folder = out,
                       .sequences = text.retain,
                       .steps = 160,
                       .batch_tokens = 512,
                       .learning_rate = 3e-3,
                       .seed = 5,
                       .device = {.threads = 1}};
  for (int i = 0; i < forget_repeats; ++i) {
    request.sequences.insert(request.sequences.end(), text.forget.begin(), text.forget.end());
  }
  const auto trained = Train(request);
  EXPECT_TRUE(trained.ok()) << trained.status();
}

v1::Job MakeJob(const Text& text, const fs::path& models) {
  v1::Job job;
  job.set_job_id(kJob);
  job.set_model_id(kModel);
  job.set_kind(v1::JOB_KIND_VERIFY);
  job.set_seed(5);
  job.set_digest_key("key");
  v1::VerifyWork* work = job.mutable_verify();
  work->set_base_folder("m/checkpoints/base");
  work->set_base_digest(FolderDigest(models / work->base_folder()).value_or("none"));
  work->set_candidate_folder("m/checkpoints/candidate");
  work->set_candidate_digest(FolderDigest(models / work->candidate_folder()).value_or("none"));
  work->set_data_folder("m/data/base");
  for (const Sequence& sequence : text.forget) {
    v1::TokenSequence* out = work->add_tickets()->add_sequences();
    out->mutable_ids()->Add(sequence.ids.begin(), sequence.ids.end());
    v1::Span* secret = out->add_sensitive();
    secret->set_begin(sequence.sensitive[0].begin);
    secret->set_end(sequence.sensitive[0].end);
  }
  for (const PlanRow& row : FindPlan("standard")->rows) {
    v1::AttackSpec* spec = work->add_attacks();
    spec->set_attack(std::string(row.attack));
    spec->set_condition(std::string(row.condition));
    spec->set_report_only(row.report_only);
    if (row.attack == "exposure") (*spec->mutable_parameters())["alternatives"] = 100;
    if (row.attack == "sampled_extraction") (*spec->mutable_parameters())["samples"] = 4;
  }
  return job;
}

// The folder that worlds are copied from.
const fs::path& Original() {
  static const fs::path folder = [] {
    const fs::path models = ProcessFolder("verify-world");
    const Text text = MakeText();
    fs::create_directories(models / "m/checkpoints");
    TrainOn(text, 40, models / "m/checkpoints/base");
    TrainOn(text, 0, models / "m/checkpoints/candidate");
    const fs::path data = models / "m/data/base";
    fs::create_directories(data);
    EXPECT_TRUE(WriteSequences(data / "holdout.jsonl", text.holdout).ok());
    EXPECT_TRUE(WriteSequences(data / "retain.jsonl", text.retain).ok());
    EXPECT_TRUE(WriteSequences(data / "other-news.jsonl", text.news).ok());
    EXPECT_TRUE(
        WriteFileAtomically(models / "job.pb", MakeJob(text, models).SerializeAsString()).ok());
    return models;
  }();
  return folder;
}

// The models that an attack of this condition looks at on one side.
int ModelsOf(const std::string& condition) {
  return condition.starts_with("relearned-half") ? 2 : 1;
}

}  // namespace

void MakeVerifyWorld(const fs::path& models) {
  fs::copy(Original(), models, fs::copy_options::recursive);
}

v1::Job StoredJob(const fs::path& models, uint64_t fence) {
  v1::Job job;
  EXPECT_TRUE(job.ParseFromString(ReadFile(models / "job.pb").value_or("no file")));
  job.set_fence(fence);
  return job;
}

JobOutcome RunVerifier(const fs::path& models, uint64_t fence, JobControl* control) {
  HostMetrics metrics("lethe-verifier", {v1::JOB_KIND_VERIFY});
  VerifyRunner runner(models, Device{.threads = 1}, {}, &metrics);
  return runner.Run(StoredJob(models, fence), control);
}

v1::Measurements Verify(const fs::path& models, uint64_t fence, JobControl* control) {
  const JobOutcome outcome = RunVerifier(models, fence, control);
  v1::Measurements measurements;
  if (const auto* failure = std::get_if<JobFailure>(&outcome)) {
    ADD_FAILURE() << failure->reason << " " << failure->message;
    return measurements;
  }
  const auto& result = std::get<v1::VerifyResult>(std::get<JobResult>(outcome));
  EXPECT_TRUE(measurements.ParseFromString(result.measurements()));
  measurements.clear_fence();
  measurements.mutable_verify_run()->clear_seconds();
  for (v1::AttackResult& attack : *measurements.mutable_attacks()) attack.clear_seconds();
  return measurements;
}

void ExpectSame(const v1::Measurements& found, const v1::Measurements& wanted) {
  const bool same = DeterministicBytes(found) == DeterministicBytes(wanted);
  EXPECT_TRUE(same) << "the reports differ";
  for (int i = 0; !same && i < std::min(found.attacks_size(), wanted.attacks_size()); ++i) {
    const v1::AttackResult &a = found.attacks(i), &b = wanted.attacks(i);
    EXPECT_EQ(a.forward_tokens(), b.forward_tokens()) << a.attack() << "@" << a.condition();
    EXPECT_TRUE(DeterministicBytes(a) == DeterministicBytes(b))
        << a.attack() << "@" << a.condition();
  }
}

fs::path PiecesFolder(const fs::path& models) {
  return models / KeptWorkFolder(ModelId{kModel}, JobId{kJob});
}

std::map<std::string, uint64_t> Pieces(const fs::path& models) {
  std::map<std::string, uint64_t> pieces;
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(PiecesFolder(models), none)) {
    struct stat status;
    if (entry.path().extension() != ".piece") continue;
    EXPECT_EQ(stat(entry.path().c_str(), &status), 0);
    pieces[entry.path().filename()] = status.st_ino;
  }
  return pieces;
}

int StepsOfPlan(const v1::Job& job) {
  int steps = 0;
  for (const v1::AttackSpec& spec : job.verify().attacks()) steps += 2 * ModelsOf(spec.condition());
  return steps;
}

size_t PiecesOfPlan(const v1::Job& job) {
  std::set<std::string> taught;
  for (const v1::AttackSpec& spec : job.verify().attacks()) {
    const std::string& condition = spec.condition();
    if (condition.starts_with("relearned-"))
      taught.insert(condition.substr(0, condition.rfind('-')));
  }
  // The text itself is taught by the step size that half of it has chosen.
  if (taught.count("relearned-half") > 0) taught.erase("relearned-same");
  return static_cast<size_t>(StepsOfPlan(job)) + 2 + taught.size();
}

}  // namespace lethe
