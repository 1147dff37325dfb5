// liblethe_cuda.so: what is written against CUDA itself. It is built on every machine and loaded
// only where LibTorch's CUDA backend is, so that one program serves both.
//
//   const CudaLibrary* cuda = OpenedCuda();   // null where there is no CUDA
//   cuda->MakeStepGraphs(at::Device("cuda:0"));
//
// The library and the program share LibTorch and these interfaces, nothing else: the library must
// not call into the engine.
// Threads    OpenCuda once, before others; then any. Errors: LibTorch's exceptions.
#ifndef LETHE_ENGINE_CUDA_CUDA_LIBRARY_H_
#define LETHE_ENGINE_CUDA_CUDA_LIBRARY_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "engine/train/captured_step.h"

namespace lethe {

// NCCL among the processes that train together, each with a GPU of its own.
class GpuRanks {
 public:
  virtual ~GpuRanks() = default;
  virtual void Sum(at::Tensor& values) = 0;  // in place, fp32 or bf16, of one shape in all
  virtual void CopyFromFirst(at::Tensor& values) = 0;  // likewise
};

class CudaLibrary {
 public:
  virtual ~CudaLibrary() = default;
  virtual std::unique_ptr<StepGraphs> MakeStepGraphs(const at::Device& device) const = 0;
  virtual std::string NameOf(const at::Device& device) const = 0;  // "NVIDIA H200"
  virtual void Wait(const at::Device& device) const = 0;           // until all work is done

  // A word that rank 0 makes and all ranks join with; all must be there.
  virtual std::string MakeNcclWord() const = 0;
  virtual std::unique_ptr<GpuRanks> JoinNccl(const std::string& word, int index, int count,
                                             const at::Device& device) const = 0;
};

// Loads LibTorch's CUDA backend and the library, once. "" when they are there and see a device,
// else why not.
const std::string& OpenCuda();
const CudaLibrary* OpenedCuda();

}  // namespace lethe

#endif  // LETHE_ENGINE_CUDA_CUDA_LIBRARY_H_
