#include "bench/loo_corpus.h"

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "engine/synth_corpus.h"
#include "text/tokenizer.h"

namespace lethe::loo {
namespace {

constexpr int kWatch = 64, kMeasuredPeople = 200, kMeasuredBackground = 150;
constexpr int kHeldPeople = 128, kHeldBackground = 64;

uint32_t ShardOf(size_t place, uint32_t shards, uint64_t seed) {
  const std::string digest =
      HmacSha256Hex("bench loo " + std::to_string(seed), std::to_string(place));
  return static_cast<uint32_t>(std::stoull(digest.substr(0, 15), nullptr, 16) % shards);
}

// The number with a slash in it is the member number: 4821/7730.
std::vector<Span> SecretOf(const SynthText& text, int digits) {
  for (const Span& span : text.sensitive) {
    const std::string said = text.text.substr(static_cast<size_t>(span.begin),
                                              static_cast<size_t>(span.end - span.begin));
    if (said.find('/') != std::string::npos && said.find('@') == std::string::npos)
      return {{span.begin, digits == 4 ? span.begin + 4 : span.end}};
  }
  return {};
}

absl::StatusOr<std::vector<Sequence>> Ids(const Tokenizer& tokenizer,
                                          const std::vector<SynthText>& texts, int digits) {
  std::vector<Sequence> out;
  for (const SynthText& text : texts) {
    LETHE_ASSIGN_OR_RETURN(Sequence s,
                           SequenceFromText(tokenizer, text.text, SecretOf(text, digits), {}));
    out.push_back(std::move(s));
  }
  return out;
}

std::vector<Sequence> Range(const std::vector<Sequence>& from, size_t begin, int count) {
  const auto first = from.begin() + static_cast<int64_t>(begin);
  return {first, first + count};
}

void Append(std::vector<Sequence> more, std::vector<Sequence>& to) {
  for (Sequence& s : more) to.push_back(std::move(s));
}

// Whom the tickets name, whose secret stays and is held, and whose stays and is measured: with every
// number of repeats as many of each.
void ShareOutSecrets(size_t people, Corpus& corpus) {
  for (size_t i = 0; i < people; ++i) {
    const size_t turn = i / std::size(kRepeats);
    corpus.texts[i].repeats = kRepeats[i % std::size(kRepeats)];
    if (turn % 3 == 0) {
      corpus.forgotten.push_back(i);
      continue;
    }
    corpus.kept.push_back(i);
    (turn % 3 == 1 ? corpus.hold : corpus.kept_secrets).push_back(corpus.texts[i].sequence);
  }
}

}  // namespace

std::vector<Sequence> Corpus::Forget() const {
  std::vector<Sequence> out;
  for (const size_t i : forgotten) out.push_back(texts[i].sequence);
  return out;
}

std::vector<size_t> Corpus::TrainingData(bool with_forgotten, int shard) const {
  const std::set<size_t> leave(forgotten.begin(), forgotten.end());
  std::vector<size_t> places;
  for (size_t i = 0; i < texts.size(); ++i) {
    if (shard >= 0 && texts[i].shard != static_cast<uint32_t>(shard)) continue;
    if (!with_forgotten && leave.contains(i)) continue;
    places.insert(places.end(), static_cast<size_t>(texts[i].repeats), i);
  }
  return places;
}

absl::StatusOr<Corpus> MakeCorpus(const CorpusOptions& options) {
  if (options.others < kHeldPeople + kMeasuredPeople ||
      options.background < kHeldBackground + kMeasuredBackground) {
    return Error(absl::StatusCode::kInvalidArgument, "CORPUS_TOO_SMALL",
                 "too few other people or background texts to hold some and measure others");
  }
  const SynthCorpus made = MakeSynthCorpus({.seed = options.seed,
                                            .forget = options.people,
                                            .forget_repeats = 0,
                                            .famous = 0,
                                            .retain = options.others,
                                            .retain_repeats = 0,
                                            .holdout = kWatch + kMeasuredPeople,
                                            .background = options.background,
                                            .other = kMeasuredBackground});
  std::vector<std::string> words;
  for (const auto* part : {&made.forget, &made.retain, &made.train}) {
    for (const SynthText& text : *part) words.push_back(text.text);
  }
  Corpus corpus{.shards = static_cast<uint32_t>(options.shards)};
  LETHE_ASSIGN_OR_RETURN(corpus.tokenizer_json,
                         TrainBpe(words, {.vocab_size = options.vocab_size}));
  LETHE_ASSIGN_OR_RETURN(const Tokenizer tokenizer, Tokenizer::FromJson(corpus.tokenizer_json));
  corpus.vocab_size = tokenizer.vocab_size();
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> secrets,
                         Ids(tokenizer, made.forget, options.secret_digits));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> people,
                         Ids(tokenizer, made.retain, options.secret_digits));
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> background,
                         Ids(tokenizer, made.train, options.secret_digits));
  for (const auto* part : {&secrets, &people, &background}) {
    for (const Sequence& s : *part) {
      const size_t place = corpus.texts.size();
      corpus.texts.push_back({.sequence = s, .shard = ShardOf(place, corpus.shards, options.seed)});
    }
  }
  ShareOutSecrets(secrets.size(), corpus);
  Append(Range(people, 0, kHeldPeople), corpus.hold);
  Append(Range(background, 0, kHeldBackground), corpus.hold);
  corpus.kept_people = Range(people, kHeldPeople, kMeasuredPeople);
  corpus.kept_background = Range(background, kHeldBackground, kMeasuredBackground);
  LETHE_ASSIGN_OR_RETURN(const std::vector<Sequence> unseen,
                         Ids(tokenizer, made.holdout, options.secret_digits));
  corpus.watch = Range(unseen, 0, kWatch);
  corpus.unseen_people = Range(unseen, kWatch, kMeasuredPeople);
  LETHE_ASSIGN_OR_RETURN(corpus.unseen_background,
                         Ids(tokenizer, made.other, options.secret_digits));
  for (const Text& text : corpus.texts) {
    corpus.tokens += text.repeats * static_cast<int64_t>(text.sequence.ids.size());
  }
  return corpus;
}

}  // namespace lethe::loo
