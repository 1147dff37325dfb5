#include "engine/precision.h"

#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/Device.h>

#include <string>

#include "base/machine_memory.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

constexpr int64_t kLargeModel = 20'000'000;  // weights
// Weight, gradient and Adam's two moments in fp32, and the weight in bf16.
constexpr double kStepBytes = 18;
constexpr double kShareOfMemory = 0.8;

double MemoryOf(const Device& device) {
  if (device.name == "cpu") return static_cast<double>(ReadMachineMemory().total);
  const c10::Device where(device.name);
  return static_cast<double>(
      c10::getDeviceAllocator(where.type())->getMemoryInfo(where.index()).second);
}

}  // namespace

bool CpuComputesBf16() {
#if defined(__x86_64__)
  return __builtin_cpu_supports("avx512bf16");
#else
  return false;
#endif
}

Precision AutomaticPrecision(int64_t parameters, const PrecisionDevice& device) {
  if (!device.computes_bf16 || parameters < kLargeModel) return Precision::kFp32;
  const double needed = kStepBytes * static_cast<double>(parameters);
  if (needed > kShareOfMemory * device.memory_bytes) return Precision::kBf16Pure;
  return device.is_gpu ? Precision::kBf16 : Precision::kFp32;
}

absl::StatusOr<Precision> ChoosePrecision(std::string_view wanted, int64_t parameters,
                                          const Device& device) {
  if (wanted == "auto") {
    return CatchTorch("choosing a precision", [&]() -> absl::StatusOr<Precision> {
      const bool is_gpu = device.name != "cpu";
      return AutomaticPrecision(parameters, {.memory_bytes = MemoryOf(device),
                                             .computes_bf16 = is_gpu || CpuComputesBf16(),
                                             .is_gpu = is_gpu});
    });
  }
  if (const auto named = PrecisionNamed(wanted)) return *named;
  return Error(absl::StatusCode::kInvalidArgument, "BAD_PARAMETER",
               "a precision is auto, fp32, bf16 or bf16_pure",
               {{"precision", std::string(wanted)}});
}

}  // namespace lethe
