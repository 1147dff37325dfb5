// Between the rows of a leaf, (outputs, ...), and the layout that a checkpoint stores.
//
//   rows.copy_(FromStored(tensor, Stored::kHeadwise, heads));
//
// Both are views where the layout allows it. Threads: any. Errors: LibTorch's, for other shapes.
#ifndef LETHE_ENGINE_MODEL_STORED_LAYOUT_H_
#define LETHE_ENGINE_MODEL_STORED_LAYOUT_H_

#include <ATen/core/Tensor.h>

#include "engine/checkpoint/decoder_tensors.h"

namespace lethe {

// Rows that lie by heads, (H,3,...), are (3,H,...) in the leaf.
inline at::Tensor AsStored(const at::Tensor& rows, Stored stored, int64_t heads) {
  if (stored == Stored::kTransposed) return rows.t();
  if (stored == Stored::kAsIs) return rows;
  return rows.reshape({3, heads, -1}).transpose(0, 1).reshape(rows.sizes());
}
inline at::Tensor FromStored(const at::Tensor& tensor, Stored stored, int64_t heads) {
  if (stored == Stored::kTransposed) return tensor.t();
  if (stored == Stored::kAsIs) return tensor;
  return tensor.reshape({heads, 3, -1}).transpose(0, 1).reshape(tensor.sizes());
}

}  // namespace lethe

#endif  // LETHE_ENGINE_MODEL_STORED_LAYOUT_H_
