// What a model says by itself after true prefixes of some texts, from one reading of each text.
//
//   PrefixRollouts rolled(model, sequences, places);
//   rolled.Add(cache, cache.ReadPrefixes(ids), T, members, scores);   // group by group
//   Continuations said = rolled.Take(scores);
//
// After a prefix greedy decoding says the text itself up to its first mistake there, which teacher
// forcing knows: prefixes that share it share one roll-out, and a text that is known by heart needs
// none.
// Threads    one at a time. The model, the sequences and the places must outlive it.
// Errors     Add: LibTorch's exceptions and std::bad_alloc: end at CatchTorch; it may be asked
//            again.
#ifndef LETHE_ENGINE_ATTACK_PREFIX_ROLLOUTS_H_
#define LETHE_ENGINE_ATTACK_PREFIX_ROLLOUTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/loss/sequence_loss.h"
#include "engine/model/language_model.h"
#include "engine/model/model_cache.h"
#include "text/sequence.h"

namespace lethe {

// A prefix, x[:after], and how long it and its continuation are together: at most the text.
struct PrefixPlace {
  size_t sequence = 0;
  int32_t after = 1, end = 1;
};

struct Continuations {
  std::vector<std::vector<int32_t>> texts;  // one a place: end - after tokens
  int64_t forward_tokens = 0;               // fed, beside the shared pass
};

class PrefixRollouts {
 public:
  PrefixRollouts(const LanguageModel& model, std::span<const Sequence> sequences,
                 std::span<const PrefixPlace> places);

  // Rolls out some sequences, which are the cache's prefixes; all (B*T,E): after each of their
  // tokens. scores: of all sequences, by their first choices.
  void Add(ModelCache& cache, const at::Tensor& all, int64_t T, std::span<const size_t> members,
           std::span<const SequenceScore> scores);

  // How many tokens of a sequence its roll-outs stand on; 0: it has none.
  int32_t Needed(size_t sequence, const SequenceScore& score) const;

  // When every sequence that needs it was added.
  Continuations Take(std::span<const SequenceScore> scores) const;

 private:
  struct Line;

  int32_t MistakeOf(const PrefixPlace& place, const SequenceScore& score) const;
  std::map<int32_t, int32_t> MistakesOf(size_t sequence, const SequenceScore& score) const;
  void Begin(const at::Tensor& all, int64_t T, std::span<const SequenceScore> scores,
             std::vector<Line>& lines) const;
  std::vector<int32_t> TextOf(const Line& line) const;

  const LanguageModel& model_;
  const std::span<const Sequence> sequences_;
  std::vector<std::vector<PrefixPlace>> places_;               // by sequence
  const std::span<const PrefixPlace> asked_;                   // in the caller's order
  std::vector<std::map<int32_t, std::vector<int32_t>>> said_;  // by sequence and mistake
};

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_PREFIX_ROLLOUTS_H_
