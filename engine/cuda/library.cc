// The door of liblethe_cuda.so (cuda_library.h).
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include "engine/cuda/cuda_library.h"
#include "engine/cuda/nccl_ranks.h"
#include "engine/cuda/step_graphs.h"

namespace lethe {
namespace {

class Library : public CudaLibrary {
 public:
  std::unique_ptr<StepGraphs> MakeStepGraphs(const at::Device& device) const override {
    return std::make_unique<CudaStepGraphs>(device);
  }
  std::string NameOf(const at::Device& device) const override {
    cudaDeviceProp properties;
    C10_CUDA_CHECK(cudaGetDeviceProperties(&properties, device.index()));
    return properties.name;
  }
  void Wait(const at::Device& device) const override {
    const c10::cuda::CUDAGuard guard(device);
    c10::cuda::device_synchronize();
  }
  std::string MakeNcclWord() const override { return lethe::MakeNcclWord(); }
  std::unique_ptr<GpuRanks> JoinNccl(const std::string& word, int index, int count,
                                     const at::Device& device) const override {
    return MakeNcclRanks(word, index, count, device);
  }
};

}  // namespace
}  // namespace lethe

extern "C" __attribute__((visibility("default"))) const lethe::CudaLibrary* LetheCudaLibrary() {
  static const lethe::Library library;
  return &library;
}
