// Several decoders as one model: the mean of their probabilities.
//
//   LETHE_ASSIGN_OR_RETURN(const EnsembleModel model, EnsembleModel::Of(std::move(decoders)));
//   model.Logits(model.Hidden(ids));   // as of any LanguageModel
//
// Formula    p(v) = 1/M sum_m p_m(v), a mean of probabilities, not of logits: with l_m the logits of
//            member m and z_m = log sum_v exp l_m(v),
//                logits(v) = log 1/M sum_m exp(l_m(v) - z_m) + max_m z_m
//            The last term is the row's scale: it changes no probability, but what fp32 can tell of two
//            logits hangs on how large the members' own are (first_choice.h), and so an ensemble
//            of one member has that member's logits.
// Weights    all members count alike. Weights made from the data (a shard's size, a validation loss)
//            would remember what was deleted from it, and rolling back one member would no longer be
//            exact.
// Hidden     the members' side by side, so that cutting rows cuts all of them.
// Cost       that of the members, one after the other; M rows of logits stand at a time. Two of
//            a row's logits are off by no more than the worst member's are.
// Copies     share the members' weights; Copy() does not.
// Threads, errors   as LanguageModel.
#ifndef LETHE_ENGINE_MODEL_ENSEMBLE_MODEL_H_
#define LETHE_ENGINE_MODEL_ENSEMBLE_MODEL_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "engine/model/decoder.h"
#include "engine/model/language_model.h"

namespace lethe {

class EnsembleModel : public LanguageModel {
 public:
  // On one device, all fp32 and without adapters. Errors: INVALID_ARGUMENT/BAD_ENSEMBLE for none, or
  // for vocabularies of different sizes.
  static absl::StatusOr<EnsembleModel> Of(std::vector<Decoder> members);

  int64_t vocab_size() const override { return (*members_)[0].vocab_size(); }
  int64_t context() const override;  // the shortest of the members'
  const at::Device& device() const override { return (*members_)[0].device(); }
  at::Tensor Hidden(const at::Tensor& ids) const override;
  at::Tensor Logits(const at::Tensor& hidden) const override;
  std::unique_ptr<ModelCache> NewCache() const override;
  std::vector<const Decoder*> Members() const override;
  const std::vector<at::Tensor>& Leaves() const override { return leaves_; }
  std::unique_ptr<LanguageModel> Copy() const override;

 private:
  explicit EnsembleModel(std::vector<Decoder> members);

  std::shared_ptr<const std::vector<Decoder>> members_;  // where caches find them
  std::vector<at::Tensor> leaves_;                       // member by member
};

// logits (n,V) of each member -> (n,V), as the formula says; one member's are given back. In the
// members' type. Carries grad.
at::Tensor LogitsOfMean(std::span<const at::Tensor> logits);

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_ENSEMBLE_MODEL_H_
