// What the engine can do, as data: methods with their presets, attacks with their parameters.
// Server, policies and the command line read names and limits here without linking the engine.
//
//   const MethodEntry* method = FindMethod("gradient_ascent");
//   const PresetEntry* preset = FindPreset(*method, "");             // "" is the default preset
//   if (auto wrong = CheckParameters(method->parameters, overrides)) // a sentence, or nothing
//     return Refuse(*wrong);
//   ResolveParameters(method->parameters, preset->values, overrides);
//
// Parameters are named doubles, so that they travel as map<string, double> and stand in job records
// as they were used.
// Threads    constant data; any.
// Errors     none: what is not found is null, what is wrong is a sentence.
#ifndef LETHE_ENGINE_CATALOG_H_
#define LETHE_ENGINE_CATALOG_H_

#include <cmath>
#include <cstddef>
#include <map>
#include <optional>
#include <span>
#include <sstream>
#include <string>
#include <string_view>

namespace lethe {

using ParameterValues = std::map<std::string, double>;

// Fewest unseen sequences from which a threshold is taken, and so the fewest of a holdout set:
// RegisterModel's contract.
inline constexpr size_t kMinHoldout = 16;

// The verifier attacks at most so many sequences of the holdout set and measures at most so many of
// each other set, unless its options say otherwise.
inline constexpr int kMaxControl = 256;
inline constexpr int kMaxUtility = 512;

// Sequences of retain and of watched text that are looked at after each step.
inline constexpr int kProbeSequences = 32;

struct ParameterEntry {
  std::string_view name;
  double value;  // the default, unless a preset says otherwise
  double min;
  double max;
  std::string_view what;  // unit and meaning
};

struct PresetValue {
  std::string_view parameter;
  double value;
};

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
  std::span<const ParameterEntry> parameters;
  std::span<const PresetEntry> presets;  // the first is the default
};

// How an attack's score is read; higher always means "more memorised".
enum class AttackFamily {
  kExtraction,  // 0 to 1: the share of the secret that came out
  kMembership,  // any range: higher says "was in the training data"; judged by AUC against control
  kMemorisation,  // 0 to 1: EL_n, MA
};

struct AttackEntry {
  std::string_view name;
  std::string_view what;   // what is tried
  std::string_view score;  // what the score is, with its unit
  AttackFamily family;
  std::span<const ParameterEntry> parameters;
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

inline constexpr MethodEntry kMethods[] = {
    {"gradient_ascent",
     "raises the negative log-likelihood of the forgotten sequences until EL_n and MA are those of "
     "unseen text",
     "Jang et al., Knowledge Unlearning, ACL 2023", true, true, kAscentParameters, kAscentPresets},
};

inline constexpr ParameterEntry kGreedyParameters[] = {
    {"prefix_quarters", 1, 0, 1,
     "1: prefixes of 1/4, 1/2 and 3/4 of the sequence; 0: only prefix_tokens"},
    {"prefix_tokens", 0, 0, 1e6, "one more prefix of this many tokens; 0: none"},
    {"max_suffix_tokens", 256, 1, 1e6, "longest suffix that is asked for"},
};
inline constexpr ParameterEntry kSampledParameters[] = {
    {"samples", 32, 1, 10000, "continuations drawn for each sequence"},
    {"temperature", 1.0, 0.01, 10, "of the softmax"},
    {"top_k", 40, 0, 1e6, "only the k likeliest tokens; 0: all"},
    {"prefix_share", 0.5, 0.01, 0.99,
     "the prefix's share of the sequence, where no sensitive span says otherwise"},
    {"p", 0.9, 0.001, 0.999999, "the chance for which n(p) is given"},
    {"max_suffix_tokens", 64, 1, 1e6, "longest suffix that is asked for"},
};
inline constexpr ParameterEntry kElParameters[] = {
    {"n", 10, 1, 100,
     "length of the n-grams; a shorter sequence takes the largest of 5, 3, 2 that fits"}};
inline constexpr ParameterEntry kMinKParameters[] = {
    {"k", 0.2, 0.01, 1, "share of the tokens that are averaged: the least likely ones"}};

inline constexpr AttackEntry kAttacks[] = {
    {"greedy_extraction", "prompts with a prefix of the sequence and decodes greedily",
     "largest share over the prefixes of suffix tokens recovered at their place, 0 to 1",
     AttackFamily::kExtraction, kGreedyParameters},
    {"sampled_extraction", "prompts with a prefix and draws many continuations",
     "share of suffix tokens recovered by the best draw, 0 to 1; queries_needed is the exact n(p)",
     AttackFamily::kExtraction, kSampledParameters},
    {"extraction_likelihood",
     "EL_n (Jang et al. 2023): greedy continuations of every prefix, n-grams compared",
     "EL_n, 0 to 1", AttackFamily::kMemorisation, kElParameters},
    {"memorisation_accuracy",
     "MA (Jang et al. 2023): the next token from every true prefix",
     "MA, 0 to 1",
     AttackFamily::kMemorisation,
     {}},
    {"loss",
     "membership by likelihood (Yeom et al. 2018)",
     "minus the NLL a token, nats",
     AttackFamily::kMembership,
     {}},
    {"min_k", "membership by the least likely tokens (Shi et al. 2024)",
     "mean log-probability of the k share of least likely tokens, nats", AttackFamily::kMembership,
     kMinKParameters},
};

}  // namespace catalog

inline std::span<const MethodEntry> Methods() { return catalog::kMethods; }
inline std::span<const AttackEntry> Attacks() { return catalog::kAttacks; }

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

inline const AttackEntry* FindAttack(std::string_view name) {
  for (const AttackEntry& entry : catalog::kAttacks) {
    if (entry.name == name) return &entry;
  }
  return nullptr;
}

// What is wrong with `values` for these parameters, as a sentence; nothing when all is well.
inline std::optional<std::string> CheckParameters(std::span<const ParameterEntry> known,
                                                  const ParameterValues& values) {
  for (const auto& [name, value] : values) {
    const ParameterEntry* found = nullptr;
    for (const ParameterEntry& entry : known) {
      if (entry.name == name) found = &entry;
    }
    if (found == nullptr) return "there is no parameter '" + name + "'";
    if (!std::isfinite(value) || value < found->min || value > found->max) {
      std::ostringstream range;  // std::to_string would write 1e-8 as 0.000000
      range << found->min << " and " << found->max;
      return "parameter '" + name + "' must lie between " + range.str();
    }
  }
  return std::nullopt;
}

// Defaults, then the preset, then the overrides: what a run uses and records. The arguments must
// have been checked.
inline ParameterValues ResolveParameters(std::span<const ParameterEntry> known,
                                         std::span<const PresetValue> preset,
                                         const ParameterValues& overrides) {
  ParameterValues values;
  for (const ParameterEntry& entry : known) values[std::string(entry.name)] = entry.value;
  for (const PresetValue& entry : preset) values[std::string(entry.parameter)] = entry.value;
  for (const auto& [name, value] : overrides) values[name] = value;
  return values;
}

}  // namespace lethe

#endif  // LETHE_ENGINE_CATALOG_H_
