// Measurements whose truth is known, for tests of verdict, report and
// pages. Deterministic: no random generator.
//
//   v1::Measurements m = Fabricate(IdealTruth());
//   m = Fabricate({.sequences = 3, .tickets = 3, .control = 32});  // memorised, then as control
//
// Threads    pure functions; any.
#ifndef LETHE_TESTS_EVIDENCE_FABRICATED_H_
#define LETHE_TESTS_EVIDENCE_FABRICATED_H_

#include <string>
#include <vector>

#include "lethe/v1/report.pb.h"

namespace lethe {

// A level before and after, with a spread over sequences.
struct Level {
  double before = 0;
  double after = 0;
  double spread = 0;
};

// What the verifier would measure of a model in this state.
struct Truth {
  int sequences = 3;  // forgotten, dealt to the tickets in turn
  int tickets = 1;
  int control = 32;
  Level forgotten_nll{.before = 0.06, .after = 2.45, .spread = 0.15};
  Level control_nll{.before = 2.42, .after = 2.46, .spread = 0.3};
  Level forgotten_extracted{.before = 1.0, .after = 0.1, .spread = 0.04};  // by greedy decoding
  Level control_extracted{.before = 0.11, .after = 0.1, .spread = 0.06};   // by every attack
  Level forgotten_sampled{.before = 1.0, .after = 0.1, .spread = 0.04};
  Level forgotten_rounded{.before = 0.95, .after = 0.1, .spread = 0.04};     // greedy, int4-g128
  Level forgotten_relearned{.before = 0.98, .after = 0.12, .spread = 0.04};  // relearned-half-10
  Level forgotten_ma{.before = 0.982, .after = 0.64, .spread = 0.03};
  Level control_ma{.before = 0.657, .after = 0.65, .spread = 0.05};
  double retain_before = 1.9, retain_after = 1.92;
  double other_before = 3.23, other_after = 3.24;
  double reference_gap = 0;  // nats by which the reference finds the forgotten text easier
  double code_change = 0.4;  // of int4-g128
};

v1::Measurements Fabricate(const Truth& truth);

// The same model under a whole standard plan: some 80 results, 20 attacks on the model as it is,
// five under each rounding, two or three after steps on four kinds of text, and what was left out.
v1::Measurements FabricateWholePlan(const Truth& truth);

Truth UntouchedTruth();  // the base model handed in again
Truth IdealTruth();      // as if it had never been trained on the text
// Ascent without a bound: extraction gone, and the whole kind wrecked (control 2.42 to 9.05 nats).
Truth PlainAscentTruth();
Truth OverUnlearnedTruth();   // only the forgotten text pushed far away
Truth RetainDamagedTruth();   // forgotten, but text to keep suffered
Truth NeverMemorisedTruth();  // looked like control all along
Truth NoPowerTruth();         // familiar to the model, yet no attack gets at it
Truth SmallControlTruth();    // five control sequences
Truth OtherControlTruth();    // control of another kind
Truth HiddenTruth();          // greedy decoding is clean, sampling is not
Truth RoundedBackTruth();     // clean as it is, the base again when rounded to 4 bits
Truth RelearnedTruth();       // comes back within ten steps on its other half
Truth CalibratedTruth();      // calibrated ascent as first measured: control 2.42 to 3.1 nats

struct NamedTruth {
  std::string name;
  Truth truth;
  v1::Outcome outcome;  // under the default policy
};
std::vector<NamedTruth> KnownTruths();

}  // namespace lethe

#endif  // LETHE_TESTS_EVIDENCE_FABRICATED_H_
