#include "engine/model/prompt_groups.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "engine/torch_status.h"

namespace lethe {
namespace {

constexpr int64_t kTokensAPass = 4096;  // of prompts that are read together, pads included

}  // namespace

absl::Status CheckPrompts(const LanguageModel& model, std::span<const TokenIds> prompts,
                          int64_t new_tokens) {
  for (const TokenIds& prompt : prompts) {
    LETHE_RETURN_IF_ERROR(model.CheckIds(prompt));
    const int64_t whole = static_cast<int64_t>(prompt.size()) + new_tokens;
    if (whole > model.context()) {
      return Error(
          absl::StatusCode::kInvalidArgument, "SEQUENCE_TOO_LONG",
          "a prompt and its new tokens are longer than the model's context",
          {{"tokens", std::to_string(whole)}, {"context", std::to_string(model.context())}});
    }
  }
  return absl::OkStatus();
}

absl::Status ForPromptGroups(std::string_view what_doing, std::span<const TokenIds> prompts,
                             const std::function<void(std::span<const size_t> members)>& body) {
  std::vector<size_t> order(prompts.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return prompts[a].size() > prompts[b].size(); });
  for (size_t begin = 0; begin < order.size();) {
    const auto longest = static_cast<int64_t>(prompts[order[begin]].size());
    const auto rows = static_cast<size_t>(std::max<int64_t>(1, kTokensAPass / longest));
    const auto group =
        std::span<const size_t>(order).subspan(begin, std::min(rows, order.size() - begin));
    LETHE_RETURN_IF_ERROR(CatchTorchInHalves(what_doing, group, body));
    begin += group.size();
  }
  return absl::OkStatus();
}

at::Tensor PaddedPrompts(const LanguageModel& model, std::span<const TokenIds> prompts,
                         std::span<const size_t> members) {
  int64_t longest = 0;
  for (const size_t m : members) longest = std::max<int64_t>(longest, prompts[m].size());
  at::Tensor ids = at::zeros({static_cast<int64_t>(members.size()), longest}, at::kLong);
  for (size_t p = 0; p < members.size(); ++p) {
    const TokenIds& prompt = prompts[members[p]];
    std::copy(prompt.begin(), prompt.end(), ids.data_ptr<int64_t>() + p * longest);
  }
  return ids.to(model.device());
}

at::Tensor ReadPrompts(ModelCache& cache, const LanguageModel& model,
                       std::span<const TokenIds> prompts, std::span<const size_t> members) {
  at::NoGradGuard no_grad;
  const at::Tensor ids = PaddedPrompts(model, prompts, members);
  std::vector<int64_t> last;
  for (size_t p = 0; p < members.size(); ++p) {
    const auto tokens = static_cast<int64_t>(prompts[members[p]].size());
    last.push_back(static_cast<int64_t>(p) * ids.size(1) + tokens - 1);
  }
  return RowsOf(cache.ReadPrefixes(ids), last);
}

}  // namespace lethe
