#include "evidence/control_gates.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "absl/strings/str_cat.h"
#include "evidence/gate.h"
#include "evidence/sentences.h"
#include "evidence/statistics.h"

namespace lethe::evidence {
namespace {

// The last sentence hangs on the result.
v1::Gate Ended(v1::Gate gate, const char* held, const char* failed) {
  absl::StrAppend(gate.mutable_sentence(), gate.result() == v1::GATE_RESULT_PASS ? held : failed);
  return gate;
}

}  // namespace

ControlGates::ControlGates(const v1::Measurements& m, const v1::VerdictPolicy& policy,
                           double chance)
    : m_(m), p_(policy), chance_(chance), enough_(m.control_tokens_size() >= policy.min_control()) {
  const std::vector<v1::Gate> alike = Alike();
  comparable_ = enough_ && std::all_of(alike.begin(), alike.end(), [](const v1::Gate& gate) {
                  return gate.result() == v1::GATE_RESULT_PASS;
                });
}

v1::Gate ControlGates::Enough() const {
  const int control = m_.control_tokens_size();
  std::string chosen;
  if (m_.holdout_sequences() > control) {
    chosen = absl::StrCat(", those of ", m_.holdout_sequences(),
                          " held out that are most like it in length and to an n-gram model");
  }
  return Ended(
      MakeGate("measured.control", control, p_.min_control(), true, v1::OUTCOME_INCONCLUSIVE,
               absl::StrCat("The forgotten text was compared with ",
                            Count(static_cast<size_t>(control), "sequence", "sequences"),
                            " of the same kind that the model never saw", chosen,
                            "; the policy wants ", p_.min_control(), ". ")),
      "That is enough to compare.", "Too few to compare with: nothing can be said of forgetting.");
}

std::vector<v1::Gate> ControlGates::Alike() const {
  std::vector<v1::Gate> gates;
  if (!enough_) return gates;
  if (!m_.forgotten_reference_nll().empty()) gates.push_back(Kind());
  if (m_.holdout_sequences() > 0) gates.push_back(Length());
  return gates;
}

// Under a reference that saw neither, text of one kind is equally likely: how far the means of
// forgotten and control text lie apart, nats a token, and how far they may.
v1::Gate ControlGates::Kind() const {
  const Values forgotten(m_.forgotten_reference_nll().begin(), m_.forgotten_reference_nll().end());
  const Values control(m_.control_reference_nll().begin(), m_.control_reference_nll().end());
  const double tail = chance_ / 2;  // they may lie apart either way
  const double noise = chance_ < 1 ? StudentQuantile(tail, control.size() - 1) *
                                         MeanDifferenceError(forgotten.size(), control)
                                   : 0;
  const double margin = p_.control_kind_sds() * StandardDeviation(control);
  const double allowed = std::max({margin, noise, p_.negligible_nats()});
  return Ended(
      MakeGate(
          "measured.control_kind", std::abs(Mean(forgotten) - Mean(control)), allowed, false,
          v1::OUTCOME_INCONCLUSIVE,
          absl::StrCat("An n-gram model of the text to keep, which saw neither, gives the "
                       "forgotten text ",
                       Figure(Mean(forgotten)), " nats a token and control ", Figure(Mean(control)),
                       "; a difference of ", Figure(allowed), " is allowed. ")),
      "They are of one kind, as far as it can see.",
      "Control is easier or harder than the forgotten text, so a comparison with it could decide "
      "either way by that alone: register a holdout set of the forgotten text's kind.");
}

// How many times as many tokens the longer of the two have, in the mean.
v1::Gate ControlGates::Length() const {
  Values lengths;
  for (const v1::ForgottenSequence& s : m_.forgotten()) lengths.push_back(s.tokens());
  const double forgotten = Mean(lengths);
  const double control = Mean({m_.control_tokens().begin(), m_.control_tokens().end()});
  const double ratio = std::max(forgotten, control) / std::max(1.0, std::min(forgotten, control));
  return Ended(
      MakeGate("measured.control_length", ratio, p_.control_length_ratio(), false,
               v1::OUTCOME_INCONCLUSIVE,
               absl::StrCat("A forgotten sequence has ", Figure(forgotten),
                            " tokens in the mean and one of control ", Figure(control),
                            "; a factor of ", Figure(p_.control_length_ratio()), " is allowed. ")),
      "They are of about one length.",
      "A short text is easier to say whole than a long one, so a comparison could decide by that "
      "alone: register a holdout set of the forgotten text's length.");
}

}  // namespace lethe::evidence
