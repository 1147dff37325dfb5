#include "engine/metric/ngram_reference.h"

#include <algorithm>
#include <cmath>

namespace lethe {
namespace {

constexpr size_t kLongest = 2;

// The last `length` tokens of `before`, as a key among histories of that length.
uint64_t KeyOf(std::span<const int32_t> before, size_t length) {
  uint64_t key = 0;
  for (const int32_t id : before.last(length)) key = key << 32 | static_cast<uint32_t>(id);
  return key;
}

}  // namespace

NgramReference::NgramReference(std::span<const Sequence> text, int64_t vocab_size)
    : vocab_size_(static_cast<double>(std::max<int64_t>(1, vocab_size))) {
  for (const Sequence& sequence : text) {
    const std::span<const int32_t> ids = sequence.ids;
    for (size_t t = 0; t < ids.size(); ++t) {
      for (size_t length = 0; length <= std::min(t, kLongest); ++length) {
        Followers& followers = histories_[length][KeyOf(ids.first(t), length)];
        ++followers.count;
        ++followers.next[ids[t]];
      }
    }
  }
}

double NgramReference::Probability(std::span<const int32_t> before, int32_t token) const {
  double probability = 1 / vocab_size_;
  for (size_t length = 0; length <= std::min(before.size(), kLongest); ++length) {
    const auto found = histories_[length].find(KeyOf(before, length));
    if (found == histories_[length].end()) continue;
    const Followers& followers = found->second;
    const auto seen = followers.next.find(token);
    const auto count = static_cast<double>(seen == followers.next.end() ? 0 : seen->second);
    const auto different = static_cast<double>(followers.next.size());
    probability =
        (count + different * probability) / (static_cast<double>(followers.count) + different);
  }
  return probability;
}

std::vector<double> NgramReference::TokenNll(const Sequence& sequence) const {
  const std::span<const int32_t> ids = sequence.ids;
  std::vector<double> nll;
  for (auto t = static_cast<size_t>(std::max(1, sequence.prompt_tokens)); t < ids.size(); ++t) {
    nll.push_back(-std::log(Probability(ids.first(t), ids[t])));
  }
  return nll;
}

double NgramReference::MeanNll(const Sequence& sequence, bool on_spans) const {
  const std::vector<double> nll = TokenNll(sequence);
  const int32_t first = std::max(1, sequence.prompt_tokens);
  double all = 0, in_spans = 0, counted = 0;
  for (const double n : nll) all += n;
  for (const Span& span : sequence.sensitive) {
    for (int32_t t = std::max(span.begin, first); t < span.end; ++t, ++counted) {
      in_spans += nll[static_cast<size_t>(t - first)];
    }
  }
  if (on_spans && counted > 0) return in_spans / counted;
  return nll.empty() ? 0 : all / static_cast<double>(nll.size());
}

}  // namespace lethe
