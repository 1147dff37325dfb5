#include "engine/model/language_model.h"

#include <ATen/core/grad_mode.h>

#include "engine/model/decoder.h"

namespace lethe {

int64_t LanguageModel::HiddenWidth() const {
  int64_t width = 0;
  for (const Decoder* member : Members()) width += member->OutputWeight().size(1);
  return width;
}

void LanguageModel::ZeroGradients() const {
  for (const at::Tensor& leaf : Leaves()) leaf.mutable_grad().reset();
}

std::vector<at::Tensor> LanguageModel::Snapshot(std::optional<at::Device> where) const {
  std::vector<at::Tensor> values;
  for (const at::Tensor& leaf : Leaves()) {
    const bool beside = !where.has_value() || *where == leaf.device();
    values.push_back(beside ? leaf.detach().clone() : leaf.detach().to(*where));
  }
  return values;
}

void LanguageModel::Restore(const std::vector<at::Tensor>& snapshot) const {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < Leaves().size(); ++i) Leaves()[i].detach().copy_(snapshot.at(i));
}

absl::Status LanguageModel::CheckIds(std::span<const int32_t> ids, int64_t at_least) const {
  const auto count = static_cast<int64_t>(ids.size());
  if (count < at_least) {
    return Error(absl::StatusCode::kInvalidArgument, "SEQUENCE_TOO_SHORT",
                 "a sequence has too few tokens",
                 {{"tokens", std::to_string(count)}, {"least", std::to_string(at_least)}});
  }
  if (count > context()) {
    return Error(absl::StatusCode::kInvalidArgument, "SEQUENCE_TOO_LONG",
                 "a sequence is longer than the model's context",
                 {{"tokens", std::to_string(count)}, {"context", std::to_string(context())}});
  }
  for (const int32_t id : ids) {
    if (id < 0 || id >= vocab_size()) {
      return Error(absl::StatusCode::kInvalidArgument, "TOKEN_OUT_OF_RANGE",
                   "a token id is outside the model's vocabulary",
                   {{"vocab_size", std::to_string(vocab_size())}});
    }
  }
  return absl::OkStatus();
}

}  // namespace lethe
