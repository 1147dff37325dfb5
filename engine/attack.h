// Attacks a candidate, its base and nothing else: raw figures, no verdict.
//
//   AttackRequest request{.base_folder = base, .candidate_folder = candidate,
//                         .forgotten = forgotten, .control = control,
//                         .texts = {{"retain", retain}}, .plan = PlanOf("standard"), .seed = 7};
//   LETHE_ASSIGN_OR_RETURN(AttackReport report, RunAttacks(request, progress));
//
// Every attack runs on forgotten and on control text, on the base ("before") and on the candidate
// ("after"), with the same random numbers. One double a sequence and phase; higher is more
// memorised, the scale is the catalogue's. Whether an attack had power is for the reader of
// `before` to decide. A spec may name a condition (condition.h) that both models are brought into
// first. What cannot be tried on these sequences (too short, no spans, no tokenizer) or would go
// beyond the budget stands in `left_out` with its reason; it is never passed over in silence.
//
// Ensembles  are attacked as what is deployed, the mean of the members; attacks that look inside look
//            into each of them, rounding rounds each, relearning teaches all by the mean's loss.
// Spans      when every forgotten and every control sequence names sensitive spans, extraction,
//            membership and MA are about the spans: the prefix ends where the first span begins,
//            and only span tokens count. Otherwise all tokens behind the prompt count.
// Threads    any thread; two calls at once share the CPU threads of OpenDevice.
// Errors     as Evaluate; INVALID_ARGUMENT: UNKNOWN_ATTACK, BAD_PARAMETER, NOTHING_TO_ATTACK,
//            NOTHING_TO_COMPARE_WITH,
//            UNKNOWN_CONDITION; FAILED_PRECONDITION: BASE_CHANGED, CANDIDATE_CHANGED,
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
  std::string condition;      // of the model, as in condition.h; empty: as it is
  bool report_only = false;   // not to be judged; carried to the outcome
};

// A plan of the catalogue; empty for a name that it does not have.
std::vector<AttackSpec> PlanOf(std::string_view plan);
// Its first plan.
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
  // Forward tokens that may be spent, as expected before an attack runs; 0: no limit. Rows of the
  // plan that would go beyond it are left out, from the plan's end.
  int64_t max_forward_tokens = 0;
  // Where what is done is kept, one small file for each attack and model, so that a run that was
  // killed goes on where it was. Figures only. Empty: nothing is kept.
  std::filesystem::path resume_folder;
  uint64_t seed = 0;
  std::string digest_key;
  Device device;
};

struct BeforeAfter {
  std::vector<double> before;  // one a sequence, in the order of the request
  std::vector<double> after;
};

// A further figure of an attack, one a sequence: "queries_needed", "exact_match".
struct AttackDetail {
  std::string name;
  BeforeAfter forgotten;
  BeforeAfter control;
};

struct AttackOutcome {
  std::string attack;
  std::string condition;       // empty: the model as it is
  ParameterValues parameters;  // every one that was used
  AttackFamily family = AttackFamily::kExtraction;
  AttackReach reach = AttackReach::kGreedy;  // kDeeper under every condition but "as it is"
  bool report_only = false;
  bool on_spans = false;
  BeforeAfter forgotten;
  BeforeAfter control;
  // Which of the request's controls the lists above and the details' are about; empty: all.
  std::vector<size_t> control_indexes;
  std::vector<AttackDetail> details;
  double relearn_step_size = 0;  // Adam's, of a relearned model; chosen on the base, used on both
  int64_t expected_forward_tokens = 0;  // as said before it ran
  int64_t forward_tokens = 0;
  double seconds = 0;
};

struct LeftOut {
  std::string attack;
  std::string condition;
  std::string reason;  // "BUDGET", or why it cannot be tried on this text
  int64_t expected_forward_tokens = 0;
};

struct TextUtility {
  std::string name;
  int64_t sequences = 0;
  int64_t tokens = 0;     // predicted
  double nll_before = 0;  // nats a token over the whole set
  double nll_after = 0;
};

// What rounding leaves of a change: where few codes differ, the quantised candidate is the
// quantised base.
struct CodeChange {
  std::string condition;
  double share = 0;  // of the rounded weights: those whose code the candidate has changed
};

struct AttackReport {
  std::vector<AttackOutcome> attacks;  // in the order of the plan
  std::vector<LeftOut> left_out;
  // One a quantised condition of the plan; none where the two are ensembles of different sizes.
  std::vector<CodeChange> code_changes;
  std::vector<TextUtility> utility;  // in the order of `texts`
  BeforeAfter forgotten_nll;         // nats a token: on the spans when `on_spans`
  BeforeAfter control_nll;
  // Nats a token under a trigram model of the text named "retain" (metric/ngram_reference.h), which
  // has seen neither; on the spans when `on_spans`. Empty without such a text.
  std::vector<double> forgotten_reference_nll;
  std::vector<double> control_reference_nll;
  bool on_spans = false;
  RunRecord run;
};

// What RunAttacks would do, and what each attack is expected to cost (attack_cost.h); reads no
// model. Errors: INVALID_ARGUMENT as RunAttacks.
struct ExpectedAttack {
  std::string attack;
  std::string condition;
  int64_t forward_tokens = 0;
  bool left_out = false;  // it would go beyond the budget
};
absl::StatusOr<std::vector<ExpectedAttack>> ExpectAttacks(const AttackRequest& request);

absl::StatusOr<AttackReport> RunAttacks(const AttackRequest& request,
                                        const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_H_
