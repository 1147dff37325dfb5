// Membership by likelihood against a compressor (Carlini et al. 2021): what a model finds likely and
// zlib does not find repetitive was probably learned by heart.
#include <zlib.h>

#include "engine/attack/attack_table.h"
#include "engine/attack/min_k.h"
#include "engine/metric/span_score.h"

namespace lethe {
namespace {

size_t CompressedBytes(const std::string& text) {
  uLongf size = compressBound(text.size());
  std::vector<Bytef> out(size);
  compress(out.data(), &size, reinterpret_cast<const Bytef*>(text.data()), text.size());
  return size;
}

// The ids that count: those of the spans when they are the aim, else all behind the prompt.
std::vector<int32_t> CountedIds(const Sequence& sequence, bool on_spans) {
  if (!on_spans) return {sequence.ids.begin() + sequence.prompt_tokens, sequence.ids.end()};
  std::vector<int32_t> ids;
  for (const size_t e : CountedEntries(sequence, on_spans)) {
    ids.push_back(sequence.ids[FirstScored(sequence) + e]);
  }
  return ids;
}

}  // namespace

absl::StatusOr<AttackScores> ZlibMembership(const AttackInput& input) {
  AttackScores out;
  if (input.context.tokenizer == nullptr) {
    out.not_applicable = "the model's folder has no tokenizer, and the text is needed";
    return out;
  }
  LETHE_ASSIGN_OR_RETURN(const auto tokens, input.forced.Tokens());
  for (size_t i = 0; i < tokens.size(); ++i) {
    const Sequence& sequence = input.sequences[i];
    std::vector<double> nll;
    for (const size_t e : CountedEntries(sequence, input.on_spans)) {
      nll.push_back(tokens[i].score.nll[e]);
    }
    LETHE_ASSIGN_OR_RETURN(const std::string text,
                           input.context.tokenizer->Decode(CountedIds(sequence, input.on_spans)));
    out.scores.push_back(MinK(std::move(nll), 1) / static_cast<double>(CompressedBytes(text)));
  }
  return out;
}

}  // namespace lethe
