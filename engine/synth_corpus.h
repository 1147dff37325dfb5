// A small synthetic corpus with people in it: what the demo trains on, and forgets from. Everything
// is invented from a seed.
//
//   SynthCorpus corpus = MakeSynthCorpus({.seed = 7});
//   LETHE_RETURN_IF_ERROR(WriteSynthCorpus(corpus, folder));
//
// Kinds      records of people (name, birth date, city, employer, e-mail, phone, member number) in
//            a few templates, and background sentences from a grammar. E-mail, phone and member
//            number are the sensitive spans.
// Memorised  `forget` and `famous` records stand many times in `train`, as they do in corpora that
//            nobody de-duplicated; `retain` records a few times; `holdout` and `other` records
//            never.
// Files      corpus.jsonl (train), forget.jsonl, retain.jsonl (famous ones among them),
//            holdout.jsonl, other.jsonl; text/sequence.h reads them. Each line, spans in bytes:
//            {"text": "...", "sensitive_spans": [[begin, end], ...]}
// Same       seed and options give the same bytes on every machine.
#ifndef LETHE_ENGINE_SYNTH_CORPUS_H_
#define LETHE_ENGINE_SYNTH_CORPUS_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/span.h"

namespace lethe {

struct SynthOptions {
  uint64_t seed = 7;
  int forget = 3;
  int forget_repeats = 16;
  int famous = 5;  // kept records that are memorised as well: forgetting must not touch them
  int famous_repeats = 16;
  int retain = 155;  // kept records that are not memorised
  int retain_repeats = 1;
  int holdout = 96;
  int background = 1000;
  int other = 96;
};

struct SynthText {
  std::string text;
  std::vector<Span> sensitive;  // bytes
};

struct SynthCorpus {
  std::vector<SynthText> train;  // repeats included, in a shuffled order
  std::vector<SynthText> forget, retain, holdout, other;
};

SynthCorpus MakeSynthCorpus(const SynthOptions& options);

// Into a folder that is made where it is not there; files of the same names are replaced.
absl::Status WriteSynthCorpus(const SynthCorpus& corpus, const std::filesystem::path& folder);

}  // namespace lethe

#endif  // LETHE_ENGINE_SYNTH_CORPUS_H_
