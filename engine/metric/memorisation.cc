#include "engine/metric/memorisation.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <unordered_map>

#include "engine/metric/ngram_overlap.h"
#include "engine/model/first_choice.h"
#include "engine/model/rollouts.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

using TokenIds = std::vector<int32_t>;

constexpr int64_t kTokensAPass = 4096;  // of sequences that are read together, pads included

// A greedy mistake that has to be rolled out: it stands for the prefixes first..mistake.
struct Rollout {
  size_t sequence;            // index among those read together
  int64_t first;              // shortest prefix that it stands for
  int64_t mistake;            // m: the model's choice after x[:m] is not x[m]
  std::vector<int32_t> text;  // z: x[:m], then the continuation; -1 what was not generated
};

struct Plan {
  std::vector<int64_t> el_n;  // ascending
  int64_t cache_bytes;
};

// One sequence while its group is read.
struct Item {
  const Sequence* sequence;
  Memorisation* result;
  int64_t start;        // s
  int64_t last_prefix;  // T - (smallest n): no longer prefix counts
  std::vector<int64_t> mistakes;
  int64_t tokens() const { return static_cast<int64_t>(sequence->ids.size()); }
};

// Teacher forcing: fills greedy_next and ma, and finds the mistakes. `choices`: after each
// position.
void ReadFirstPass(Item& item, const int32_t* choices) {
  Memorisation& m = *item.result;
  const int64_t T = item.tokens();
  int64_t hits = 0;
  item.mistakes.clear();
  m.greedy_next.assign(choices, choices + T - 1);
  for (int64_t t = item.start; t < T; ++t) {
    const bool hit = m.greedy_next[t - 1] == item.sequence->ids[t];
    hits += hit;
    if (!hit) item.mistakes.push_back(t);
  }
  m.ma = static_cast<double>(hits) / static_cast<double>(T - item.start);
  m.forward_tokens = T;
}

// Prefixes between two mistakes share one continuation; those longer than T - n count for nothing.
std::vector<Rollout> PlanRollouts(std::span<Item> items) {
  std::vector<Rollout> rollouts;
  for (size_t s = 0; s < items.size(); ++s) {
    Item& item = items[s];
    int64_t first = item.start;
    for (const int64_t mistake : item.mistakes) {
      if (first > item.last_prefix) break;
      Rollout r{.sequence = s, .first = first, .mistake = mistake};
      r.text = item.sequence->ids;
      r.text[mistake] = item.result->greedy_next[mistake - 1];
      std::fill(r.text.begin() + mistake + 1, r.text.end(), -1);
      rollouts.push_back(std::move(r));
      first = mistake + 1;
    }
    item.result->rollouts = static_cast<int64_t>(std::count_if(
        rollouts.begin(), rollouts.end(), [&](const Rollout& r) { return r.sequence == s; }));
  }
  return rollouts;
}

// EL_n of one sequence, from its roll-outs in order; after the last mistake the model says x
// itself.
void Score(Item& item, std::span<const Rollout> rollouts, const std::vector<int64_t>& el_n) {
  const int64_t T = item.tokens();
  for (const int64_t n : el_n) {
    const int64_t prefixes = T - n - item.start + 1;
    if (prefixes < 1) continue;
    double sum = 0;
    int64_t next = item.start;
    for (const Rollout& r : rollouts) {
      const int64_t last = std::min(r.mistake, T - n);
      if (r.first > last) break;
      const std::vector<int64_t> found = LastOccurrences(r.text, item.sequence->ids, n, r.first);
      for (int64_t i = r.first; i <= last; ++i) {
        int64_t matches = 0;
        for (int64_t s = i; s <= T - n; ++s) matches += found[s - r.first] >= i;
        sum += static_cast<double>(matches) / static_cast<double>(T - i - n + 1);
      }
      next = r.mistake + 1;
    }
    sum += static_cast<double>(std::max<int64_t>(0, T - n - next + 1));
    item.result->el[n] = sum / static_cast<double>(prefixes);
  }
}

// Generates the rest of the roll-outs. One whose last run of known text is too short to become an
// n-gram of x in the steps that are left adds nothing any more and is dropped.
void RunRollouts(const LanguageModel& model, ModelCache& cache, std::span<Item> items,
                 std::span<Rollout> rollouts, const Plan& plan) {
  const auto track = [&](const Rollout& r) {
    OverlapTracker tracker(items[r.sequence].sequence->ids, plan.el_n.front());
    tracker.Start(r.text, r.mistake);
    return tracker;
  };
  std::vector<RolloutStart> starts;
  for (const Rollout& r : rollouts) {
    CacheRow row{.prefix = static_cast<int64_t>(r.sequence),
                 .length = r.mistake,
                 .room = items[r.sequence].tokens() - 1 - r.mistake};
    if (!track(r).Alive(row.room)) row.room = 0;
    starts.push_back({row, r.text[r.mistake]});
  }
  std::vector<int64_t> said(rollouts.size(), 0);
  std::unordered_map<size_t, OverlapTracker> trackers;  // of those that are being written
  const auto text = [&](size_t i) {
    const Rollout& r = rollouts[i];
    ++items[r.sequence].result->ties;
    return TokenIds(r.text.begin(), r.text.begin() + r.mistake + said[i] + 1);
  };
  const auto heard = [&](size_t i, int32_t token) {
    Rollout& r = rollouts[i];
    if (said[i] == 0) trackers.emplace(i, track(r));
    r.text[r.mistake + ++said[i]] = token;
    ++items[r.sequence].result->forward_tokens;
    OverlapTracker& tracker = trackers.at(i);
    tracker.Append(token);
    const int64_t left = starts[i].row.room - said[i];
    const bool more = left > 0 && tracker.Alive(left);
    if (!more) trackers.erase(i);
    return more;
  };
  RollOut(model, cache, starts, plan.cache_bytes, text, heard);
}

void RunAllRollouts(const LanguageModel& model, ModelCache& cache, std::span<Item> items,
                    const Plan& plan) {
  std::vector<Rollout> rollouts = PlanRollouts(items);  // by sequence and mistake
  RunRollouts(model, cache, items, rollouts, plan);
  size_t begin = 0;
  for (size_t s = 0; s < items.size(); ++s) {
    size_t end = begin;
    while (end < rollouts.size() && rollouts[end].sequence == s) ++end;
    Score(items[s], std::span(rollouts).subspan(begin, end - begin), plan.el_n);
    begin = end;
  }
}

// Measures sequences that are read in one pass.
void MeasureGroup(const LanguageModel& model, std::span<Item> items, const Plan& plan) {
  at::NoGradGuard no_grad;
  int64_t longest = 0;
  for (const Item& item : items) longest = std::max(longest, item.tokens());
  const auto count = static_cast<int64_t>(items.size());
  at::Tensor ids = at::zeros({count, longest}, at::kLong);
  for (int64_t s = 0; s < count; ++s) {
    std::copy(items[s].sequence->ids.begin(), items[s].sequence->ids.end(),
              ids.data_ptr<int64_t>() + s * longest);
  }
  ids = ids.to(model.device());
  const std::unique_ptr<ModelCache> cache = model.NewCache();
  const at::Tensor hidden = plan.el_n.empty() ? model.Hidden(ids) : cache->ReadPrefixes(ids);
  for (Item& item : items) item.result->ties = 0;
  const FirstChoices choices = ChooseFirst(model, hidden, [&](int64_t row) {
    const Item& item = items[row / longest];
    const int64_t read = row % longest + 1;
    if (read >= item.tokens()) return TokenIds();  // the last token predicts nothing; then pads
    ++item.result->ties;
    return TokenIds(item.sequence->ids.begin(), item.sequence->ids.begin() + read);
  });
  for (int64_t s = 0; s < count; ++s) {
    ReadFirstPass(items[s], choices.tokens.data() + s * longest);
  }
  if (!plan.el_n.empty()) RunAllRollouts(model, *cache, items, plan);
}

}  // namespace

absl::StatusOr<std::vector<Memorisation>> MeasureMemorisation(const LanguageModel& model,
                                                              std::span<const Sequence> sequences,
                                                              const MemorisationOptions& options) {
  Plan plan{.el_n = options.el_n, .cache_bytes = options.cache_bytes};
  std::sort(plan.el_n.begin(), plan.el_n.end());
  if (!plan.el_n.empty() && plan.el_n.front() < 1) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_EL_N", "n of EL_n must be at least 1");
  }
  std::vector<Memorisation> results(sequences.size());
  std::vector<Item> all;
  for (size_t s = 0; s < sequences.size(); ++s) {
    const int64_t start = std::max<int64_t>(1, sequences[s].prompt_tokens);
    LETHE_RETURN_IF_ERROR(model.CheckIds(sequences[s].ids, start + 1));
    Item item{.sequence = &sequences[s], .result = &results[s], .start = start};
    item.last_prefix = plan.el_n.empty() ? 0 : item.tokens() - plan.el_n.front();
    all.push_back(std::move(item));
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const Item& a, const Item& b) { return a.tokens() > b.tokens(); });
  for (size_t begin = 0; begin < all.size();) {
    const auto rows = static_cast<size_t>(std::max<int64_t>(1, kTokensAPass / all[begin].tokens()));
    const auto group = std::span(all).subspan(begin, std::min(rows, all.size() - begin));
    LETHE_RETURN_IF_ERROR(
        CatchTorchInHalves("measuring memorisation", group,
                           [&](std::span<Item> items) { MeasureGroup(model, items, plan); }));
    begin += group.size();
  }
  return results;
}

}  // namespace lethe
