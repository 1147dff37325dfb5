#include "engine/attack/sampled_extraction.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/topk.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>

#include "engine/attack/attack_table.h"
#include "engine/torch_status.h"

namespace lethe {

at::Tensor SchemeLogProbs(const at::Tensor& logits, const at::Tensor& targets, double temperature,
                          int64_t top_k, double top_p) {
  at::Tensor scaled = logits.to(at::kFloat) / temperature;  // (N,V)
  if (top_k > 0 && top_k < scaled.size(1)) {
    const at::Tensor least = std::get<0>(scaled.topk(top_k, 1)).select(1, top_k - 1).unsqueeze(1);
    scaled = scaled.masked_fill(scaled < least, -std::numeric_limits<double>::infinity());
  }
  at::Tensor log_q = at::log_softmax(scaled, 1);                                  // (N,V)
  const at::Tensor of_target = log_q.gather(1, targets.unsqueeze(1)).squeeze(1);  // (N)
  if (top_p >= 1) return of_target;
  // A token is kept when what is likelier does not reach p yet. Of equals the lower id comes first,
  // as in the sampler.
  const auto [sorted, order] = at::sort(log_q, /*stable=*/true, /*dim=*/1, /*descending=*/true);
  const at::Tensor q = sorted.exp();
  const at::Tensor kept = (q.cumsum(1) - q) < top_p;  // (N,V), likeliest first
  const at::Tensor mass = (q * kept).sum(1);          // (N)
  const at::Tensor at_target = order.eq(targets.unsqueeze(1)).logical_and(kept).any(1);
  return (of_target - mass.log())
      .masked_fill(at_target.logical_not(), -std::numeric_limits<double>::infinity());
}

absl::StatusOr<std::vector<double>> SuffixLogProbs(const Decoder& model,
                                                   std::span<const Sequence> sequences,
                                                   std::span<const ExtractionCase> cases,
                                                   double temperature, int64_t top_k) {
  return CatchTorch("scoring suffixes", [&]() -> absl::StatusOr<std::vector<double>> {
    at::NoGradGuard no_grad;
    std::vector<double> log_probs;
    for (const ExtractionCase& c : cases) {
      const std::vector<int32_t>& ids = sequences[c.sequence].ids;
      // One row from the prefix's begin to the suffix's end; position t-1 predicts token t.
      const std::vector<int64_t> row(ids.begin() + c.prefix_begin, ids.begin() + c.end);
      const at::Tensor tokens = at::tensor(row, at::kLong).to(model.device());
      const int64_t first = c.begin - c.prefix_begin, count = c.end - c.begin;
      const at::Tensor hidden = model.Hidden(tokens.unsqueeze(0)).narrow(0, first - 1, count);
      const at::Tensor q =
          SchemeLogProbs(model.Logits(hidden), tokens.narrow(0, first, count), temperature, top_k);
      log_probs.push_back(q.to(at::kDouble).sum().item<double>());
    }
    return log_probs;
  });
}

double QueriesNeeded(double log_p_z, double p) {
  if (!(log_p_z > -std::numeric_limits<double>::infinity())) return 0;
  if (log_p_z >= 0) return 1;
  const double misses = std::log1p(-std::exp(log_p_z));  // log(1 - p_z); 0 when p_z underflows
  const double draws = std::log1p(-p) / misses;
  return draws < 1e15 ? std::max(1.0, std::ceil(draws)) : 0;
}

absl::StatusOr<AttackScores> SampledExtraction(const AttackInput& input) {
  const auto max_suffix = static_cast<int32_t>(input.parameters.at("max_suffix_tokens"));
  const double shares[] = {input.parameters.at("prefix_share")};
  const double temperature = input.parameters.at("temperature"), p = input.parameters.at("p");
  const auto top_k = static_cast<int64_t>(input.parameters.at("top_k"));
  const auto samples = static_cast<int64_t>(input.parameters.at("samples"));
  std::vector<ExtractionCase> cases;
  for (size_t i = 0; i < input.sequences.size(); ++i) {
    if (input.on_spans) {
      AddSpanCases(input.sequences[i], i, /*short_too=*/false, max_suffix, cases);
    } else {
      AddShareCases(input.sequences[i], i, shares, max_suffix, cases);
    }
  }

  // The best draw of each case, then, over the spans of a sequence (or its one or two prefixes),
  // the best again: any secret counts.
  AttackScores out;
  out.scores.assign(input.sequences.size(), 0);
  for (const auto& [new_tokens, members] : GroupByLength(cases, input.model.config().context)) {
    std::vector<TokenIds> prompts;
    for (const size_t m : members) {
      prompts.push_back(Prefix(input.sequences[cases[m].sequence], cases[m]));
      out.forward_tokens += static_cast<int64_t>(prompts.back().size()) + samples * new_tokens;
    }
    LETHE_ASSIGN_OR_RETURN(
        const auto drawn,
        GenerateContinuations(input.model, prompts,
                              {.max_new_tokens = new_tokens,
                               .samples = samples,
                               .temperature = temperature,
                               .top_k = top_k,
                               .seed = input.seed + static_cast<uint64_t>(new_tokens)}));
    for (size_t i = 0; i < members.size(); ++i) {
      const ExtractionCase& c = cases[members[i]];
      for (const TokenIds& said : drawn[i]) {
        const double share =
            Recovered(input.sequences[c.sequence], c, said) / static_cast<double>(c.end - c.begin);
        out.scores[c.sequence] = std::max(out.scores[c.sequence], share);
      }
    }
  }

  LETHE_ASSIGN_OR_RETURN(const std::vector<double> log_probs,
                         SuffixLogProbs(input.model, input.sequences, cases, temperature, top_k));
  std::vector<double>& queries_needed = out.details["queries_needed"];
  queries_needed.assign(input.sequences.size(), 0);
  for (size_t i = 0; i < cases.size(); ++i) {
    out.forward_tokens += cases[i].end - cases[i].prefix_begin;
    const double queries = QueriesNeeded(log_probs[i], p);
    double& least = queries_needed[cases[i].sequence];
    if (queries > 0 && (least == 0 || queries < least)) least = queries;
  }
  return out;
}

}  // namespace lethe
