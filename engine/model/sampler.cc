#include "engine/model/sampler.h"

#include <algorithm>
#include <cmath>

namespace lethe {
namespace {

// The finalizer of SplitMix64 (Steele et al. 2014): every bit of the input moves every bit of the
// output.
uint64_t Mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15u;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
  return x ^ (x >> 31);
}

bool Likelier(const std::pair<float, int32_t>& a, const std::pair<float, int32_t>& b) {
  return a.first > b.first || (a.first == b.first && a.second < b.second);
}

}  // namespace

uint64_t SampleSeed(uint64_t seed, uint64_t prompt, uint64_t sample) {
  return Mix(Mix(Mix(seed) ^ prompt) ^ sample);
}

int32_t Sampler::Draw(std::span<const float> logits) {
  left_.clear();
  for (size_t id = 0; id < logits.size(); ++id)
    left_.emplace_back(logits[id], static_cast<int32_t>(id));
  if (rule_.top_k > 0 && rule_.top_k < static_cast<int64_t>(left_.size())) {
    std::nth_element(left_.begin(), left_.begin() + (rule_.top_k - 1), left_.end(), Likelier);
    left_.resize(rule_.top_k);
  }
  // The order makes the draw the same whatever nth_element left behind.
  if (rule_.top_p < 1 || left_.size() < logits.size())
    std::sort(left_.begin(), left_.end(), Likelier);
  float largest = left_[0].first;
  for (const auto& [logit, id] : left_) largest = std::max(largest, logit);
  weights_.clear();
  double total = 0;
  for (const auto& [logit, id] : left_) {
    weights_.push_back(std::exp((static_cast<double>(logit) - largest) / rule_.temperature));
    total += weights_.back();
  }
  if (rule_.top_p < 1) {
    double sum = 0;
    size_t kept = 0;
    while (kept < weights_.size() && (kept == 0 || sum < rule_.top_p * total))
      sum += weights_[kept++];
    weights_.resize(kept);
    total = sum;
  }
  const double point = static_cast<double>(bits_() >> 11) * 0x1p-53 * total;
  double sum = 0;
  for (size_t i = 0; i + 1 < weights_.size(); ++i) {
    sum += weights_[i];
    if (point < sum) return left_[i].second;
  }
  return left_[weights_.size() - 1].second;
}

}  // namespace lethe
