#include "engine/cuda/step_graphs.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAEvent.h>
#include <c10/cuda/CUDAFunctions.h>
#include <c10/cuda/CUDAGuard.h>

#include <algorithm>
#include <utility>

namespace lethe {
namespace {

constexpr size_t kMostNames = 32;

// What comes on `later` waits for what is on `before` now.
void Follow(const c10::cuda::CUDAStream& before, const c10::cuda::CUDAStream& later) {
  c10::cuda::CUDAEvent reached;
  reached.record(before);
  reached.block(later);
}

// The stream is the current one meanwhile, in order with the caller's.
class OnStream {
 public:
  explicit OnStream(const c10::cuda::CUDAStream& stream)
      : callers_(c10::cuda::getCurrentCUDAStream(stream.device_index())), stream_(stream) {
    Follow(callers_, stream_);
    guard_.reset_stream(stream_);
  }
  ~OnStream() {
    try {
      Follow(stream_, callers_);
    } catch (const std::exception&) {
      // The device is lost: whoever asks it next is told so.
    }
  }
  OnStream(const OnStream&) = delete;
  OnStream& operator=(const OnStream&) = delete;

 private:
  const c10::cuda::CUDAStream callers_, stream_;
  c10::cuda::OptionalCUDAStreamGuard guard_;
};

class NumbersOnTheirWay : public LateNumbers {
 public:
  explicit NumbersOnTheirWay(const at::Tensor& numbers)
      : host_(at::empty(numbers.sizes(),
                        at::TensorOptions(at::kDouble).pinned_memory(/*pinned_memory=*/true))) {
    host_.copy_(numbers, /*non_blocking=*/true);
    there_.record();
  }
  std::vector<double> Read() override {
    there_.synchronize();
    const auto* begin = host_.const_data_ptr<double>();
    return {begin, begin + host_.numel()};
  }

 private:
  const at::Tensor host_;
  c10::cuda::CUDAEvent there_;
};

}  // namespace

CudaStepGraphs::CudaStepGraphs(const at::Device& device)
    : device_(device),
      stream_(c10::cuda::getStreamFromPool(/*isHighPriority=*/false, device.index())),
      pool_(at::cuda::graph_pool_handle()) {}

CudaStepGraphs::~CudaStepGraphs() {
  try {
    Forget();
  } catch (const std::exception&) {
    // The device is lost, and with it what was recorded.
  }
}

void CudaStepGraphs::Forget() {
  stream_.synchronize();
  repeated_.clear();
  pool_ = at::cuda::graph_pool_handle();
  c10::cuda::CUDACachingAllocator::emptyCache();
}

CudaStepGraphs::Repeated& CudaStepGraphs::Named(const std::string& name) {
  if (!repeated_.contains(name) && repeated_.size() >= kMostNames) {
    stream_.synchronize();
    repeated_.erase(std::min_element(
        repeated_.begin(), repeated_.end(),
        [](const auto& a, const auto& b) { return a.second.last < b.second.last; }));
  }
  Repeated& repeated = repeated_[name];
  repeated.last = ++runs_;
  return repeated;
}

// Through pinned memory, which LibTorch keeps until the copy is done: the host does not wait.
void CudaStepGraphs::Take(Repeated& repeated, std::span<const at::Tensor> inputs) const {
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (repeated.inputs.size() == i) {
      repeated.inputs.push_back(at::empty_like(inputs[i], inputs[i].options().device(device_)));
    }
    repeated.inputs[i].copy_(inputs[i].pin_memory(), /*non_blocking=*/true);
  }
}

std::shared_ptr<LateNumbers> CudaStepGraphs::Run(const std::string& name,
                                                 std::span<const at::Tensor> inputs,
                                                 const Work& work) {
  const OnStream on(stream_);
  Repeated& repeated = Named(name);
  Take(repeated, inputs);
  return std::make_shared<NumbersOnTheirWay>(Do(repeated, work));
}

at::Tensor CudaStepGraphs::Do(Repeated& repeated, const Work& work) {
  const bool first = ++repeated.met == 1;
  if (repeated.graph == nullptr) {
    if (first || repeated.refuses || !Record(repeated, work)) return work(repeated.inputs);
  }
  repeated.graph->replay();
  return repeated.numbers;
}

// Nothing is computed here. A recording that fails leaves the weights as they were: what it was told
// was never done.
bool CudaStepGraphs::Record(Repeated& repeated, const Work& work) {
  // What the first time has left in the allocator goes back, else it would stand beside the pool.
  c10::cuda::device_synchronize();
  c10::cuda::CUDACachingAllocator::emptyCache();
  auto graph = std::make_unique<at::cuda::CUDAGraph>();
  for (const at::Generator& generator : generators_) graph->register_generator_state(generator);
  std::string failure;
  graph->capture_begin(pool_, cudaStreamCaptureModeThreadLocal);
  try {
    repeated.numbers = work(repeated.inputs);
  } catch (const std::exception& error) {
    failure = error.what();
  }
  try {
    graph->capture_end();
  } catch (const std::exception& error) {
    if (failure.empty()) failure = error.what();
    (void)cudaGetLastError();  // else the next call would be told of it
  }
  if (failure.empty()) {
    repeated.graph = std::move(graph);
    return true;
  }
  repeated.refuses = true;
  repeated.numbers.reset();
  if (refusal_.empty()) refusal_ = failure.substr(0, failure.find('\n'));
  return false;
}

}  // namespace lethe
