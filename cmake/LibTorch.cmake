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
message(STATUS "LibTorch: ${_torch}")

add_library(lethe_torch INTERFACE)
target_include_directories(lethe_torch SYSTEM INTERFACE
  "${_torch}/include" "${_torch}/include/torch/csrc/api/include")
target_link_libraries(lethe_torch INTERFACE "${_torch}/lib/libtorch_cpu.so" "${_torch}/lib/libc10.so")
target_link_options(lethe_torch INTERFACE
  -Wl,--unresolved-symbols=ignore-in-shared-libs "-Wl,-rpath,${_torch}/lib")
add_library(lethe::torch ALIAS lethe_torch)
