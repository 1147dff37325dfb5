// What a model has read of prefixes that many rows share, and of each row's own continuation.
//
//   const std::unique_ptr<ModelCache> cache = model.NewCache();
//   at::Tensor hidden = cache->ReadPrefixes(ids);       // (P,S): all of it in one pass
//   cache->StartRows({{.prefix = 0, .length = 17, .room = 30},
//                     {.prefix = 0, .length = 42, .room = 5}});
//   hidden = cache->Step(rows, tokens);                 // (n,W): one token more for each of n rows
//
// Sharing    a row that continues prefix p after `length` tokens reads that prefix where it lies:
//            nothing is copied for it, and rows may begin anywhere in one prefix.
// Rows       a step feeds any of the rows; those that are done are left out and cost nothing.
// Threads    one thread at a time; no gradients.
// Errors     LibTorch's exceptions and std::bad_alloc: end at CatchTorch.
#ifndef LETHE_ENGINE_MODEL_MODEL_CACHE_H_
#define LETHE_ENGINE_MODEL_MODEL_CACHE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>
#include <vector>

namespace lethe {

struct CacheRow {
  int64_t prefix = 0;  // which prefix it continues
  int64_t length = 0;  // after how many of its tokens, at least 1
  int64_t room = 0;    // steps that it may take
};

class ModelCache {
 public:
  virtual ~ModelCache() = default;

  // ids (P,S) int64, padded on the right -> hidden (P*S,W). Replaces all prefixes and rows.
  virtual at::Tensor ReadPrefixes(const at::Tensor& ids) = 0;
  // Replaces all rows.
  virtual void StartRows(std::span<const CacheRow> rows) = 0;
  // rows (n), each at most once: indexes into those started; tokens (n) -> hidden (n,W), which
  // predicts what comes next.
  virtual at::Tensor Step(std::span<const int64_t> rows, std::span<const int32_t> tokens) = 0;

  // The other rows are done and will not be fed again: a device need not compute them any more.
  virtual void Keep(std::span<const int64_t> rows) = 0;

  // Row rows[i] goes on as row parents[i] stands now; several may go on as one. All of them have the
  // same room. Only the rows' own tails are copied, and only where a row changes its parent.
  virtual void ContinueAs(std::span<const int64_t> rows, std::span<const int64_t> parents) = 0;

  // Of what is kept of one row with room for `steps`.
  virtual int64_t RowBytes(int64_t steps) const = 0;
  // Bytes of rows to run side by side: so many, and on a GPU, whose time goes by steps, not by rows,
  // as many as a quarter of its free memory holds.
  virtual int64_t RowsAtATime(int64_t bytes) const = 0;
};

// x (N,W) -> (n,W): the given rows.
at::Tensor RowsOf(const at::Tensor& x, const std::vector<int64_t>& rows);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_MODEL_CACHE_H_
