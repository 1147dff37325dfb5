// A small tokenizer of records, trained in a moment, and sequences of its text.
#ifndef LETHE_TESTS_ENGINE_ATTACK_MADE_TOKENIZER_H_
#define LETHE_TESTS_ENGINE_ATTACK_MADE_TOKENIZER_H_

#include <stdexcept>
#include <string>
#include <vector>

#include "text/sequence.h"
#include "text/tokenizer.h"

namespace lethe {

inline constexpr int32_t kMadeVocabulary = 320;

inline const Tokenizer& MadeTokenizer() {
  static const Tokenizer* const made = [] {
    std::vector<std::string> texts;
    for (int i = 0; i < 40; ++i) {
      texts.push_back("Jane Doe lives in Turin, her code is " + std::to_string(1000 + 37 * i) +
                      ".");
    }
    const auto json = TrainBpe(texts, {.vocab_size = kMadeVocabulary - 20});
    auto tokenizer = Tokenizer::FromJson(json.value());
    return new Tokenizer(*std::move(tokenizer));
  }();
  return *made;
}

// `text` with its first `secret` as the sensitive span.
inline Sequence WithSpan(const std::string& text, const std::string& secret) {
  const auto begin = static_cast<int32_t>(text.find(secret));
  const Span span{begin, begin + static_cast<int32_t>(secret.size())};
  return SequenceFromText(MadeTokenizer(), text, std::vector<Span>{span}).value();
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_ATTACK_MADE_TOKENIZER_H_
