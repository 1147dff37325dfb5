// bf16 copies of a decoder's leaves, for its matrix products.
//
//   at::Tensor rounded = copies.Of(3, leaves[3]);   // as leaves[3] is now
//
// A copy is made when it is first asked for, and again when its leaf has been changed in place since
// (LibTorch counts those changes), so once a training step at most.
// Threads    any, while nobody writes the leaves.
#ifndef LETHE_ENGINE_MODEL_ROUNDED_LEAVES_H_
#define LETHE_ENGINE_MODEL_ROUNDED_LEAVES_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <mutex>
#include <vector>

namespace lethe {

class RoundedLeaves {
 public:
  explicit RoundedLeaves(size_t leaves) : copies_(leaves) {}

  // A leaf that is bf16 already is given back itself, without its gradient.
  at::Tensor Of(size_t index, const at::Tensor& leaf) {
    if (leaf.scalar_type() == at::kBFloat16) return leaf.detach();
    const std::lock_guard lock(mutex_);
    Copy& copy = copies_[index];
    const auto version = leaf._version();
    if (copy.version != version || !copy.rounded.defined()) {
      // A new tensor: a graph that has not run backward yet may hold the one before.
      copy.rounded = leaf.detach().to(at::kBFloat16);
      copy.version = version;
    }
    return copy.rounded;
  }

 private:
  struct Copy {
    at::Tensor rounded;
    int64_t version = -1;
  };
  std::mutex mutex_;
  std::vector<Copy> copies_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_ROUNDED_LEAVES_H_
