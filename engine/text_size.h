// A set of sequences, as far as its cost goes.
//
//   TextSize size = SizeOf(sequences);
//   size += AtMost(registered, 256);
//
// Threads    values and pure functions; any. Errors: none.
#ifndef LETHE_ENGINE_TEXT_SIZE_H_
#define LETHE_ENGINE_TEXT_SIZE_H_

#include <span>

#include "text/sequence.h"

namespace lethe {

struct TextSize {
  double sequences = 0;
  double tokens = 0;
  double square_tokens = 0;   // sum of tokens x tokens: EL continues every prefix to the end
  double spans = 0;           // sensitive ones
  double span_tokens = 0;     // in them
  double span_sequences = 0;  // sequences that have any

  TextSize& operator+=(const TextSize& more);
};
TextSize SizeOf(std::span<const Sequence> sequences);
// At most so many of them, each as long as the mean.
TextSize AtMost(const TextSize& size, double sequences);
// Tokens a sequence; 0 for none.
double MeanLength(const TextSize& size);

}  // namespace lethe

#endif  // LETHE_ENGINE_TEXT_SIZE_H_
