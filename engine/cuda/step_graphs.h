// CUDA graphs behind captured_step.h's interface.
//
// Stream     everything runs on one stream of its own (CUDA records no other than a side stream),
//            in order with the caller's.
// Threads    one at a time. Errors: LibTorch's exceptions.
#ifndef LETHE_ENGINE_CUDA_STEP_GRAPHS_H_
#define LETHE_ENGINE_CUDA_STEP_GRAPHS_H_

#include <ATen/cuda/CUDAGraph.h>
#include <c10/cuda/CUDAStream.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "engine/train/captured_step.h"

namespace lethe {

class CudaStepGraphs : public StepGraphs {
 public:
  explicit CudaStepGraphs(const at::Device& device);
  ~CudaStepGraphs() override;

  std::shared_ptr<LateNumbers> Run(const std::string& name, std::span<const at::Tensor> inputs,
                                   const Work& work) override;
  void Use(const at::Generator& generator) override { generators_.push_back(generator); }
  void Forget() override;
  const std::string& Refusal() const override { return refusal_; }

 private:
  // What is done under one name.
  struct Repeated {
    std::vector<at::Tensor> inputs;  // what the recording reads
    at::Tensor numbers;              // what it writes
    std::unique_ptr<at::cuda::CUDAGraph> graph;
    int met = 0;
    bool refuses = false;
    int64_t last = 0;  // when it was met
  };
  Repeated& Named(const std::string& name);
  void Take(Repeated& repeated, std::span<const at::Tensor> inputs) const;
  at::Tensor Do(Repeated& repeated, const Work& work);
  bool Record(Repeated& repeated, const Work& work);

  const at::Device device_;
  const c10::cuda::CUDAStream stream_;
  at::cuda::MempoolId_t pool_;  // of all recordings: only one is done at a time
  std::vector<at::Generator> generators_;
  std::map<std::string, Repeated> repeated_;
  int64_t runs_ = 0;
  std::string refusal_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_CUDA_STEP_GRAPHS_H_
