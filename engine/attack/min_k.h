// Min-K% (Shi et al. 2024): a text that was trained on has few tokens that surprise the model.
//
//   score = mean of the log-probabilities of the least likely max(1, floor(k N)) of N tokens, nats
#ifndef LETHE_ENGINE_ATTACK_MIN_K_H_
#define LETHE_ENGINE_ATTACK_MIN_K_H_

#include <algorithm>
#include <cstddef>
#include <functional>
#include <vector>

namespace lethe {

// `nll`: nats a token, at least one; `k` in (0,1].
inline double MinK(std::vector<double> nll, double k) {
  const size_t count =
      std::clamp<size_t>(static_cast<size_t>(k * static_cast<double>(nll.size())), 1, nll.size());
  std::partial_sort(nll.begin(), nll.begin() + static_cast<std::ptrdiff_t>(count), nll.end(),
                    std::greater<>());
  double sum = 0;
  for (size_t i = 0; i < count; ++i) sum += nll[i];
  return -sum / static_cast<double>(count);
}

}  // namespace lethe

#endif  // LETHE_ENGINE_ATTACK_MIN_K_H_
