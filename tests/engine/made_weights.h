// Models whose weights are made from the names and shapes of their tensors, here and in
// families/make_golden.py: golden values need no stored weights.
#ifndef LETHE_TESTS_ENGINE_MADE_WEIGHTS_H_
#define LETHE_TESTS_ENGINE_MADE_WEIGHTS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <map>
#include <string>

#include "engine/checkpoint/decoder_tensors.h"
#include "engine/model/decoder.h"

namespace lethe {

// Uniform in (-1,1) by splitmix64 over the FNV-1a hash of the name; norms around 1. The twin of
// make_golden.py: both sides make the weights, so nothing is stored.
inline at::Tensor MadeWeights(const TensorRule& rule) {
  uint64_t state = 0xCBF29CE484222325;
  for (const char c : rule.name) state = (state ^ static_cast<uint8_t>(c)) * 0x100000001B3;
  at::Tensor tensor = at::empty(rule.shape, at::kFloat);
  float* data = tensor.data_ptr<float>();
  const bool is_norm = rule.shape.size() == 1 && rule.name.ends_with("weight");
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    state += 0x9E3779B97F4A7C15;
    uint64_t x = state;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
    x ^= x >> 31;
    const float u = static_cast<float>(x >> 40) * 0x1p-23f - 1.0f;
    data[i] = rule.shape.size() > 1 ? u * 0.375f : is_norm ? 1.0f + u * 0.25f : u * 0.125f;
  }
  return tensor;
}

inline std::map<std::string, at::Tensor> MadeTensors(const DecoderConfig& config) {
  std::map<std::string, at::Tensor> tensors;
  for (const TensorRule& rule : DecoderTensors(config)) tensors[rule.name] = MadeWeights(rule);
  return tensors;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_MADE_WEIGHTS_H_
