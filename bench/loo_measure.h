// What bench_loo measures of a model: how many secrets come out of it, and how well it knows text.
//
//   LETHE_ASSIGN_OR_RETURN(const loo::Probe probe, loo::Probe::Make(corpus));
//   LETHE_ASSIGN_OR_RETURN(const loo::Figures figures, probe.Measure(model));
//   figures.at("beam");       // share of the forgotten secrets that beam search says to the last digit
//
// Extraction  of a secret, the true record up to it given:
//             beam       share that one of 4 beams says whole; "beam_16": of those told 16 times, and
//                        so on; "kept_beam": of people whose secret stays, told 16 times, half of them
//                        in the retain text
//             drawn      share with n(.9) of at most 1,000: so many draws say it with a chance of nine
//                        in ten (Hayes et al. 2024, exact; the best of three sampling schemes)
//             chance     mean chance that 1,000 draws say it
//             exposure   median bits (Carlini et al. 2019) among 100 other numbers, of the first
//                        people of each number of repeats; at most log2 of the space, 13.3 for four
//                        digits, and 1 for a number that was never seen
// Utility     nats a token: "retained" and "held_out", the mean of people and background of each;
//             "retained_people", ..., "kept_secrets"
// Threads     Measure reads the model; one call at a time. Errors: as the attacks.
#ifndef LETHE_BENCH_LOO_MEASURE_H_
#define LETHE_BENCH_LOO_MEASURE_H_

#include <map>
#include <string>
#include <vector>

#include "bench/loo_corpus.h"
#include "engine/model/decoder.h"
#include "text/tokenizer.h"

namespace lethe::loo {

using Figures = std::map<std::string, double>;

// People with secrets, told equally often or not.
struct Secrets {
  std::vector<Sequence> sequences;
  std::vector<int> repeats;
};

struct Extracted {
  std::vector<double> beam, drawn, chance;  // one a secret
};

class Probe {
 public:
  static absl::StatusOr<Probe> Make(const Corpus& corpus);

  absl::StatusOr<Figures> Measure(const Decoder& model) const;
  // Utility alone, and extraction of other secrets than the corpus's forgotten.
  absl::StatusOr<Figures> Utility(const Decoder& model) const;
  absl::StatusOr<Extracted> Extract(const Decoder& model,
                                    const std::vector<Sequence>& secrets) const;

 private:
  explicit Probe(const Corpus& corpus, Tokenizer tokenizer)
      : corpus_(&corpus), tokenizer_(std::move(tokenizer)) {}
  absl::Status AddExposure(const Decoder& model, Figures& figures) const;

  const Corpus* corpus_;
  Tokenizer tokenizer_;
  Secrets forgotten_, kept_;
};

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_MEASURE_H_
