// What generation, scores, roll-outs and attacks need of a model: one decoder, or several whose
// probabilities are averaged (ensemble_model.h).
//
//   const at::Tensor hidden = model.Hidden(ids);                    // (B,T) -> (B*T,W)
//   const at::Tensor logits = model.Logits(RowsOf(hidden, rows));   // (n,W) -> (n,V)
//   const std::unique_ptr<ModelCache> cache = model.NewCache();     // the same, a token at a time
//
// Hidden     is what stands between reading and saying: W numbers a position that only this model's
//            Logits can read. They may be cut by rows, put together and kept.
// Logits     the next token's log-probabilities up to a constant of the row, at a scale that says
//            what fp32 can tell (first_choice.h): the softmax of a row is the model's distribution.
// Leaves     what autograd and an optimizer see, of all decoders in it.
// Threads    const calls from any threads while nobody writes the leaves.
// Errors     LibTorch's exceptions (callers end at CatchTorch); CheckIds a status.
#ifndef LETHE_ENGINE_MODEL_LANGUAGE_MODEL_H_
#define LETHE_ENGINE_MODEL_LANGUAGE_MODEL_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/model_cache.h"

namespace lethe {

class Decoder;

class LanguageModel {
 public:
  virtual ~LanguageModel() = default;

  virtual int64_t vocab_size() const = 0;
  virtual int64_t context() const = 0;  // the longest text that it reads
  virtual const at::Device& device() const = 0;

  // ids (B,T) int64 -> (B*T,W); row b*T+t is position t of sequence b. Carries grad.
  virtual at::Tensor Hidden(const at::Tensor& ids) const = 0;
  // hidden (N,W) -> (N,V). Carries grad.
  virtual at::Tensor Logits(const at::Tensor& hidden) const = 0;
  // The model must outlive it.
  virtual std::unique_ptr<ModelCache> NewCache() const = 0;

  // The decoders that it is made of, for what has to look inside: one is itself.
  virtual std::vector<const Decoder*> Members() const = 0;
  // In a fixed order; all require grad.
  virtual const std::vector<at::Tensor>& Leaves() const = 0;
  virtual std::unique_ptr<LanguageModel> Copy() const = 0;  // own weights, same values

  int64_t HiddenWidth() const;  // W

  void ZeroGradients() const;  // drops them
  // Copies of the leaves' values, beside them or on another device.
  std::vector<at::Tensor> Snapshot(std::optional<at::Device> where = std::nullopt) const;
  void Restore(const std::vector<at::Tensor>& snapshot) const;  // copies them back

  // OK when every id is below vocab_size and there are between `at_least` and `context` of them.
  absl::Status CheckIds(std::span<const int32_t> ids, int64_t at_least = 1) const;

 protected:
  LanguageModel() = default;
  LanguageModel(const LanguageModel&) = default;
  LanguageModel& operator=(const LanguageModel&) = default;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_LANGUAGE_MODEL_H_
