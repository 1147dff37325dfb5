// Every public entry of the engine with every kind of sequence that it cannot take: a status with a
// reason, and nothing is written.
#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <functional>

#include "base/file.h"
#include "engine/attack.h"
#include "engine/evaluate.h"
#include "engine/generate.h"
#include "engine/prepare.h"
#include "engine/train.h"
#include "engine/unlearn.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

constexpr int32_t kContext = 32, kVocabulary = 64;  // of the tiny model

UnlearnRequest OneStep(const fs::path& model, const fs::path& out) {
  return {.base_folder = model,
          .out_folder = out,
          .forget = Tiny().forget,
          .retain = Tiny().retain,
          .overrides = {{"max_steps", 1}},
          .thresholds = Tiny().thresholds};
}

AttackRequest OneAttack(const fs::path& model) {
  return {.base_folder = model,
          .candidate_folder = model,
          .forgotten = Tiny().forget,
          .control = Tiny().holdout,
          .plan = {{"loss", {}}}};
}

// Sixteen sequences are the least that a holdout set has: sound ones are put behind.
std::vector<Sequence> Filled(std::vector<Sequence> sequences) {
  if (sequences.empty()) return sequences;
  while (sequences.size() < 16) sequences.push_back(Tiny().holdout[sequences.size()]);
  return sequences;
}

using Sequences = std::vector<Sequence>;

struct Entry {
  const char* name;
  const char* set;             // how a refusal calls the sequences
  const char* empty;           // reason for none at all; "": that is fine
  bool takes_prompts = false;  // ids alone: no prompt, no spans, and one token is enough
  std::function<absl::Status(const fs::path& model, const Sequences& bad, const fs::path& out)>
      call;
};

const std::vector<Entry>& Entries() {
  static const auto* const entries = new std::vector<Entry>{
      {"evaluate", "given", "NOTHING_TO_EVALUATE", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         return Evaluate({.model_folder = model, .sequences = bad}).status();
       }},
      {"score", "given", "NOTHING_TO_EVALUATE", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         return Evaluate({.model_folder = model, .sequences = bad, .token_log_probs = true})
             .status();
       }},
      {"extract", "given", "NOTHING_TO_EVALUATE", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         return Evaluate({.model_folder = model, .sequences = bad, .el_n = {3, 5, 10}}).status();
       }},
      {"generate", "prompts", "NOTHING_TO_GENERATE", true,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         GenerateRequest request{.model_folder = model, .max_new_tokens = 4};
         for (const Sequence& sequence : bad) request.prompts.push_back(sequence.ids);
         return Generate(request).status();
       }},
      {"prepare, holdout", "holdout", "HOLDOUT_TOO_SMALL", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         return PrepareModel({.model_folder = model, .holdout = Filled(bad)}).status();
       }},
      {"prepare, retain", "retain", "", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         return PrepareModel({.model_folder = model, .holdout = Tiny().holdout, .retain = bad})
             .status();
       }},
      {"unlearn, forget", "forget", "NOTHING_TO_FORGET", false,
       [](const fs::path& model, const Sequences& bad, const fs::path& out) {
         UnlearnRequest request = OneStep(model, out);
         request.forget = bad;
         return Unlearn(request).status();
       }},
      {"unlearn, retain", "retain", "RETAIN_NEEDED", false,
       [](const fs::path& model, const Sequences& bad, const fs::path& out) {
         UnlearnRequest request = OneStep(model, out);
         request.retain = bad;
         return Unlearn(request).status();
       }},
      {"unlearn, watch", "watched", "", false,
       [](const fs::path& model, const Sequences& bad, const fs::path& out) {
         UnlearnRequest request = OneStep(model, out);
         request.watch = bad;
         return Unlearn(request).status();
       }},
      {"attack, forgotten", "forgotten", "NOTHING_TO_ATTACK", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         AttackRequest request = OneAttack(model);
         request.forgotten = bad;
         return RunAttacks(request).status();
       }},
      {"attack, control", "control", "NOTHING_TO_COMPARE_WITH", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         AttackRequest request = OneAttack(model);
         request.control = bad;
         return RunAttacks(request).status();
       }},
      {"attack, other text", "news", "", false,
       [](const fs::path& model, const Sequences& bad, const fs::path&) {
         AttackRequest request = OneAttack(model);
         request.texts = {{"news", bad}};
         return RunAttacks(request).status();
       }},
      {"train", "training", "NOTHING_TO_TRAIN_ON", false,
       [](const fs::path& model, const Sequences& bad, const fs::path& out) {
         return Train({.base_folder = model, .out_folder = out, .sequences = bad, .steps = 1})
             .status();
       }},
  };
  return *entries;
}

struct Input {
  const char* name;
  const char* reason;
  Sequence sequence;
  bool ids_are_wrong = true;  // else a prompt or a span is
};

std::vector<Input> Inputs() {
  const auto ids = [](int32_t count) { return std::vector<int32_t>(count, 3); };
  return {
      {"no token", "TARGET_EMPTY", {}},
      {"one token", "TARGET_TOO_SHORT", {.ids = {3}}},
      {"one more than the context", "TARGET_TOO_LONG", {.ids = ids(kContext + 1)}},
      {"many more than the context", "TARGET_TOO_LONG", {.ids = ids(100'000)}},
      {"the first id behind the vocabulary",
       "TOKEN_OUT_OF_VOCABULARY",
       {.ids = {3, kVocabulary, 5}}},
      {"the largest id", "TOKEN_OUT_OF_VOCABULARY", {.ids = {3, 5, INT32_MAX}}},
      {"a negative id", "TOKEN_OUT_OF_VOCABULARY", {.ids = {-1, 5, 6}}},
      {"the smallest id", "TOKEN_OUT_OF_VOCABULARY", {.ids = {3, INT32_MIN}}},
      {"nothing behind the prompt",
       "PROMPT_OUT_OF_RANGE",
       {.ids = {3, 4, 5}, .prompt_tokens = 3},
       false},
      {"a negative prompt", "PROMPT_OUT_OF_RANGE", {.ids = {3, 4}, .prompt_tokens = -1}, false},
      {"a span behind the end",
       "SPAN_OUT_OF_RANGE",
       {.ids = {3, 4, 5}, .sensitive = {{1, 4}}},
       false},
      {"a span in the prompt",
       "SPAN_OUT_OF_RANGE",
       {.ids = {3, 4, 5}, .prompt_tokens = 2, .sensitive = {{1, 3}}},
       false},
      {"spans that overlap",
       "SPAN_OUT_OF_RANGE",
       {.ids = {3, 4, 5, 6}, .sensitive = {{1, 3}, {2, 4}}},
       false},
  };
}

class EachEntry : public testing::TestWithParam<size_t> {
 protected:
  const Entry& entry() const { return Entries()[GetParam()]; }
};

TEST_P(EachEntry, NothingAtAll) {
  const fs::path folder = FreshFolder();
  const absl::Status status = entry().call(Tiny().model, {}, folder / "out");
  EXPECT_EQ(ErrorReason(status), entry().empty) << status;
  EXPECT_EQ(status.ok(), *entry().empty == '\0') << status;
  if (status.ok()) return;
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST_P(EachEntry, SequencesThatItCannotTake) {
  const fs::path folder = FreshFolder();
  for (const Input& input : Inputs()) {
    if (entry().takes_prompts && !input.ids_are_wrong) continue;
    SCOPED_TRACE(input.name);
    const Sequences bad = {Tiny().holdout[0], input.sequence, Tiny().holdout[1]};
    const absl::Status status = entry().call(Tiny().model, bad, folder / "out");
    if (entry().takes_prompts && input.sequence.ids.size() == 1) {
      EXPECT_TRUE(status.ok()) << status;
      continue;
    }
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
    EXPECT_EQ(ErrorReason(status), input.reason) << status;
    EXPECT_EQ(ErrorDetails(status)["set"], entry().set);
    EXPECT_EQ(ErrorDetails(status)["index"], "1");
    EXPECT_TRUE(fs::is_empty(folder));
  }
}

// A model that was ruined before anybody came: by name of the tensor, before it is measured.
TEST_P(EachEntry, AModelWithNan) {
  const fs::path folder = FreshFolder();
  ASSERT_TRUE(CopyFolder(Tiny().model, folder / "ruined").ok());
  std::fstream file(folder / "ruined/model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-4, std::ios::end);
  const float nan = std::nanf("");
  file.write(reinterpret_cast<const char*>(&nan), sizeof nan);
  file.close();
  const absl::Status status =
      entry().call(folder / "ruined", Filled({Tiny().holdout[0]}), folder / "out");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(ErrorReason(status), "MODEL_NOT_FINITE") << status;
  EXPECT_EQ(ErrorDetails(status)["tensor"], "model.norm.weight");
  EXPECT_FALSE(fs::exists(folder / "out"));
}

INSTANTIATE_TEST_SUITE_P(All, EachEntry, testing::Range(size_t{0}, Entries().size()),
                         [](const auto& info) {
                           std::string name = Entries()[info.param].name;
                           for (char& c : name) {
                             if (c == ' ' || c == ',') c = '_';
                           }
                           return name;
                         });

TEST(Entries, GenerateRefusesMoreThanTheContextHolds) {
  GenerateRequest request{.model_folder = Tiny().model, .prompts = {{3, 5, 6}}};
  const auto reason = [&](int max_new_tokens) {
    request.max_new_tokens = max_new_tokens;
    return ErrorReason(Generate(request).status());
  };
  EXPECT_EQ(reason(kContext - 3), "");
  EXPECT_EQ(reason(kContext - 2), "TARGET_TOO_LONG");
  EXPECT_EQ(reason(kContext), "BAD_SAMPLING");
  EXPECT_EQ(reason(INT32_MAX), "BAD_SAMPLING");
  EXPECT_EQ(reason(-1), "BAD_SAMPLING");
}

TEST(Entries, FactsOfAModelWithInfinityAreRefused) {
  const fs::path folder = FreshFolder();
  ASSERT_TRUE(CopyFolder(Tiny().model, folder / "ruined").ok());
  std::fstream file(folder / "ruined/model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-4, std::ios::end);
  file.write("\0\0\x80\xff", 4);  // -infinity
  file.close();
  EXPECT_TRUE(ReadModelFacts(Tiny().model).ok());
  EXPECT_EQ(ErrorReason(ReadModelFacts(folder / "ruined").status()), "MODEL_NOT_FINITE");
}

TEST(Entries, ACandidateWithNanIsItsMethodsFault) {
  const fs::path folder = FreshFolder();
  ASSERT_TRUE(CopyFolder(Tiny().model, folder / "ruined").ok());
  std::fstream file(folder / "ruined/model.safetensors",
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(-4, std::ios::end);
  file.write("\xff\xff\xff\x7f", 4);
  file.close();
  AttackRequest request = OneAttack(Tiny().model);
  request.candidate_folder = folder / "ruined";
  const absl::Status status = RunAttacks(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(status), "CANDIDATE_NOT_FINITE") << status;
}

}  // namespace
}  // namespace lethe
