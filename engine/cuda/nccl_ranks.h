// NCCL through LibTorch's own door to it, on the calling thread's stream.
//
// Threads    one at a time. Errors: LibTorch's exceptions, also where a rank has gone.
#ifndef LETHE_ENGINE_CUDA_NCCL_RANKS_H_
#define LETHE_ENGINE_CUDA_NCCL_RANKS_H_

#include <memory>
#include <string>

#include "engine/cuda/cuda_library.h"

namespace lethe {

std::string MakeNcclWord();
std::unique_ptr<GpuRanks> MakeNcclRanks(const std::string& word, int index, int count,
                                        const at::Device& device);

}  // namespace lethe

#endif  // LETHE_ENGINE_CUDA_NCCL_RANKS_H_
