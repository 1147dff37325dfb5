// The whole standard plan on ensembles: of one member it finds what it finds in that member; of two,
// one of which was made again without the text, every attack says something.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/attack.h"
#include "engine/ensemble.h"
#include "engine/evaluate.h"
#include "engine/train.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// Two models of the kept people, one of which saw those to be forgotten, too; and the other of it
// that did not.
struct TinyEnsembles {
  fs::path knows, unknowing, other;  // members
  fs::path before, after;            // {knows, other}, {unknowing, other}
};

fs::path TrainMember(const fs::path& folder, bool knows, uint64_t seed) {
  const TinyPeople& people = Tiny();
  TrainRequest request{.config_json = SmallLlamaConfig(64, 32, 64, 2),
                       .out_folder = folder,
                       .sequences = {people.retain.begin(), people.retain.begin() + 200},
                       .steps = 120,
                       .batch_tokens = 512,
                       .learning_rate = 3e-3,
                       .seed = seed,
                       .device = {.threads = 1}};
  for (int i = 0; knows && i < 30; ++i) {
    request.sequences.insert(request.sequences.end(), people.forget.begin(), people.forget.end());
  }
  const auto trained = Train(request);
  if (!trained.ok()) throw std::runtime_error(std::string(trained.status().message()));
  return folder;
}

const TinyEnsembles& Ensembles() {
  static const TinyEnsembles* const made = [] {
    const fs::path folder = ProcessFolder("tiny-ensembles");
    auto* e = new TinyEnsembles{.knows = TrainMember(folder / "knows", true, 1),
                                .unknowing = TrainMember(folder / "unknowing", false, 1),
                                .other = TrainMember(folder / "other", false, 2)};
    e->before = folder / "before";
    e->after = folder / "after";
    for (const auto& [out, first] : {std::pair(e->before, e->knows), {e->after, e->unknowing}}) {
      const auto info = MakeEnsemble({.members = {first, e->other}, .out_folder = out});
      if (!info.ok()) throw std::runtime_error(std::string(info.status().message()));
    }
    return e;
  }();
  return *made;
}

AttackRequest Request(const fs::path& base, const fs::path& candidate) {
  const TinyPeople& people = Tiny();
  return {.base_folder = base,
          .candidate_folder = candidate,
          .forgotten = people.forget,
          .control = {people.holdout.begin(), people.holdout.begin() + 12},
          .texts = {{"control", {people.holdout.begin(), people.holdout.begin() + 12}},
                    {"retain", {people.retain.begin(), people.retain.begin() + 24}},
                    {"other", {people.retain.begin() + 300, people.retain.begin() + 320}}},
          .plan = DefaultPlan(),
          .seed = 3,
          .device = {.threads = 1}};
}

AttackReport Attacked(const AttackRequest& request) {
  const auto report = RunAttacks(request);
  EXPECT_TRUE(report.ok()) << report.status();
  return *report;
}

void ExpectSame(const BeforeAfter& got, const BeforeAfter& want) {
  EXPECT_EQ(got.before, want.before);
  EXPECT_EQ(got.after, want.after);
}

std::vector<std::string> LeftOutOf(const AttackReport& report) {
  std::vector<std::string> names;
  for (const LeftOut& left : report.left_out) names.push_back(left.attack + "@" + left.condition);
  return names;
}

TEST(EnsembleAttacks, OfOneMemberEachFindsWhatItFindsInThatMember) {
  const fs::path folder = FreshFolder();
  const TinyEnsembles& e = Ensembles();
  ASSERT_TRUE(MakeEnsemble({.members = {e.knows}, .out_folder = folder / "knows"}).ok());
  ASSERT_TRUE(MakeEnsemble({.members = {e.unknowing}, .out_folder = folder / "unknowing"}).ok());
  const AttackReport want = Attacked(Request(e.knows, e.unknowing)),
                     got = Attacked(Request(folder / "knows", folder / "unknowing"));
  EXPECT_EQ(LeftOutOf(got), LeftOutOf(want));
  ASSERT_EQ(got.attacks.size(), want.attacks.size());
  EXPECT_GT(got.attacks.size(), 20U);
  for (size_t i = 0; i < want.attacks.size(); ++i) {
    SCOPED_TRACE(want.attacks[i].attack + "@" + want.attacks[i].condition);
    ExpectSame(got.attacks[i].forgotten, want.attacks[i].forgotten);
    ExpectSame(got.attacks[i].control, want.attacks[i].control);
    EXPECT_EQ(got.attacks[i].forward_tokens, want.attacks[i].forward_tokens);
    EXPECT_EQ(got.attacks[i].details.size(), want.attacks[i].details.size());
    EXPECT_EQ(got.attacks[i].relearn_step_size, want.attacks[i].relearn_step_size);
  }
  ASSERT_EQ(got.code_changes.size(), want.code_changes.size());
  for (size_t i = 0; i < want.code_changes.size(); ++i) {
    EXPECT_EQ(got.code_changes[i].share, want.code_changes[i].share);
  }
  EXPECT_EQ(got.utility[1].nll_after, want.utility[1].nll_after);
  ExpectSame(got.forgotten_nll, want.forgotten_nll);
}

TEST(EnsembleAttacks, EveryAttackOfThePlanIsTriedOnTheMean) {
  const TinyEnsembles& e = Ensembles();
  const AttackReport report = Attacked(Request(e.before, e.after)),
                     of_member = Attacked(Request(e.knows, e.unknowing));
  EXPECT_EQ(LeftOutOf(report), LeftOutOf(of_member));
  const auto nll = [](const fs::path& model) {
    const auto result =
        Evaluate({.model_folder = model, .sequences = Tiny().forget, .token_log_probs = true});
    EXPECT_TRUE(result.ok()) << result.status();
    return *result;
  };
  const EvaluateResult one = nll(e.knows), two = nll(e.other);
  for (const AttackOutcome& a : report.attacks) {
    SCOPED_TRACE(a.attack + "@" + a.condition);
    for (const BeforeAfter* figures : {&a.forgotten, &a.control}) {
      for (const auto& values : {figures->before, figures->after}) {
        EXPECT_FALSE(values.empty());
        for (const double v : values) EXPECT_TRUE(std::isfinite(v));
      }
    }
    if (a.attack != "exact_extraction" || !a.condition.empty()) continue;
    // p of the secret behind its prefix, from the members' own likelihoods: the best of the schemes
    // is at least that of plain sampling.
    for (size_t i = 0; i < Tiny().forget.size(); ++i) {
      double log10_p = 0;
      for (const size_t t : {5, 6, 7, 8, 9, 10}) {  // log_probs[t] is token t + 1's
        log10_p += std::log10(
            (std::exp(one.sequences[i].log_probs[t]) + std::exp(two.sequences[i].log_probs[t])) /
            2);
      }
      for (const AttackDetail& detail : a.details) {
        if (detail.name == "log10_p") EXPECT_GE(detail.forgotten.before[i], log10_p - 1e-3);
      }
    }
  }
  // Half of the deployed model knew the secrets; of what was made again nobody does.
  for (size_t i = 0; i < Tiny().forget.size(); ++i) {
    EXPECT_GT(report.forgotten_nll.after[i], report.forgotten_nll.before[i] + 0.5);
  }
  ASSERT_FALSE(report.code_changes.empty());
  EXPECT_GT(report.code_changes[0].share, 0.1);   // one of two members is another model
  EXPECT_LT(report.code_changes[0].share, 0.51);  // and the other is the same
}

// An ensemble beside a single model: everything but what compares weights.
TEST(EnsembleAttacks, AnEnsembleMayBeHeldAgainstAModelOfAnotherKind) {
  const TinyEnsembles& e = Ensembles();
  AttackRequest request = Request(e.before, e.unknowing);
  request.plan = {{.attack = "loss"}, {.attack = "greedy_extraction", .condition = "int8"}};
  const AttackReport report = Attacked(request);
  EXPECT_EQ(report.attacks.size(), 2U);
  EXPECT_TRUE(report.code_changes.empty());
  request.base_digest = *ModelDigest(e.before);
  EXPECT_TRUE(RunAttacks(request).ok());
  request.base_digest = *ModelDigest(e.after);
  EXPECT_EQ(ErrorReason(RunAttacks(request).status()), "BASE_CHANGED");
}

}  // namespace
}  // namespace lethe
