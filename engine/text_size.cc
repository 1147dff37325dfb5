#include "engine/text_size.h"

namespace lethe {

TextSize& TextSize::operator+=(const TextSize& more) {
  sequences += more.sequences;
  tokens += more.tokens;
  square_tokens += more.square_tokens;
  spans += more.spans;
  span_tokens += more.span_tokens;
  span_sequences += more.span_sequences;
  return *this;
}

TextSize SizeOf(std::span<const Sequence> sequences) {
  TextSize size;
  for (const Sequence& sequence : sequences) {
    const auto tokens = static_cast<double>(sequence.ids.size());
    size += {1,
             tokens,
             tokens * tokens,
             static_cast<double>(sequence.sensitive.size()),
             0,
             sequence.sensitive.empty() ? 0.0 : 1.0};
    for (const Span& span : sequence.sensitive) size.span_tokens += span.end - span.begin;
  }
  return size;
}

TextSize AtMost(const TextSize& size, double sequences) {
  if (size.sequences <= sequences) return size;
  const double share = sequences / size.sequences;
  return {sequences,          share * size.tokens,      share * size.square_tokens,
          share * size.spans, share * size.span_tokens, share * size.span_sequences};
}

double MeanLength(const TextSize& size) {
  return size.sequences > 0 ? size.tokens / size.sequences : 0;
}

}  // namespace lethe
