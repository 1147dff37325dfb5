#include "tests/evidence/fabricated.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace lethe {
namespace {

// `count` values of this mean and (population) deviation, evenly
// spaced, in a mixed order that `phase` turns.
double Spaced(double mean, double spread, int i, int count, int phase) {
  if (count == 1) return mean;
  int stride = 7;
  while (count % stride == 0) ++stride;
  const int place = (i * stride + phase) % count;
  return mean + spread * std::sqrt(3.0) * (2.0 * (place + 0.5) / count - 1);
}

void Fill(const Level& level, int count, int phase, double low, double high, v1::BeforeAfter* out) {
  for (int i = 0; i < count; ++i) {
    out->add_before(std::clamp(Spaced(level.before, level.spread, i, count, phase), low, high));
    out->add_after(std::clamp(Spaced(level.after, level.spread, i, count, phase + 3), low, high));
  }
}

v1::AttackResult* Add(v1::Measurements& m, const std::string& name, v1::AttackFamily family,
                      int64_t forward_tokens, double seconds) {
  v1::AttackResult* attack = m.add_attacks();
  attack->set_attack(name);
  attack->set_family(family);
  const bool greedy = name == "greedy_extraction" || name == "memorisation_accuracy";
  attack->set_reach(greedy ? v1::ATTACK_REACH_GREEDY : v1::ATTACK_REACH_DEEPER);
  attack->set_expected_forward_tokens(forward_tokens);
  attack->set_forward_tokens(forward_tokens);
  attack->set_seconds(seconds);
  return attack;
}

void AddScores(v1::Measurements& m, const std::string& name, v1::AttackFamily family,
               const Level& forgotten, const Level& control, int64_t tokens) {
  v1::AttackResult* a = Add(m, name, family, tokens, static_cast<double>(tokens) / 9000);
  Fill(forgotten, m.forgotten_size(), 0, 0, 1, a->mutable_forgotten());
  Fill(control, m.control_tokens_size(), 1, 0, 1, a->mutable_control());
}

// Membership by loss: the score is the negative NLL.
void AddLoss(v1::Measurements& m, const std::string& name, double scale, double shift) {
  v1::AttackResult* a = Add(m, name, v1::ATTACK_FAMILY_MEMBERSHIP, 2100, 0.4);
  const auto score = [&](double nll) { return -scale * nll - shift; };
  for (double nll : m.forgotten_nll().before()) a->mutable_forgotten()->add_before(score(nll));
  for (double nll : m.forgotten_nll().after()) a->mutable_forgotten()->add_after(score(nll));
  for (double nll : m.control_nll().before()) a->mutable_control()->add_before(score(nll));
  for (double nll : m.control_nll().after()) a->mutable_control()->add_after(score(nll));
}

void AddQueries(v1::AttackResult* a) {
  const auto queries = [](double score) {
    if (score > 0.9) return 1.0;
    return score < 0.12 ? 0.0 : std::round(std::pow(10, 6 * (1 - score)));
  };
  v1::AttackDetail* detail = a->add_details();
  detail->set_name("queries_needed");
  for (const auto& [from, to] : {std::pair{&a->forgotten(), detail->mutable_forgotten()},
                                 std::pair{&a->control(), detail->mutable_control()}}) {
    for (double score : from->before()) to->add_before(queries(score));
    for (double score : from->after()) to->add_after(queries(score));
  }
}

void AddUtility(v1::Measurements& m, const std::string& name, v1::TextRole role, double before,
                double after) {
  v1::TextUtility* u = m.add_utility();
  u->set_name(name);
  u->set_role(role);
  u->set_sequences(48);
  u->set_tokens(3360);
  u->set_nll_before(before);
  u->set_nll_after(after);
}

// The model rounded and taught, and what the verifier says of it all.
void AddConditions(v1::Measurements& m, const Truth& t) {
  const auto add = [&](const char* condition, const Level& level) {
    AddScores(m, "greedy_extraction", v1::ATTACK_FAMILY_EXTRACTION, level, t.control_extracted,
              14200);
    v1::AttackResult* a = m.mutable_attacks(m.attacks_size() - 1);
    a->set_condition(condition);
    a->set_reach(v1::ATTACK_REACH_DEEPER);
  };
  add("int4-g128", t.forgotten_rounded);
  for (const int steps : {1, 2, 5, 10}) {
    Level level = t.forgotten_relearned;
    level.after =
        t.forgotten_extracted.after + (level.after - t.forgotten_extracted.after) * steps / 10;
    add(absl::StrCat("relearned-half-", steps).c_str(), level);
  }
  v1::LeftOut* left = m.add_left_out();
  left->set_attack("exposure");
  left->set_reason("the sensitive spans have no format of their own");
  v1::CodeChange* change = m.add_code_changes();
  change->set_condition("int4-g128");
  change->set_share(t.code_change);
  m.set_relearning_rate(1e-5);
  for (int i = 0; i < m.forgotten_size(); ++i) {
    m.add_forgotten_reference_nll(Spaced(3.4 - t.reference_gap, 0.3, i, m.forgotten_size(), 1));
  }
  for (int i = 0; i < m.control_tokens_size(); ++i) {
    m.add_control_reference_nll(Spaced(3.4, 0.3, i, m.control_tokens_size(), 2));
  }
}

// Where the whole plan has what the short one lacks.
void AddExactChance(v1::Measurements& m, const Truth& t) {
  AddScores(m, "exact_extraction", v1::ATTACK_FAMILY_EXTRACTION, t.forgotten_sampled,
            t.control_extracted, 0);
  v1::AttackResult* a = m.mutable_attacks(m.attacks_size() - 1);
  (*a->mutable_parameters())["queries"] = 1000;
  (*a->mutable_parameters())["p"] = 0.9;
  const auto log10_p = [](double score) { return score < 0.02 ? -1e6 : -26 * (1 - score); };
  AddQueries(a);
  v1::AttackDetail* detail = a->add_details();
  detail->set_name("log10_p");
  for (const auto& [from, to] : {std::pair{&a->forgotten(), detail->mutable_forgotten()},
                                 std::pair{&a->control(), detail->mutable_control()}}) {
    for (double score : from->before()) to->add_before(log10_p(score));
    for (double score : from->after()) to->add_after(log10_p(score));
  }
}

void AddAttacksAsItIs(v1::Measurements& m, const Truth& t) {
  constexpr auto kExtraction = v1::ATTACK_FAMILY_EXTRACTION;
  constexpr auto kMemorisation = v1::ATTACK_FAMILY_MEMORISATION;
  AddScores(m, "greedy_extraction", kExtraction, t.forgotten_extracted, t.control_extracted, 14200);
  (*m.mutable_attacks(0)->mutable_parameters())["prefix_quarters"] = 1;
  AddExactChance(m, t);
  for (const char* name : {"sampled_extraction", "beam_extraction", "prefix_shift", "token_drop",
                           "case_noise", "jailbreak_prompt", "few_shot"}) {
    AddScores(m, name, kExtraction, t.forgotten_sampled, t.control_extracted, 41000);
  }
  for (const char* name : {"extraction_likelihood", "memorisation_accuracy"}) {
    AddScores(m, name, kMemorisation, t.forgotten_ma, t.control_ma, 2100);
    m.mutable_attacks(m.attacks_size() - 1)->set_reach(v1::ATTACK_REACH_GREEDY);
  }
  AddScores(m, "extraction_strength", kMemorisation, t.forgotten_sampled, t.control_extracted, 0);
  double shift = 0;
  for (const char* name : {"loss", "zlib", "min_k", "min_k_plus", "reference", "gradient_norm"}) {
    AddLoss(m, name, 1 + shift, shift);
    shift += 0.3;
  }
  AddScores(m, "logit_lens", v1::ATTACK_FAMILY_DIAGNOSTIC, t.forgotten_ma, t.control_ma, 2100);
  AddScores(m, "cross_prompt", kExtraction, t.control_extracted, t.control_extracted, 14200);
  m.mutable_attacks(m.attacks_size() - 1)->set_report_only(true);
  for (const char* condition : {"", "int4-g128", "relearned-half-5"}) {
    v1::LeftOut* left = m.add_left_out();
    left->set_attack("exposure");
    left->set_condition(condition);
    left->set_reason("the sensitive spans have no format of their own");
  }
  v1::LeftOut* left = m.add_left_out();
  left->set_attack("head_projection");
  left->set_reason("BUDGET");
  left->set_expected_forward_tokens(260000);
}

void SetCondition(v1::Measurements& m, const std::string& condition) {
  v1::AttackResult* a = m.mutable_attacks(m.attacks_size() - 1);
  a->set_condition(condition);
  a->set_reach(v1::ATTACK_REACH_DEEPER);
}

void AddRoundings(v1::Measurements& m, const Truth& t) {
  for (const char* condition : {"int8", "int8-g128", "int4", "int4-g128"}) {
    const bool four = condition[3] == '4';
    const Level& level = four ? t.forgotten_rounded : t.forgotten_extracted;
    for (const char* name : {"greedy_extraction", "exact_extraction", "sampled_extraction"}) {
      AddScores(m, name, v1::ATTACK_FAMILY_EXTRACTION, level, t.control_extracted, 14200);
      SetCondition(m, condition);
    }
    AddScores(m, "memorisation_accuracy", v1::ATTACK_FAMILY_MEMORISATION, t.forgotten_ma,
              t.control_ma, 2100);
    SetCondition(m, condition);
    AddLoss(m, "loss", 1, 0);
    SetCondition(m, condition);
    v1::CodeChange* change = m.add_code_changes();
    change->set_condition(condition);
    change->set_share(four ? t.code_change : std::min(1.0, 4 * t.code_change));
  }
}

// Learned anew at the pace of unseen text, or as far as `forgotten_relearned` says.
Level Taught(const Level& from, double to, int steps, bool same) {
  Level level = from;
  const double pace = same ? 12 : 60;
  level.after += (to - from.after) * (1 - std::exp(-steps / pace * 3));
  return level;
}

void AddLessons(v1::Measurements& m, const Truth& t) {
  for (const std::string text : {"half", "related", "unrelated", "same"}) {
    const bool same = text == "same";
    for (const int steps : {1, 2, 5, 10, 20}) {
      const auto add = [&](const char* name, v1::AttackFamily family, const Level& forgotten,
                           const Level& control) {
        const double to = text == "half" ? t.forgotten_relearned.after : same ? 1 : forgotten.after;
        AddScores(m, name, family, Taught(forgotten, to, steps * (same ? 2 : 1), same),
                  Taught(control, same ? 1 : control.after, steps, same), 14200);
        SetCondition(m, absl::StrCat("relearned-", text, "-", steps));
        v1::AttackResult* a = m.mutable_attacks(m.attacks_size() - 1);
        if (!same) return;
        a->set_report_only(true);
        const int compared = std::min(m.forgotten_size(), m.control_tokens_size());
        for (int i = 0; i < compared; ++i) {
          a->add_control_indexes(i * m.control_tokens_size() / compared);
        }
        a->mutable_control()->mutable_before()->Truncate(compared);
        a->mutable_control()->mutable_after()->Truncate(compared);
      };
      for (const char* name : {"greedy_extraction", "exact_extraction"}) {
        add(name, v1::ATTACK_FAMILY_EXTRACTION, t.forgotten_extracted, t.control_extracted);
      }
      if (text == "unrelated") continue;
      add("memorisation_accuracy", v1::ATTACK_FAMILY_MEMORISATION, t.forgotten_ma, t.control_ma);
    }
  }
}

void AddRecords(v1::Measurements& m) {
  v1::RunRecord* run = m.mutable_unlearn_run();
  run->set_method("gradient_ascent");
  run->set_preset("calibrated");
  (*run->mutable_hyperparameters())["learning_rate"] = 5e-5;
  (*run->mutable_hyperparameters())["max_steps"] = 40;
  (*run->mutable_hyperparameters())["retain_weight"] = 1;
  (*run->mutable_hyperparameters())["adam_beta2"] = 0.98;
  run->set_seed(11);
  run->set_stop_reason("targets_reached");
  run->set_steps(6);
  run->set_seconds(41.25);
  v1::RunRecord* verify = m.mutable_verify_run();
  verify->set_method("attacks");
  verify->set_seed(12);
  verify->set_seconds(63.5);
  for (v1::RunRecord* r : {run, verify}) {
    r->set_data_digest(std::string(64, r == run ? 'd' : 'e'));
    r->set_device("cpu");
    r->set_threads(2);
    (*r->mutable_libraries())["torch"] = "2.7.1";
    (*r->mutable_libraries())["tokenizers"] = "0.21.0";
    r->set_lethe_version("0.1.0");
  }
}

}  // namespace

v1::Measurements Fabricate(const Truth& t) {
  v1::Measurements m;
  m.set_model_id("people");
  m.set_job_id("j-0123456789abcdef0123456789abcdef");
  m.set_fence(7);
  m.set_candidate_checkpoint_id("c-11112222333344445555666677778888");
  m.set_candidate_digest(std::string(64, 'a'));
  m.set_base_checkpoint_id("c-99990000aaaabbbbccccddddeeeeffff");
  m.set_base_digest(std::string(64, 'b'));
  m.set_base_generation(3);
  for (int i = 0; i < t.sequences; ++i) {
    v1::ForgottenSequence* f = m.add_forgotten();
    f->set_ticket_id(absl::StrFormat("t-%032x", 0xabc0 + i % t.tickets));
    f->set_index(i / t.tickets);
    f->set_tokens(62 + i % 9);
    f->set_sensitive_tokens(i % 2 == 0 ? 10 : 0);
  }
  for (int i = 0; i < t.control; ++i) m.add_control_tokens(60 + i % 11);
  Fill(t.forgotten_nll, t.sequences, 2, 0, 1e6, m.mutable_forgotten_nll());
  Fill(t.control_nll, t.control, 5, 0, 1e6, m.mutable_control_nll());
  AddScores(m, "greedy_extraction", v1::ATTACK_FAMILY_EXTRACTION, t.forgotten_extracted,
            t.control_extracted, 14200);
  (*m.mutable_attacks(0)->mutable_parameters())["prefix_share"] = 0.5;
  AddScores(m, "sampled_extraction", v1::ATTACK_FAMILY_EXTRACTION, t.forgotten_sampled,
            t.control_extracted, 226000);
  v1::AttackResult* sampled = m.mutable_attacks(1);
  (*sampled->mutable_parameters())["samples"] = 64;
  (*sampled->mutable_parameters())["temperature"] = 1;
  (*sampled->mutable_parameters())["top_k"] = 40;
  (*sampled->mutable_parameters())["p"] = 0.9;
  AddQueries(sampled);
  AddScores(m, "memorisation_accuracy", v1::ATTACK_FAMILY_MEMORISATION, t.forgotten_ma,
            t.control_ma, 2100);
  AddLoss(m, "loss", 1, 0);
  AddLoss(m, "min_k", 2, 0.4);
  (*m.mutable_attacks(4)->mutable_parameters())["k"] = 0.4;
  AddConditions(m, t);
  AddUtility(m, "retain", v1::TEXT_ROLE_RETAIN, t.retain_before, t.retain_after);
  AddUtility(m, "wikitext", v1::TEXT_ROLE_OTHER, t.other_before, t.other_after);
  AddRecords(m);
  return m;
}

v1::Measurements FabricateWholePlan(const Truth& t) {
  v1::Measurements m = Fabricate(t);
  m.clear_attacks();
  m.clear_left_out();
  m.clear_code_changes();
  AddAttacksAsItIs(m, t);
  AddRoundings(m, t);
  AddLessons(m, t);
  m.set_forward_tokens(0);
  for (const v1::AttackResult& a : m.attacks()) {
    m.set_forward_tokens(m.forward_tokens() + a.forward_tokens());
  }
  return m;
}

Truth IdealTruth() { return {}; }

Truth UntouchedTruth() {
  Truth t;
  for (Level* level : {&t.forgotten_nll, &t.control_nll, &t.forgotten_extracted,
                       &t.forgotten_sampled, &t.forgotten_rounded, &t.forgotten_relearned,
                       &t.control_extracted, &t.forgotten_ma, &t.control_ma}) {
    level->after = level->before;
  }
  t.retain_after = t.retain_before;
  t.other_after = t.other_before;
  return t;
}

Truth PlainAscentTruth() {
  Truth t;
  t.sequences = 8;
  t.control = 16;
  t.forgotten_nll = {.before = 0.06, .after = 8.5, .spread = 0.4};
  t.control_nll = {.before = 2.42, .after = 9.05, .spread = 0.4};
  t.forgotten_extracted = {.before = 1.0, .after = 0.025, .spread = 0.02};
  t.control_extracted = {.before = 0.11, .after = 0.025, .spread = 0.02};
  t.forgotten_ma = {.before = 0.982, .after = 0.55, .spread = 0.02};
  t.control_ma = {.before = 0.657, .after = 0.554, .spread = 0.03};
  t.retain_before = 2.40, t.retain_after = 2.45;
  t.other_before = 3.231, t.other_after = 3.237;  // perplexity 25.3 to 25.45: sees nothing
  t.forgotten_sampled = t.forgotten_rounded = t.forgotten_relearned = t.forgotten_extracted;
  return t;
}

Truth OverUnlearnedTruth() {
  Truth t;
  t.forgotten_nll.after = 7.2;
  t.forgotten_extracted.after = 0;
  t.forgotten_ma.after = 0.5;
  t.forgotten_sampled.after = t.forgotten_rounded.after = t.forgotten_relearned.after = 0;
  return t;
}

Truth RetainDamagedTruth() {
  Truth t;
  t.retain_after = 2.3;
  return t;
}

Truth NeverMemorisedTruth() {
  Truth t;
  t.forgotten_nll = {.before = 2.4, .after = 2.43, .spread = 0.2};
  t.forgotten_extracted = {.before = 0.1, .after = 0.09, .spread = 0.04};
  t.forgotten_ma = {.before = 0.65, .after = 0.64, .spread = 0.03};
  t.forgotten_sampled = t.forgotten_rounded = t.forgotten_relearned = t.forgotten_extracted;
  return t;
}

Truth NoPowerTruth() {
  Truth t = NeverMemorisedTruth();
  t.sequences = 8;
  t.forgotten_nll.before = 0.9;  // familiar
  return t;
}

Truth SmallControlTruth() {
  Truth t;
  t.control = 5;
  return t;
}

Truth OtherControlTruth() {
  Truth t;
  t.sequences = 8;
  t.reference_gap = 1.5;
  return t;
}

Truth HiddenTruth() {
  Truth t;
  t.forgotten_sampled.after = 0.9;
  return t;
}

Truth RoundedBackTruth() {
  Truth t;
  t.forgotten_rounded.after = t.forgotten_rounded.before;
  t.code_change = 0.0004;
  return t;
}

Truth RelearnedTruth() {
  Truth t;
  t.forgotten_relearned.after = 0.9;
  return t;
}

Truth CalibratedTruth() {
  Truth t;
  t.sequences = 8;
  t.control = 16;
  t.forgotten_nll = {.before = 0.06, .after = 3.1, .spread = 0.2};
  t.control_nll = {.before = 2.42, .after = 3.1, .spread = 0.3};
  t.forgotten_extracted = {.before = 1.0, .after = 0.11, .spread = 0.05};
  t.control_extracted = {.before = 0.125, .after = 0.075, .spread = 0.05};
  t.forgotten_sampled = t.forgotten_rounded = t.forgotten_relearned = t.forgotten_extracted;
  return t;
}

std::vector<NamedTruth> KnownTruths() {
  return {{"untouched", UntouchedTruth(), v1::OUTCOME_NOT_FORGOTTEN},
          {"ideal", IdealTruth(), v1::OUTCOME_PASS},
          {"hidden", HiddenTruth(), v1::OUTCOME_HIDDEN},
          {"rounded_back", RoundedBackTruth(), v1::OUTCOME_HIDDEN},
          {"relearned", RelearnedTruth(), v1::OUTCOME_HIDDEN},
          {"other_control", OtherControlTruth(), v1::OUTCOME_INCONCLUSIVE},
          {"plain_ascent", PlainAscentTruth(), v1::OUTCOME_DESTROYED},
          {"over_unlearned", OverUnlearnedTruth(), v1::OUTCOME_DESTROYED},
          {"retain_damaged", RetainDamagedTruth(), v1::OUTCOME_DESTROYED},
          {"never_memorised", NeverMemorisedTruth(), v1::OUTCOME_PASS},
          {"no_power", NoPowerTruth(), v1::OUTCOME_INCONCLUSIVE},
          {"small_control", SmallControlTruth(), v1::OUTCOME_INCONCLUSIVE},
          {"calibrated", CalibratedTruth(), v1::OUTCOME_DESTROYED}};
}

}  // namespace lethe
