#include "engine/control.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "engine/metric/ngram_reference.h"

namespace lethe {
namespace {

bool HasSpans(const Sequence& sequence) { return !sequence.sensitive.empty(); }

bool AllHaveSpans(std::span<const Sequence> sequences) {
  return std::all_of(sequences.begin(), sequences.end(), HasSpans);
}

// One more than the largest id of all.
int64_t VocabularyOf(std::span<const std::span<const Sequence>> texts) {
  int32_t largest = 0;
  for (const std::span<const Sequence> text : texts) {
    for (const Sequence& sequence : text) {
      for (const int32_t id : sequence.ids) largest = std::max(largest, id);
    }
  }
  return int64_t{largest} + 1;
}

// What two sequences are compared by, in the holdout set's standard deviations.
struct Likeness {
  double length = 0, nll = 0;
};

double Distance(const Likeness& a, const Likeness& b) {
  return std::max(std::abs(a.length - b.length), std::abs(a.nll - b.nll));
}

double StandardDeviation(const std::vector<Likeness>& all, double Likeness::*of) {
  double mean = 0, squares = 0;
  for (const Likeness& one : all) mean += one.*of / static_cast<double>(all.size());
  for (const Likeness& one : all) squares += (one.*of - mean) * (one.*of - mean);
  return std::sqrt(squares / static_cast<double>(std::max<size_t>(1, all.size() - 1)));
}

std::vector<Likeness> LikenessOf(std::span<const Sequence> sequences,
                                 const std::optional<NgramReference>& reference, bool on_spans) {
  std::vector<Likeness> all;
  for (const Sequence& sequence : sequences) {
    const auto tokens = static_cast<double>(std::max<size_t>(1, sequence.ids.size()));
    all.push_back(
        {std::log(tokens), reference.has_value() ? reference->MeanNll(sequence, on_spans) : 0});
  }
  return all;
}

// Where all are equal a difference counts as it is: a factor e of length, a nat a token.
void Scale(std::vector<Likeness>& held, std::vector<Likeness>& forgotten) {
  for (double Likeness::*of : {&Likeness::length, &Likeness::nll}) {
    const double deviation = StandardDeviation(held, of);
    if (deviation <= 0) continue;
    for (std::vector<Likeness>* all : {&held, &forgotten}) {
      for (Likeness& one : *all) one.*of /= deviation;
    }
  }
}

// Which of the held are taken.
std::vector<bool> TakeTurns(std::vector<Likeness> forgotten, const std::vector<Likeness>& held,
                            const ControlLimits& limits) {
  std::vector<bool> taken(held.size(), false);
  const size_t most = std::min(limits.most, held.size());
  size_t count = 0;
  while (!forgotten.empty() && count < most) {
    for (auto turn = forgotten.begin(); turn != forgotten.end() && count < most;) {
      double nearest = std::numeric_limits<double>::infinity();
      size_t which = held.size();
      for (size_t h = 0; h < held.size(); ++h) {
        const double away = taken[h] ? nearest : Distance(*turn, held[h]);
        if (away < nearest) nearest = away, which = h;
      }
      if (count >= limits.least && nearest > limits.caliper) {
        turn = forgotten.erase(turn);  // what is left only gets further from it
        continue;
      }
      taken[which] = true;
      ++count;
      ++turn;
    }
  }
  return taken;
}

}  // namespace

std::vector<Sequence> MatchControl(std::span<const Sequence> forgotten,
                                   std::vector<Sequence> holdout, std::span<const Sequence> retain,
                                   const ControlLimits& limits) {
  if (AllHaveSpans(forgotten)) {
    const auto with = std::count_if(holdout.begin(), holdout.end(), HasSpans);
    if (static_cast<size_t>(with) >= std::min(limits.least, limits.most)) {
      holdout.erase(std::remove_if(holdout.begin(), holdout.end(),
                                   [](const Sequence& s) { return !HasSpans(s); }),
                    holdout.end());
    }
  }
  if (forgotten.empty() || holdout.size() <= std::min(limits.least, limits.most)) return holdout;
  const std::span<const Sequence> texts[] = {forgotten, holdout, retain};
  std::optional<NgramReference> reference;
  if (!retain.empty()) reference.emplace(retain, VocabularyOf(texts));
  const bool on_spans = AllHaveSpans(forgotten) && AllHaveSpans(holdout);
  std::vector<Likeness> of_forgotten = LikenessOf(forgotten, reference, on_spans);
  std::vector<Likeness> of_held = LikenessOf(holdout, reference, on_spans);
  Scale(of_held, of_forgotten);
  const std::vector<bool> taken = TakeTurns(std::move(of_forgotten), of_held, limits);
  std::vector<Sequence> control;
  for (size_t h = 0; h < holdout.size(); ++h) {
    if (taken[h]) control.push_back(std::move(holdout[h]));
  }
  return control;
}

}  // namespace lethe
