# lethe::torch, LibTorch as imported targets of our own.
#
# Looked for in this order: LETHE_TORCH_DIR (a `torch` folder), the unpacked wheel in
# ${LETHE_DEPS}/libtorch/torch, the torch of the machine's Python. find_package(Torch) is not used:
# it stops where no CUDA toolkit is installed. Link it PRIVATE: its include folder carries an old
# google/protobuf that would shadow the machine's.
set(LETHE_TORCH_DIR "" CACHE PATH "The `torch` folder of a wheel; empty: look in .deps, then in Python")

set(_torch "${LETHE_TORCH_DIR}")
if(NOT _torch AND EXISTS "${LETHE_DEPS}/libtorch/torch/lib/libtorch_cpu.so")
  set(_torch "${LETHE_DEPS}/libtorch/torch")
endif()
if(NOT _torch)
  execute_process(
    COMMAND python3 -c "import importlib.util as u; print(u.find_spec('torch').submodule_search_locations[0])"
    OUTPUT_VARIABLE _torch OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
endif()
if(NOT EXISTS "${_torch}/lib/libtorch_cpu.so")
  message(FATAL_ERROR "LibTorch was not found. Run ./dev setup, or set LETHE_TORCH_DIR to a wheel's torch folder.")
endif()
set(LETHE_TORCH_LIB "${_torch}/lib")
message(STATUS "LibTorch: ${_torch}")

add_library(lethe_torch INTERFACE)
target_include_directories(lethe_torch SYSTEM INTERFACE
  "${_torch}/include" "${_torch}/include/torch/csrc/api/include")
target_link_libraries(lethe_torch INTERFACE "${_torch}/lib/libtorch_cpu.so" "${_torch}/lib/libc10.so")
target_link_options(lethe_torch INTERFACE
  -Wl,--unresolved-symbols=ignore-in-shared-libs "-Wl,-rpath,${_torch}/lib")
add_library(lethe::torch ALIAS lethe_torch)

# lethe::cuda, what liblethe_cuda.so is compiled and linked with: the headers of three CUDA wheels
# beside LibTorch (no toolkit, no driver) and its CUDA half. Absent where they are.
find_path(LETHE_CUDA_INCLUDE cuda_runtime_api.h
  HINTS "${_torch}/../nvidia/cu13/include" "${_torch}/../nvidia/cuda_runtime/include"
  NO_DEFAULT_PATH)
find_library(LETHE_CUDA_RUNTIME NAMES libcudart.so.13
  HINTS "${LETHE_CUDA_INCLUDE}/../lib" NO_DEFAULT_PATH)
if(LETHE_CUDA_INCLUDE AND LETHE_CUDA_RUNTIME AND EXISTS "${LETHE_CUDA_INCLUDE}/crt/host_config.h"
   AND EXISTS "${_torch}/lib/libtorch_cuda.so")
  add_library(lethe_cuda INTERFACE)
  target_include_directories(lethe_cuda SYSTEM INTERFACE "${LETHE_CUDA_INCLUDE}")
  target_link_libraries(lethe_cuda INTERFACE
    "${_torch}/lib/libtorch_cuda.so" "${_torch}/lib/libc10_cuda.so" "${LETHE_CUDA_RUNTIME}")
  add_library(lethe::cuda ALIAS lethe_cuda)
else()
  message(STATUS "CUDA's headers are not here: liblethe_cuda.so is left out, and GPUs with it")
endif()
