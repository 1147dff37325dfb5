// The CPU keeps to the formulas in ATen, as a GPU does, as long as one of these lives.
#ifndef LETHE_TESTS_ENGINE_TENSOR_OPS_H_
#define LETHE_TESTS_ENGINE_TENSOR_OPS_H_

#include "engine/model/row_tasks.h"

namespace lethe {

class TensorOps {
 public:
  TensorOps() { tensor_ops_for_test = true; }
  ~TensorOps() { tensor_ops_for_test = false; }
  TensorOps(const TensorOps&) = delete;
  TensorOps& operator=(const TensorOps&) = delete;
};

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_TENSOR_OPS_H_
