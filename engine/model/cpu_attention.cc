// Causal attention of cpu_kernels.h. A head's keys and values are copied once into padded scratch,
// transposed where the inner loop runs over positions; queries are taken eight at a time, so that
// each key that is loaded serves eight of them. The scores of eight queries are all that ever
// stands in memory of the T x T matrix. Sixteens of positions that none of the eight sees, behind
// them or before their window, are left out.
//
// Compiled once a level, as cpu_kernels.cc.
#include <math.h>

#include "engine/model/cpu_kernels_internal.h"
#include "engine/model/lanes.h"

namespace lethe::cpu {
namespace LETHE_CPU_LEVEL {
namespace {

constexpr float kNever = -__builtin_inff();

constexpr int64_t kRows = 8;  // queries a block

int64_t RoundUp(int64_t x) { return (x + 15) / 16 * 16; }

// The first position that query t sees.
LETHE_INLINE int64_t FirstSeen(int64_t t, int64_t window) {
  return window > 0 && t >= window ? t - window + 1 : 0;
}

LETHE_INLINE void Hide(float* scores, int64_t count) {
  for (int64_t p = 0; p < count; ++p) scores[p] = kNever;
}

// to (h,padded): the head's vectors as columns, zeros behind.
template <typename T>
void CopyTransposed(const T* from, const HeadGroup<T>& head, int64_t padded, float* to) {
  for (int64_t d = 0; d < head.head_dim; ++d) {
    for (int64_t t = 0; t < head.tokens; ++t) to[d * padded + t] = from[t * head.stride + d];
    for (int64_t t = head.tokens; t < padded; ++t) to[d * padded + t] = 0;
  }
}
// to (padded,width): the head's vectors as rows of `width` values, zeros behind.
template <typename T>
void CopyRows(const T* from, const HeadGroup<T>& head, int64_t width, float* to) {
  const int64_t padded = RoundUp(head.tokens);
  for (int64_t t = 0; t < padded; ++t) {
    const bool real = t < head.tokens;
    for (int64_t d = 0; d < width; ++d) {
      to[t * width + d] =
          real && d < head.head_dim ? static_cast<float>(from[t * head.stride + d]) : 0.0f;
    }
  }
}
// block (h,8) = factor times rows begin..begin+7; rows past the end are zero.
template <typename T>
void CopyBlock(const T* from, int64_t stride, int64_t begin, int64_t tokens, int64_t head_dim,
               float factor, float* block) {
  for (int64_t r = 0; r < kRows; ++r) {
    const bool real = begin + r < tokens;
    for (int64_t d = 0; d < head_dim; ++d) {
      block[d * kRows + r] = real ? factor * from[(begin + r) * stride + d] : 0.0f;
    }
  }
}

// products[r] = sum over d of block[d,r] * columns[d, p..p+15]
LETHE_INLINE void Products(const float* block, const float* columns, int64_t head_dim,
                           int64_t padded, Floats* products) {
  Floats a[kRows] = {};
  for (int64_t d = 0; d < head_dim; ++d) {
    const Floats column = Load(columns + d * padded);
    for (int64_t r = 0; r < kRows; ++r) a[r] += block[d * kRows + r] * column;
  }
  for (int64_t r = 0; r < kRows; ++r) products[r] = a[r];
}

// sums (8,width) = weights (8,padded; the first `span` of each) times rows (span,width)
LETHE_INLINE void WeightedSums(const float* weights, const float* rows, int64_t span,
                               int64_t padded, int64_t width, float* sums) {
  for (int64_t d = 0; d < width; d += kLanes) {
    Floats a[kRows] = {};
    for (int64_t p = 0; p < span; ++p) {
      const Floats row = Load(rows + p * width + d);
      for (int64_t r = 0; r < kRows; ++r) a[r] += weights[r * padded + p] * row;
    }
    for (int64_t r = 0; r < kRows; ++r) Store(sums + r * width + d, a[r]);
  }
}

// Turns scores (span, a multiple of 16; the first `count` are real) into exp(score - largest),
// zeros behind; returns their sum and the largest.
LETHE_INLINE float ExpAll(float* scores, int64_t count, int64_t span, float* largest) {
  for (int64_t p = count; p < span; ++p) scores[p] = kNever;
  Floats top = Load(scores);
  for (int64_t p = kLanes; p < span; p += kLanes) top = Max(top, Load(scores + p));
  *largest = Largest(top);
  Floats total{};
  for (int64_t p = 0; p < span; p += kLanes) {
    const Floats e = Exp(Load(scores + p) - *largest);
    Store(scores + p, e);
    total += e;
  }
  return Sum(total);
}

template <typename T>
void ForwardBlocks(const HeadGroup<T>& head, const float* key_columns, const float* value_rows,
                   int64_t padded, int64_t width, float* scratch) {
  const int64_t tokens = head.tokens, h = head.head_dim;
  float* query = scratch;                // (h,8)
  float* sums = query + h * kRows;       // (8,width)
  float* scores = sums + kRows * width;  // (8,padded)
  for (int64_t g = 0; g < head.group; ++g) {
    for (int64_t begin = 0; begin < tokens; begin += kRows) {
      const int64_t rows = tokens - begin < kRows ? tokens - begin : kRows;
      const int64_t low = FirstSeen(begin, head.window) / 16 * 16, span = RoundUp(begin + rows);
      CopyBlock(head.query + g * h, head.stride, begin, tokens, h, head.scale, query);
      for (int64_t p = low; p < span; p += kLanes) {
        Floats products[kRows];
        Products(query, key_columns + p, h, padded, products);
        for (int64_t r = 0; r < kRows; ++r) Store(scores + r * padded + p, products[r]);
      }
      float total[kRows];
      for (int64_t r = 0; r < rows; ++r) {
        float largest;
        float* row = scores + r * padded + low;
        if (head.window > 0) Hide(row, FirstSeen(begin + r, head.window) - low);
        total[r] = ExpAll(row, begin + r + 1 - low, span - low, &largest);
        head.log_sums[g * tokens + begin + r] = largest + logf(total[r]);
      }
      WeightedSums(scores + low, value_rows + low * width, span - low, padded, width, sums);
      for (int64_t r = 0; r < rows; ++r) {
        T* out = head.out + (begin + r) * head.out_stride + g * h;
        const float share = 1.0f / total[r];
        for (int64_t d = 0; d < h; ++d) out[d] = sums[r * width + d] * share;
      }
    }
  }
}

// One block of queries against positions p..p+15: probabilities P = exp(score - log_sum) and dS = P
// (grad_out . value - delta). Adds to the columns of grad_key and grad_value, stores dS for the
// queries' own gradient.
struct Tiles {
  const float *key_columns, *value_columns;  // (h,padded)
  float *grad_key, *grad_value;              // (h,padded)
  float *query, *grad_out;                   // (h,8)
  float* slopes;                             // (8,padded): dS
  float log_sum[kRows], delta[kRows];
};
LETHE_INLINE void BackwardTile(const Tiles& s, int64_t begin, int64_t window, int64_t p,
                               int64_t head_dim, int64_t padded) {
  Floats probability[kRows], slope[kRows];
  Products(s.query, s.key_columns + p, head_dim, padded, probability);
  Products(s.grad_out, s.value_columns + p, head_dim, padded, slope);
  Ints place;
  for (int i = 0; i < kLanes; ++i) place[i] = static_cast<int32_t>(p) + i;
  for (int64_t r = 0; r < kRows; ++r) {
    const Floats e = Exp(probability[r] - s.log_sum[r]);
    const int32_t first = static_cast<int32_t>(FirstSeen(begin + r, window));
    const Ints unseen = (place > static_cast<int32_t>(begin + r)) | (place < first);
    probability[r] = unseen ? Floats{} : e;
    slope[r] = probability[r] * (slope[r] - s.delta[r]);
    Store(s.slopes + r * padded + p, slope[r]);
  }
  for (int64_t d = 0; d < head_dim; ++d) {
    Floats value = Load(s.grad_value + d * padded + p), key = Load(s.grad_key + d * padded + p);
    for (int64_t r = 0; r < kRows; ++r) {
      value += s.grad_out[d * kRows + r] * probability[r];
      key += s.query[d * kRows + r] * slope[r];
    }
    Store(s.grad_value + d * padded + p, value);
    Store(s.grad_key + d * padded + p, key);
  }
}

template <typename T>
void BackwardBlocks(const HeadGroup<T>& head, const HeadGroupGrads<T>& grads, const float* key_rows,
                    int64_t padded, int64_t width, float* sums, Tiles& s) {
  const int64_t tokens = head.tokens, h = head.head_dim;
  for (int64_t g = 0; g < head.group; ++g) {
    for (int64_t begin = 0; begin < tokens; begin += kRows) {
      const int64_t rows = tokens - begin < kRows ? tokens - begin : kRows;
      const int64_t low = FirstSeen(begin, head.window) / 16 * 16, span = RoundUp(begin + rows);
      CopyBlock(head.query + g * h, head.stride, begin, tokens, h, head.scale, s.query);
      CopyBlock(grads.grad_out + g * h, head.out_stride, begin, tokens, h, 1.0f, s.grad_out);
      for (int64_t r = 0; r < kRows; ++r) {
        // Rows past the end have query, grad_out and delta 0, so that they add nothing.
        s.log_sum[r] = s.delta[r] = 0;
        if (r >= rows) continue;
        s.log_sum[r] = head.log_sums[g * tokens + begin + r];
        const T* out = head.out + (begin + r) * head.out_stride + g * h;
        for (int64_t d = 0; d < h; ++d) s.delta[r] += s.grad_out[d * kRows + r] * out[d];
      }
      for (int64_t p = low; p < span; p += kLanes) {
        BackwardTile(s, begin, head.window, p, h, padded);
      }
      WeightedSums(s.slopes + low, key_rows + low * width, span - low, padded, width, sums);
      for (int64_t r = 0; r < rows; ++r) {
        T* grad_query = grads.grad_query + (begin + r) * head.stride + g * h;
        for (int64_t d = 0; d < h; ++d) grad_query[d] = sums[r * width + d] * head.scale;
      }
    }
  }
}

// scores[p] = query (h) . column p, for `count` columns rounded up to a multiple of 16.
LETHE_INLINE void ScoreColumns(const float* query, float scale, const float* columns,
                               int64_t head_dim, int64_t padded, int64_t count, float* scores) {
  for (int64_t p = 0; p < count; p += kLanes) {
    Floats a{};
    for (int64_t d = 0; d < head_dim; ++d) a += query[d] * Load(columns + d * padded + p);
    Store(scores + p, a * scale);
  }
}

// sums (width) += weights (count) times rows (count,width). Four sums run side by side, since one
// would wait for itself.
LETHE_INLINE void AddWeighted(const float* weights, const float* rows, int64_t count, int64_t width,
                              float* sums) {
  for (int64_t d = 0; d < width; d += kLanes) {
    Floats a[4] = {};
    const float* row = rows + d;
    int64_t p = 0;
    for (; p + 4 <= count; p += 4, row += 4 * width) {
      for (int64_t i = 0; i < 4; ++i) a[i] += weights[p + i] * Load(row + i * width);
    }
    for (; p < count; ++p, row += width) a[0] += weights[p] * Load(row);
    Store(sums + d, Load(sums + d) + ((a[0] + a[1]) + (a[2] + a[3])));
  }
}

}  // namespace

template <typename T>
void CausalAttention(const HeadGroup<T>& head) {
  const int64_t h = head.head_dim, padded = RoundUp(head.tokens), width = RoundUp(h);
  float* key_columns = head.scratch;
  float* value_rows = key_columns + h * padded;
  CopyTransposed(head.key, head, padded, key_columns);
  CopyRows(head.value, head, width, value_rows);
  ForwardBlocks(head, key_columns, value_rows, padded, width, value_rows + padded * width);
}

template <typename T>
void CausalAttentionBackward(const HeadGroup<T>& head, const HeadGroupGrads<T>& grads) {
  const int64_t h = head.head_dim, padded = RoundUp(head.tokens), width = RoundUp(h);
  float* next = head.scratch;
  const auto take = [&](int64_t count) {
    float* taken = next;
    next += count;
    return taken;
  };
  float* key_columns = take(h * padded);
  float* value_columns = take(h * padded);
  Tiles s{.key_columns = key_columns, .value_columns = value_columns};
  s.grad_key = take(h * padded);
  s.grad_value = take(h * padded);
  memset(s.grad_key, 0, sizeof(float) * 2 * h * padded);
  s.query = take(h * kRows);
  s.grad_out = take(h * kRows);
  s.slopes = take(kRows * padded);
  float* key_rows = take(padded * width);
  float* sums = take(kRows * width);
  CopyTransposed(head.key, head, padded, key_columns);
  CopyTransposed(head.value, head, padded, value_columns);
  CopyRows(head.key, head, width, key_rows);
  BackwardBlocks(head, grads, key_rows, padded, width, sums, s);
  for (int64_t t = 0; t < head.tokens; ++t) {
    for (int64_t d = 0; d < h; ++d) {
      grads.grad_key[t * head.stride + d] = s.grad_key[d * padded + t];
      grads.grad_value[t * head.stride + d] = s.grad_value[d * padded + t];
    }
  }
}

template void CausalAttention(const HeadGroup<float>& head);
template void CausalAttention(const HeadGroup<Bf16>& head);
template void CausalAttentionBackward(const HeadGroup<float>& head,
                                      const HeadGroupGrads<float>& grads);
template void CausalAttentionBackward(const HeadGroup<Bf16>& head,
                                      const HeadGroupGrads<Bf16>& grads);

void AttendCached(const CachedHead& head) {
  const int64_t h = head.head_dim, prefix_span = RoundUp(head.prefix);
  float* scores = head.scratch;  // those of the prefix, padding, then those of the tail
  float* sums = head.scratch + head.prefix_padded + head.tail_padded;
  for (int64_t g = 0; g < head.group; ++g) {
    const float* query = head.query + g * h;
    ScoreColumns(query, head.scale, head.prefix_keys, h, head.prefix_padded, head.prefix, scores);
    ScoreColumns(query, head.scale, head.tail_keys, h, head.tail_padded, head.tail,
                 scores + prefix_span);
    for (int64_t p = head.prefix; p < prefix_span; ++p) {
      scores[p] = kNever;
    }
    const int64_t count = prefix_span + head.tail;
    float largest;
    Hide(scores, head.hidden);
    const float total = ExpAll(scores, count, RoundUp(count), &largest);
    for (int64_t d = 0; d < head.width; ++d) sums[d] = 0;
    AddWeighted(scores, head.prefix_values, head.prefix, head.width, sums);
    AddWeighted(scores + prefix_span, head.tail_values, head.tail, head.width, sums);
    for (int64_t d = 0; d < h; ++d) head.out[g * h + d] = sums[d] / total;
  }
}

}  // namespace LETHE_CPU_LEVEL
}  // namespace lethe::cpu
