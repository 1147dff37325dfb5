// What cpu_attention.cc and cpu_linear.cc give to the table in cpu_kernels.cc. All are compiled once
// a level; the level's name keeps their symbols apart.
//
// Nothing but C headers and own static functions may be used in those files: an inline function
// of a library, compiled here for AVX-512, could be the copy that the linker keeps for all.
#ifndef LETHE_ENGINE_MODEL_CPU_KERNELS_INTERNAL_H_
#define LETHE_ENGINE_MODEL_CPU_KERNELS_INTERNAL_H_

#include "engine/model/cpu_kernels.h"

namespace lethe::cpu {

extern const Loops kGenericLoops;
extern const Loops kAvx2Loops;
extern const Loops kAvx512Loops;

#ifdef LETHE_CPU_LEVEL
namespace LETHE_CPU_LEVEL {
template <typename T>
void CausalAttention(const HeadGroup<T>& head);
template <typename T>
void CausalAttentionBackward(const HeadGroup<T>& head, const HeadGroupGrads<T>& grads);
void AttendCached(const CachedHead& head);
void MultiplyFewRows(const FewRows& product, int64_t first, int64_t count);
}  // namespace LETHE_CPU_LEVEL
#endif

}  // namespace lethe::cpu

#endif  // LETHE_ENGINE_MODEL_CPU_KERNELS_INTERNAL_H_
