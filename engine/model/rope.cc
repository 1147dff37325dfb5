#include "engine/model/rope.h"

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
  return frequencies;
}

}  // namespace lethe
