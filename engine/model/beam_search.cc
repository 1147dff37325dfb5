#include "engine/model/beam_search.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace lethe {
namespace {

// A beam and one token more.
struct Candidate {
  size_t beam;
  int32_t id;
  double log_prob;  // of all that the beam says with it
};

bool Likelier(const Candidate& a, const Candidate& b) {
  if (a.log_prob != b.log_prob) return a.log_prob > b.log_prob;
  return std::pair(a.beam, a.id) < std::pair(b.beam, b.id);
}

// Adds the `most` likeliest continuations of a beam. logits (V)
void AddLikeliest(std::span<const float> logits, size_t beam, double log_prob, size_t most,
                  std::vector<int32_t>& order, std::vector<Candidate>& candidates) {
  double largest = logits[0], sum = 0;
  for (const float x : logits) largest = std::max<double>(largest, x);
  for (const float x : logits) sum += std::exp(x - largest);
  const double log_sum = largest + std::log(sum);
  order.resize(logits.size());
  std::iota(order.begin(), order.end(), 0);
  most = std::min(most, order.size());
  std::nth_element(
      order.begin(), order.begin() + static_cast<int64_t>(most) - 1, order.end(),
      [&](int32_t a, int32_t b) { return logits[a] != logits[b] ? logits[a] > logits[b] : a < b; });
  for (size_t i = 0; i < most; ++i) {
    candidates.push_back({beam, order[i], log_prob + logits[order[i]] - log_sum});
  }
}

// The search behind one prompt.
class Search {
 public:
  struct Beam {
    TokenIds ids;
    double log_prob = 0;
  };

  explicit Search(const BeamOptions& options) : options_(options), running_(1) {
    done_ = options.max_new_tokens == 0;
    if (done_) finished_.push_back({});
  }

  bool done() const { return done_; }
  const std::vector<Beam>& running() const { return running_; }
  std::vector<Hypothesis> TakeFinished() { return std::move(finished_); }

  // One token more. logits (running,V): after each beam. Returns the beam that each of those running
  // now came from.
  std::vector<size_t> Advance(std::span<const float> logits, size_t vocabulary) {
    candidates_.clear();
    const auto width = static_cast<size_t>(options_.beams), keep = 2 * width;
    for (size_t b = 0; b < running_.size(); ++b) {
      AddLikeliest(logits.subspan(b * vocabulary, vocabulary), b, running_[b].log_prob, keep,
                   order_, candidates_);
    }
    std::sort(candidates_.begin(), candidates_.end(), Likelier);
    candidates_.resize(std::min(keep, candidates_.size()));

    const int64_t length = static_cast<int64_t>(running_[0].ids.size()) + 1;
    const double divisor = std::pow(static_cast<double>(length), options_.length_penalty);
    std::vector<Beam> next;
    std::vector<size_t> parents;
    for (size_t rank = 0; rank < candidates_.size(); ++rank) {
      const Candidate& c = candidates_[rank];
      const bool stops = c.id == options_.stop_id, last = length == options_.max_new_tokens;
      Beam beam{running_[c.beam].ids, c.log_prob};
      if (!stops) beam.ids.push_back(c.id);
      if (stops || last) {
        if (rank < width) Finish({std::move(beam.ids), c.log_prob / divisor});
      } else if (next.size() < width) {
        next.push_back(std::move(beam));
        parents.push_back(c.beam);
      }
    }
    running_ = std::move(next);
    done_ = running_.empty() ||
            (finished_.size() == width && running_[0].log_prob / divisor <= finished_.back().score);
    return parents;
  }

 private:
  // Keeps the best `beams`; of equals, those that came first.
  void Finish(Hypothesis found) {
    const auto place = std::upper_bound(
        finished_.begin(), finished_.end(), found,
        [](const Hypothesis& a, const Hypothesis& b) { return a.score > b.score; });
    finished_.insert(place, std::move(found));
    if (static_cast<int64_t>(finished_.size()) > options_.beams) finished_.pop_back();
  }

  const BeamOptions& options_;
  bool done_;
  std::vector<Beam> running_;         // best first, all of one length
  std::vector<Hypothesis> finished_;  // best first
  std::vector<Candidate> candidates_;
  std::vector<int32_t> order_;
};

// Runs searches side by side. first_hidden (searches,E): after each prompt. Search s has the cache's
// rows from s * beams on.
void RunSearches(const LanguageModel& model, ModelCache& cache, const at::Tensor& first_hidden,
                 std::span<Search> searches, int64_t beams) {
  const auto vocabulary = static_cast<size_t>(model.vocab_size());
  at::Tensor hidden = first_hidden;
  for (bool first = true;; first = false) {
    const at::Tensor logits = model.Logits(hidden).to(at::kFloat).cpu().contiguous();  // (n,V)
    const float* from = logits.const_data_ptr<float>();
    std::vector<int64_t> rows, parents;
    std::vector<int32_t> tokens;
    for (size_t s = 0; s < searches.size(); ++s) {
      Search& search = searches[s];
      if (search.done()) continue;
      const size_t count = search.running().size() * vocabulary;
      const std::vector<size_t> came_from = search.Advance({from, count}, vocabulary);
      from += count;
      if (search.done()) continue;
      for (size_t b = 0; b < came_from.size(); ++b) {
        rows.push_back(static_cast<int64_t>(s) * beams + static_cast<int64_t>(b));
        parents.push_back(static_cast<int64_t>(s) * beams + static_cast<int64_t>(came_from[b]));
        tokens.push_back(search.running()[b].ids.back());
      }
    }
    if (rows.empty()) return;
    if (!first) cache.ContinueAs(rows, parents);
    hidden = cache.Step(rows, tokens);
  }
}

void SearchGroup(const LanguageModel& model, std::span<const TokenIds> prompts,
                 std::span<const size_t> members, const BeamOptions& options,
                 std::vector<std::vector<Hypothesis>>& results) {
  at::NoGradGuard no_grad;
  const std::unique_ptr<ModelCache> cache = model.NewCache();
  const at::Tensor last_hidden = ReadPrompts(*cache, model, prompts, members);
  const int64_t room = std::max<int64_t>(0, options.max_new_tokens - 1);
  const int64_t bytes = std::max<int64_t>(1, options.beams * cache->RowBytes(room));
  const auto side_by_side = static_cast<size_t>(std::max<int64_t>(1, options.cache_bytes / bytes));
  for (size_t begin = 0; begin < members.size(); begin += side_by_side) {
    const size_t count = std::min(side_by_side, members.size() - begin);
    std::vector<Search> searches(count, Search(options));
    std::vector<CacheRow> rows;
    for (size_t p = begin; p < begin + count; ++p) {
      rows.insert(rows.end(), static_cast<size_t>(options.beams),
                  {.prefix = static_cast<int64_t>(p),
                   .length = static_cast<int64_t>(prompts[members[p]].size()),
                   .room = room});
    }
    cache->StartRows(rows);
    RunSearches(model, *cache,
                last_hidden.narrow(0, static_cast<int64_t>(begin), static_cast<int64_t>(count)),
                searches, options.beams);
    for (size_t s = 0; s < count; ++s) results[members[begin + s]] = searches[s].TakeFinished();
  }
}

}  // namespace

absl::StatusOr<std::vector<std::vector<Hypothesis>>> SearchBeams(const LanguageModel& model,
                                                                 std::span<const TokenIds> prompts,
                                                                 const BeamOptions& options) {
  if (options.beams < 1 || options.max_new_tokens < 0 || !std::isfinite(options.length_penalty)) {
    return Error(absl::StatusCode::kInvalidArgument, "BAD_SAMPLING",
                 "wanted: beams >= 1, max_new_tokens >= 0, a finite length_penalty");
  }
  LETHE_RETURN_IF_ERROR(CheckPrompts(model, prompts, options.max_new_tokens));
  std::vector<std::vector<Hypothesis>> results(prompts.size());
  LETHE_RETURN_IF_ERROR(
      ForPromptGroups("searching beams", prompts, [&](std::span<const size_t> members) {
        SearchGroup(model, prompts, members, options, results);
      }));
  return results;
}

}  // namespace lethe
