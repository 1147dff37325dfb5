#include "engine/cuda/nccl_ranks.h"

#include <c10/cuda/CUDAGuard.h>
#include <c10/util/Exception.h>
#include <torch/csrc/cuda/nccl.h>

namespace lethe {
namespace {

namespace nccl = torch::cuda::nccl;

class NcclRanks : public GpuRanks {
 public:
  NcclRanks(const nccl::ncclUniqueId& word, int index, int count, const at::Device& device)
      : device_(device) {
    const c10::cuda::CUDAGuard guard(device_);
    all_ = nccl::comm_init_rank(count, word, index);
  }
  ~NcclRanks() override {
    try {
      nccl::comm_destroy(all_);
    } catch (const std::exception&) {
      // A rank has gone; nothing of it is needed any more.
    }
  }

  void Sum(at::Tensor& values) override {
    const c10::cuda::CUDAGuard guard(device_);
    std::vector<at::Tensor> out = {values};
    nccl::all_reduce({values}, out, static_cast<int32_t>(nccl::ncclRedOp::Sum), {}, {all_});
  }
  void CopyFromFirst(at::Tensor& values) override {
    const c10::cuda::CUDAGuard guard(device_);
    nccl::broadcast({values}, {}, {all_});
  }

 private:
  const at::Device device_;
  nccl::ncclComm_t all_ = nullptr;
};

}  // namespace

std::string MakeNcclWord() {
  nccl::ncclUniqueId word;
  nccl::get_unique_id(word);
  return {reinterpret_cast<const char*>(&word), sizeof(word)};
}

std::unique_ptr<GpuRanks> MakeNcclRanks(const std::string& word, int index, int count,
                                        const at::Device& device) {
  nccl::ncclUniqueId id;
  TORCH_CHECK(word.size() == sizeof(id), "not a word of NCCL's");
  word.copy(reinterpret_cast<char*>(&id), sizeof(id));
  return std::make_unique<NcclRanks>(id, index, count, device);
}

}  // namespace lethe
