#include "engine/model/kv_cache.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/model/cpu_kernels.h"

namespace lethe {
namespace {

int64_t RoundUp(int64_t x) { return (x + 15) / 16 * 16; }

// Drops the first `unseen` positions but for those that share a sixteen with one that is seen:
// returns how many of them are left, for the loops to hide.
int64_t DropFront(int64_t unseen, int64_t width, const float** keys, const float** values,
                  int64_t* count) {
  const int64_t dropped = unseen / 16 * 16;
  *keys += dropped;
  *values += dropped * width;
  *count -= dropped;
  return unseen - dropped;
}

// Leaves out what the window (0: none) does not reach; the row stands at prefix + tail - 1.
void ApplyWindow(int64_t window, cpu::CachedHead* head) {
  const int64_t unseen = head->prefix + head->tail - window;
  if (window == 0 || unseen <= 0) return;
  if (unseen < head->prefix) {
    head->hidden =
        DropFront(unseen, head->width, &head->prefix_keys, &head->prefix_values, &head->prefix);
  } else {
    head->hidden = DropFront(unseen - head->prefix, head->width, &head->tail_keys,
                             &head->tail_values, &head->tail);
    head->prefix = 0;
  }
}

}  // namespace

KvCache::KvCache(const Decoder& model)
    : model_(model),
      shape_(model.Shape(0)),
      width_(RoundUp(shape_.head_dim)),
      own_loops_(model.device().is_cpu()),
      layers_(model.config().num_layers) {}

at::Tensor KvCache::ReadPrefixes(const at::Tensor& ids) {
  at::NoGradGuard no_grad;
  rows_.clear();
  prefixes_ = ids.size(0);
  prefix_tokens_ = ids.size(1);
  prefix_padded_ = RoundUp(prefix_tokens_);
  const at::Tensor positions = at::arange(prefix_tokens_, ids.options()).repeat({prefixes_});
  return model_.Run(ids.reshape({-1}), positions, [&](int64_t layer, at::Tensor qkv) {
    Rotate(qkv, model_.RopeCos(), model_.RopeSin(), shape_, prefix_tokens_);
    KeepPrefix(layers_[layer], qkv);
    return AttendCausal(qkv, model_.Shape(layer), prefixes_);
  });
}

// qkv (P*S,(H+2K)h), rotated.
void KvCache::KeepPrefix(Layer& layer, const at::Tensor& qkv) {
  const int64_t H = shape_.heads, K = shape_.kv_heads, h = shape_.head_dim;
  const int64_t S = prefix_tokens_, stride = qkv.size(1);
  if (!own_loops_) {
    const at::Tensor all = qkv.view({prefixes_, S, H + 2 * K, h}).transpose(1, 2);
    layer.keys = all.narrow(1, H, K).contiguous();
    layer.values = all.narrow(1, H + K, K).contiguous();
    return;
  }
  layer.prefix_keys.assign(prefixes_ * K * h * prefix_padded_, 0.0f);
  layer.prefix_values.assign(prefixes_ * K * S * width_, 0.0f);
  const float* from = qkv.const_data_ptr<float>();
  for (int64_t head = 0; head < prefixes_ * K; ++head) {
    const float* key = from + head / K * S * stride + (H + head % K) * h;
    const float* value = key + K * h;
    float* keys = layer.prefix_keys.data() + head * h * prefix_padded_;
    float* values = layer.prefix_values.data() + head * S * width_;
    for (int64_t t = 0; t < S; ++t, key += stride, value += stride) {
      for (int64_t d = 0; d < h; ++d) keys[d * prefix_padded_ + t] = key[d];
      std::copy(value, value + h, values + t * width_);
    }
  }
}

int64_t KvCache::RowBytes(int64_t steps) const {
  const int64_t floats = shape_.kv_heads * (shape_.head_dim * RoundUp(steps) + width_ * steps) *
                         static_cast<int64_t>(layers_.size());
  return floats * static_cast<int64_t>(sizeof(float));
}

void KvCache::StartRows(std::span<const CacheRow> rows) {
  rows_.clear();
  int64_t keys = 0, values = 0;
  longest_room_ = 0;
  for (const CacheRow& start : rows) {
    const int64_t padded = RoundUp(start.room);
    rows_.push_back({.start = start, .tail_padded = padded, .keys_at = keys, .values_at = values});
    keys += shape_.kv_heads * shape_.head_dim * padded;
    values += shape_.kv_heads * width_ * start.room;
    longest_room_ = std::max(longest_room_, start.room);
  }
  for (Layer& layer : layers_) {
    if (own_loops_) {
      layer.tail_keys.assign(keys, 0.0f);
      layer.tail_values.assign(values, 0.0f);
    } else {
      const std::vector<int64_t> sizes = {static_cast<int64_t>(rows.size()), shape_.kv_heads,
                                          longest_room_, shape_.head_dim};
      layer.own_keys = at::zeros(sizes, layer.keys.options());
      layer.own_values = at::zeros(sizes, layer.values.options());
    }
  }
}

void KvCache::CopyTail(const Layer& layer, const Row& row, int64_t steps, float* to) const {
  for (int64_t d = 0; d < shape_.kv_heads * shape_.head_dim; ++d) {
    const float* keys = layer.tail_keys.data() + row.keys_at + d * row.tail_padded;
    to = std::copy(keys, keys + steps, to);
  }
  for (int64_t k = 0; k < shape_.kv_heads; ++k) {
    const float* values = layer.tail_values.data() + row.values_at + k * row.start.room * width_;
    to = std::copy(values, values + steps * width_, to);
  }
}

void KvCache::FillTail(Layer& layer, const Row& row, int64_t steps, const float* from) const {
  for (int64_t d = 0; d < shape_.kv_heads * shape_.head_dim; ++d, from += steps) {
    std::copy(from, from + steps, layer.tail_keys.data() + row.keys_at + d * row.tail_padded);
  }
  for (int64_t k = 0; k < shape_.kv_heads; ++k, from += steps * width_) {
    std::copy(from, from + steps * width_,
              layer.tail_values.data() + row.values_at + k * row.start.room * width_);
  }
}

void KvCache::ContinueAs(std::span<const int64_t> rows, std::span<const int64_t> parents) {
  at::NoGradGuard no_grad;
  std::vector<int64_t> moved, from;
  for (size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == parents[i]) continue;
    moved.push_back(rows[i]);
    from.push_back(parents[i]);
  }
  if (moved.empty()) return;
  std::vector<int64_t> taken;
  int64_t steps = 0;
  for (const int64_t row : from) {
    taken.push_back(rows_[row].taken);
    steps = std::max(steps, rows_[row].taken);
  }
  const int64_t tail = shape_.kv_heads * (shape_.head_dim + width_) * steps;
  std::vector<float> tails(own_loops_ ? tail * static_cast<int64_t>(moved.size()) : 0);
  for (Layer& layer : layers_) {
    if (!own_loops_) {
      const at::Tensor to = at::tensor(moved, at::kLong).to(layer.own_keys.device());
      layer.own_keys.index_copy_(0, to, RowsOf(layer.own_keys, from));
      layer.own_values.index_copy_(0, to, RowsOf(layer.own_values, from));
      continue;
    }
    // All are read before one is written: a row may be another's parent.
    for (size_t i = 0; i < moved.size(); ++i) {
      CopyTail(layer, rows_[from[i]], taken[i], tails.data() + i * tail);
    }
    for (size_t i = 0; i < moved.size(); ++i) {
      FillTail(layer, rows_[moved[i]], taken[i], tails.data() + i * tail);
    }
  }
  std::vector<CacheRow> starts;
  for (const int64_t row : from) starts.push_back(rows_[row].start);
  for (size_t i = 0; i < moved.size(); ++i) {
    rows_[moved[i]].start = starts[i];
    rows_[moved[i]].taken = taken[i];
  }
}

at::Tensor KvCache::Step(std::span<const int64_t> rows, std::span<const int32_t> tokens) {
  at::NoGradGuard no_grad;
  std::vector<int64_t> places;
  for (const int64_t row : rows) places.push_back(rows_[row].start.length + rows_[row].taken);
  const at::Tensor positions = at::tensor(places, at::kLong).to(model_.device());
  const at::Tensor ids =
      at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong).to(model_.device());
  const at::Tensor cos = model_.RopeCos().index_select(0, positions);  // (n,r/2)
  const at::Tensor sin = model_.RopeSin().index_select(0, positions);
  at::Tensor hidden = model_.Run(ids, positions, [&](int64_t layer, at::Tensor qkv) {
    Rotate(qkv, cos, sin, shape_, static_cast<int64_t>(rows.size()));
    return own_loops_ ? AttendWithLoops(layer, qkv, rows) : AttendWithTensorOps(layer, qkv, rows);
  });
  for (const int64_t row : rows) ++rows_[row].taken;
  return hidden;
}

// qkv (n,(H+2K)h), rotated -> (n,H*h)
at::Tensor KvCache::AttendWithLoops(int64_t layer, const at::Tensor& qkv,
                                    std::span<const int64_t> rows) {
  const int64_t H = shape_.heads, K = shape_.kv_heads, h = shape_.head_dim, group = H / K;
  const int64_t stride = qkv.size(1), count = qkv.size(0), window = model_.Shape(layer).window;
  const auto scale = static_cast<float>(model_.Shape(layer).Scale());
  Layer& kept = layers_[layer];
  at::Tensor out = at::empty({count, H * h}, qkv.options());
  const float* from = qkv.const_data_ptr<float>();
  float* to = out.data_ptr<float>();
  // Another thread is woken for some 30 microseconds of work.
  const int64_t row_work = H * h * (prefix_tokens_ + longest_room_) / 16 + 1;
  at::parallel_for(
      0, count, std::max<int64_t>(1, 100'000 / row_work), [&](int64_t begin, int64_t end) {
        std::vector<float> scratch(prefix_padded_ + RoundUp(longest_room_) + width_ + 16);
        for (int64_t n = begin; n < end; ++n) {
          const Row& row = rows_[rows[n]];
          for (int64_t k = 0; k < K; ++k) {
            const int64_t prefix_head = row.start.prefix * K + k;
            float* keys = kept.tail_keys.data() + row.keys_at + k * h * row.tail_padded;
            float* values = kept.tail_values.data() + row.values_at + k * row.start.room * width_;
            const float *key = from + n * stride + (H + k) * h, *value = key + K * h;
            for (int64_t d = 0; d < h; ++d) keys[d * row.tail_padded + row.taken] = key[d];
            std::copy(value, value + h, values + row.taken * width_);
            cpu::CachedHead head = {
                .head_dim = h,
                .group = group,
                .width = width_,
                .scale = scale,
                .hidden = 0,
                .query = from + n * stride + k * group * h,
                .prefix_keys = kept.prefix_keys.data() + prefix_head * h * prefix_padded_,
                .prefix_values = kept.prefix_values.data() + prefix_head * prefix_tokens_ * width_,
                .prefix = row.start.length,
                .prefix_padded = prefix_padded_,
                .tail_keys = keys,
                .tail_values = values,
                .tail = row.taken + 1,
                .tail_padded = row.tail_padded,
                .out = to + n * H * h + k * group * h,
                .scratch = scratch.data()};
            ApplyWindow(window, &head);
            cpu::Best().attend_cached(head);
          }
        }
      });
  return out;
}

// The same in ATen: scores over the prefix and over the own tail, one softmax over both.
at::Tensor KvCache::AttendWithTensorOps(int64_t index, const at::Tensor& qkv,
                                        std::span<const int64_t> rows) {
  Layer& layer = layers_[index];
  const AttentionShape shape = model_.Shape(index);
  const int64_t H = shape_.heads, K = shape_.kv_heads, h = shape_.head_dim, n = qkv.size(0);
  std::vector<int64_t> slots(rows.begin(), rows.end()), prefixes, lengths, taken;
  for (const int64_t row : rows) {
    prefixes.push_back(rows_[row].start.prefix);
    lengths.push_back(rows_[row].start.length);
    taken.push_back(rows_[row].taken);
  }
  const auto on_device = [&](const std::vector<int64_t>& x) {
    return at::tensor(x, at::kLong).to(qkv.device());
  };
  const at::Tensor slot = on_device(slots), step = on_device(taken);
  const at::Tensor all = qkv.view({n, H + 2 * K, h});
  layer.own_keys.index_put_({slot, at::Tensor(), step}, all.narrow(1, H, K));
  layer.own_values.index_put_({slot, at::Tensor(), step}, all.narrow(1, H + K, K));
  const int64_t steps = 1 + *std::max_element(taken.begin(), taken.end());
  const at::Tensor own_keys = layer.own_keys.index_select(0, slot).narrow(2, 0, steps);
  const at::Tensor own_values = layer.own_values.index_select(0, slot).narrow(2, 0, steps);
  // One prefix is shared as it lies; of several, each row takes its own.
  const bool one = prefixes_ == 1;
  const at::Tensor keys = one ? layer.keys : layer.keys.index_select(0, on_device(prefixes));
  const at::Tensor values = one ? layer.values : layer.values.index_select(0, on_device(prefixes));

  const at::Tensor query = all.narrow(1, 0, H).reshape({n, K, H / K, h}) * shape.Scale();
  const double never = -std::numeric_limits<double>::infinity();
  // Seen are the positions below `limit` (n), and with a window none before its first.
  const auto scores = [&](const at::Tensor& k, const at::Tensor& limit, const at::Tensor& first) {
    const at::Tensor place = at::arange(k.size(2), qkv.options().dtype(at::kLong)).unsqueeze(0);
    const at::Tensor unseen = (place >= limit.unsqueeze(1)).logical_or_(place < first.unsqueeze(1));
    return at::matmul(query, k.transpose(2, 3))
        .masked_fill(unseen.unsqueeze(1).unsqueeze(1), never);  // (n,K,G,keys)
  };
  const at::Tensor length = on_device(lengths);
  const at::Tensor first_own =
      shape.window > 0 ? step + 1 - shape.window : at::full_like(step, -prefix_tokens_);
  const at::Tensor weights = at::softmax(
      at::cat({scores(keys, length, first_own + length), scores(own_keys, step + 1, first_own)},
              -1),
      -1);
  const int64_t split = keys.size(2);
  return (at::matmul(weights.narrow(3, 0, split), values) +
          at::matmul(weights.narrow(3, split, steps), own_values))
      .reshape({n, H * h});
}

at::Tensor RowsOf(const at::Tensor& x, const std::vector<int64_t>& rows) {
  return x.index_select(0, at::tensor(rows, at::kLong).to(x.device()));
}

}  // namespace lethe
