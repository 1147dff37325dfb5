#include <ATen/Context.h>
#include <dlfcn.h>

#include <cstdlib>
#include <filesystem>

#include "engine/cuda/cuda_library.h"

namespace lethe {
namespace {

constexpr char kFile[] = "liblethe_cuda.so";
const CudaLibrary* opened = nullptr;

std::string Why(const char* otherwise) {
  const char* reason = dlerror();
  return reason != nullptr ? reason : otherwise;
}

// Beside the program, in the build's bin, in lib beside bin; else where the loader looks.
void* OpenOurs() {
  std::error_code error;
  const auto folder = std::filesystem::read_symlink("/proc/self/exe", error).parent_path();
  for (const char* way : {".", "../bin", "../lib"}) {
    const auto file = folder / way / kFile;
    if (std::filesystem::exists(file, error)) return dlopen(file.c_str(), RTLD_NOW);
  }
  return dlopen(kFile, RTLD_NOW);
}

// Two runs on one device give the same bits: sums are made in a fixed order, and matrix products
// keep to fp32 where fp32 is asked for.
void ComputeTheSameEachTime() {
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  context.setDeterministicFillUninitializedMemory(false);  // it would clear each new tensor
  context.setBenchmarkCuDNN(false);
  context.setAllowTF32CuBLAS(false);
}

std::string Open() {
  // cuBLAS reads it when it begins: its workspace is then fixed, and with it the order of its sums.
  setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  // Never unloaded: the backend registers itself with LibTorch's dispatcher.
  if (dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_GLOBAL) == nullptr) {
    return Why("libtorch_cuda.so cannot be loaded");
  }
  if (!at::hasCUDA()) return "no CUDA device is visible";
  void* const ours = OpenOurs();
  if (ours == nullptr) return Why("liblethe_cuda.so cannot be loaded");
  using Door = const CudaLibrary* (*)();
  const auto door = reinterpret_cast<Door>(dlsym(ours, "LetheCudaLibrary"));
  if (door == nullptr) return Why("liblethe_cuda.so is not Lethe's");
  opened = door();
  ComputeTheSameEachTime();
  return "";
}

}  // namespace

const std::string& OpenCuda() {
  static const std::string why = Open();
  return why;
}

const CudaLibrary* OpenedCuda() { return opened; }

std::unique_ptr<StepGraphs> MakeStepGraphs(const at::Device& device) {
  return device.is_cuda() && opened != nullptr ? opened->MakeStepGraphs(device) : nullptr;
}

}  // namespace lethe
