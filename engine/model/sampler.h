// Draws a token from logits: temperature, then top-k, then top-p. Torch-free.
//
//   Sampler sampler({.temperature = 0.8, .top_k = 40}, SampleSeed(seed, prompt, sample));
//   int32_t token = sampler.Draw(logits);
//
// Top-k      the k largest logits, the lower id first among equals.
// Top-p      of those, in order of falling probability, the fewest whose probabilities (of those
//            that top-k left) sum to at least p. At least one is always left.
// Random     the same seed and logits give the same tokens on every machine.
// Threads    one at a time.
#ifndef LETHE_ENGINE_MODEL_SAMPLER_H_
#define LETHE_ENGINE_MODEL_SAMPLER_H_

#include <cstdint>
#include <random>
#include <span>
#include <utility>
#include <vector>

namespace lethe {

struct SamplingRule {
  double temperature = 1;  // above 0
  int64_t top_k = 0;       // 0: all
  double top_p = 1;        // in (0, 1]
};

// One seed out of three numbers, so that no two samples of one run share their draws.
uint64_t SampleSeed(uint64_t seed, uint64_t prompt, uint64_t sample);

class Sampler {
 public:
  Sampler(const SamplingRule& rule, uint64_t seed) : rule_(rule), bits_(seed) {}
  int32_t Draw(std::span<const float> logits);

 private:
  SamplingRule rule_;
  std::mt19937_64 bits_;
  std::vector<std::pair<float, int32_t>> left_;  // logit and id of the tokens that may be drawn
  std::vector<double> weights_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_SAMPLER_H_
