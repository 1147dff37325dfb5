#include "engine/device.h"

#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <malloc.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <thread>

#include "engine/cuda/cuda_library.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

// What torchrun says of this process among those on the machine; `otherwise` where it says nothing.
int LocalNumber(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  return text == nullptr ? otherwise : std::max(0, std::atoi(text));
}

absl::Status CheckName(const std::string& name) {
  if (name == "auto" || name == "cpu" || name == "cuda") return absl::OkStatus();
  if (name.rfind("cuda:", 0) == 0 && name.size() > 5 &&
      name.find_first_not_of("0123456789", 5) == std::string::npos && name.size() < 9) {
    return absl::OkStatus();
  }
  return Error(absl::StatusCode::kInvalidArgument, "UNKNOWN_DEVICE",
               "a device is auto, cpu, cuda or cuda:N", {{"device", name}});
}

// A step takes and gives back the same few hundred megabytes again and again. By default each
// large block comes from the system and returns to it, and its pages are cleared anew: a fifth of a
// bf16 step. Blocks of up to 32 MB, glibc's limit, now stay with the process.
void KeepFreedMemory() {
#ifdef __GLIBC__
  mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 1 << 30);
#endif
}

}  // namespace

std::map<std::string, std::string> Device::Describe() const {
  return {{"device", name},
          {"threads", std::to_string(threads)},
          {"libtorch", libtorch},
          {"cpu_capability", cpu_capability}};
}

void LetThreadsSleep(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") != nullptr) return;
  setenv("OMP_WAIT_POLICY", "PASSIVE", /*overwrite=*/0);
  execv("/proc/self/exe", argv);
  // Still here: the process goes on as it is, only slower in company.
}

absl::StatusOr<Device> OpenDevice(const DeviceOptions& options) {
  LETHE_RETURN_IF_ERROR(CheckName(options.device));
  return CatchTorch("opening the device", [&]() -> absl::StatusOr<Device> {
    KeepFreedMemory();
    Device device;
    device.libtorch = TORCH_VERSION;
    device.cpu_capability = at::get_cpu_capability();
    const int cores = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
    const int processes = std::max(1, LocalNumber("LOCAL_WORLD_SIZE", 1));
    device.threads = options.threads > 0 ? options.threads : std::max(1, cores / processes);
    at::set_num_threads(device.threads);
    if (options.device == "cpu") return device;

    device.cuda_unavailable = OpenCuda();
    if (device.cuda_unavailable.empty()) {
      device.name = options.device == "auto" || options.device == "cuda"
                        ? "cuda:" + std::to_string(LocalNumber("LOCAL_RANK", 0))
                        : options.device;
      return device;
    }
    if (options.device == "auto") return device;
    return Error(absl::StatusCode::kFailedPrecondition, "NO_CUDA",
                 "CUDA was asked for and cannot be had: " + device.cuda_unavailable,
                 {{"device", options.device}});
  });
}

}  // namespace lethe
