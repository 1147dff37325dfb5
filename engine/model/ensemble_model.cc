#include "engine/model/ensemble_model.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/logaddexp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/maximum.h>

#include <algorithm>
#include <cmath>

namespace lethe {
namespace {

// The members' caches, fed alike.
class EnsembleCache : public ModelCache {
 public:
  explicit EnsembleCache(const std::vector<Decoder>& members) {
    for (const Decoder& member : members) caches_.push_back(member.NewCache());
  }

  at::Tensor ReadPrefixes(const at::Tensor& ids) override {
    return OfEach([&](ModelCache& cache) { return cache.ReadPrefixes(ids); });
  }
  void StartRows(std::span<const CacheRow> rows) override {
    for (const auto& cache : caches_) cache->StartRows(rows);
  }
  at::Tensor Step(std::span<const int64_t> rows, std::span<const int32_t> tokens) override {
    return OfEach([&](ModelCache& cache) { return cache.Step(rows, tokens); });
  }
  void Keep(std::span<const int64_t> rows) override {
    for (const auto& cache : caches_) cache->Keep(rows);
  }
  void ContinueAs(std::span<const int64_t> rows, std::span<const int64_t> parents) override {
    for (const auto& cache : caches_) cache->ContinueAs(rows, parents);
  }
  int64_t RowBytes(int64_t steps) const override {
    int64_t bytes = 0;
    for (const auto& cache : caches_) bytes += cache->RowBytes(steps);
    return bytes;
  }
  int64_t RowsAtATime(int64_t bytes) const override { return caches_[0]->RowsAtATime(bytes); }

 private:
  template <typename Read>
  at::Tensor OfEach(Read read) {
    std::vector<at::Tensor> hidden;
    for (const auto& cache : caches_) hidden.push_back(read(*cache));
    return at::cat(hidden, 1);
  }

  std::vector<std::unique_ptr<ModelCache>> caches_;
};

absl::Status Bad(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_ENSEMBLE", message);
}

}  // namespace

absl::StatusOr<EnsembleModel> EnsembleModel::Of(std::vector<Decoder> members) {
  if (members.empty()) return Bad("an ensemble has at least one member");
  for (const Decoder& member : members) {
    if (member.vocab_size() == members[0].vocab_size()) continue;
    return Bad(
        "the members' vocabularies have different sizes: what they say is not about the "
        "same tokens");
  }
  return EnsembleModel(std::move(members));
}

EnsembleModel::EnsembleModel(std::vector<Decoder> members)
    : members_(std::make_shared<const std::vector<Decoder>>(std::move(members))) {
  for (const Decoder& member : *members_) {
    leaves_.insert(leaves_.end(), member.Leaves().begin(), member.Leaves().end());
  }
}

int64_t EnsembleModel::context() const {
  int64_t shortest = (*members_)[0].context();
  for (const Decoder& member : *members_) shortest = std::min(shortest, member.context());
  return shortest;
}

at::Tensor EnsembleModel::Hidden(const at::Tensor& ids) const {
  std::vector<at::Tensor> hidden;  // (B*T,E) each
  for (const Decoder& member : *members_) hidden.push_back(member.Hidden(ids));
  return at::cat(hidden, 1);
}

at::Tensor EnsembleModel::Logits(const at::Tensor& hidden) const {
  std::vector<at::Tensor> logits;  // (N,V) each
  int64_t at = 0;
  for (const Decoder& member : *members_) {
    const int64_t width = member.HiddenWidth();
    logits.push_back(member.Logits(hidden.narrow(1, at, width).contiguous()));
    at += width;
  }
  return LogitsOfMean(logits);
}

std::unique_ptr<ModelCache> EnsembleModel::NewCache() const {
  return std::make_unique<EnsembleCache>(*members_);
}

std::vector<const Decoder*> EnsembleModel::Members() const {
  std::vector<const Decoder*> members;
  for (const Decoder& member : *members_) members.push_back(&member);
  return members;
}

std::unique_ptr<LanguageModel> EnsembleModel::Copy() const {
  std::vector<Decoder> copies;
  for (const Decoder& member : *members_) copies.push_back(member.Clone());
  return std::unique_ptr<LanguageModel>(new EnsembleModel(std::move(copies)));
}

at::Tensor LogitsOfMean(std::span<const at::Tensor> logits) {
  if (logits.size() == 1) return logits[0];
  at::Tensor sum, scale;  // log sum_m p_m (n,V); max_m z_m (n,1)
  for (const at::Tensor& l : logits) {
    const at::Tensor z = l.logsumexp({1}, /*keepdim=*/true);  // (n,1)
    const at::Tensor log_p = l - z;                           // (n,V)
    sum = sum.defined() ? at::logaddexp(sum, log_p) : log_p;
    scale = scale.defined() ? at::maximum(scale, z.detach()) : z.detach();
  }
  return sum + (scale - std::log(static_cast<double>(logits.size())));
}

}  // namespace lethe
