// Attacks a candidate, its base and nothing else: raw figures, no verdict.
//
//   AttackRequest request{.base_folder = base, .candidate_folder = candidate,
//                         .forgotten = forgotten, .control = control,
//                         .texts = {{"retain", retain}}, .plan = DefaultPlan(), .seed = 7};
//   LETHE_ASSIGN_OR_RETURN(AttackReport report, RunAttacks(request, progress));
//
// Every attack runs on forgotten and on control text, on the base ("before") and on the candidate
// ("after"), with the same random numbers. One double a sequence and phase; higher is more
// memorised, the scale is the catalogue's. Whether an attack had power is for the reader of
// `before` to decide.
//
// Spans      when every forgotten and every control sequence names sensitive spans, extraction,
//            membership and MA are about the spans: the prefix ends where the first span begins,
//            and only span tokens count. Otherwise all tokens behind the prompt count.
// Threads    any thread; two calls at once share the CPU threads of OpenDevice.
// Errors     as Evaluate; INVALID_ARGUMENT: UNKNOWN_ATTACK, BAD_PARAMETER, NOTHING_TO_ATTACK,
//            NOTHING_TO_COMPARE_WITH; FAILED_PRECONDITION: BASE_CHANGED, CANDIDATE_CHANGED,
//            MODEL_NOT_FINITE of the base, CANDIDATE_NOT_FINITE.
#ifndef LETHE_ENGINE_ATTACK_H_
#define LETHE_ENGINE_ATTACK_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/catalog.h"
#include "engine/device.h"
#include "engine/progress.h"
#include "engine/run_record.h"
#include "text/sequence.h"

namespace lethe {

struct AttackSpec {
  std::string attack;         // a name of the catalogue
  ParameterValues overrides;  // of its parameters
};

// Every attack of the catalogue with its default parameters.
std::vector<AttackSpec> DefaultPlan();

struct NamedText {
  std::string name;
  std::vector<Sequence> sequences;
};

struct AttackRequest {
  std::filesystem::path base_folder;
  std::string base_digest;  // checked when not empty; else FAILED_PRECONDITION/BASE_CHANGED
  std::filesystem::path candidate_folder;
  std::string candidate_digest;  // likewise; CANDIDATE_CHANGED
  std::vector<Sequence> forgotten;
  std::vector<Sequence> control;  // same kind, never trained on
  std::vector<NamedText> texts;   // whose likelihood is measured: retain, control, others
  std::vector<AttackSpec> plan;
  uint64_t seed = 0;
  std::string digest_key;
  Device device;
};

struct BeforeAfter {
  std::vector<double> before;  // one a sequence, in the order of the request
  std::vector<double> after;
};

struct AttackOutcome {
  std::string attack;
  ParameterValues parameters;  // every one that was used
  AttackFamily family = AttackFamily::kExtraction;
  bool on_spans = false;
  BeforeAfter forgotten;
  BeforeAfter control;
  // sampled_extraction only: draws needed for a chance of p to see the exact suffix (span) once; 0:
  // never. One a forgotten sequence.
  BeforeAfter queries_needed;
  int64_t forward_tokens = 0;
  double seconds = 0;
};

struct TextUtility {
  std::string name;
  int64_t sequences = 0;
  int64_t tokens = 0;     // predicted
  double nll_before = 0;  // nats a token over the whole set
  double nll_after = 0;
};

struct AttackReport {
  std::vector<AttackOutcome> attacks;  // in the order of the plan
  std::vector<TextUtility> utility;    // in the order of `texts`
  BeforeAfter forgotten_nll;           // nats a token: on the spans when `on_spans`
  BeforeAfter control_nll;
  bool on_spans = false;
  RunRecord run;
};

absl::StatusOr<AttackReport> RunAttacks(const AttackRequest& request,
                                        const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_H_
