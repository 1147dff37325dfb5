// Splits rows among threads for the loops of cpu_kernels.h.
//
//   if (RunsOurLoops(x)) ForRows(rows, width, [&](int64_t first, int64_t count) { ... });
//
// For .cc files that are compiled with OpenMP: elsewhere at::parallel_for runs serially.
#ifndef LETHE_ENGINE_MODEL_ROW_TASKS_H_
#define LETHE_ENGINE_MODEL_ROW_TASKS_H_

#include <ATen/Parallel.h>
#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>

#include "engine/model/bf16.h"

namespace lethe {

// Rows a task. Fixed, so that partial sums are grouped the same way on any number of threads.
inline constexpr int64_t kRowsPerTask = 128;

// Tests set it: the CPU then keeps to the formulas in ATen, as a GPU does.
inline bool tensor_ops_for_test = false;

inline bool RunsOurLoops(const at::Tensor& x) {
  return x.is_cpu() && !tensor_ops_for_test &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

// body(T()) with the T of cpu_kernels.h that the tensor's numbers are.
template <typename Body>
auto WithType(at::ScalarType type, const Body& body) {
  return type == at::kBFloat16 ? body(cpu::Bf16()) : body(float());
}

// The tensor's numbers, as one of those T.
template <typename T>
T* Data(at::Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}
template <typename T>
const T* Data(const at::Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

// Tasks that a thread must have before another one is woken: some 30 microseconds of work, at
// `operations` simple ones a task.
inline int64_t Grain(int64_t operations) {
  return std::max<int64_t>(1, 100'000 / std::max<int64_t>(1, operations));
}

template <typename Body>  // body(first_row, rows); `operations` a row
void ForRows(int64_t rows, int64_t operations, const Body& body) {
  const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
  at::parallel_for(0, tasks, Grain(operations * kRowsPerTask), [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t first = task * kRowsPerTask;
      body(first, std::min(kRowsPerTask, rows - first));
    }
  });
}

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_ROW_TASKS_H_
