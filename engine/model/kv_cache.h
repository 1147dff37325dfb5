// Keys and values of prefixes that many rows share, and of each row's own continuation.
//
//   KvCache cache(model);
//   at::Tensor hidden = cache.ReadPrefixes(ids);        // (P,S): all of it in one pass
//   cache.StartRows({{.prefix = 0, .length = 17, .room = 30},
//                    {.prefix = 0, .length = 42, .room = 5}});
//   hidden = cache.Step(rows, tokens);                  // (n,E): one token more for each of n rows
//
// Sharing    a row that continues prefix p after `length` tokens reads that prefix where it lies:
//            nothing is copied for it, and rows may begin anywhere in one prefix.
// Rows       a step feeds any of the rows; those that are done are left out and cost nothing.
// Threads    one thread at a time; no gradients.
// Errors     LibTorch's exceptions and std::bad_alloc: end at CatchTorch.
#ifndef LETHE_ENGINE_MODEL_KV_CACHE_H_
#define LETHE_ENGINE_MODEL_KV_CACHE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/model/decoder.h"

namespace lethe {

struct CacheRow {
  int64_t prefix = 0;  // which prefix it continues
  int64_t length = 0;  // after how many of its tokens, at least 1
  int64_t room = 0;    // steps that it may take
};

class KvCache {
 public:
  explicit KvCache(const Decoder& model);

  // ids (P,S) int64, padded on the right -> hidden (P*S,E). Replaces all prefixes and rows.
  at::Tensor ReadPrefixes(const at::Tensor& ids);
  // Replaces all rows.
  void StartRows(std::span<const CacheRow> rows);
  // rows (n), each at most once: indexes into those started; tokens (n) -> hidden (n,E), which
  // predicts what comes next.
  at::Tensor Step(std::span<const int64_t> rows, std::span<const int32_t> tokens);

  // The other rows are done and will not be fed again: a device need not compute them any more.
  void Keep(std::span<const int64_t> rows);

  // Row rows[i] goes on as row parents[i] stands now; several may go on as one. All of them have the
  // same room. Only the rows' own tails are copied, and only where a row changes its parent.
  void ContinueAs(std::span<const int64_t> rows, std::span<const int64_t> parents);

  // Of the keys and values of one row with room for `steps`.
  int64_t RowBytes(int64_t steps) const;
  // Bytes of rows to run side by side: so many, and on a GPU, whose time goes by steps, not by rows,
  // as many as a quarter of its free memory holds.
  int64_t RowsAtATime(int64_t bytes) const;
  // Keeps to the formulas in ATen, which run anywhere, also where the CPU has loops of its own.
  void UseTensorOpsForTest() { own_loops_ = false; }

 private:
  struct Layer {
    std::vector<float> prefix_keys;       // (P,K,h,prefix_padded)
    std::vector<float> prefix_values;     // (P,K,S,width)
    std::vector<float> tail_keys;         // a row after the other: (K,h,tail_padded)
    std::vector<float> tail_values;       // (K,room,width)
    at::Tensor keys, values;              // (P,K,S,h), where the tensors' own operations run
    at::Tensor group_keys, group_values;  // (C,K,S,h): each group's prefix
    at::Tensor own_keys, own_values;      // (C*M,K,longest room,h): each place's own
  };
  struct Row {
    CacheRow start;
    int64_t taken = 0;        // steps so far
    int64_t tail_padded = 0;  // room, rounded up to a multiple of 16
    int64_t keys_at = 0;      // where the row begins in tail_keys
    int64_t values_at = 0;    // and in tail_values
    int64_t place = -1;       // where the tensors' own operations run; -1: done
  };
  // Where the tensors' own operations run, rows stand in C groups of M places, each group at one
  // prefix, so that a step is a few large products; places that no row has are computed in vain.
  struct Places {
    int64_t groups = 0, members = 0;  // C, M
    std::vector<int64_t> row;         // (C*M): who stands there; -1: nobody
  };
  // One step of all places; what the layers share of it.
  struct PlacedStep {
    at::Tensor lengths, taken;             // (C*M) int64: of the prefix, of the own continuation
    at::Tensor fed, at_step;               // (n) int64: places that are fed, and at which own step
    int64_t steps = 0;                     // own steps that any of them sees, this one included
    bool even = false;                     // all that counts goes to the same own step, the last
    std::map<int64_t, at::Tensor> unseen;  // by window: (C*M,1,1,S+steps) bool
  };
  // A row's own keys and values, those of `steps` steps, to and from a place for them.
  void CopyTail(const Layer& layer, const Row& row, int64_t steps, float* to) const;
  void FillTail(Layer& layer, const Row& row, int64_t steps, const float* from) const;
  void KeepPrefix(Layer& layer, const at::Tensor& qkv);
  at::Tensor AttendWithLoops(int64_t layer, const at::Tensor& qkv, std::span<const int64_t> rows);
  void PlaceRows(std::span<const int64_t> rows);
  at::Tensor StepPlaces(std::span<const int64_t> rows, std::span<const int32_t> tokens);
  const at::Tensor& UnseenFrom(int64_t window, PlacedStep& step) const;
  at::Tensor AttendWithTensorOps(int64_t layer, const at::Tensor& qkv, PlacedStep& step);
  void ContinuePlaces(const std::vector<int64_t>& rows, const std::vector<int64_t>& parents);

  const Decoder& model_;
  const AttentionShape shape_;  // of every layer but for scale and window
  const int64_t width_;         // h rounded up to a multiple of 16
  bool own_loops_;
  int64_t prefixes_ = 0, prefix_tokens_ = 0, prefix_padded_ = 0, longest_room_ = 0;
  std::vector<Layer> layers_;
  std::vector<Row> rows_;
  Places places_;
};

// x (N,E) -> (n,E): the given rows.
at::Tensor RowsOf(const at::Tensor& x, const std::vector<int64_t>& rows);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_KV_CACHE_H_
