// Which loops this machine can run, and how much scratch they want.
#include "engine/model/cpu_kernels_internal.h"

namespace lethe::cpu {
namespace {

int64_t RoundUp(int64_t x) { return (x + 15) / 16 * 16; }
constexpr int64_t kRows = 8;

bool HasAvx512() {
#ifdef LETHE_CPU_HAS_LEVELS
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
#else
  return false;
#endif
}

bool HasAvx2() {
#ifdef LETHE_CPU_HAS_LEVELS
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
#else
  return false;
#endif
}

}  // namespace

int64_t ForwardScratch(int64_t tokens, int64_t head_dim) {
  const int64_t padded = RoundUp(tokens), width = RoundUp(head_dim);
  return head_dim * padded + padded * width + kRows * (head_dim + width + padded);
}

int64_t BackwardScratch(int64_t tokens, int64_t head_dim) {
  const int64_t padded = RoundUp(tokens), width = RoundUp(head_dim);
  return 4 * head_dim * padded + padded * width + kRows * (2 * head_dim + width + padded);
}

LoopsList AllForTest() {
  LoopsList list{{&kGenericLoops, nullptr, nullptr}, 1};
#ifdef LETHE_CPU_HAS_LEVELS
  if (HasAvx2()) list.loops[list.count++] = &kAvx2Loops;
  if (HasAvx512()) list.loops[list.count++] = &kAvx512Loops;
#endif
  return list;
}

const Loops& Best() {
  static const Loops& best = []() -> const Loops& {
    const LoopsList list = AllForTest();
    return *list.loops[list.count - 1];
  }();
  return best;
}

}  // namespace lethe::cpu
