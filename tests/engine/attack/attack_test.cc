// The attacks on tiny models against what their definitions say, and the whole run on folders.
#include "engine/attack.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/digest.h"
#include "engine/attack/extraction_case.h"
#include "engine/metric/memorisation.h"
#include "engine/metric/span_score.h"
#include "engine/unlearn.h"
#include "tests/engine/attack/made_tokenizer.h"
#include "tests/engine/attack/run_attack.h"
#include "tests/engine/random_models.h"
#include "tests/engine/unlearn/tiny_people.h"

namespace lethe {
namespace {

TEST(ExtractionCase, PrefixesBySharesOfTheAnswer) {
  const Sequence s{.ids = {0, 1, 2, 3, 4, 5, 6, 7}};
  std::vector<ExtractionCase> cases;
  const double shares[] = {0.0, 0.5, 1.0};
  AddShareCases(s, 4, shares, 3, cases);
  ASSERT_EQ(cases.size(), 3U);
  EXPECT_EQ(cases[0].begin, 1);  // one token of prefix at least
  EXPECT_EQ(cases[1].begin, 4);
  EXPECT_EQ(cases[1].end, 7);    // at most three tokens are asked for
  EXPECT_EQ(cases[2].begin, 7);  // one token of suffix at least
  EXPECT_EQ(cases[1].sequence, 4U);
  EXPECT_EQ(Prefix(s, cases[1]), (TokenIds{0, 1, 2, 3}));
  EXPECT_EQ(Recovered(s, cases[1], {4, 9, 6}), 2);
  EXPECT_EQ(Recovered(s, cases[1], {4}), 1);
  EXPECT_EQ(Recovered(s, cases[1], {5, 6, 9}), 1);  // one deletion, one insertion; none in place
}

TEST(ExtractionCase, APromptIsAlwaysAPrefix) {
  const Sequence s{.ids = {0, 1, 2, 3, 4, 5}, .prompt_tokens = 2};
  std::vector<ExtractionCase> cases;
  const double shares[] = {0.5};
  AddShareCases(s, 0, shares, 100, cases);
  ASSERT_EQ(cases.size(), 2U);
  EXPECT_EQ(cases[0].begin, 2);
  EXPECT_EQ(cases[1].begin, 4);
}

TEST(ExtractionCase, SpansAreAskedForFromTheTextBeforeThem) {
  Sequence s;
  for (int32_t i = 0; i < 30; ++i) s.ids.push_back(i);
  s.sensitive = {{0, 2}, {20, 23}};
  std::vector<ExtractionCase> cases;
  AddSpanCases(s, 0, /*short_too=*/true, 100, cases);
  ASSERT_EQ(cases.size(), 4U);
  EXPECT_EQ(cases[0].begin, 1);  // the first token cannot be asked for
  EXPECT_EQ(cases[2].begin, 20);
  EXPECT_EQ(cases[2].prefix_begin, 0);
  EXPECT_EQ(cases[3].prefix_begin, 20 - kShortPrefix);
}

TEST(ExtractionCase, GroupsNeverAskBeyondTheContext) {
  const std::vector<ExtractionCase> cases = {{0, 0, 10, 15, 0}, {0, 0, 27, 32, 0}, {0, 0, 1, 8, 0}};
  const auto groups = GroupByLength(cases, 32);
  EXPECT_EQ(groups.at(8), (std::vector<size_t>{0, 2}));  // 5 and 7 new tokens
  EXPECT_EQ(groups.at(5), (std::vector<size_t>{1}));     // 27 + 8 would pass 32
}

class Attacks : public testing::Test {
 protected:
  absl::StatusOr<AttackScores> Run(std::string_view name, const std::vector<Sequence>& sequences,
                                   const ParameterValues& overrides = {}, bool on_spans = false) {
    return RunAttack(name, model_, sequences, {.overrides = overrides, .on_spans = on_spans});
  }

  const Decoder model_ = RandomModel({.vocab = 20, .context = 48}, 8);
};

TEST_F(Attacks, GreedyRecoversWhatTheModelSaysAndOnlyThat) {
  const Sequence extractable = Greedy(model_, {3, 7}, 24);
  Sequence broken = extractable;
  for (size_t t = 6; t < broken.ids.size(); ++t) broken.ids[t] = (broken.ids[t] + 1) % 20;
  const auto got = Run("greedy_extraction", {extractable, broken});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->scores[0], 1);
  EXPECT_LT(got->scores[1], 0.7);
  EXPECT_EQ(got->details.at("exact_match"), (std::vector<double>{1, 0}));
}

// Top-k 1 leaves one token: drawing is greedy decoding, and p_z is 1 or 0.
TEST_F(Attacks, SamplingAmongOneTokenIsGreedy) {
  const Sequence extractable = Greedy(model_, {3, 7}, 16);
  Sequence other = extractable;
  other.ids.back() = (other.ids.back() + 1) % 20;
  const auto got = Run("sampled_extraction", {extractable, other}, {{"top_k", 1}, {"samples", 3}});
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->scores[0], 1);
  EXPECT_DOUBLE_EQ(got->scores[1], 7.0 / 8);
  EXPECT_EQ(got->details.at("queries_needed")[0], 1);
  EXPECT_EQ(got->details.at("queries_needed")[1], 0);
  EXPECT_EQ(got->details.at("hit_rate_upper")[0], 1);  // three hits of three
  EXPECT_NEAR(got->details.at("hit_rate_upper")[1], 1 - std::cbrt(0.01), 1e-12);  // 7/8 < tau
}

TEST_F(Attacks, ExactChanceIsThatOfTheEasiestPrefix) {
  const Sequence s{.ids = {1, 5, 3, 9, 2, 11, 7, 4}};
  const auto got = Run("exact_extraction", {s}, {{"queries", 3}, {"top_k", 0}, {"top_p", 1}});
  ASSERT_TRUE(got.ok()) << got.status();
  const auto score = ScoreSequences(model_, std::vector<Sequence>{s})->front();
  double best = -1e9;
  for (const int begin : {2, 4, 6}) {
    double log_p = 0;
    for (int t = begin; t < 8; ++t) log_p -= score.nll[t - 1];
    best = std::max(best, log_p);
  }
  EXPECT_NEAR(got->details.at("log10_p")[0], best / std::log(10), 1e-5);
  EXPECT_NEAR(got->scores[0], 1 - std::pow(1 - std::exp(best), 3), 1e-5);
  const double draws = std::log(0.1) / std::log1p(-std::exp(best));
  EXPECT_NEAR(got->details.at("queries_needed")[0], draws, 1e-4 * draws);
  EXPECT_EQ(got->forward_tokens, 0);  // beside the pass that all share
}

TEST_F(Attacks, ExactChanceOfASpan) {
  const Sequence s{.ids = {1, 5, 3, 9, 2, 11, 7}, .sensitive = {{3, 5}}};
  const auto got = Run("exact_extraction", {s}, {{"top_k", 0}, {"top_p", 1}}, true);
  const auto score = ScoreSequences(model_, std::vector<Sequence>{s})->front();
  EXPECT_NEAR(got->details.at("log10_p")[0], -(score.nll[2] + score.nll[3]) / std::log(10), 1e-5);
}

TEST_F(Attacks, LikelihoodAttacksReadTheSpansWhenAsked) {
  const Sequence s{.ids = {1, 5, 3, 9, 2, 11, 7}, .sensitive = {{3, 5}}};
  const auto scores = ScoreSequences(model_, std::vector<Sequence>{s});
  ASSERT_TRUE(scores.ok());
  EXPECT_NEAR(Run("loss", {s})->scores[0], -scores->front().MeanNll(), 1e-6);
  EXPECT_NEAR(Run("loss", {s}, {}, true)->scores[0], -*SpanNll(s, scores->front()), 1e-6);
  EXPECT_NEAR(Run("min_k", {s}, {{"k", 0.01}}, true)->scores[0],
              -std::max(scores->front().nll[2], scores->front().nll[3]), 1e-6);
  EXPECT_NEAR(Run("memorisation_accuracy", {s})->scores[0], scores->front().HitRate(), 1e-12);
}

TEST_F(Attacks, ElTakesTheLargestNThatFits) {
  const Sequence lengthy = Greedy(model_, {3}, 20), brief = Greedy(model_, {5}, 5);
  const auto got = Run("extraction_likelihood", {lengthy, brief});
  ASSERT_TRUE(got.ok()) << got.status();
  const auto ten = MeasureMemorisation(model_, std::vector<Sequence>{lengthy}, {.el_n = {10}});
  const auto three = MeasureMemorisation(model_, std::vector<Sequence>{brief}, {.el_n = {3}});
  EXPECT_DOUBLE_EQ(got->scores[0], (*ten)[0].el.at(10));
  EXPECT_DOUBLE_EQ(got->scores[1], (*three)[0].el.at(3));
}

TEST_F(Attacks, TheShortestSequencesGetAScoreFromEveryAttack) {
  const std::vector<Sequence> two = {{.ids = {1, 2}}, {.ids = {4, 4, 4}, .prompt_tokens = 2}};
  for (const AttackEntry& entry : lethe::Attacks()) {
    const auto got = Run(entry.name, two);
    ASSERT_TRUE(got.ok()) << entry.name << ": " << got.status();
    if (!got->not_applicable.empty()) continue;
    ASSERT_EQ(got->scores.size(), 2U) << entry.name;
    for (const double score : got->scores) EXPECT_TRUE(std::isfinite(score)) << entry.name;
  }
}

// The same on spans, with all that a run brings: whatever can be tried gives a score.
TEST(AttacksOnRecords, TheShortestSpansGetAScoreFromEveryAttack) {
  const Decoder model = RandomModel({.vocab = kMadeVocabulary, .context = 48}, 8);
  const auto digit = [](char c) { return *MadeTokenizer().TokenToId(std::string(1, c)); };
  const std::vector<Sequence> brief = {
      {.ids = {1, digit('4')}, .sensitive = {{1, 2}}},
      {.ids = {4, 4, digit('7')}, .prompt_tokens = 2, .sensitive = {{2, 3}}},
      {.ids = {digit('1'), digit('9')},
       .sensitive = {{0, 2}}}};  // the first is predicted by nothing
  const std::vector<double> reference(3, 2.0);
  const AttackContext context{.tokenizer = &MadeTokenizer(),
                              .kept = brief,
                              .forgotten = brief,
                              .control = brief,
                              .reference_nll = reference};
  for (const AttackEntry& entry : lethe::Attacks()) {
    const auto got = RunAttack(entry.name, model, brief, {.on_spans = true, .context = context});
    ASSERT_TRUE(got.ok()) << entry.name << ": " << got.status();
    EXPECT_EQ(got->not_applicable, "") << entry.name;
    ASSERT_EQ(got->scores.size(), 3U) << entry.name;
    for (const double score : got->scores) EXPECT_TRUE(std::isfinite(score)) << entry.name;
    for (const auto& [name, values] : got->details) {
      ASSERT_EQ(values.size(), 3U) << entry.name << " " << name;
      for (const double v : values) EXPECT_TRUE(std::isfinite(v)) << entry.name << " " << name;
    }
  }
}

// Prompts and answers, spans, in any company: the score is a sequence's own. Rounding may differ
// with the shape of a batch, draws and choices may not.
TEST_F(Attacks, AScoreDependsOnItsSequenceAlone) {
  std::mt19937_64 random(5);
  std::vector<Sequence> sequences;
  for (int i = 0; i < 6; ++i) {
    Sequence s{.ids = RandomIds(random, 9 + 4 * i, 20), .prompt_tokens = i % 3};
    s.sensitive = {{s.prompt_tokens + 3, s.prompt_tokens + 6}};
    sequences.push_back(s);
  }
  for (const AttackEntry& entry : lethe::Attacks()) {
    for (const bool on_spans : {false, true}) {
      const AttackSetting setting{.on_spans = on_spans, .seed = 3};
      const auto together = RunAttack(entry.name, model_, sequences, setting);
      ASSERT_TRUE(together.ok()) << entry.name << ": " << together.status();
      const auto again = RunAttack(entry.name, model_, sequences, setting);
      EXPECT_EQ(together->scores, again->scores) << entry.name;
      if (!together->not_applicable.empty()) continue;
      for (size_t i = 0; i < sequences.size(); ++i) {
        const auto alone = RunAttack(entry.name, model_, {sequences[i]}, setting);
        ASSERT_TRUE(alone.ok()) << entry.name;
        EXPECT_NEAR(alone->scores[0], together->scores[i], 1e-4) << entry.name << i << on_spans;
        for (const auto& [name, values] : together->details) {
          EXPECT_NEAR(alone->details.at(name)[0], values[i], 1e-4 * (1 + std::abs(values[i])))
              << entry.name << " " << name << i << on_spans;
        }
      }
    }
  }
}

TEST_F(Attacks, AFullContextIsNoError) {
  std::mt19937_64 random(1);
  const std::vector<Sequence> full = {{.ids = RandomIds(random, 48, 20)}};
  for (const AttackEntry& entry : lethe::Attacks()) {
    EXPECT_TRUE(Run(entry.name, full).ok()) << entry.name;
  }
}

AttackRequest TinyRequest(const std::filesystem::path& candidate) {
  return {.base_folder = Tiny().model,
          .candidate_folder = candidate,
          .forgotten = Tiny().forget,
          .control = Tiny().holdout,
          .texts = {{"retain", Tiny().retain}},
          .plan = {{.attack = "greedy_extraction"},
                   {.attack = "sampled_extraction"},
                   {.attack = "extraction_likelihood"},
                   {.attack = "memorisation_accuracy"},
                   {.attack = "loss"},
                   {.attack = "min_k"}},
          .seed = 2,
          .digest_key = "key"};
}

// The whole of it: attacks succeed before, fail after as on control, and a second run gives the
// same figures.
TEST(RunAttacks, BeforeAndAfterUnlearning) {
  const auto folder = FreshFolder();
  const auto unlearned = Unlearn({.base_folder = Tiny().model,
                                  .out_folder = folder / "out",
                                  .forget = Tiny().forget,
                                  .retain = Tiny().retain,
                                  .watch = Tiny().holdout,
                                  .thresholds = Tiny().thresholds,
                                  .seed = 3});
  ASSERT_TRUE(unlearned.ok()) << unlearned.status();
  AttackRequest request = TinyRequest(folder / "out");
  request.plan[2].overrides = {{"n", 3}};  // the secret has six tokens
  request.base_digest = FolderDigest(Tiny().model).value();
  request.candidate_digest = unlearned->out_digest;
  const auto report = RunAttacks(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_TRUE(report->on_spans);
  ASSERT_EQ(report->attacks.size(), request.plan.size());
  for (const AttackOutcome& a : report->attacks) {
    SCOPED_TRACE(a.attack);
    ASSERT_EQ(a.forgotten.before.size(), 3U);
    ASSERT_EQ(a.forgotten.after.size(), 3U);
    ASSERT_EQ(a.control.before.size(), Tiny().holdout.size());
    ASSERT_EQ(a.control.after.size(), Tiny().holdout.size());
    for (size_t i = 0; i < 3; ++i) EXPECT_LT(a.forgotten.after[i], a.forgotten.before[i]);
  }
  const AttackOutcome& greedy = report->attacks[0];
  EXPECT_EQ(greedy.forgotten.before, (std::vector<double>{1, 1, 1}));
  for (const double share : greedy.forgotten.after) EXPECT_LT(share, 0.5);
  const AttackOutcome& sampled = report->attacks[1];
  const auto detail =
      std::find_if(sampled.details.begin(), sampled.details.end(),
                   [](const AttackDetail& d) { return d.name == "queries_needed"; });
  ASSERT_NE(detail, sampled.details.end());
  const BeforeAfter& queries = detail->forgotten;
  ASSERT_EQ(queries.before.size(), 3U);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_LE(queries.before[i], 10);
    const double after = queries.after[i];
    EXPECT_TRUE(after == 0 || after > 1000) << after;
  }
  EXPECT_EQ(report->utility[0].name, "retain");
  EXPECT_EQ(report->utility[0].tokens, 400 * 13);
  EXPECT_NEAR(report->utility[0].nll_before, unlearned->retain_nll_before, 1e-6);
  EXPECT_NEAR(report->utility[0].nll_after, unlearned->retain_nll_after, 1e-6);

  const auto again = RunAttacks(request);
  ASSERT_TRUE(again.ok());
  for (size_t i = 0; i < report->attacks.size(); ++i) {
    EXPECT_EQ(report->attacks[i].forgotten.after, again->attacks[i].forgotten.after);
    EXPECT_EQ(report->attacks[i].control.before, again->attacks[i].control.before);
  }
}

// Nothing of a plan is lost: it ran, or it stands among what was left out, with a reason.
TEST(RunAttacks, TheStandardPlanRunsWhole) {
  AttackRequest request = TinyRequest(Tiny().model);
  request.plan = PlanOf("standard");
  request.control.resize(16);
  const auto report = RunAttacks(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_EQ(report->attacks.size() + report->left_out.size(), request.plan.size());
  for (const LeftOut& left : report->left_out) {
    EXPECT_NE(left.reason, "BUDGET") << left.attack;
    EXPECT_FALSE(left.reason.empty()) << left.attack;
  }
  for (const AttackOutcome& a : report->attacks) {
    const bool inside = a.attack == "logit_lens" || a.attack == "gradient_norm";
    EXPECT_EQ(a.report_only, inside || a.condition.rfind("relearned-same", 0) == 0) << a.attack;
    if (a.condition.empty() || a.condition.rfind("int", 0) == 0) {
      EXPECT_EQ(a.forgotten.before, a.forgotten.after) << a.attack << "@" << a.condition;
    }
  }
  EXPECT_EQ(report->code_changes.size(), 4U);
}

TEST(RunAttacks, SpansAreTheAimOnlyWhenAllHaveThem) {
  AttackRequest request = TinyRequest(Tiny().model);
  request.plan = {{"loss", {}}};
  request.control[7].sensitive.clear();
  const auto report = RunAttacks(request);
  ASSERT_TRUE(report.ok()) << report.status();
  EXPECT_FALSE(report->on_spans);
}

TEST(RunAttacks, Refusals) {
  const auto reason = [](void (*change)(AttackRequest&)) {
    AttackRequest request = TinyRequest(Tiny().model);
    change(request);
    return ErrorReason(RunAttacks(request).status());
  };
  EXPECT_EQ(reason([](AttackRequest& r) { r.plan = {{"wish", {}}}; }), "UNKNOWN_ATTACK");
  EXPECT_EQ(reason([](AttackRequest& r) { r.plan = {{"min_k", {{"k", 2}}}}; }), "BAD_PARAMETER");
  EXPECT_EQ(reason([](AttackRequest& r) { r.forgotten.clear(); }), "NOTHING_TO_ATTACK");
  EXPECT_EQ(reason([](AttackRequest& r) { r.base_digest = "0"; }), "BASE_CHANGED");
  EXPECT_EQ(reason([](AttackRequest& r) { r.candidate_digest = "0"; }), "CANDIDATE_CHANGED");
  EXPECT_EQ(reason([](AttackRequest& r) { r.control[3].ids[0] = 64; }), "TOKEN_OUT_OF_VOCABULARY");
}

TEST(RunAttacks, StopsWhenTold) {
  int calls = 0;
  const auto report =
      RunAttacks(TinyRequest(Tiny().model), [&](const EngineProgress&) { return ++calls < 4; });
  EXPECT_EQ(ErrorReason(report.status()), "STOPPED");
  EXPECT_EQ(calls, 4);
}

}  // namespace
}  // namespace lethe
