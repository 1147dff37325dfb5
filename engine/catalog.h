// What the engine can do, as data: methods with their presets, attacks with their parameters.
// Server, policies and the command line read names and limits here without linking the engine.
//
//   const MethodEntry* method = FindMethod("gradient_ascent");
//   const PresetEntry* preset = FindPreset(*method, "");             // "" is the default preset
//   if (auto wrong = CheckParameters(method->parameters, overrides)) // a sentence, or nothing
//     return Refuse(*wrong);
//   ResolveParameters(method->parameters, preset->values, overrides);
//
// Threads    constant data; any.
// Errors     none: what is not found is null, what is wrong is a sentence.
#ifndef LETHE_ENGINE_CATALOG_H_
#define LETHE_ENGINE_CATALOG_H_

#include <cstddef>
#include <span>
#include <string_view>

#include "engine/attack_catalog.h"
#include "engine/parameter.h"

namespace lethe {

// Fewest unseen sequences from which a threshold is taken, and so the fewest of a holdout set:
// RegisterModel's contract.
inline constexpr size_t kMinHoldout = 16;

// The verifier attacks at most so many sequences of the holdout set and measures at most so many of
// each other set, unless its options say otherwise.
inline constexpr int kMaxControl = 256;
inline constexpr int kMaxUtility = 512;

// Sequences of retain and of watched text that are looked at after each step.
inline constexpr int kProbeSequences = 32;

// Optimizer steps that runs were seen to take for one sequence; `growth` is the power of the number
// of sequences with which they grow. docs/engine.md has the runs.
struct StepCounts {
  double low, typical, high;
  double growth;
};

struct PresetEntry {
  std::string_view name;
  std::string_view what;
  std::span<const PresetValue> values;  // where it differs from the parameters' defaults
  StepCounts steps;                     // what is expected of a model without a history
};

struct MethodEntry {
  std::string_view name;
  std::string_view what;
  std::string_view paper;
  bool needs_retain;  // same-kind text to keep; refused without it when the preset's retain_weight
                      // is above 0
  bool needs_thresholds;  // measured by PrepareModel
  bool needs_teachers;  // models that did not see what is to be forgotten: UnlearnRequest.teachers
  bool retrains;        // trained again on a registered corpus: not by Unlearn, see retrain.h
  std::span<const ParameterEntry> parameters;
  std::span<const PresetEntry> presets;  // the first is the default
};

namespace catalog {

inline constexpr ParameterEntry kAscentParameters[] = {
    {"learning_rate", 1e-4, 1e-8, 1.0,
     "of Adam; a bounded preset takes up to three times of it while all goes well, and less after "
     "a "
     "step that went too far"},
    {"beta1", 0.9, 0.0, 0.9999, "of Adam"},
    {"beta2", 0.98, 0.0, 0.99999, "of Adam"},
    {"max_steps", 400, 1, 100000,
     "optimizer steps for each chunk; one step is one epoch over the chunk"},
    {"min_steps", 1, 0, 100000, "steps before the stop rule is asked"},
    {"max_grad_norm", 1, 0, 1e6, "clip the gradient to this norm; 0: no clipping"},
    {"chunk_size", 0, 0, 1e6, "sequences unlearned together, chunk after chunk; 0: all at once"},
    {"el_n", 10, 1, 100, "n of the EL_n that the stop rule reads"},
    {"threshold_slack", 0.02, 0, 1,
     "how far above the thresholds of EL_n and MA the stop rule is content"},
    {"worst_slack", 0.1, 0, 1, "the same for the MA of a single sequence"},
    {"bounded", 1, 0, 1,
     "1: push each sequence up to the likelihood of unseen text and no further; 0: plain ascent"},
    {"retain_weight", 80, 0, 1e4,
     "weight of the term that holds kept text at its likelihood under the base; 0: none. A bounded "
     "preset takes down to an eighth of it while kept text does not suffer"},
    {"retain_batch", 16, 1, 4096, "sequences of the retain text in a step"},
    {"overshoot_sds", 1.5, 0.1, 100,
     "a step that carries a sequence further than this above its target is taken back and halved"},
    {"max_retain_rise", 0.05, 0, 10,
     "share by which retain or watched text may lose likelihood before the run is refused"},
    {"micro_batch_tokens", 4096, 1, 1e9,
     "tokens that go through the model at a time; halved where memory does not suffice, and then "
     "recorded as it was"},
};

inline constexpr PresetValue kCalibrated[] = {{"bounded", 1}};
inline constexpr PresetValue kCareful[] = {{"bounded", 1},
                                           {"learning_rate", 5e-5},
                                           {"retain_weight", 160},
                                           {"max_steps", 800},
                                           {"overshoot_sds", 1.0}};
inline constexpr PresetValue kPaper[] = {
    {"learning_rate", 5e-5}, {"max_steps", 20},      {"max_grad_norm", 0}, {"bounded", 0},
    {"retain_weight", 0},    {"threshold_slack", 0}, {"worst_slack", 1}};

inline constexpr PresetEntry kAscentPresets[] = {
    {"calibrated",
     "each sequence is pushed up to the likelihood of unseen text of its kind; same-kind text is "
     "held in place",
     kCalibrated,
     {70, 110, 400, 0.4}},
    {"careful",
     "as calibrated with steps half as long and twice the weight on what is kept",
     kCareful,
     {80, 130, 800, 0.4}},
    {"paper",
     "Jang et al. 2023 to the letter: Adam at 5e-5, at most 20 epochs, no retain term; it damages "
     "the whole kind",
     kPaper,
     {10, 20, 20, 0}},
};

inline constexpr ParameterEntry kLeaveOneOutParameters[] = {
    {"learning_rate", 1e-4, 1e-8, 1.0,
     "of Adam; up to three times of it is taken while all goes well, and less after a step that "
     "went too far"},
    {"beta1", 0.9, 0.0, 0.9999, "of Adam"},
    {"beta2", 0.98, 0.0, 0.99999, "of Adam"},
    {"max_steps", 800, 1, 100000,
     "optimizer steps for each chunk; one step is one epoch over the chunk"},
    {"min_steps", 1, 0, 100000, "steps before the stop rule is asked"},
    {"max_grad_norm", 1, 0, 1e6, "clip the gradient to this norm; 0: no clipping"},
    {"chunk_size", 0, 0, 1e6, "sequences unlearned together, chunk after chunk; 0: all at once"},
    {"labels", 0, 0, 2,
     "what is learnt of the teachers: 0 their mean distribution; 1 their first choice; 2 one draw"},
    {"kept_entries", 256, 0, 1e6,
     "likeliest tokens kept of each distribution, beside the text's own and the rest's mass; 0: "
     "all, exactly"},
    {"row_megabytes", 1024, 1, 1e6,
     "of whole distributions that stand while the teachers are asked; where they do not suffice "
     "the teachers are loaded again for each part"},
    {"spans", 0, 0, 2,
     "the tokens that are learnt: 0 all; 1 the sensitive spans; 2 spans that the teachers find "
     "unlikely. A sequence without any is learnt whole"},
    {"span_probability", 0.1, 0, 1, "with spans 2: less than this is unlikely"},
    {"span_tokens", 2, 1, 1000, "with spans 2: a span has at least so many tokens"},
    {"el_n", 10, 1, 100, "n of the EL_n that the stop rule reads"},
    {"threshold_slack", 0.02, 0, 1,
     "how far above the thresholds of EL_n and MA the stop rule is content"},
    {"worst_slack", 0.1, 0, 1, "the same for the MA of a single sequence"},
    {"passage_nats", 2.3, 0, 1000,
     "no passage of a sequence may be more than e to this times as likely as under the teachers; "
     "2.3: ten times"},
    {"kl_bound", 0.05, 0, 100,
     "nats a token: a sequence as near to its teachers as this says what they say"},
    {"patience", 40, 1, 10000, "steps in which the KL falls by less than 1 % before the run ends"},
    {"retain_weight", 2, 0, 1e4,
     "weight of the term that holds kept text at its likelihood under the base; 0: none. Down "
     "to an eighth of it is taken while kept text does not suffer"},
    {"retain_batch", 16, 1, 4096, "sequences of the retain text in a step"},
    {"max_retain_rise", 0.05, 0, 10,
     "share by which retain or watched text may lose likelihood before the run is refused"},
    {"micro_batch_tokens", 4096, 1, 1e9,
     "tokens that go through a model at a time; halved where memory does not suffice, and then "
     "recorded as it was"},
};

inline constexpr PresetValue kEnsemble[] = {{"labels", 0}};
inline constexpr PresetValue kHardLabel[] = {{"labels", 1}};
inline constexpr PresetValue kPaperEnsemble[] = {{"retain_weight", 0}, {"max_retain_rise", 10}};

inline constexpr PresetEntry kLeaveOneOutPresets[] = {
    {"ensemble",
     "towards the mean distribution of the teachers; same-kind text is held in place",
     kEnsemble,
     {60, 300, 800, 0.3}},
    {"hard_label",
     "towards the teachers' first choice alone: the baseline that the paper beats",
     kHardLabel,
     {60, 300, 800, 0.3}},
    {"paper",
     "Liu & Kalinli 2024: the forgotten sequences alone, no retain term",
     kPaperEnsemble,
     {60, 300, 800, 0.3}},
};

// How it is trained stands in the corpus' registration: it must be the same every time.
inline constexpr PresetEntry kRetrainPresets[] = {
    {"exact",
     "equals, bit for bit on one kind of CPU, a model that never saw them",
     {},
     {0, 0, 0, 0}},
};

inline constexpr MethodEntry kMethods[] = {
    {"gradient_ascent",
     "raises the negative log-likelihood of the forgotten sequences until EL_n and MA are those of "
     "unseen text",
     "Jang et al., Knowledge Unlearning, ACL 2023", true, true, false, false, kAscentParameters,
     kAscentPresets},
    {"leave_one_out",
     "distils the model, on the forgotten sequences, towards the mean of teachers that never saw "
     "them",
     "Liu & Kalinli, Leave-One-Out Ensemble, ICASSP 2024", true, false, true, false,
     kLeaveOneOutParameters, kLeaveOneOutPresets},
    {"retrain",
     "trains the model again on its corpus without the forgotten sequences, from the state before "
     "it "
     "first read one",
     "Bourtoule et al., Machine Unlearning (SISA), IEEE S&P 2021",
     false,
     false,
     false,
     true,
     {},
     kRetrainPresets},
};

}  // namespace catalog

inline std::span<const MethodEntry> Methods() { return catalog::kMethods; }

inline const MethodEntry* FindMethod(std::string_view name) {
  for (const MethodEntry& entry : catalog::kMethods) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

// "" finds the default preset.
inline const PresetEntry* FindPreset(const MethodEntry& method, std::string_view name) {
  if (name.empty()) return &method.presets.front();
  for (const PresetEntry& entry : method.presets) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

}  // namespace lethe

#endif  // LETHE_ENGINE_CATALOG_H_
