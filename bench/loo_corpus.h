// The corpus of bench_loo: people with a secret each, told once, four and sixteen times among other
// people and a seeded grammar; split into shards by person, and into what is forgotten and what stays.
//
//   LETHE_ASSIGN_OR_RETURN(const loo::Corpus corpus, loo::MakeCorpus({.seed = 3}));
//   corpus.forgotten;                    // places in corpus.texts: what the tickets name
//
// Secret     the first digits of a person's member number: the record's only sensitive span. The whole
//            record is what is forgotten.
// Threads    values. Errors: as TrainBpe and SequenceFromText.
#ifndef LETHE_BENCH_LOO_CORPUS_H_
#define LETHE_BENCH_LOO_CORPUS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/sequence.h"

namespace lethe::loo {

inline constexpr int kRepeats[] = {1, 4, 16};

struct CorpusOptions {
  uint64_t seed = 1;
  int people = 300;        // with a secret; a third told as often as each of kRepeats says
  int others = 6000;       // people who are told once, and stay
  int background = 32000;  // texts of the grammar
  int vocab_size = 1024;
  int shards = 4;
  int secret_digits = 4;  // 4, or 8: the whole number, with the slash in its middle
};

struct Text {
  Sequence sequence;
  int repeats = 1;
  uint32_t shard = 0;  // of the person; of a text without one, by its place
};

struct Corpus {
  std::string tokenizer_json;
  int vocab_size = 0;
  int64_t tokens = 0;  // of the training data, repeats included
  uint32_t shards = 0;
  std::vector<Text> texts;        // those with secrets first
  std::vector<size_t> forgotten;  // places in texts: a third of the people with secrets
  std::vector<size_t> kept;       // the others, whose secrets stay

  // Retain text of the methods: kept secrets, people and background. Never measured.
  std::vector<Sequence> hold;
  // Trained on and not held: of these the utility is measured.
  std::vector<Sequence> kept_secrets, kept_people, kept_background;
  // Never trained on. `watch` is the methods' own look at unseen people.
  std::vector<Sequence> watch, unseen_people, unseen_background;

  std::vector<Sequence> Forget() const;
  // Places in texts, each as often as it is told: all, or without what is forgotten; of one shard, or
  // of all (-1).
  std::vector<size_t> TrainingData(bool with_forgotten, int shard = -1) const;
};

absl::StatusOr<Corpus> MakeCorpus(const CorpusOptions& options);

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_CORPUS_H_
