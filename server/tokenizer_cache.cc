#include "server/tokenizer_cache.h"

#include <algorithm>

#include "base/log.h"
#include "base/model_layout.h"
#include "base/status.h"

namespace lethe {
namespace {

absl::Status Unavailable(const v1::Model& model, std::string_view why) {
  LogError("a model's tokenizer cannot be used", {{"model", model.model_id()}, {"why", why}});
  return Error(absl::StatusCode::kUnavailable, "TOKENIZER_UNAVAILABLE",
               "the model's tokenizer cannot be read now; token ids are still taken",
               {{"model", model.model_id()}});
}

}  // namespace

absl::StatusOr<Tokenizer> TokenizerCache::Get(const v1::Model& model) {
  const std::string& digest = model.facts().tokenizer_digest();
  {
    absl::MutexLock lock(&mu_);
    const auto found = std::find_if(used_.begin(), used_.end(),
                                    [&](const auto& entry) { return entry.first == digest; });
    if (found != used_.end()) {
      used_.splice(used_.begin(), used_, found);
      return found->second;
    }
  }
  const std::filesystem::path folder =
      model_folder_ /
      CheckpointFolder(ModelId{model.model_id()}, CheckpointId{model.current_checkpoint_id()});
  absl::StatusOr<Tokenizer> tokenizer = Tokenizer::Load(folder);
  if (!tokenizer.ok()) return Unavailable(model, ErrorReason(tokenizer.status()));
  if (tokenizer->Digest() != digest) return Unavailable(model, "DIGEST_DIFFERS");
  absl::MutexLock lock(&mu_);
  used_.emplace_front(digest, *tokenizer);
  if (used_.size() > most_) used_.pop_back();
  return tokenizer;
}

}  // namespace lethe
