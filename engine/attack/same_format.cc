#include "engine/attack/same_format.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/seeded_generator.h"

namespace lethe {
namespace {

using TokenIds = std::vector<int32_t>;

constexpr size_t kTries = 30;  // draws for each alternative that is wanted

}  // namespace

std::string ShapeOf(std::string_view token) {
  std::string shape(token);
  for (char& c : shape) {
    if (c >= '0' && c <= '9') c = '0';
    if (c >= 'a' && c <= 'z') c = 'a';
    if (c >= 'A' && c <= 'Z') c = 'A';
  }
  return shape;
}

TokenShapes::TokenShapes(const Tokenizer& tokenizer, int64_t vocab_size) : tokenizer_(tokenizer) {
  shape_.resize(static_cast<size_t>(std::min<int64_t>(vocab_size, tokenizer.vocab_size())));
  for (size_t id = 0; id < shape_.size(); ++id) {
    const auto token = tokenizer.IdToToken(static_cast<int32_t>(id));
    if (!token.has_value() || token->empty()) continue;
    shape_[id] = ShapeOf(*token);
    alike_[shape_[id]].push_back(static_cast<int32_t>(id));
  }
}

bool TokenShapes::ReadsAsItself(std::span<const int32_t> tokens) const {
  const auto text = tokenizer_.Decode(tokens);
  if (!text.ok()) return false;
  const auto again = tokenizer_.Encode(*text, /*add_special=*/false);
  return again.ok() && std::equal(again->begin(), again->end(), tokens.begin(), tokens.end());
}

std::optional<FormatSpace> TokenShapes::Alternatives(std::span<const int32_t> secret, size_t count,
                                                     uint64_t seed) const {
  std::vector<const TokenIds*> choices;  // for each token
  double space = 1;
  for (const int32_t id : secret) {
    if (id < 0 || static_cast<size_t>(id) >= shape_.size() || shape_[id].empty()) {
      return std::nullopt;
    }
    choices.push_back(&alike_.at(shape_[id]));
    space *= static_cast<double>(choices.back()->size());
  }
  const bool as_text = ReadsAsItself(secret);
  const TokenIds itself(secret.begin(), secret.end());
  const auto fits = [&](const TokenIds& other) {
    return other != itself && (!as_text || ReadsAsItself(other));
  };
  std::set<TokenIds> others;
  FormatSpace found{.whole = space <= static_cast<double>(count)};
  TokenIds other(secret.size());
  if (found.whole) {
    for (size_t n = 0; n < static_cast<size_t>(space); ++n) {  // n in a mixed base
      size_t rest = n;
      for (size_t i = 0; i < other.size(); ++i) {
        other[i] = (*choices[i])[rest % choices[i]->size()];
        rest /= choices[i]->size();
      }
      if (fits(other)) others.insert(other);
    }
    found.bits = std::log2(static_cast<double>(others.size() + 1));
  } else {
    SeededGenerator random(seed);
    size_t tried = 0, fitting = 0;
    for (; tried < kTries * count && others.size() < count; ++tried) {
      for (size_t i = 0; i < other.size(); ++i) {
        other[i] = (*choices[i])[random.Below(choices[i]->size())];
      }
      if (!fits(other)) continue;
      ++fitting;
      others.insert(other);
    }
    const double share = static_cast<double>(fitting) / static_cast<double>(tried);
    found.bits = std::log2(std::max(static_cast<double>(others.size() + 1), space * share));
  }
  if (others.size() < kLeast) return std::nullopt;
  found.others.assign(others.begin(), others.end());
  return found;
}

}  // namespace lethe
