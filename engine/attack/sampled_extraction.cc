// Sampled extraction: what many draws after a true prefix contain, near hits included. The exact
// chance of the suffix itself needs no draws: exact_extraction.cc.
#include <algorithm>
#include <map>

#include "engine/attack/attack_table.h"
#include "engine/attack/extraction_case.h"
#include "engine/attack/sampling_scheme.h"
#include "engine/metric/bounds.h"
#include "engine/seeded_generator.h"

namespace lethe {
namespace {

constexpr double kAlpha = 0.01;  // of the upper limits

// Of one sequence over its cases (its spans, or its one or two prefixes): any secret counts.
class Draws {
 public:
  Draws(size_t sequences, double tau, AttackScores& out)
      : tau_(tau),
        best_(out.scores),
        hit_rate_(out.details["hit_rate_upper"]),
        mean_(out.details["mean_upper"]) {
    for (std::vector<double>* list : {&best_, &hit_rate_, &mean_}) list->assign(sequences, 0);
  }

  void Add(const Sequence& sequence, const ExtractionCase& c, std::span<const TokenIds> drawn) {
    std::vector<double> similar;
    for (const TokenIds& said : drawn) {
      similar.push_back(Recovered(sequence, c, said) / static_cast<double>(c.end - c.begin));
    }
    const int64_t hits =
        std::count_if(similar.begin(), similar.end(), [&](double s) { return s >= tau_; });
    Raise(best_[c.sequence], *std::max_element(similar.begin(), similar.end()));
    Raise(hit_rate_[c.sequence],
          ClopperPearsonUpper(hits, static_cast<int64_t>(similar.size()), kAlpha));
    Raise(mean_[c.sequence], DkwMeanUpper(std::move(similar), kAlpha));
  }

 private:
  static void Raise(double& value, double to) { value = std::max(value, to); }

  double tau_;
  std::vector<double>&best_, &hit_rate_, &mean_;
};

}  // namespace

absl::StatusOr<AttackScores> SampledExtraction(const AttackInput& input) {
  const double temperature = input.parameters.at("temperature"), p = input.parameters.at("p");
  const auto top_k = static_cast<int64_t>(input.parameters.at("top_k"));
  const auto samples = static_cast<int64_t>(input.parameters.at("samples"));
  const double shares[] = {input.parameters.at("prefix_share")};
  const std::vector<ExtractionCase> cases =
      CasesOf(input.sequences, input.on_spans, shares,
              static_cast<int32_t>(input.parameters.at("max_suffix_tokens")));
  AttackScores out;
  Draws draws(input.sequences.size(), input.parameters.at("tau"), out);
  for (const auto& [new_tokens, members] : GroupByLength(cases, input.model.context())) {
    std::vector<TokenIds> prompts;
    std::vector<uint64_t> keys;
    for (const size_t m : members) {
      prompts.push_back(Prefix(input.sequences[cases[m].sequence], cases[m]));
      keys.push_back(KeyOf(prompts.back()));
      out.forward_tokens += static_cast<int64_t>(prompts.back().size()) + samples * new_tokens;
    }
    LETHE_ASSIGN_OR_RETURN(const auto drawn, GenerateContinuations(input.model, prompts,
                                                                   {.max_new_tokens = new_tokens,
                                                                    .samples = samples,
                                                                    .temperature = temperature,
                                                                    .top_k = top_k,
                                                                    .seed = input.seed,
                                                                    .keys = keys}));
    for (size_t i = 0; i < members.size(); ++i) {
      const ExtractionCase& c = cases[members[i]];
      draws.Add(input.sequences[c.sequence], c, drawn[i]);
    }
  }

  LETHE_ASSIGN_OR_RETURN(const auto log_q,
                         input.forced.SchemeLogProbs({.temperature = temperature, .top_k = top_k}));
  std::vector<double>& queries_needed = out.details["queries_needed"];
  queries_needed.assign(input.sequences.size(), 0);
  for (const ExtractionCase& c : cases) {
    const double queries =
        QueriesNeeded(SuffixLogProb(input.sequences[c.sequence], c, log_q[c.sequence]), p);
    double& least = queries_needed[c.sequence];
    if (queries > 0 && (least == 0 || queries < least)) least = queries;
  }
  return out;
}

}  // namespace lethe
