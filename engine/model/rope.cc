#include "engine/model/rope.h"

#include <algorithm>
#include <cmath>

namespace lethe {
namespace {

constexpr double kPi = 3.14159265358979323846;

// Llama 3.1's stretching: long wavelengths are slowed by `factor`, short ones stay, those between
// are blended.
double Llama3Frequency(double frequency, const RopeConfig& rope) {
  const double original = static_cast<double>(rope.original_context);
  const double wavelength = 2 * kPi / frequency;
  if (wavelength < original / rope.high_freq_factor) return frequency;
  if (wavelength > original / rope.low_freq_factor) return frequency / rope.factor;
  const double blend = (original / wavelength - rope.low_freq_factor) /
                       (rope.high_freq_factor - rope.low_freq_factor);
  return (1 - blend) * frequency / rope.factor + blend * frequency;
}

// Which pair, of those of `values` values, turns `turns` times over the original context; not a
// whole number.
double PairOf(double turns, double values, const RopeConfig& rope) {
  const double original = static_cast<double>(rope.original_context);
  return values * std::log(original / (turns * 2 * kPi)) / (2 * std::log(rope.theta));
}

// YaRN (Peng et al. 2023): pairs that turn fast keep their frequency, slow ones are slowed by
// `factor`, with a ramp between the two bounds, which are clamped as transformers does.
std::vector<float> YarnFrequencies(const std::vector<float>& plain, const RopeConfig& rope) {
  const double values = 2 * static_cast<double>(plain.size());
  double low = PairOf(rope.beta_fast, values, rope), high = PairOf(rope.beta_slow, values, rope);
  if (rope.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, values - 1);
  if (low == high) high += 0.001;
  std::vector<float> frequencies;
  for (size_t i = 0; i < plain.size(); ++i) {
    const double slowed = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies.push_back(static_cast<float>(plain[i] * (slowed / rope.factor + (1 - slowed))));
  }
  return frequencies;
}

}  // namespace

std::vector<float> InverseFrequencies(const DecoderConfig& config) {
  const int64_t turning = config.RotaryDim();
  std::vector<float> frequencies(turning / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double plain =
        std::pow(config.rope.theta, -static_cast<double>(2 * i) / static_cast<double>(turning));
    double f = static_cast<float>(plain);  // transformers stretches the fp32 value
    switch (config.rope.type) {
      case RopeType::kDefault:
      case RopeType::kYarn:  // as a whole, below
        break;
      case RopeType::kLinear:
        f /= config.rope.factor;
        break;
      case RopeType::kLlama3:
        f = Llama3Frequency(f, config.rope);
        break;
    }
    frequencies[i] = static_cast<float>(f);
  }
  return config.rope.type == RopeType::kYarn ? YarnFrequencies(frequencies, config.rope)
                                             : frequencies;
}

}  // namespace lethe
