#include "engine/model/attention.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <optional>
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
template <typename T>
cpu::HeadGroup<T> HeadOf(int64_t task, const AttentionShape& s, int64_t tokens, const T* qkv,
                         T* out, float* log_sums, float* scratch) {
  const int64_t b = task / s.kv_heads, k = task % s.kv_heads, group = s.heads / s.kv_heads;
  const int64_t stride = (s.heads + 2 * s.kv_heads) * s.head_dim;
  const T* row = qkv + b * tokens * stride;
  return {.tokens = tokens,
          .head_dim = s.head_dim,
          .group = group,
          .scale = static_cast<float>(s.Scale()),
          .window = s.window,
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
  at::Tensor log_sums = at::empty({batch, s.heads, tokens}, qkv.options().dtype(at::kFloat));
  float* sums = log_sums.data_ptr<float>();
  WithType(qkv.scalar_type(), [&](auto t) {
    const auto* from = Data<decltype(t)>(qkv);
    auto* to = Data<decltype(t)>(out);
    at::parallel_for(0, batch * s.kv_heads, HeadGrain(s, tokens), [&](int64_t begin, int64_t end) {
      std::vector<float> scratch(cpu::ForwardScratch(tokens, s.head_dim));
      for (int64_t task = begin; task < end; ++task) {
        cpu::Layer<decltype(t)>().causal_attention(
            HeadOf(task, s, tokens, from, to, sums, scratch.data()));
      }
    });
  });
  return {out, log_sums};
}

void RotateOnCpu(at::Tensor& qkv, const at::Tensor& cos, const at::Tensor& sin,
                 const AttentionShape& s, int64_t period, float direction) {
  const int64_t stride = qkv.size(1), half = cos.size(1), heads = s.heads + s.kv_heads;
  if (half == 0) return;
  const float *c = cos.const_data_ptr<float>(), *n = sin.const_data_ptr<float>();
  WithType(qkv.scalar_type(), [&](auto t) {
    auto* data = Data<decltype(t)>(qkv);
    ForRows(qkv.size(0), heads * half, [&](int64_t first, int64_t count) {
      cpu::Layer<decltype(t)>().rotate(data + first * stride, stride, first, count, period, c, n,
                                       heads, s.head_dim, half, direction);
    });
  });
}

void SaveShape(AutogradContext* ctx, const AttentionShape& s) {
  ctx->saved_data["shape"] = std::vector<int64_t>{s.heads, s.kv_heads, s.head_dim, s.window};
  ctx->saved_data["scale"] = s.scale;
}
AttentionShape SavedShape(AutogradContext* ctx) {
  const std::vector<int64_t> s = ctx->saved_data["shape"].toIntVector();
  return {.heads = s[0],
          .kv_heads = s[1],
          .head_dim = s[2],
          .scale = ctx->saved_data["scale"].toDouble(),
          .window = s[3]};
}

class AttentionFunction : public Function<AttentionFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& qkv, const at::Tensor& cos,
                            const at::Tensor& sin, const AttentionShape& shape, int64_t batch) {
    at::Tensor rotated = qkv.contiguous().detach();
    RotateOnCpu(rotated, cos, sin, shape, rotated.size(0) / batch, 1.0f);
    auto [out, log_sums] = AttendOnCpu(rotated, shape, batch);
    ctx->save_for_backward({rotated, out, log_sums, cos, sin});
    SaveShape(ctx, shape);
    ctx->saved_data["batch"] = batch;
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &rotated = saved[0], &out = saved[1], &log_sums = saved[2];
    const AttentionShape shape = SavedShape(ctx);
    const int64_t batch = ctx->saved_data["batch"].toInt(), tokens = rotated.size(0) / batch;
    const at::Tensor grad = grads[0].contiguous();
    at::Tensor grad_qkv = at::empty_like(rotated);
    // The kernels only read these in the backward pass; HeadGroup serves both passes.
    float* const sums = const_cast<float*>(log_sums.const_data_ptr<float>());
    WithType(rotated.scalar_type(), [&](auto t) {
      using T = decltype(t);
      T* const out_data = const_cast<T*>(Data<T>(out));
      const T *from = Data<T>(rotated), *g = Data<T>(grad);
      T* to = Data<T>(grad_qkv);
      at::parallel_for(0, batch * shape.kv_heads, HeadGrain(shape, tokens),
                       [&](int64_t begin, int64_t end) {
                         std::vector<float> scratch(cpu::BackwardScratch(tokens, shape.head_dim));
                         for (int64_t task = begin; task < end; ++task) {
                           const cpu::HeadGroup<T> head =
                               HeadOf(task, shape, tokens, from, out_data, sums, scratch.data());
                           cpu::Layer<T>().causal_attention_backward(
                               head, {.grad_out = g + (head.out - out_data),
                                      .grad_query = to + (head.query - from),
                                      .grad_key = to + (head.key - from),
                                      .grad_value = to + (head.value - from)});
                         }
                       });
    });
    RotateOnCpu(grad_qkv, saved[3], saved[4], shape, tokens, -1.0f);
    const at::Tensor none;
    return {grad_qkv, none, none, none, none};
  }
};

// Queries' heads, then keys' heads, a token at a time: (N,H*h) beside (N,K*h), values behind.
class NormHeadsFunction : public Function<NormHeadsFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& query,
                            const at::Tensor& key, double eps, const AttentionShape& shape) {
    const at::Tensor x = input.contiguous();
    const int64_t H = shape.heads, K = shape.kv_heads, h = shape.head_dim;
    const int64_t rows = x.size(0), stride = x.size(1);
    at::Tensor y = x.clone();
    at::Tensor inverse_rms = at::empty({rows, H + K}, x.options().dtype(at::kFloat));
    const float *q = query.const_data_ptr<float>(), *k = key.const_data_ptr<float>();
    float* inverse = inverse_rms.data_ptr<float>();
    WithType(x.scalar_type(), [&](auto t) {
      const auto* from = Data<decltype(t)>(x);
      auto* to = Data<decltype(t)>(y);
      ForRows(rows, (H + K) * h, [&](int64_t first, int64_t count) {
        for (int64_t n = first; n < first + count; ++n) {
          const int64_t at = n * stride;
          const auto run = [&](const float* weight, int64_t head, int64_t heads) {
            cpu::Layer<decltype(t)>().head_norm(from + at + head * h, weight,
                                                static_cast<float>(eps), to + at + head * h,
                                                inverse + n * (H + K) + head, heads, h);
          };
          run(q, 0, H);
          run(k, H, K);
        }
      });
    });
    ctx->save_for_backward({x, query, key, inverse_rms});
    SaveShape(ctx, shape);
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& x = saved[0];
    const AttentionShape shape = SavedShape(ctx);
    const int64_t H = shape.heads, K = shape.kv_heads, h = shape.head_dim;
    const int64_t rows = x.size(0), stride = x.size(1);
    const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
    const at::Tensor grad = grads[0].contiguous();
    at::Tensor grad_x = grad.clone();  // what flows into the values passes on
    at::Tensor partial =               // one sum a task, added in order
        at::zeros({tasks, 2, h}, x.options().dtype(at::kFloat));
    const float *q = saved[1].const_data_ptr<float>(), *k = saved[2].const_data_ptr<float>();
    const float* inverse = saved[3].const_data_ptr<float>();
    float* sums = partial.data_ptr<float>();
    WithType(x.scalar_type(), [&](auto t) {
      const auto *g = Data<decltype(t)>(grad), *from = Data<decltype(t)>(x);
      auto* to = Data<decltype(t)>(grad_x);
      ForRows(rows, (H + K) * h, [&](int64_t first, int64_t count) {
        float* const sum = sums + first / kRowsPerTask * 2 * h;
        for (int64_t n = first; n < first + count; ++n) {
          const int64_t at = n * stride;
          const auto run = [&](const float* weight, float* grad_weight, int64_t head,
                               int64_t heads) {
            cpu::Layer<decltype(t)>().head_norm_backward(g + at + head * h, from + at + head * h,
                                                         weight, inverse + n * (H + K) + head,
                                                         to + at + head * h, grad_weight, heads, h);
          };
          run(q, sum, 0, H);
          run(k, sum + h, H, K);
        }
      });
    });
    const at::Tensor weights = partial.sum(0), none;
    return {grad_x, weights[0], weights[1], none, none};
  }
};

// The same for any device and type. x (N,heads,h), cos and sin (N,1,r/2)
at::Tensor Rotated(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  const int64_t half = cos.size(-1);
  if (half == 0) return x;
  const at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
  const at::Tensor rest = x.narrow(-1, 2 * half, x.size(-1) - 2 * half);
  return at::cat({a * cos - b * sin, b * cos + a * sin, rest}, -1).to(x.scalar_type());
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
// (T,T) bool: what each token sees of those before it.
at::Tensor SeenInWindow(int64_t tokens, int64_t window, const at::Device& device) {
  const at::Tensor all = at::ones({tokens, tokens}, at::TensorOptions(at::kBool).device(device));
  return all.tril().triu(1 - window);
}
at::Tensor Attend(const at::Tensor& queries_keys, const at::Tensor& values, const AttentionShape& s,
                  int64_t batch) {
  const int64_t rows = queries_keys.size(0), tokens = rows / batch;
  const auto heads_first = [&](const at::Tensor& x) {  // (N,heads,h) -> (B,heads,T,h)
    return x.reshape({batch, tokens, x.size(1), s.head_dim}).transpose(1, 2);
  };
  const std::vector<at::Tensor> parts =
      queries_keys.split_with_sizes({s.heads, s.kv_heads}, 1);  // (N,H,h), (N,K,h)
  std::optional<at::Tensor> seen;
  if (s.window > 0 && s.window < tokens) seen = SeenInWindow(tokens, s.window, values.device());
  const at::Tensor out = at::scaled_dot_product_attention(
      heads_first(parts[0]), heads_first(parts[1]), heads_first(values), seen, 0.0,
      /*is_causal=*/!seen.has_value(), s.Scale(), /*enable_gqa=*/s.heads != s.kv_heads);
  return out.transpose(1, 2).reshape({rows, s.heads * s.head_dim});
}

}  // namespace

double AttentionShape::Scale() const {
  return scale > 0 ? scale : 1 / std::sqrt(static_cast<double>(head_dim));
}

at::Tensor RotateAndAttend(at::Tensor qkv, const at::Tensor& cos, const at::Tensor& sin,
                           const AttentionShape& shape, int64_t batch) {
  if (RunsOurLoops(qkv)) {
    return AttentionFunction::apply(qkv, cos, sin, shape, batch);
  }
  const int64_t rows = qkv.size(0), tokens = rows / batch;
  // In one operation, whose backward pass is one too.
  const std::vector<at::Tensor> parts =
      qkv.view({rows, shape.heads + 2 * shape.kv_heads, shape.head_dim})
          .split_with_sizes({shape.heads + shape.kv_heads, shape.kv_heads}, 1);
  const at::Tensor turned =
      Rotated(parts[0], Repeated(cos, tokens, rows), Repeated(sin, tokens, rows));
  return Attend(turned, parts[1], shape, batch);
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

at::Tensor NormHeads(const at::Tensor& qkv, const at::Tensor& query_weight,
                     const at::Tensor& key_weight, double eps, const AttentionShape& shape) {
  if (RunsOurLoops(qkv)) {
    return NormHeadsFunction::apply(qkv, query_weight, key_weight, eps, shape);
  }
  const at::Tensor queries_keys = QueriesAndKeys(qkv, shape);
  const auto normed = [&](const at::Tensor& weight, int64_t head, int64_t heads) {
    return at::rms_norm(queries_keys.narrow(1, head, heads), {shape.head_dim},
                        weight.to(qkv.scalar_type()), eps);
  };
  return at::cat({normed(query_weight, 0, shape.heads),
                  normed(key_weight, shape.heads, shape.kv_heads), Values(qkv, shape)},
                 1)
      .view(qkv.sizes());
}

}  // namespace lethe
