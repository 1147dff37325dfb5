// A decoder's ModelCache: keys and values of prefixes and of the rows' own continuations.
//
//   KvCache cache(model);
//   at::Tensor hidden = cache.ReadPrefixes(ids);        // (P,S) -> (P*S,E)
//
// Threads, errors   as model_cache.h says.
#ifndef LETHE_ENGINE_MODEL_KV_CACHE_H_
#define LETHE_ENGINE_MODEL_KV_CACHE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/model/decoder.h"
#include "engine/model/model_cache.h"

namespace lethe {

class KvCache : public ModelCache {
 public:
  explicit KvCache(const Decoder& model);

  at::Tensor ReadPrefixes(const at::Tensor& ids) override;
  void StartRows(std::span<const CacheRow> rows) override;
  at::Tensor Step(std::span<const int64_t> rows, std::span<const int32_t> tokens) override;
  void Keep(std::span<const int64_t> rows) override;
  void ContinueAs(std::span<const int64_t> rows, std::span<const int64_t> parents) override;
  int64_t RowBytes(int64_t steps) const override;
  int64_t RowsAtATime(int64_t bytes) const override;
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

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_KV_CACHE_H_
