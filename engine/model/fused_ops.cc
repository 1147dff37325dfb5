#include "engine/model/fused_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "engine/model/cpu_kernels.h"
#include "engine/model/row_tasks.h"

namespace lethe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

class RmsNormFunction : public Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            double eps, at::ScalarType type) {
    const at::Tensor x = input.contiguous();
    const int64_t rows = x.size(0), width = x.size(1);
    at::Tensor y = at::empty_like(x, x.options().dtype(type));
    at::Tensor inverse_rms = at::empty({rows}, x.options());
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    float* inverse = inverse_rms.data_ptr<float>();
    WithType(type, [&](auto t) {
      auto* to = Data<decltype(t)>(y);
      ForRows(rows, width, [&](int64_t first, int64_t count) {
        cpu::Layer<decltype(t)>().rms_norm(from + first * width, w, static_cast<float>(eps),
                                           to + first * width, inverse + first, count, width);
      });
    });
    ctx->save_for_backward({x, weight, inverse_rms});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &inverse_rms = saved[2];
    const at::Tensor grad = grads[0].contiguous();
    const int64_t rows = x.size(0), width = x.size(1);
    const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
    at::Tensor grad_x = at::empty_like(x);
    at::Tensor partial = at::zeros({tasks, width}, x.options());  // one sum a task, added in order
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    const float* inverse = inverse_rms.const_data_ptr<float>();
    float *to = grad_x.data_ptr<float>(), *sums = partial.data_ptr<float>();
    WithType(grad.scalar_type(), [&](auto t) {
      const auto* g = Data<decltype(t)>(grad);
      ForRows(rows, width, [&](int64_t first, int64_t count) {
        cpu::Layer<decltype(t)>().rms_norm_backward(
            g + first * width, from + first * width, w, inverse + first, to + first * width,
            sums + first / kRowsPerTask * width, count, width);
      });
    });
    return {grad_x, partial.sum(0), at::Tensor(), at::Tensor()};
  }
};

class LayerNormFunction : public Function<LayerNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, double eps, at::ScalarType type) {
    const at::Tensor x = input.contiguous();
    const int64_t rows = x.size(0), width = x.size(1);
    at::Tensor y = at::empty_like(x, x.options().dtype(type));
    at::Tensor moments = at::empty({2, rows}, x.options());
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    const float* b = bias.const_data_ptr<float>();
    float *mean = moments.data_ptr<float>(), *inverse = mean + rows;
    WithType(type, [&](auto t) {
      auto* to = Data<decltype(t)>(y);
      ForRows(rows, 2 * width, [&](int64_t first, int64_t count) {
        cpu::Layer<decltype(t)>().layer_norm(from + first * width, w, b, static_cast<float>(eps),
                                             to + first * width, mean + first, inverse + first,
                                             count, width);
      });
    });
    ctx->save_for_backward({x, weight, moments});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1];
    const at::Tensor grad = grads[0].contiguous();
    const int64_t rows = x.size(0), width = x.size(1);
    const int64_t tasks = (rows + kRowsPerTask - 1) / kRowsPerTask;
    at::Tensor grad_x = at::empty_like(x);
    at::Tensor partial = at::zeros({tasks, 2, width}, x.options());  // a task's sums, in order
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    const float* mean = saved[2].const_data_ptr<float>();
    float *to = grad_x.data_ptr<float>(), *sums = partial.data_ptr<float>();
    WithType(grad.scalar_type(), [&](auto t) {
      const auto* g = Data<decltype(t)>(grad);
      ForRows(rows, 2 * width, [&](int64_t first, int64_t count) {
        float* const sum = sums + first / kRowsPerTask * 2 * width;
        cpu::Layer<decltype(t)>().layer_norm_backward(
            g + first * width, from + first * width, w, mean + first, mean + rows + first,
            to + first * width, sum, sum + width, count, width);
      });
    });
    const at::Tensor total = partial.sum(0);
    return {grad_x, total[0], total[1], at::Tensor(), at::Tensor()};
  }
};

// bf16 parts only.
class AddToFunction : public Function<AddToFunction> {
 public:
  static at::Tensor forward(AutogradContext*, const at::Tensor& input, const at::Tensor& added) {
    const at::Tensor x = input.contiguous(), part = added.contiguous();
    at::Tensor y = at::empty_like(x);
    const int64_t width = x.size(1);
    const float* from = x.const_data_ptr<float>();
    const auto* more = Data<cpu::Bf16>(part);
    float* to = y.data_ptr<float>();
    ForRows(x.size(0), width, [&](int64_t first, int64_t count) {
      cpu::Layer<cpu::Bf16>().add(from + first * width, more + first * width, to + first * width,
                                  count * width);
    });
    return y;
  }
  static variable_list backward(AutogradContext*, variable_list grads) {
    return {grads[0], grads[0].to(at::kBFloat16)};
  }
};

class GeluTanhFunction : public Function<GeluTanhFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input) {
    const at::Tensor x = input.contiguous();
    at::Tensor y = at::empty_like(x);
    const int64_t width = x.size(1);
    WithType(x.scalar_type(), [&](auto t) {
      const auto* from = Data<decltype(t)>(x);
      auto* to = Data<decltype(t)>(y);
      ForRows(x.size(0), 4 * width, [&](int64_t first, int64_t count) {
        cpu::Layer<decltype(t)>().gelu_tanh(from + first * width, to + first * width,
                                            count * width);
      });
    });
    ctx->save_for_backward({x});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor x = ctx->get_saved_variables()[0], grad = grads[0].contiguous();
    at::Tensor grad_x = at::empty_like(x);
    const int64_t width = x.size(1);
    WithType(x.scalar_type(), [&](auto t) {
      const auto *g = Data<decltype(t)>(grad), *from = Data<decltype(t)>(x);
      auto* to = Data<decltype(t)>(grad_x);
      ForRows(x.size(0), 4 * width, [&](int64_t first, int64_t count) {
        cpu::Layer<decltype(t)>().gelu_tanh_backward(g + first * width, from + first * width,
                                                     to + first * width, count * width);
      });
    });
    return {grad_x};
  }
};

class SwiGluFunction : public Function<SwiGluFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input) {
    const at::Tensor gate_up = input.contiguous();
    const int64_t rows = gate_up.size(0), width = gate_up.size(1) / 2;
    at::Tensor y = at::empty({rows, width}, gate_up.options());
    WithType(gate_up.scalar_type(), [&](auto t) {
      const auto* from = Data<decltype(t)>(gate_up);
      auto* to = Data<decltype(t)>(y);
      ForRows(rows, 4 * width, [&](int64_t first, int64_t count) {
        cpu::Layer<decltype(t)>().swi_glu(from + first * 2 * width, to + first * width, count,
                                          width);
      });
    });
    ctx->save_for_backward({gate_up});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor& gate_up = saved[0];
    const at::Tensor grad = grads[0].contiguous();
    const int64_t rows = gate_up.size(0), width = gate_up.size(1) / 2;
    at::Tensor grad_gate_up = at::empty_like(gate_up);
    WithType(gate_up.scalar_type(), [&](auto t) {
      const auto *g = Data<decltype(t)>(grad), *from = Data<decltype(t)>(gate_up);
      auto* to = Data<decltype(t)>(grad_gate_up);
      ForRows(rows, 4 * width, [&](int64_t first, int64_t count) {
        cpu::Layer<decltype(t)>().swi_glu_backward(g + first * width, from + first * 2 * width,
                                                   to + first * 2 * width, count, width);
      });
    });
    return {grad_gate_up};
  }
};

}  // namespace

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps,
                   std::optional<at::ScalarType> type) {
  const at::ScalarType made = type.value_or(x.scalar_type());
  if (RunsOurLoops(x)) return RmsNormFunction::apply(x, weight, eps, made);
  return at::rms_norm(x, {x.size(-1)}, weight, eps).to(made);
}

at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     double eps, std::optional<at::ScalarType> type) {
  const int64_t width = x.size(-1);
  const at::ScalarType made = type.value_or(x.scalar_type());
  if (!RunsOurLoops(x)) return at::layer_norm(x, {width}, weight, bias, eps).to(made);
  return LayerNormFunction::apply(x, weight.defined() ? weight : at::ones({width}, x.options()),
                                  bias.defined() ? bias : at::zeros({width}, x.options()), eps,
                                  made);
}

at::Tensor AddTo(const at::Tensor& x, at::Tensor part) {
  if (part.scalar_type() == x.scalar_type()) return part.add_(x);
  return RunsOurLoops(part) ? AddToFunction::apply(x, part) : x + part;
}

at::Tensor GeluTanh(const at::Tensor& x) {
  return RunsOurLoops(x) ? GeluTanhFunction::apply(x) : at::gelu(x, "tanh");
}

at::Tensor SwiGlu(const at::Tensor& gate_up) {
  if (RunsOurLoops(gate_up)) return SwiGluFunction::apply(gate_up);
  const std::vector<at::Tensor> halves = gate_up.split(gate_up.size(1) / 2, 1);
  return at::silu(halves[0]) * halves[1];
}

}  // namespace lethe
