// Exposure (Carlini et al. 2019): how far up the secret stands among all that has its format.
#include <algorithm>
#include <cmath>

#include "engine/attack/attack_table.h"
#include "engine/attack/continuation_nll.h"
#include "engine/attack/same_format.h"
#include "engine/metric/bounds.h"
#include "engine/model/sampler.h"
#include "engine/seeded_generator.h"

namespace lethe {
namespace {

struct Exposure {
  double bits = 0, rank = 0;
};

// nll.back() is the secret's.
Exposure ExposureOf(const std::vector<double>& nll, const FormatSpace& space) {
  const double secret = nll.back();
  const std::span<const double> others = std::span(nll).first(nll.size() - 1);
  const auto better =
      std::count_if(others.begin(), others.end(), [&](double other) { return other < secret; });
  Exposure e{.rank = static_cast<double>(better + 1)};
  const auto [least, most] = std::minmax_element(others.begin(), others.end());
  if (space.whole || !(*most > *least)) {
    e.bits = std::log2(static_cast<double>(nll.size())) - std::log2(e.rank);
  } else {  // only a sample was ranked: the share below the secret by the fitted distribution
    e.bits = std::min(space.bits, -std::log2(FitSkewNormal(others).Below(secret)));
  }
  return e;
}

}  // namespace

absl::StatusOr<AttackScores> ExposureMembership(const AttackInput& input) {
  AttackScores out;
  if (!input.on_spans) {
    out.not_applicable = "not every sequence names a sensitive span, whose format it needs";
    return out;
  }
  if (input.context.tokenizer == nullptr) {
    out.not_applicable = "the model's folder has no tokenizer, which says what has the same format";
    return out;
  }
  const TokenShapes shapes(*input.context.tokenizer, input.model.vocab_size());
  const auto count = static_cast<size_t>(input.parameters.at("alternatives"));
  const auto longest = static_cast<int32_t>(input.parameters.at("max_span_tokens"));
  for (const Sequence& sequence : input.sequences) {
    const auto span = std::find_if(sequence.sensitive.begin(), sequence.sensitive.end(),
                                   [](const Span& s) { return s.end > 1; });
    const int32_t begin = std::max(1, span->begin), end = std::min(span->end, begin + longest);
    const TokenIds prefix(sequence.ids.begin(), sequence.ids.begin() + begin);
    const TokenIds secret(sequence.ids.begin() + begin, sequence.ids.begin() + end);
    // The same alternatives for every model, whatever else is attacked with this sequence.
    auto space = shapes.Alternatives(secret, count, SampleSeed(input.seed, KeyOf(sequence.ids), 0));
    if (!space.has_value()) {
      out.not_applicable = "a sensitive span has no format: too few other texts look like it";
      return out;
    }
    space->others.push_back(secret);
    LETHE_ASSIGN_OR_RETURN(
        const std::vector<double> nll,
        ContinuationNll(input.model, prefix, space->others, &out.forward_tokens));
    const Exposure e = ExposureOf(nll, *space);
    out.scores.push_back(e.bits);
    out.details["rank"].push_back(e.rank);
    out.details["alternatives"].push_back(static_cast<double>(nll.size() - 1));
    out.details["space_bits"].push_back(space->bits);
  }
  return out;
}

}  // namespace lethe
