// A half-open range [begin, end) of positions: of token ids in a sequence, or of bytes in a text.
#ifndef LETHE_TEXT_SPAN_H_
#define LETHE_TEXT_SPAN_H_

#include <cstdint>

namespace lethe {

struct Span {
  int32_t begin = 0;
  int32_t end = 0;
  friend bool operator==(const Span&, const Span&) = default;
};

}  // namespace lethe

#endif  // LETHE_TEXT_SPAN_H_
