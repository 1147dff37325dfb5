// Small random models and sequences for tests: shapes vary, so that nothing rests on one of them.
#ifndef LETHE_TESTS_ENGINE_RANDOM_MODELS_H_
#define LETHE_TESTS_ENGINE_RANDOM_MODELS_H_

#include <cstdint>
#include <random>
#include <vector>

#include "engine/model/decoder.h"

namespace lethe {

struct RandomShape {
  int64_t vocab = 12, hidden = 24, layers = 2, heads = 4, kv_heads = 2, head_dim = 6, mlp = 20;
  int64_t context = 64;
  bool tied = false, biases = false;
};

inline DecoderConfig ConfigOf(const RandomShape& s) {
  DecoderConfig c;
  c.vocab_size = s.vocab;
  c.hidden_size = s.hidden;
  c.num_layers = s.layers;
  c.num_heads = s.heads;
  c.num_kv_heads = s.kv_heads;
  c.head_dim = s.head_dim;
  c.intermediate_size = s.mlp;
  c.context = s.context;
  c.norm_eps = 1e-5;
  c.initializer_range = 0.5;  // wide, so that what the model says depends on what it read
  c.tied_embeddings = s.tied;
  c.qkv_bias = c.out_bias = c.mlp_bias = s.biases;
  return c;
}

inline Decoder RandomModel(const RandomShape& shape, uint64_t seed) {
  absl::StatusOr<Decoder> model = Decoder::Init(ConfigOf(shape), seed, Device{});
  if (!model.ok()) throw std::runtime_error(std::string(model.status().message()));
  return *std::move(model);
}

inline std::vector<int32_t> RandomIds(std::mt19937_64& random, int64_t count, int64_t vocab) {
  std::vector<int32_t> ids;
  for (int64_t i = 0; i < count; ++i) ids.push_back(static_cast<int32_t>(random() % vocab));
  return ids;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_RANDOM_MODELS_H_
