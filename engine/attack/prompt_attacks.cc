// Attacks by other prompts (Lynch et al. 2024): the same suffix is asked for with a
// changed prefix. A text that is only blocked behind its own prompt comes out behind another.
#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/attack/attack_table.h"
#include "engine/attack/extraction_case.h"
#include "engine/attack/prompt_change.h"
#include "engine/attack/sampling_scheme.h"
#include "engine/model/sampler.h"
#include "engine/seeded_generator.h"

namespace lethe {
namespace {

constexpr SamplingScheme kSchemes[] = {{}, {.top_k = 40}};
constexpr double kShares[] = {0.5};

struct ChangeRow {
  PromptChange change;
  bool needs_tokenizer = false;
  bool needs_kept = false;
  bool needs_stranger = false;
};
constexpr ChangeRow kShift = {.change = ShiftPrefix};
constexpr ChangeRow kDrop = {.change = DropTokens};
constexpr ChangeRow kNoise = {.change = AddNoise, .needs_tokenizer = true};
constexpr ChangeRow kJailbreak = {.change = AddJailbreak, .needs_tokenizer = true};
constexpr ChangeRow kFewShot = {.change = AddShots, .needs_kept = true};
constexpr ChangeRow kCross = {.change = TakeStranger, .needs_stranger = true};

// A changed prompt with the suffix behind it, and the case that it is a variant of.
struct Probes {
  std::vector<Sequence> sequences;  // prompt_tokens: the changed prompt
  std::vector<ExtractionCase> cases;
};

std::vector<ExtractionCase> AllCases(const AttackInput& input,
                                     std::span<const Sequence> sequences) {
  return CasesOf(sequences, input.on_spans, kShares,
                 static_cast<int32_t>(input.parameters.at("max_suffix_tokens")));
}

// The prefix of a forgotten record that is not `sequence`; empty: there is none.
TokenIds Stranger(const AttackInput& input, const Sequence& sequence) {
  const std::span<const Sequence> all = input.context.forgotten;
  const size_t count = all.size();
  const size_t first = count > 0 ? KeyOf(sequence.ids) % count : 0;
  for (size_t i = 0; i < count; ++i) {
    const Sequence& other = all[(first + i) % count];
    if (other.ids == sequence.ids) continue;
    const auto cases = AllCases(input, std::span(&other, 1));
    if (!cases.empty()) return Prefix(other, cases.front());
  }
  return {};
}

absl::StatusOr<Probes> MakeProbes(const AttackInput& input, const ChangeRow& row) {
  Probes probes;
  int number = 0;  // of a sequence's cases
  size_t last = std::numeric_limits<size_t>::max();
  for (const ExtractionCase& c : AllCases(input, input.sequences)) {
    const Sequence& sequence = input.sequences[c.sequence];
    number = c.sequence == last ? number + 1 : 0;
    last = c.sequence;
    const TokenIds prefix = Prefix(sequence, c);
    TokenIds stranger;
    if (row.needs_stranger) stranger = Stranger(input, sequence);
    if (row.needs_stranger && stranger.empty()) return Probes();
    LETHE_ASSIGN_OR_RETURN(std::vector<TokenIds> prompts,
                           row.change({.prefix = prefix,
                                       .seed = SampleSeed(input.seed, KeyOf(sequence.ids), number),
                                       .tokenizer = input.context.tokenizer,
                                       .kept = input.context.kept,
                                       .stranger = stranger,
                                       .parameters = input.parameters}));
    for (size_t v = 0; v < prompts.size(); ++v) {
      // What the context has no room for goes from the front.
      const int64_t room = input.model.context() - (c.end - c.begin);
      const auto too_many = std::max<int64_t>(0, static_cast<int64_t>(prompts[v].size()) - room);
      Sequence probe{.ids = {prompts[v].begin() + too_many, prompts[v].end()}};
      probe.prompt_tokens = static_cast<int32_t>(probe.ids.size());
      probe.ids.insert(probe.ids.end(), sequence.ids.begin() + c.begin,
                       sequence.ids.begin() + c.end);
      probes.sequences.push_back(std::move(probe));
      probes.cases.push_back(c);
      probes.cases.back().variant = c.variant * 1000 + static_cast<int>(v);
    }
  }
  return probes;
}

// The suffix of a probe, as a case of the probe itself.
ExtractionCase Whole(const Probes& probes, size_t i) {
  const Sequence& probe = probes.sequences[i];
  return {
      .sequence = i, .begin = probe.prompt_tokens, .end = static_cast<int32_t>(probe.ids.size())};
}

absl::StatusOr<AttackScores> ByPrompts(const AttackInput& input, const ChangeRow& row) {
  AttackScores out;
  if (row.needs_tokenizer && input.context.tokenizer == nullptr) {
    out.not_applicable = "the model's folder has no tokenizer, and the prompts are words";
    return out;
  }
  if (row.needs_kept && input.context.kept.empty()) {
    out.not_applicable = "no other records of the kind are at hand";
    return out;
  }
  LETHE_ASSIGN_OR_RETURN(const Probes probes, MakeProbes(input, row));
  if (row.needs_stranger && probes.sequences.empty()) {
    out.not_applicable = "there is no other forgotten record whose prompt could be taken";
    return out;
  }
  TeacherForced forced(input.model, probes.sequences, {std::begin(kSchemes), std::end(kSchemes)});
  std::vector<PrefixPlace> places;
  for (size_t i = 0; i < probes.sequences.size(); ++i) {
    const ExtractionCase c = Whole(probes, i);
    places.push_back({.sequence = i, .after = c.begin, .end = c.end});
  }
  LETHE_ASSIGN_OR_RETURN(const Continuations said, forced.Continue(places));
  out.forward_tokens += said.forward_tokens;
  RecoveryTally tally(input.sequences.size());
  for (size_t i = 0; i < places.size(); ++i) {
    tally.Add(probes.cases[i], Recovered(probes.sequences[i], Whole(probes, i), said.texts[i]));
  }

  std::vector<double>& chance = out.details["chance"];
  chance.assign(input.sequences.size(), 0);
  for (const SamplingScheme& scheme : kSchemes) {
    LETHE_ASSIGN_OR_RETURN(const auto log_q, forced.SchemeLogProbs(scheme));
    for (size_t i = 0; i < places.size(); ++i) {
      double& best = chance[probes.cases[i].sequence];
      const double log_p_z = SuffixLogProb(probes.sequences[i], Whole(probes, i), log_q[i]);
      best = std::max(best, ChanceInDraws(log_p_z, input.parameters.at("queries")));
    }
  }
  out.forward_tokens += forced.forward_tokens();
  out.scores = tally.BestShare();
  out.details["similarity"] = out.scores;
  for (size_t i = 0; i < chance.size(); ++i) out.scores[i] = std::max(out.scores[i], chance[i]);
  return out;
}

}  // namespace

absl::StatusOr<AttackScores> ShiftedPrefix(const AttackInput& input) {
  return ByPrompts(input, kShift);
}
absl::StatusOr<AttackScores> DroppedTokens(const AttackInput& input) {
  return ByPrompts(input, kDrop);
}
absl::StatusOr<AttackScores> NoisyPrompt(const AttackInput& input) {
  return ByPrompts(input, kNoise);
}
absl::StatusOr<AttackScores> JailbreakPrefix(const AttackInput& input) {
  return ByPrompts(input, kJailbreak);
}
absl::StatusOr<AttackScores> FewShot(const AttackInput& input) {
  return ByPrompts(input, kFewShot);
}
absl::StatusOr<AttackScores> CrossPrompt(const AttackInput& input) {
  return ByPrompts(input, kCross);
}

}  // namespace lethe
