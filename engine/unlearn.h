// Makes a candidate checkpoint that has forgotten.
//
//   UnlearnRequest request{.base_folder = base, .out_folder = candidate,
//                          .forget = forget, .retain = retain,
//                          .method = "gradient_ascent", .preset = "calibrated",
//                          .thresholds = thresholds, .seed = 7};
//   LETHE_ASSIGN_OR_RETURN(UnlearnResult result, Unlearn(request, progress));
//   result.run.stop_reason;   // "thresholds_reached"
//
// Guarantee  `out_folder` appears whole (Hugging Face folder and lethe.json, synced) or not at all;
//            what was in its parent before is untouched. The same request gives the same folder
//            digest: bit for bit on a CPU with the same number of threads, so a run that was killed
//            or stopped simply starts again from the base.
// Stops      "thresholds_reached"  mean MA and mean EL_n are under those of unseen text, and with a
//                                  bounded preset every sequence has arrived at its target
//            "targets_reached"     every sequence has, and MA or EL_n come down no further:
//                                  templates are everybody's
//            "settled"             leave-one-out alone: neither, and the distance from the teachers
//                                  no longer falls; the verifier decides
//            "max_steps"           not so; the best state so far is written, and the verifier
//                                  decides
//            "stalled"             likewise: no step, however small, went without overshooting or
//                                  harming kept text
// Teachers   of leave_one_out (teacher.h): the student learns, on what is to be forgotten, to say what
//            those say that never saw it. Reached is then, with kept text whole,
//              "thresholds_reached"  mean MA and EL_n as above, and no passage of a sequence is more
//                                    than e^passage_nats times as likely to the student as to the
//                                    teachers; or, where thresholds are absent or not met,
//              "targets_reached"     that, and KL(teachers|student) of each sequence is at most
//                                    kl_bound a token; or
//              "settled"             the KL has not fallen by 1 % in `patience` steps.
//            The first is tried first: text that looks unseen need not be dragged on to the
//            teachers' every word, which may be those of smaller models. docs/leave_one_out.md has
//            what that does and does not guarantee.
// Adapter    with `lora` the weights stay and an adapter learns: `out_folder` is then a PEFT folder
//            (lora.h), to be loaded on top of the base or merged into a copy of it.
// Ranks      several processes with the same request share the work (ranks.h). Rank 0's weights are
//            what all begin with; it alone reports progress, writes the folder and has its digest.
// Threads    as Evaluate.
// Errors     INVALID_ARGUMENT     UNKNOWN_METHOD, UNKNOWN_PRESET, BAD_PARAMETER, NOTHING_TO_FORGET,
//                                 RETAIN_NEEDED, THRESHOLDS_NEEDED, OUT_FOLDER_EXISTS,
//                                 TEACHERS_NEEDED, TEACHERS_NOT_USED (the method knows none),
//                                 those of ensemble/teacher_set.h (TEACHER_VOCABULARY_DIFFERS ...),
//                                 CheckSequence's reasons (metadata "set", "index"), and what
//                                 loading the folder says: no retry helps
//            FAILED_PRECONDITION  METHOD_DIVERGED, try the next rung: loss or gradient left its
//                                 band, or a loss or weight is not finite; NO_TEACHER_LEFT,
//                                 likewise: all saw a sequence (metadata "count"); BASE_CHANGED,
//                                 TEACHER_CHANGED; MODEL_NOT_FINITE, of the base or a teacher
//            CANCELLED            STOPPED, within one optimizer step of the callback's refusal
//            UNAVAILABLE          RANK_LOST, with ranks; their RANKS_DIFFER is INVALID_ARGUMENT
//            RESOURCE_EXHAUSTED   OUT_OF_MEMORY: not even one sequence at a time fits (where
//                                 several do not, the micro-batch is halved and the run goes on);
//                                 DISK_FULL
// Privacy    lethe.json, progress and errors hold no token and no text.
#ifndef LETHE_ENGINE_UNLEARN_H_
#define LETHE_ENGINE_UNLEARN_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/device.h"
#include "engine/evaluate.h"
#include "engine/lora.h"
#include "engine/prepare.h"
#include "engine/progress.h"
#include "engine/ranks.h"
#include "engine/run_record.h"
#include "engine/teacher.h"
#include "text/sequence.h"

namespace lethe {

struct UnlearnRequest {
  std::filesystem::path base_folder;
  std::string base_digest;           // checked when not empty; else BASE_CHANGED
  std::filesystem::path out_folder;  // must not exist; its parent must
  std::vector<Sequence> forget;      // sensitive spans: the aim, when the thresholds know spans
  std::vector<Sequence> retain;      // same kind, trained on, to be kept
  std::vector<Sequence> watch;       // same kind, never seen: only looked at; may be empty
  std::string method = "gradient_ascent";
  std::string preset;  // empty: the method's default
  ParameterValues overrides;
  ModelThresholds thresholds;
  std::vector<Teacher> teachers;  // of leave_one_out; loaded one at a time
  std::optional<LoraConfig> lora;
  // Of the steps: auto, fp32, bf16, bf16_pure (precision.h). What is measured, and what a run ends
  // by, is fp32.
  std::string precision = "auto";
  bool recompute = false;  // activations, in the backward pass: less memory, a third more time
  uint64_t seed = 0;
  std::string digest_key;  // of RunRecord.data_digest
  // Goes into lethe.json: "job", "fence", "base_checkpoint"; no personal data.
  std::map<std::string, std::string> lineage;
  Device device;
  Ranks* ranks = nullptr;  // null: this process works alone
};

// One optimizer step. A step that was taken back is recorded too.
struct StepRecord {
  int64_t step = 0;
  int chunk = 0;
  bool accepted = true;
  double learning_rate = 0;
  double loss = 0;
  double retain_loss = 0;  // the retain term before its weight; 0 without one
  double grad_norm = 0;    // before clipping
  double nll = 0;          // nats a token, mean over the chunk's sequences, after the step
  double ma = 0;           // mean over the chunk, after the step
  double el = -1;          // mean EL_n over the chunk; -1: not asked, MA was above its threshold
  double kl = -1;  // from the teachers, nats a token, mean over the chunk; -1: there are none
};

struct UnlearnResult {
  RunRecord run;
  std::vector<StepRecord> records;
  std::vector<SequenceEvaluation> before;  // of `forget`, in its order
  std::vector<SequenceEvaluation> after;
  double retain_nll_before = 0, retain_nll_after = 0;  // nats a token; 0 without retain
  double watch_nll_before = 0, watch_nll_after = 0;
  std::string out_digest;  // FolderDigest of out_folder; empty in ranks other than 0
};

absl::StatusOr<UnlearnResult> Unlearn(const UnlearnRequest& request,
                                      const ProgressCallback& progress = nullptr);

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_H_
