// Leave-one-out distillation end to end: the forgotten become what they are to models that never
// saw them, the kept and the unseen stay; who is left out has no say; the same bits twice; refusals.
#include "engine/unlearn/leave_one_out.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "base/digest.h"
#include "base/file.h"
#include "engine/generate.h"
#include "engine/unlearn.h"
#include "tests/engine/unlearn/tiny_teachers.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

UnlearnRequest Request(const fs::path& out) {
  return {.base_folder = Tiny().model,
          .out_folder = out,
          .forget = Tiny().forget,
          .retain = Tiny().retain,
          .watch = Tiny().holdout,
          .method = "leave_one_out",
          // 1e-4 is for models a hundred times as large.
          .overrides = {{"learning_rate", 1e-3}},
          .thresholds = Tiny().thresholds,
          .teachers = TinyTeachers(),
          .seed = 3,
          .digest_key = "key",
          .device = {.threads = 1}};
}

// How many of the secrets a model says by itself.
int Extracted(const fs::path& model) {
  GenerateRequest request{.model_folder = model, .max_new_tokens = 6};
  for (const Sequence& s : Tiny().forget) {
    request.prompts.emplace_back(s.ids.begin(), s.ids.begin() + 6);
  }
  const auto said = Generate(request);
  if (!said.ok()) throw std::runtime_error(said.status().ToString());
  int extracted = 0;
  for (size_t i = 0; i < said->size(); ++i) {
    extracted += std::equal((*said)[i].begin(), (*said)[i].end(), Tiny().forget[i].ids.begin() + 6);
  }
  return extracted;
}

// Nats a token of a person's secret under a model.
double SecretNll(const fs::path& model, size_t person) {
  const auto result = Evaluate({.model_folder = model, .sequences = {Tiny().forget[person]}});
  if (!result.ok()) throw std::runtime_error(result.status().ToString());
  return *result->sequences[0].span_nll_per_token;
}

bool Arrived(const UnlearnResult& result) {
  return result.run.stop_reason == "thresholds_reached" ||
         result.run.stop_reason == "targets_reached";
}

TEST(LeaveOneOut, ForgetsWhatTheOtherTeachersNeverSaw) {
  const fs::path folder = FreshFolder();
  ASSERT_EQ(Extracted(Tiny().model), 3);  // else the test says nothing
  const auto result = Unlearn(Request(folder / "out"));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(Arrived(*result)) << result->run.stop_reason;
  EXPECT_EQ(Extracted(folder / "out"), 0);
  const ModelThresholds& unseen = Tiny().thresholds;
  for (size_t i = 0; i < result->after.size(); ++i) {
    const SequenceEvaluation& s = result->after[i];
    EXPECT_LT(*result->before[i].span_nll_per_token, 0.3);
    EXPECT_GT(*s.span_nll_per_token, unseen.span_nll_mean - 2 * unseen.span_nll_sd);
    // Where the two others say it should be, and not beyond: the mean of their probabilities is at
    // least the smaller one.
    const double one = SecretNll(TinyTeachers()[(i + 1) % 3].folder, i);
    const double other = SecretNll(TinyTeachers()[(i + 2) % 3].folder, i);
    EXPECT_GT(*s.span_nll_per_token, std::min(one, other) - 2.3 / 6);  // passage_nats over six
    EXPECT_LT(*s.span_nll_per_token, std::max(one, other) + 0.2);
  }
  EXPECT_LT(result->retain_nll_after, result->retain_nll_before * 1.06);
  EXPECT_NEAR(result->watch_nll_after, result->watch_nll_before, 0.06 * result->watch_nll_before);
  EXPECT_LE(result->run.figures.at("passage_after"), 2.3);
  EXPECT_LT(result->run.figures.at("kl_after"), result->run.figures.at("kl_before") / 4);
  EXPECT_EQ(result->run.figures.at("rest_mass_max"), 0);  // 256 entries are all of 64 tokens
  EXPECT_EQ(result->run.figures.at("target_tokens"), 3 * 13);
  EXPECT_GE(result->records.front().kl, result->records.back().kl);
}

// To the last nat: run past the thresholds, the student says what the teachers say.
TEST(LeaveOneOut, ComesAsNearToTheTeachersAsItIsAsked) {
  UnlearnRequest request = Request(FreshFolder() / "out");
  request.preset = "paper";
  request.thresholds = {};
  request.retain.clear();
  request.watch.clear();
  request.overrides = {{"learning_rate", 1e-3}, {"kl_bound", 0.01}, {"passage_nats", 1.5}};
  const auto result = Unlearn(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->run.stop_reason, "targets_reached");
  EXPECT_LE(result->run.figures.at("kl_worst_after"), 0.01);
  EXPECT_LE(result->run.figures.at("passage_after"), 1.5);
}

TEST(LeaveOneOut, LearnsHardLabelsWhereItIsAsked) {
  const fs::path folder = FreshFolder();
  for (const double labels : {1, 2}) {
    UnlearnRequest request = Request(folder / std::to_string(labels));
    request.preset = "hard_label";
    request.overrides["labels"] = labels;
    request.overrides["max_steps"] = 80;
    const auto result = Unlearn(request);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->run.hyperparameters.at("labels"), labels);
    EXPECT_EQ(Extracted(request.out_folder), 0);
    EXPECT_LT(result->run.figures.at("passage_after"), result->run.figures.at("passage_before"));
  }
}

// A few entries and the rest as one: the run ends as the exact one does, and says what it left out.
TEST(LeaveOneOut, KeptEntriesAreEnough) {
  const fs::path folder = FreshFolder();
  UnlearnRequest request = Request(folder / "out");
  request.overrides["kept_entries"] = 16;
  const auto result = Unlearn(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(Arrived(*result)) << result->run.stop_reason;
  EXPECT_EQ(Extracted(folder / "out"), 0);
  EXPECT_GT(result->run.figures.at("rest_mass"), 0);
  EXPECT_LT(result->run.figures.at("rest_mass"), result->run.figures.at("rest_mass_max"));
}

// The tokens that the loss is over: those of the secret, by the ticket or because the teachers did
// not expect them.
TEST(LeaveOneOut, SpansRestrictTheLoss) {
  const fs::path folder = FreshFolder();
  for (const double spans : {1, 2}) {
    UnlearnRequest request = Request(folder / std::to_string(spans));
    request.overrides["spans"] = spans;
    const auto result = Unlearn(request);
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(Extracted(request.out_folder), 0);
    const double tokens = result->run.figures.at("target_tokens");
    // Names are as unlikely as secrets: 1/16 and 1/32 where .1 is asked for; the rest is not.
    EXPECT_GE(tokens, 3 * 6);
    EXPECT_LE(tokens, spans == 1 ? 3 * 6 : 3 * 12);
  }
}

TEST(LeaveOneOut, ChunkAfterChunk) {
  UnlearnRequest request = Request(FreshFolder() / "out");
  request.overrides["chunk_size"] = 2;
  const auto result = Unlearn(request);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->records.front().chunk, 0);
  EXPECT_EQ(result->records.back().chunk, 1);
  EXPECT_EQ(Extracted(request.out_folder), 0);
}

TEST(LeaveOneOut, TwoRunsGiveTheSameFolderAndTellWhoTaught) {
  const fs::path folder = FreshFolder();
  UnlearnRequest request = Request(folder / "one");
  request.overrides["max_steps"] = 5;
  const auto one = Unlearn(request);
  request.out_folder = folder / "two";
  const auto two = Unlearn(request);
  ASSERT_TRUE(one.ok() && two.ok()) << one.status() << two.status();
  EXPECT_EQ(one->out_digest, two->out_digest);
  EXPECT_EQ(ReadFile(folder / "one/lethe.json").value(),
            ReadFile(folder / "two/lethe.json").value());
  const auto json = nlohmann::json::parse(ReadFile(folder / "one/lethe.json").value());
  ASSERT_EQ(json["teachers"].size(), 3U);
  EXPECT_EQ(json["teachers"][1]["digest"], FolderDigest(TinyTeachers()[1].folder).value());
  EXPECT_EQ(json["teachers"][1]["left_out_of"], nlohmann::json({1}));
  EXPECT_EQ(json["figures"]["target_tokens"], 39);
}

// A fourth teacher, which saw all of them: its weights do not change a bit of the candidate.
TEST(LeaveOneOut, ATeacherThatSawEverythingHasNoSay) {
  const fs::path folder = FreshFolder();
  std::string digests[2];
  for (int i = 0; i < 2; ++i) {
    const auto trained = Train({.config_json = SmallLlamaConfig(64, 32, 64, 2),
                                .out_folder = folder / ("saw-all-" + std::to_string(i)),
                                .sequences = Tiny().forget,
                                .steps = 3,
                                .seed = static_cast<uint64_t>(i),
                                .device = {.threads = 1}});
    ASSERT_TRUE(trained.ok()) << trained.status();
    UnlearnRequest request = Request(folder / std::to_string(i));
    request.overrides["max_steps"] = 4;
    request.teachers.push_back(
        {.folder = folder / ("saw-all-" + std::to_string(i)), .saw = {0, 1, 2}});
    const auto result = Unlearn(request);
    ASSERT_TRUE(result.ok()) << result.status();
    digests[i] = result->out_digest;
  }
  EXPECT_EQ(digests[0], digests[1]);
}

TEST(LeaveOneOut, StoppedLeavesNothingWhereverItIsStopped) {
  const fs::path folder = FreshFolder();
  UnlearnRequest request = Request(folder / "out");
  request.overrides["max_steps"] = 3;
  int calls = 0;
  ASSERT_TRUE(Unlearn(request, [&](const EngineProgress&) { return ++calls > 0; }).ok());
  fs::remove_all(folder / "out");
  ASSERT_GT(calls, 10);
  for (int stop = 1; stop <= calls; stop += 3) {
    int call = 0;
    const auto stopped = Unlearn(request, [&](const EngineProgress&) { return ++call < stop; });
    EXPECT_EQ(ErrorReason(stopped.status()), "STOPPED") << stop;
    EXPECT_TRUE(fs::is_empty(folder)) << stop;
  }
}

struct Refusal {
  const char* reason;
  void (*change)(UnlearnRequest&);
};
class LeaveOneOutRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(LeaveOneOutRefuses, AndWritesNothing) {
  const fs::path folder = FreshFolder();
  UnlearnRequest request = Request(folder / "out");
  GetParam().change(request);
  const auto result = Unlearn(request);
  EXPECT_EQ(ErrorReason(result.status()), GetParam().reason) << result.status();
  EXPECT_TRUE(fs::is_empty(folder));
}

INSTANTIATE_TEST_SUITE_P(
    All, LeaveOneOutRefuses,
    testing::Values(
        Refusal{"TEACHERS_NEEDED", [](auto& r) { r.teachers.clear(); }},
        Refusal{"TEACHERS_NOT_USED",
                [](auto& r) {
                  r.method = "gradient_ascent";
                  r.overrides.clear();
                }},
        Refusal{"NO_TEACHER_LEFT",
                [](auto& r) {
                  for (Teacher& teacher : r.teachers) teacher.saw = {1};
                }},
        Refusal{"TEACHER_IS_BASE", [](auto& r) { r.teachers[0].folder = r.base_folder; }},
        Refusal{"TEACHER_CHANGED", [](auto& r) { r.teachers[0].digest = std::string(64, 'a'); }},
        Refusal{"RETAIN_NEEDED", [](auto& r) { r.retain.clear(); }},
        Refusal{"BAD_PARAMETER", [](auto& r) { r.overrides["labels"] = 3; }}),
    [](const auto& info) { return std::to_string(info.index) + "_" + info.param.reason; });

// By hand: log q of six labelled tokens behind a prompt of two; tokens 3, 5 and 7 are below .1.
TEST(SurprisingSpans, MergeOverOneTokenAndGrow) {
  const Sequence sequence = {.ids = {0, 1, 2, 3, 4, 5, 6, 7}, .prompt_tokens = 2};
  SequenceTargets targets;
  const auto spans = [&](const std::vector<double>& q, int64_t min_tokens) {
    targets.own = at::tensor(q, at::kFloat).log();
    std::vector<std::pair<int, int>> found;
    for (const Span& span : SurprisingSpans(sequence, targets, 0.1, min_tokens)) {
      found.emplace_back(span.begin, span.end);
    }
    return found;
  };
  using Spans = std::vector<std::pair<int, int>>;
  EXPECT_EQ(spans({.5, .01, .5, .01, .5, .5}, 2), (Spans{{3, 6}}));
  EXPECT_EQ(spans({.01, .5, .5, .01, .01, .5}, 1), (Spans{{2, 3}, {5, 7}}));
  EXPECT_EQ(spans({.01, .5, .5, .5, .5, .01}, 2), (Spans{{2, 4}, {6, 8}}));
  EXPECT_EQ(spans({.01, .5, .5, .5, .5, .01}, 4), (Spans{{2, 8}}));
  EXPECT_EQ(spans({.5, .5, .5, .5, .5, .01}, 100), (Spans{{2, 8}}));
  EXPECT_EQ(spans({.5, .5, .5, .5, .5, .5}, 2), Spans{});
}

}  // namespace
}  // namespace lethe
