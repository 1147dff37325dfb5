// Tokenizers of the models, loaded once each.
//
//   absl::StatusOr<Tokenizer> tokenizer = tokenizers.Get(model);   // may read a file
//
// Key        the digest of tokenizer.json that the model was registered
//            with; a folder that holds another is refused.
// Memory     the last `most` that were used stay.
// Errors     UNAVAILABLE/TOKENIZER_UNAVAILABLE when the model's folder cannot be read now.
// Threads    any; blocks: on a background thread.
#ifndef LETHE_SERVER_TOKENIZER_CACHE_H_
#define LETHE_SERVER_TOKENIZER_CACHE_H_

#include <lethe/v1/model.pb.h>

#include <filesystem>
#include <list>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "text/tokenizer.h"

namespace lethe {

class TokenizerCache {
 public:
  TokenizerCache(std::filesystem::path model_folder, size_t most)
      : model_folder_(std::move(model_folder)), most_(most) {}

  absl::StatusOr<Tokenizer> Get(const v1::Model& model);

 private:
  const std::filesystem::path model_folder_;
  const size_t most_;
  absl::Mutex mu_;
  std::list<std::pair<std::string, Tokenizer>> used_ ABSL_GUARDED_BY(mu_);  // the latest first
};

}  // namespace lethe

#endif  // LETHE_SERVER_TOKENIZER_CACHE_H_
