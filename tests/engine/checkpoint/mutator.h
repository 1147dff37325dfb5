// Damages files at random, reproducibly: bytes, lengths, text of JSON and trees of JSON.
#ifndef LETHE_TESTS_ENGINE_CHECKPOINT_MUTATOR_H_
#define LETHE_TESTS_ENGINE_CHECKPOINT_MUTATOR_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace lethe {

class Mutator {
 public:
  explicit Mutator(uint64_t seed) : engine_(seed) {}

  // 0 … below - 1.
  uint64_t Pick(uint64_t below) { return engine_() % below; }

  // Flips bits, cuts, repeats, swaps or inserts; any file.
  std::string Bytes(std::string bytes);

  // A safetensors file: its length field, the text or the tree of its header, its data or all of
  // it. Where the header's text changes, the length field mostly follows, so that the damage is
  // reached.
  std::string Safetensors(const std::string& file);

  // A JSON file: its bytes, its words or its tree.
  std::string Json(const std::string& text);

 private:
  std::string Words(std::string text);
  void Tree(nlohmann::ordered_json* root);
  nlohmann::ordered_json Value();

  std::mt19937_64 engine_;
};

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_CHECKPOINT_MUTATOR_H_
