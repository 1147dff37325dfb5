#include "evidence/verdict.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "evidence/comparison.h"
#include "evidence/control_gates.h"
#include "evidence/gate.h"
#include "evidence/policy.h"
#include "evidence/sentences.h"

namespace lethe {
namespace {

using evidence::Allowance;
using evidence::Comparison;
using evidence::Count;
using evidence::Figure;
using evidence::Find;
using evidence::Finding;
using evidence::MakeGate;
using evidence::Rule;

evidence::Values ValuesOf(const google::protobuf::RepeatedField<double>& list) {
  return evidence::Values(list.begin(), list.end());
}

// A comparison with what it found on all sequences.
struct Judged {
  Comparison comparison;
  Finding before;
  Finding after;
  // It would have failed before unlearning: there was something to find.
  bool power() const { return !before.held; }
};

v1::Outcome FailureOf(const Comparison& comparison) {
  if (!evidence::IsAboutForgetting(comparison.rule)) return v1::OUTCOME_DESTROYED;
  return comparison.greedy ? v1::OUTCOME_NOT_FORGOTTEN : v1::OUTCOME_HIDDEN;
}

v1::Gate ComparisonGate(const Judged& j) {
  const bool forgetting = evidence::IsAboutForgetting(j.comparison.rule);
  v1::Gate gate = MakeGate(j.comparison.name, j.after.value, j.after.limit, j.after.at_least,
                           FailureOf(j.comparison), "");
  if (j.after.held && forgetting && !j.power()) gate.set_result(v1::GATE_RESULT_NO_POWER);
  gate.set_sentence(evidence::ComparisonSentence(j.comparison, j.before, j.after, gate.result()));
  return gate;
}

// Everything one verdict needs while it is made.
class Judge {
 public:
  Judge(const v1::Measurements& m, v1::VerdictPolicy policy)
      : m_(m),
        p_(std::move(policy)),
        control_(m_, p_, EvenShare(evidence::Comparisons(m_).size())) {
    for (int i = 0; i < m_.forgotten_size(); ++i) {
      everything_.push_back(static_cast<size_t>(i));
      tickets_[m_.forgotten(i).ticket_id()].push_back(static_cast<size_t>(i));
    }
  }

  v1::Verdict Run() {
    if (control_.comparable()) JudgeComparisons();
    AddMeasuredAtAll();
    AddComparisons(true);
    AddComparisons(false);
    AddControlDamage();
    AddTextDamage();
    JudgeTickets();
    verdict_.set_outcome(OutcomeOfGates());
    verdict_.set_summary(
        evidence::Summary(verdict_, everything_.size(), tickets_.size(), nothing_to_forget_));
    return std::move(verdict_);
  }

 private:
  double EvenShare(size_t comparisons) const {
    return p_.false_alarm() < 1 ? p_.false_alarm() / static_cast<double>(comparisons) : 1;
  }

  // The policy's false alarms are shared evenly among all comparisons, and again among tickets and
  // sequences where each is judged. Then, among those about too little forgetting and among those
  // about too much, Holm's step-down: what k failed ones do not need any more falls to the others
  // of their kind, which may make more of them fail.
  void JudgeComparisons() {
    const std::vector<Comparison> all = evidence::Comparisons(m_);
    const bool noise = p_.false_alarm() < 1;
    const double share = EvenShare(all.size());
    unstepped_ = MakeLimits(share);
    strict_ = evidence::MakeAllowance(p_, p_.false_alarm(), everything_.size(),
                                      static_cast<size_t>(m_.control_tokens_size()),
                                      {everything_.size()});
    strict_.policy.set_membership_margin(0);
    for (const bool forgetting : {true, false}) {
      size_t count = 0, failed = 0;
      for (const Comparison& c : all) count += evidence::IsAboutForgetting(c.rule) == forgetting;
      Limits& limits = forgetting ? forgetting_ : overdone_;
      for (;;) {
        const double left = static_cast<double>(count) / static_cast<double>(count - failed);
        limits = failed == 0 ? unstepped_ : MakeLimits(noise ? std::min(1.0, share * left) : 1);
        const size_t now = Failures(all, forgetting, limits.whole);
        if (now <= failed || now == count) break;
        failed = now;
      }
    }
    for (const Comparison& c : all) {
      const Allowance& allowance = LimitsFor(c).whole;
      const Finding before = Find(c, c.before, everything_, allowance);
      const Finding after = Find(c, c.after, everything_, allowance);
      judged_.push_back({c, before, after});
    }
  }

  size_t Failures(const std::vector<Comparison>& all, bool forgetting,
                  const Allowance& allowance) const {
    return static_cast<size_t>(std::count_if(all.begin(), all.end(), [&](const Comparison& c) {
      return evidence::IsAboutForgetting(c.rule) == forgetting &&
             !Find(c, c.after, everything_, allowance).held;
    }));
  }

  // Limits for all sequences together and for one ticket of many.
  struct Limits {
    Allowance whole;
    Allowance each;
  };

  Limits MakeLimits(double chance) const {
    const double ticket = chance < 1 ? chance / static_cast<double>(tickets_.size()) : 1;
    const size_t all = everything_.size();
    const auto control = static_cast<size_t>(m_.control_tokens_size());
    std::set<size_t> sizes;
    for (const auto& [id, which] : tickets_) sizes.insert(which.size());
    return {evidence::MakeAllowance(p_, chance, all, control, {all}),
            evidence::MakeAllowance(p_, ticket, all, control, sizes)};
  }

  const Limits& LimitsFor(const Comparison& c) const {
    return evidence::IsAboutForgetting(c.rule) ? forgetting_ : overdone_;
  }

  void AddMeasuredAtAll() {
    *verdict_.add_gates() = control_.Enough();
    int retain = 0;
    for (const v1::TextUtility& u : m_.utility()) retain += u.role() == v1::TEXT_ROLE_RETAIN;
    *verdict_.add_gates() = MakeGate(
        "measured.retain", retain, 1, true, v1::OUTCOME_INCONCLUSIVE,
        retain > 0 ? "The likelihood of text that must be kept was measured before and after."
                   : "The likelihood of text that must be kept was not measured, so damage to it "
                     "cannot be ruled out.");
    for (v1::Gate& gate : control_.Alike()) *verdict_.add_gates() = std::move(gate);
    if (control_.comparable()) AddPowerGate();
  }

  void AddPowerGate() {
    std::set<int> attacks;
    for (const Judged& j : judged_) {
      if (j.comparison.extracts && j.power()) attacks.insert(j.comparison.attack);
    }
    const int powerful = static_cast<int>(attacks.size());
    v1::Gate gate = MakeGate("measured.power", powerful, p_.min_powerful_attacks(), true,
                             v1::OUTCOME_INCONCLUSIVE, "");
    std::string found = absl::StrCat(
        powerful == 1 ? "1 extraction or memorisation attack"
                      : absl::StrCat(powerful, " extraction or memorisation attacks"),
        " got more from the forgotten text than from control before unlearning; the policy wants ",
        p_.min_powerful_attacks(), ". ");
    if (gate.result() == v1::GATE_RESULT_PASS) {
      absl::StrAppend(
          &found,
          powerful > 0
              ? "Where they find no more than in control now, that is evidence of forgetting."
              : "None was asked for.");
    } else if (LookedLikeControl()) {
      nothing_to_forget_ = true;
      gate.set_result(v1::GATE_RESULT_NO_POWER);
      absl::StrAppend(&found,
                      "By every comparison the forgotten text looked like unseen text "
                      "before unlearning already: there was nothing to forget.");
    } else {
      absl::StrAppend(&found,
                      "The forgotten text was familiar to the model before, but too few "
                      "attacks could get at it to show that it is gone.");
    }
    gate.set_sentence(std::move(found));
    *verdict_.add_gates() = std::move(gate);
  }

  // Before unlearning nothing told the forgotten text from control: no comparison had
  // power, and without the policy's margins, chance alone allowed for, neither membership
  // nor the mean likelihood did.
  bool LookedLikeControl() const {
    for (const Judged& j : judged_) {
      if (!evidence::IsAboutForgetting(j.comparison.rule)) continue;
      if (j.power()) return false;
      if (j.comparison.rule == Rule::kMember &&
          !Find(j.comparison, j.comparison.before, everything_, strict_).held) {
        return false;
      }
      if (j.comparison.rule != Rule::kLikely) continue;
      const evidence::Moment& before = j.comparison.before;
      const double chance =
          strict_.mean_t * evidence::MeanDifferenceError(everything_.size(), before.control.values);
      const double allowed = std::max(chance, p_.negligible_nats());
      if (!evidence::Holds(evidence::Mean(before.forgotten), before.control.mean - allowed, true)) {
        return false;
      }
    }
    return true;
  }

  void AddComparisons(bool forgetting) {
    for (const Judged& j : judged_) {
      if (evidence::IsAboutForgetting(j.comparison.rule) == forgetting) {
        *verdict_.add_gates() = ComparisonGate(j);
      }
    }
  }

  // What unlearning did to unseen text of the kind, two-sided.
  void AddControlDamage() {
    if (!control_.enough()) return;
    const evidence::Values before = ValuesOf(m_.control_nll().before());
    const evidence::Values after = ValuesOf(m_.control_nll().after());
    AddLikelihood("collateral.control.nll", "Unseen control text", evidence::Mean(before),
                  evidence::Mean(after), p_.control_change(), true);
    for (const Judged& j : judged_) {
      const bool as_it_is =
          j.comparison.attack >= 0 && m_.attacks(j.comparison.attack).condition().empty();
      if (j.comparison.rule == Rule::kMean && as_it_is) AddControlScore(j.comparison);
    }
  }

  void AddControlScore(const Comparison& c) {
    const evidence::Values& before = c.before.control.values;
    evidence::Values moves = c.after.control.values;
    for (size_t i = 0; i < moves.size(); ++i) moves[i] -= before[i];
    const double moved = std::abs(evidence::Mean(moves));
    const double chance = unstepped_.whole.mean_t * evidence::StandardDeviation(moves) /
                          std::sqrt(static_cast<double>(moves.size()));
    const double allowed = std::max(p_.control_score_change(), chance);
    const bool held = evidence::Holds(moved, allowed, false);
    *verdict_.add_gates() =
        MakeGate(absl::StrCat("collateral.control.", evidence::AttackLabel(m_, c.attack)), moved,
                 allowed, false, v1::OUTCOME_DESTROYED,
                 absl::StrCat(c.title, " got ", Figure(c.before.control.mean),
                              " of unseen control text before and ", Figure(c.after.control.mean),
                              " now; a move of ", Figure(allowed), " is allowed. ",
                              held ? "The model treats unseen text of the kind as before."
                                   : "The model treats the whole kind of text differently now."));
  }

  void AddTextDamage() {
    for (const v1::TextUtility& u : m_.utility()) {
      const std::string quoted = absl::StrCat(" '", u.name(), "'");
      const std::string gate = absl::StrCat("collateral.text.", u.name());
      switch (u.role()) {
        case v1::TEXT_ROLE_RETAIN:
          AddLikelihood(gate, "Retain text" + quoted, u.nll_before(), u.nll_after(),
                        p_.retain_rise(), false);
          break;
        case v1::TEXT_ROLE_CONTROL:
          if (control_.enough()) {
            AddLikelihood(gate, "Control text" + quoted, u.nll_before(), u.nll_after(),
                          p_.control_change(), true);
          }
          break;
        default:
          AddLikelihood(gate, "Other text" + quoted, u.nll_before(), u.nll_after(), p_.other_rise(),
                        false);
      }
    }
  }

  void AddLikelihood(std::string name, const std::string& set, double before, double after,
                     double share, bool both_ways) {
    const double moved = both_ways ? std::abs(after - before) : after - before;
    const double allowed = std::max(share * before, p_.negligible_nats());
    *verdict_.add_gates() =
        MakeGate(std::move(name), moved, allowed, false, v1::OUTCOME_DESTROYED,
                 evidence::LikelihoodSentence(set, before, after, allowed, both_ways,
                                              evidence::Holds(moved, allowed, false)));
  }

  // Whether a comparison holds for a ticket's own sequences. Where all sequences together failed, a
  // ticket on the wrong side of that limit is part of the failure; else the ticket gets the wider
  // limit of its fewer sequences, and of its being one of many.
  bool HoldsFor(const Judged& j, const std::vector<size_t>& which) const {
    const Finding own = Find(j.comparison, j.comparison.after, which, LimitsFor(j.comparison).each);
    return j.after.held ? own.held : evidence::Holds(own.value, j.after.limit, own.at_least);
  }

  v1::TicketOutcome JudgeTicket(const std::string& id, const std::vector<size_t>& which) const {
    v1::TicketOutcome ticket;
    ticket.set_ticket_id(id);
    size_t comparisons = 0;
    size_t before = 0;
    std::vector<std::string> stands_out;
    std::vector<std::string> hidden;
    std::vector<std::string> overdone;
    for (const Judged& j : judged_) {
      const bool forgetting = evidence::IsAboutForgetting(j.comparison.rule);
      if (forgetting) {
        ++comparisons;
        before +=
            !Find(j.comparison, j.comparison.before, which, LimitsFor(j.comparison).each).held;
      }
      if (HoldsFor(j, which)) continue;
      (!forgetting           ? overdone
       : j.comparison.greedy ? stands_out
                             : hidden)
          .push_back(j.comparison.name);
    }
    const std::string its = absl::StrCat(" its ", Count(which.size(), "sequence", "sequences"));
    if (!overdone.empty()) {
      ticket.set_outcome(v1::OUTCOME_DESTROYED);
      ticket.set_sentence(absl::StrCat("Overdone:", its,
                                       " can be recognised by being less likely "
                                       "than unseen text (",
                                       overdone[0], ")."));
    } else if (!stands_out.empty()) {
      ticket.set_outcome(v1::OUTCOME_NOT_FORGOTTEN);
      ticket.set_sentence(absl::StrCat("Not forgotten: ", stands_out.size(), " of ", comparisons,
                                       " comparisons still tell", its, " from unseen text (",
                                       stands_out[0], stands_out.size() > 1 ? ", …)." : ")."));
    } else if (!hidden.empty()) {
      ticket.set_outcome(v1::OUTCOME_HIDDEN);
      ticket.set_sentence(absl::StrCat(
          "Hidden: greedy decoding does not show", its, ", but ", hidden.size(), " deeper ",
          hidden.size() == 1 ? "comparison still tells" : "comparisons still tell",
          which.size() == 1 ? " it" : " them", " from unseen text (", hidden[0],
          hidden.size() > 1 ? ", …)." : ")."));
    } else if (Undecided()) {
      ticket.set_outcome(v1::OUTCOME_INCONCLUSIVE);
      ticket.set_sentence(absl::StrCat("Undecided: the measurements cannot tell whether", its,
                                       which.size() == 1 ? " is" : " are", " forgotten."));
    } else {
      ticket.set_outcome(v1::OUTCOME_PASS);
      ticket.set_sentence(absl::StrCat("Forgotten: ", before, " of ", comparisons,
                                       " comparisons told", its,
                                       " from unseen text before unlearning, none does now."));
    }
    return ticket;
  }

  // Nothing is known of forgetting: no control, or no attack that could have shown it.
  bool Undecided() const {
    if (!control_.comparable()) return true;
    for (const v1::Gate& gate : verdict_.gates()) {
      if (gate.name() == "measured.power") return gate.result() == v1::GATE_RESULT_FAIL;
    }
    return false;
  }

  void JudgeTickets() {
    std::map<v1::Outcome, int> count;
    for (const auto& [id, which] : tickets_) {
      *verdict_.add_tickets() = JudgeTicket(id, which);
      ++count[verdict_.tickets(verdict_.tickets_size() - 1).outcome()];
    }
    if (!control_.comparable() || tickets_.size() < 2) return;
    const auto add = [&](const char* name, v1::Outcome outcome, const char* what) {
      *verdict_.add_gates() =
          MakeGate(name, count[outcome], 0, false, outcome,
                   absl::StrCat("Judged alone, each by its own sequences, ", count[outcome], " of ",
                                Count(tickets_.size(), "ticket", "tickets"), what,
                                " None may: a promotion completes them all."));
    };
    add("tickets.forgotten", v1::OUTCOME_NOT_FORGOTTEN, " still stand out from unseen text.");
    add("tickets.not_hidden", v1::OUTCOME_HIDDEN, " are hidden rather than forgotten.");
    add("tickets.not_overdone", v1::OUTCOME_DESTROYED, " became strangely unfamiliar.");
  }

  v1::Outcome OutcomeOfGates() const {
    for (v1::Outcome outcome : {v1::OUTCOME_DESTROYED, v1::OUTCOME_NOT_FORGOTTEN,
                                v1::OUTCOME_HIDDEN, v1::OUTCOME_INCONCLUSIVE}) {
      for (const v1::Gate& gate : verdict_.gates()) {
        if (gate.result() == v1::GATE_RESULT_FAIL && gate.failure() == outcome) return outcome;
      }
    }
    return v1::OUTCOME_PASS;
  }

  const v1::Measurements& m_;
  const v1::VerdictPolicy p_;
  const evidence::ControlGates control_;
  std::vector<size_t> everything_;
  std::map<std::string, std::vector<size_t>>
      tickets_;        // by id, so that the order of input does not matter
  Limits unstepped_;   // an even share for each comparison
  Limits forgetting_;  // after Holm's steps, for comparisons about too little forgetting
  Limits overdone_;    // and about too much
  // for "looked like control to begin with": no margin for membership, noise alone
  Allowance strict_;
  std::vector<Judged> judged_;
  bool nothing_to_forget_ = false;
  v1::Verdict verdict_;
};

absl::Status CheckRequired(const v1::Measurements& m, const v1::VerdictPolicy& policy) {
  std::set<std::string> ran;
  for (const v1::AttackResult& a : m.attacks()) ran.insert(AttackId(a.attack(), a.condition()));
  for (const v1::LeftOut& left : m.left_out())
    ran.insert(AttackId(left.attack(), left.condition()));
  std::string missing;
  for (const std::string& name : policy.required_attacks()) {
    if (ran.count(name) == 0) absl::StrAppend(&missing, missing.empty() ? "" : ", ", name);
  }
  if (missing.empty()) return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "REPORT_MALFORMED",
               absl::StrCat("the policy wants attacks that did not run: ", missing),
               {{"missing", missing}});
}

}  // namespace

absl::StatusOr<v1::Verdict> ComputeVerdict(const v1::Measurements& measurements,
                                           const v1::VerdictPolicy& policy) {
  LETHE_RETURN_IF_ERROR(ValidatePolicy(policy));
  LETHE_RETURN_IF_ERROR(ValidateMeasurements(measurements));
  LETHE_RETURN_IF_ERROR(CheckRequired(measurements, policy));
  return Judge(measurements, WithDefaults(policy)).Run();
}

}  // namespace lethe
