// The KV cache where the tensors' own operations run, as on a GPU (kv_cache.h): a step is told in a
// few large operations a layer, its indexes go to the device once, and nothing is gathered but where
// rows have gone.
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/matmul.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <limits>
#include <numeric>

#include "engine/model/kv_cache.h"

namespace lethe {
namespace {

// Rows are placed anew when so small a share of the places is still in use: each time copies what
// they have kept.
constexpr double kWorthMoving = 7.0 / 8;

// x (C*M,K,G,d) -> (C,K,M*G,d), the rows of a group together, and back.
at::Tensor ByGroup(const at::Tensor& x, int64_t groups) {
  const int64_t M = x.size(0) / groups, K = x.size(1), G = x.size(2), d = x.size(3);
  return x.view({groups, M, K, G, d}).transpose(1, 2).reshape({groups, K, M * G, d});
}
at::Tensor ByPlace(const at::Tensor& x, int64_t members) {
  const int64_t C = x.size(0), K = x.size(1), G = x.size(2) / members, d = x.size(3);
  return x.view({C, K, members, G, d}).transpose(1, 2).reshape({C * members, K, G, d});
}

}  // namespace

// Groups are about as large as an even share, so that few places stay empty; a prefix with many
// rows has several.
void KvCache::PlaceRows(std::span<const int64_t> rows) {
  std::map<int64_t, std::vector<int64_t>> of_prefix;
  for (const int64_t row : rows) of_prefix[rows_[row].start.prefix].push_back(row);
  Places next;
  if (!rows.empty()) {
    const auto count = static_cast<int64_t>(rows.size());
    const auto prefixes = static_cast<int64_t>(of_prefix.size());
    next.members = (count + prefixes - 1) / prefixes;
  }
  std::vector<int64_t> prefix_of;  // of each group
  for (const auto& [prefix, mine] : of_prefix) {
    const auto size = static_cast<size_t>(next.members);
    for (size_t begin = 0; begin < mine.size(); begin += size) {
      prefix_of.push_back(prefix);
      for (size_t i = begin; i < begin + size; ++i) {
        next.row.push_back(i < mine.size() ? mine[i] : -1);
      }
    }
  }
  next.groups = static_cast<int64_t>(prefix_of.size());
  const bool moves = !places_.row.empty();
  std::vector<int64_t> from;  // where each place's own keys and values lie now
  for (const int64_t row : next.row)
    from.push_back(row < 0 ? 0 : std::max<int64_t>(0, rows_[row].place));
  for (Row& row : rows_) row.place = -1;
  for (size_t place = 0; place < next.row.size(); ++place) {
    if (next.row[place] >= 0) rows_[next.row[place]].place = static_cast<int64_t>(place);
  }
  std::vector<int64_t> as_they_lie(prefixes_);
  std::iota(as_they_lie.begin(), as_they_lie.end(), 0);
  const std::vector<int64_t> sizes = {static_cast<int64_t>(next.row.size()), shape_.kv_heads,
                                      longest_room_, shape_.head_dim};
  for (Layer& layer : layers_) {
    const bool shared = prefix_of == as_they_lie;
    layer.group_keys = shared ? layer.keys : RowsOf(layer.keys, prefix_of);
    layer.group_values = shared ? layer.values : RowsOf(layer.values, prefix_of);
    layer.own_keys = moves ? RowsOf(layer.own_keys, from) : at::zeros(sizes, layer.keys.options());
    layer.own_values =
        moves ? RowsOf(layer.own_values, from) : at::zeros(sizes, layer.values.options());
  }
  places_ = std::move(next);
}

void KvCache::Keep(std::span<const int64_t> rows) {
  if (own_loops_ || rows.empty()) return;
  at::NoGradGuard no_grad;
  const auto used = static_cast<double>(rows.size());
  if (used < kWorthMoving * static_cast<double>(places_.row.size())) PlaceRows(rows);
}

void KvCache::ContinuePlaces(const std::vector<int64_t>& rows,
                             const std::vector<int64_t>& parents) {
  std::vector<int64_t> to, from;
  std::vector<Row> kept;
  bool same_prefix = true;
  for (size_t i = 0; i < rows.size(); ++i) {
    to.push_back(rows_[rows[i]].place);
    from.push_back(rows_[parents[i]].place);
    kept.push_back(rows_[parents[i]]);
    same_prefix = same_prefix && kept[i].start.prefix == rows_[rows[i]].start.prefix;
  }
  for (Layer& layer : layers_) {
    const at::Tensor where = at::tensor(to, at::kLong).to(layer.own_keys.device());
    layer.own_keys.index_copy_(0, where, RowsOf(layer.own_keys, from));
    layer.own_values.index_copy_(0, where, RowsOf(layer.own_values, from));
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows_[rows[i]].start = kept[i].start;
    rows_[rows[i]].taken = kept[i].taken;
  }
  if (same_prefix) return;
  std::vector<int64_t> placed;
  for (const int64_t row : places_.row) {
    if (row >= 0) placed.push_back(row);
  }
  PlaceRows(placed);
}

at::Tensor KvCache::StepPlaces(std::span<const int64_t> rows, std::span<const int32_t> tokens) {
  const auto places = static_cast<int64_t>(places_.row.size());
  const auto count = static_cast<int64_t>(rows.size());
  // Nobody's place reads the first token of its prefix. One tensor, so that one copy goes over.
  enum { kIds, kPositions, kLengths, kTaken, kLists };
  at::Tensor told = at::zeros({kLists * places + 2 * count}, at::kLong);
  int64_t* list = told.data_ptr<int64_t>();
  std::fill(list + kLengths * places, list + kTaken * places, 1);
  PlacedStep step;
  for (int64_t i = 0; i < count; ++i) {
    const Row& row = rows_[rows[i]];
    list[kIds * places + row.place] = tokens[i];
    list[kPositions * places + row.place] = row.start.length + row.taken;
    list[kLengths * places + row.place] = row.start.length;
    list[kTaken * places + row.place] = row.taken;
    list[kLists * places + i] = row.place;
    list[kLists * places + count + i] = row.taken;
    step.steps = std::max(step.steps, row.taken + 1);
  }
  // What is written in vain must not stand where a row that waits has something of its own.
  step.even =
      std::all_of(rows_.begin(), rows_.end(),
                  [&](const Row& row) { return row.place < 0 || row.taken < step.steps; }) &&
      std::all_of(rows.begin(), rows.end(),
                  [&](int64_t row) { return rows_[row].taken + 1 == step.steps; });
  const at::Tensor there = told.to(model_.device());
  const auto part = [&](int64_t which) { return there.narrow(0, which * places, places); };
  step.lengths = part(kLengths);
  step.taken = part(kTaken);
  step.fed = there.narrow(0, kLists * places, count);
  step.at_step = there.narrow(0, kLists * places + count, count);
  const at::Tensor cos = model_.RopeCos().index_select(0, part(kPositions));  // (C*M,r/2)
  const at::Tensor sin = model_.RopeSin().index_select(0, part(kPositions));
  const at::Tensor hidden =
      model_.Run(part(kIds), part(kPositions), [&](int64_t layer, at::Tensor qkv) {
        Rotate(qkv, cos, sin, shape_, places);
        return AttendWithTensorOps(layer, qkv, step);
      });
  for (const int64_t row : rows) ++rows_[row].taken;
  return hidden.index_select(0, step.fed);
}

// Of prefix and own steps, one behind the other: what is not there yet, and what the window (0: none)
// does not reach.
const at::Tensor& KvCache::UnseenFrom(int64_t window, PlacedStep& step) const {
  at::Tensor& unseen = step.unseen[window];
  if (unseen.defined()) return unseen;
  const auto places = [&](int64_t count) {
    return at::arange(count, step.taken.options()).unsqueeze(0);  // (1,count)
  };
  const at::Tensor of_prefix = places(prefix_tokens_), own = places(step.steps);
  const at::Tensor length = step.lengths.unsqueeze(1), taken = step.taken.unsqueeze(1);
  at::Tensor behind = of_prefix >= length, later = own > taken;
  if (window > 0) {
    const at::Tensor first = taken + 1 - window;  // own step
    behind = behind.logical_or(of_prefix < first + length);
    later = later.logical_or(own < first);
  }
  unseen = at::cat({behind, later}, 1).unsqueeze(1).unsqueeze(1);
  return unseen;
}

// qkv (C*M,(H+2K)h), rotated -> (C*M,H*h): scores over the prefix and over the own steps, one softmax
// over both.
at::Tensor KvCache::AttendWithTensorOps(int64_t index, const at::Tensor& qkv, PlacedStep& step) {
  Layer& layer = layers_[index];
  const AttentionShape shape = model_.Shape(index);
  const int64_t H = shape.heads, K = shape.kv_heads, h = shape.head_dim, R = qkv.size(0);
  const at::Tensor all = qkv.view({R, H + 2 * K, h});
  const auto keep = [&](at::Tensor& own, const at::Tensor& made) {  // made (C*M,K,h)
    if (step.even) {
      own.select(2, step.steps - 1).copy_(made);
    } else {
      own.index_put_({step.fed, at::Tensor(), step.at_step}, made.index_select(0, step.fed));
    }
  };
  keep(layer.own_keys, all.narrow(1, H, K));
  keep(layer.own_values, all.narrow(1, H + K, K));
  const at::Tensor own_keys = layer.own_keys.narrow(2, 0, step.steps);
  const at::Tensor own_values = layer.own_values.narrow(2, 0, step.steps);

  const at::Tensor query = all.narrow(1, 0, H).reshape({R, K, H / K, h}) * shape.Scale();
  const at::Tensor of_prefix =
      at::matmul(ByGroup(query, places_.groups), layer.group_keys.transpose(2, 3));  // (C,K,M*G,S)
  at::Tensor scores =
      at::cat({ByPlace(of_prefix, places_.members), at::matmul(query, own_keys.transpose(2, 3))},
              -1);  // (C*M,K,G,S+steps)
  scores.masked_fill_(UnseenFrom(shape.window, step), -std::numeric_limits<double>::infinity());
  const at::Tensor weights = at::softmax(scores, -1);
  const int64_t split = prefix_tokens_;
  const at::Tensor read =
      at::matmul(ByGroup(weights.narrow(3, 0, split).contiguous(), places_.groups),
                 layer.group_values);  // (C,K,M*G,h)
  return (ByPlace(read, places_.members) +
          at::matmul(weights.narrow(3, split, step.steps), own_values))
      .reshape({R, H * h});
}

}  // namespace lethe
