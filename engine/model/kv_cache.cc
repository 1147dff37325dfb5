#include "engine/model/kv_cache.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>
#include <c10/core/CachingDeviceAllocator.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "engine/model/cpu_kernels.h"
#include "engine/model/row_tasks.h"

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
      own_loops_(model.device().is_cpu() && !tensor_ops_for_test),
      layers_(model.config().num_layers) {}

std::unique_ptr<ModelCache> Decoder::NewCache() const { return std::make_unique<KvCache>(*this); }

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

int64_t KvCache::RowsAtATime(int64_t bytes) const {
  if (!model_.device().is_cuda()) return bytes;
  const auto free =
      c10::getDeviceAllocator(model_.device().type())->getMemoryInfo(model_.device().index()).first;
  return std::max(bytes, static_cast<int64_t>(free / 4));
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
  if (!own_loops_) {
    std::vector<int64_t> all(rows.size());
    std::iota(all.begin(), all.end(), 0);
    for (Layer& layer : layers_) {
      layer.own_keys.reset();
      layer.own_values.reset();
    }
    places_ = {};
    return PlaceRows(all);
  }
  for (Layer& layer : layers_) {
    layer.tail_keys.assign(keys, 0.0f);
    layer.tail_values.assign(values, 0.0f);
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
  if (!own_loops_) return ContinuePlaces(moved, from);
  std::vector<float> tails(tail * static_cast<int64_t>(moved.size()));
  for (Layer& layer : layers_) {
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
  if (!own_loops_) return StepPlaces(rows, tokens);
  std::vector<int64_t> places;
  for (const int64_t row : rows) places.push_back(rows_[row].start.length + rows_[row].taken);
  const at::Tensor positions = at::tensor(places, at::kLong).to(model_.device());
  const at::Tensor ids =
      at::tensor(std::vector<int64_t>(tokens.begin(), tokens.end()), at::kLong).to(model_.device());
  const at::Tensor cos = model_.RopeCos().index_select(0, positions);  // (n,r/2)
  const at::Tensor sin = model_.RopeSin().index_select(0, positions);
  at::Tensor hidden = model_.Run(ids, positions, [&](int64_t layer, at::Tensor qkv) {
    Rotate(qkv, cos, sin, shape_, static_cast<int64_t>(rows.size()));
    return AttendWithLoops(layer, qkv, rows);
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

at::Tensor RowsOf(const at::Tensor& x, const std::vector<int64_t>& rows) {
  return x.index_select(0, at::tensor(rows, at::kLong).to(x.device()));
}

}  // namespace lethe
