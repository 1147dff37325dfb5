// Greedy prefix extraction (Carlini et al. 2023): what the model says by itself after a true
// prefix.
#include "engine/attack/attack_table.h"
#include "engine/attack/extraction_case.h"

namespace lethe {
namespace {

std::vector<ExtractionCase> CasesOf(const AttackInput& input) {
  static constexpr double kQuarters[] = {0.25, 0.5, 0.75};
  const auto max_suffix = static_cast<int32_t>(input.parameters.at("max_suffix_tokens"));
  const auto prefix_tokens = static_cast<int32_t>(input.parameters.at("prefix_tokens"));
  std::vector<ExtractionCase> cases;
  for (size_t i = 0; i < input.sequences.size(); ++i) {
    const Sequence& sequence = input.sequences[i];
    if (input.on_spans) {
      AddSpanCases(sequence, i, /*short_too=*/true, max_suffix, cases);
      continue;
    }
    const bool quarters = input.parameters.at("prefix_quarters") != 0 || prefix_tokens == 0;
    if (quarters) AddShareCases(sequence, i, kQuarters, max_suffix, cases);
    AddPrefixCase(sequence, i, prefix_tokens, /*variant=*/100, max_suffix, cases);
  }
  return cases;
}

// A shortened prefix and its suffix, as a text of their own.
Sequence TextOf(const Sequence& sequence, const ExtractionCase& c) {
  return {.ids = {sequence.ids.begin() + c.prefix_begin, sequence.ids.begin() + c.end},
          .prompt_tokens = c.begin - c.prefix_begin};
}

// What the model says in each case: whole prefixes in the texts that the attacks share, shortened
// ones in texts of their own.
absl::StatusOr<std::vector<TokenIds>> Say(const AttackInput& input,
                                          const std::vector<ExtractionCase>& cases,
                                          int64_t* forward_tokens) {
  std::vector<PrefixPlace> whole, shortened;
  std::vector<Sequence> short_texts;
  for (const ExtractionCase& c : cases) {
    if (c.prefix_begin == 0) {
      whole.push_back({.sequence = c.sequence, .after = c.begin, .end = c.end});
      continue;
    }
    const Sequence& text = short_texts.emplace_back(TextOf(input.sequences[c.sequence], c));
    shortened.push_back({.sequence = short_texts.size() - 1,
                         .after = text.prompt_tokens,
                         .end = static_cast<int32_t>(text.ids.size())});
  }
  LETHE_ASSIGN_OR_RETURN(const Continuations of_whole, input.forced.Continue(whole));
  TeacherForced forced(input.model, short_texts);
  LETHE_ASSIGN_OR_RETURN(const Continuations of_short, forced.Continue(shortened));
  *forward_tokens += of_whole.forward_tokens + of_short.forward_tokens + forced.forward_tokens();
  std::vector<TokenIds> said;
  auto next_whole = of_whole.texts.begin(), next_short = of_short.texts.begin();
  for (const ExtractionCase& c : cases) {
    said.push_back(c.prefix_begin == 0 ? *next_whole++ : *next_short++);
  }
  return said;
}

}  // namespace

absl::StatusOr<AttackScores> GreedyExtraction(const AttackInput& input) {
  const std::vector<ExtractionCase> cases = CasesOf(input);
  AttackScores out;
  LETHE_ASSIGN_OR_RETURN(const std::vector<TokenIds> said, Say(input, cases, &out.forward_tokens));
  RecoveryTally tally(input.sequences.size());
  for (size_t i = 0; i < cases.size(); ++i) {
    tally.Add(cases[i], Recovered(input.sequences[cases[i].sequence], cases[i], said[i]));
  }
  out.scores = tally.BestShare();
  out.details["exact_match"] = tally.ExactMatch();
  return out;
}

}  // namespace lethe
