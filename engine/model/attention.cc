#include "engine/model/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <torch/csrc/autograd/custom_function.h>

#include <utility>
#include <vector>

#include "engine/model/cpu_kernels.h"
#include "engine/model/row_tasks.h"

namespace lethe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// One multiplication in eight is counted: they run in lanes.
int64_t HeadGrain(const AttentionShape& s, int64_t tokens) {
  return Grain(tokens * tokens * s.head_dim * (s.heads / s.kv_heads) / 8);
}

// Pointers to key-value head `task` of qkv (B*T,(H+2K)h): task = b*K + k.
cpu::HeadGroup HeadOf(int64_t task, const AttentionShape& s, int64_t tokens, const float* qkv,
                      float* out, float* log_sums, float* scratch) {
  const int64_t b = task / s.kv_heads, k = task % s.kv_heads, group = s.heads / s.kv_heads;
  const int64_t stride = (s.heads + 2 * s.kv_heads) * s.head_dim;
  const float* row = qkv + b * tokens * stride;
  return {.tokens = tokens,
          .head_dim = s.head_dim,
          .group = group,
          .query = row + k * group * s.head_dim,
          .key = row + (s.heads + k) * s.head_dim,
          .value = row + (s.heads + s.kv_heads + k) * s.head_dim,
          .stride = stride,
          .out = out + b * tokens * s.heads * s.head_dim + k * group * s.head_dim,
          .out_stride = s.heads * s.head_dim,
          .log_sums = log_sums + (b * s.heads + k * group) * tokens,
          .scratch = scratch};
}

// qkv (B*T,(H+2K)h), rotated -> out (B*T,H*h), log_sums (B,H,T)
std::pair<at::Tensor, at::Tensor> AttendOnCpu(const at::Tensor& qkv, const AttentionShape& s,
                                              int64_t batch) {
  const int64_t rows = qkv.size(0), tokens = rows / batch;
  at::Tensor out = at::empty({rows, s.heads * s.head_dim}, qkv.options());
  at::Tensor log_sums = at::empty({batch, s.heads, tokens}, qkv.options());
  const float* from = qkv.const_data_ptr<float>();
  float *to = out.data_ptr<float>(), *sums = log_sums.data_ptr<float>();
  at::parallel_for(0, batch * s.kv_heads, HeadGrain(s, tokens), [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(cpu::ForwardScratch(tokens, s.head_dim));
    for (int64_t task = begin; task < end; ++task) {
      cpu::Best().causal_attention(HeadOf(task, s, tokens, from, to, sums, scratch.data()));
    }
  });
  return {out, log_sums};
}

void RotateOnCpu(at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
                 const AttentionShape& s, int64_t period, float direction) {
  const int64_t stride = qkv.size(1), half = s.head_dim / 2, heads = s.heads + s.kv_heads;
  float* data = qkv.data_ptr<float>();
  const float *c = cos.const_data_ptr<float>(), *n = sin.const_data_ptr<float>();
  ForRows(qkv.size(0), heads * half, [&](int64_t first, int64_t count) {
    cpu::Best().rotate(data + first * stride, stride, first, count, period, c, n, heads, half,
                       direction);
  });
}

class AttentionFunction : public Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv, const at::Tensor& cos,
                            const at::Tensor& sin, int64_t heads, int64_t kv_heads,
                            int64_t head_dim, int64_t batch) {
    const AttentionShape shape{heads, kv_heads, head_dim};
    at::Tensor rotated = qkv.contiguous().detach();
    RotateOnCpu(rotated, cos, sin, shape, rotated.size(0) / batch, 1.0f);
    auto [out, log_sums] = AttendOnCpu(rotated, shape, batch);
    ctx->save_for_backward({rotated, out, log_sums, cos, sin});
    ctx->saved_data["heads"] = heads;
    ctx->saved_data["kv_heads"] = kv_heads;
    ctx->saved_data["head_dim"] = head_dim;
    ctx->saved_data["batch"] = batch;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &rotated = saved[0], &out = saved[1], &log_sums = saved[2];
    const AttentionShape shape{ctx->saved_data["heads"].toInt(),
                               ctx->saved_data["kv_heads"].toInt(),
                               ctx->saved_data["head_dim"].toInt()};
    const int64_t batch = ctx->saved_data["batch"].toInt(), tokens = rotated.size(0) / batch;
    const at::Tensor grad = grads[0].contiguous();
    at::Tensor grad_qkv = at::empty_like(rotated);
    // The kernels only read these in the backward pass; HeadGroup serves both passes.
    float* const out_data = const_cast<float*>(out.const_data_ptr<float>());
    float* const sums = const_cast<float*>(log_sums.const_data_ptr<float>());
    const float *from = rotated.const_data_ptr<float>(), *g = grad.const_data_ptr<float>();
    float* to = grad_qkv.data_ptr<float>();
    at::parallel_for(
        0, batch * shape.kv_heads, HeadGrain(shape, tokens), [&](int64_t begin, int64_t end) {
          std::vector<float> scratch(cpu::BackwardScratch(tokens, shape.head_dim));
          for (int64_t task = begin; task < end; ++task) {
            const cpu::HeadGroup head =
                HeadOf(task, shape, tokens, from, out_data, sums, scratch.data());
            cpu::Best().causal_attention_backward(head, {.grad_out = g + (head.out - out_data),
                                                         .grad_query = to + (head.query - from),
                                                         .grad_key = to + (head.key - from),
                                                         .grad_value = to + (head.value - from)});
          }
        });
    RotateOnCpu(grad_qkv, saved[3], saved[4], shape, tokens, -1.0f);
    const at::Tensor none;
    return {grad_qkv, none, none, none, none, none, none};
  }
};

// The same for any device and type. x (N,heads,h), cos and sin (N,1,h/2)
at::Tensor Rotated(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = x.size(-1) / 2;
  const at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  return at::cat({a * cos - b * sin, b * cos + a * sin}, -1).to(x.scalar_type());
}
at::Tensor Repeated(const at::Tensor& table, int64_t period, int64_t rows) {
  return table.narrow(0, 0, period).repeat({rows / period, 1}).unsqueeze(1);
}
// qkv (B*T,(H+2K)h) -> (N,H+K,h) queries and keys
at::Tensor QueriesAndKeys(const at::Tensor& qkv, const AttentionShape& s) {
  return qkv.view({qkv.size(0), s.heads + 2 * s.kv_heads, s.head_dim})
      .narrow(1, 0, s.heads + s.kv_heads);
}
at::Tensor Values(const at::Tensor& qkv, const AttentionShape& s) {
  return qkv.view({qkv.size(0), s.heads + 2 * s.kv_heads, s.head_dim})
      .narrow(1, s.heads + s.kv_heads, s.kv_heads);
}
at::Tensor Attend(const at::Tensor& queries_keys, const at::Tensor& values, const AttentionShape& s,
                  int64_t batch) {
  const int64_t rows = queries_keys.size(0), tokens = rows / batch;
  const auto heads_first = [&](const at::Tensor& x) {  // (N,heads,h) -> (B,heads,T,h)
    return x.reshape({batch, tokens, x.size(1), s.head_dim}).transpose(1, 2);
  };
  const at::Tensor out = at::scaled_dot_product_attention(
      heads_first(queries_keys.narrow(1, 0, s.heads)),
      heads_first(queries_keys.narrow(1, s.heads, s.kv_heads)), heads_first(values), {}, 0.0,
      /*is_causal=*/true, std::nullopt, /*enable_gqa=*/s.heads != s.kv_heads);
  return out.transpose(1, 2).reshape({rows, s.heads * s.head_dim});
}

}  // namespace

at::Tensor RotateAndAttend(at::Tensor qkv, const at::Tensor& cos, const at::Tensor& sin,
                           const AttentionShape& shape, int64_t batch) {
  if (RunsOurLoops(qkv)) {
    return AttentionFunction::apply(qkv, cos, sin, shape.heads, shape.kv_heads, shape.head_dim,
                                    batch);
  }
  const int64_t rows = qkv.size(0), tokens = rows / batch;
  const at::Tensor turned =
      Rotated(QueriesAndKeys(qkv, shape), Repeated(cos, tokens, rows), Repeated(sin, tokens, rows));
  return Attend(turned, Values(qkv, shape), shape, batch);
}

void Rotate(at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
            const AttentionShape& shape, int64_t period) {
  if (RunsOurLoops(qkv)) return RotateOnCpu(qkv, cos, sin, shape, period, 1.0f);
  at::Tensor turning = QueriesAndKeys(qkv, shape);
  const int64_t rows = qkv.size(0);
  turning.copy_(Rotated(turning, Repeated(cos, period, rows), Repeated(sin, period, rows)));
}

at::Tensor AttendCausal(const at::Tensor& rotated_qkv, const AttentionShape& shape, int64_t batch) {
  if (RunsOurLoops(rotated_qkv)) return AttendOnCpu(rotated_qkv, shape, batch).first;
  return Attend(QueriesAndKeys(rotated_qkv, shape), Values(rotated_qkv, shape), shape, batch);
}

}  // namespace lethe
