// Other secrets that look like one: "4821" for "7730", "Xk-92" for "Qa-17". Without LibTorch.
//
//   TokenShapes shapes(tokenizer, vocab_size);
//   std::optional<Alternatives> others = shapes.Alternatives(secret, 1000, seed);
//
// Format     token by token: digits stay digits, small letters small, capitals capital; everything
//            else and the length stay as they are.
// Tokens     an alternative whose text would be tokenised otherwise is passed over where the secret
//            itself is tokenised as its text is: a model never saw such tokens, and the secret
//            would win by that.
// Threads    const calls: any. Errors: none; a text that the tokenizer refuses is passed over.
#ifndef LETHE_ENGINE_ATTACK_SAME_FORMAT_H_
#define LETHE_ENGINE_ATTACK_SAME_FORMAT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace lethe {

// Digits become 0, small letters a, capitals A.
std::string ShapeOf(std::string_view token);

struct FormatSpace {
  double bits = 0;     // log2 of how many have the format, the secret among them; else estimated
  bool whole = false;  // `others` are all of them
  std::vector<std::vector<int32_t>> others;  // apart from each other and from the secret
};

class TokenShapes {
 public:
  TokenShapes(const Tokenizer& tokenizer, int64_t vocab_size);

  // Nothing when the tokens have no format: fewer than kLeast others look like them.
  std::optional<FormatSpace> Alternatives(std::span<const int32_t> secret, size_t count,
                                          uint64_t seed) const;

  static constexpr size_t kLeast = 9;

 private:
  bool ReadsAsItself(std::span<const int32_t> tokens) const;

  const Tokenizer& tokenizer_;
  std::vector<std::string> shape_;                     // of each id; empty: of none
  std::map<std::string, std::vector<int32_t>> alike_;  // shape -> ids
};

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_SAME_FORMAT_H_
