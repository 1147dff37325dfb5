#include "engine/model/fused_ops.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rms_norm.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/custom_function.h>

#include "engine/model/cpu_kernels.h"
#include "engine/model/row_tasks.h"

namespace lethe {
namespace {

// Up to how many rows our own loop is the faster one.
constexpr int64_t kFewRows = 16;

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

class RmsNormFunction : public Function<RmsNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            double eps) {
    const at::Tensor x = input.contiguous();
    const int64_t rows = x.size(0), width = x.size(1);
    at::Tensor y = at::empty_like(x), inverse_rms = at::empty({rows}, x.options());
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    float *to = y.data_ptr<float>(), *inverse = inverse_rms.data_ptr<float>();
    ForRows(rows, width, [&](int64_t first, int64_t count) {
      cpu::Best().rms_norm(from + first * width, w, static_cast<float>(eps), to + first * width,
                           inverse + first, count, width);
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
    const float *g = grad.const_data_ptr<float>(), *from = x.const_data_ptr<float>();
    const float *w = weight.const_data_ptr<float>(), *inverse = inverse_rms.const_data_ptr<float>();
    float *to = grad_x.data_ptr<float>(), *sums = partial.data_ptr<float>();
    ForRows(rows, width, [&](int64_t first, int64_t count) {
      cpu::Best().rms_norm_backward(g + first * width, from + first * width, w, inverse + first,
                                    to + first * width, sums + first / kRowsPerTask * width, count,
                                    width);
    });
    return {grad_x, partial.sum(0), at::Tensor()};
  }
};

class LayerNormFunction : public Function<LayerNormFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input, const at::Tensor& weight,
                            const at::Tensor& bias, double eps) {
    const at::Tensor x = input.contiguous();
    const int64_t rows = x.size(0), width = x.size(1);
    at::Tensor y = at::empty_like(x), moments = at::empty({2, rows}, x.options());
    const float *from = x.const_data_ptr<float>(), *w = weight.const_data_ptr<float>();
    const float* b = bias.const_data_ptr<float>();
    float *to = y.data_ptr<float>(), *mean = moments.data_ptr<float>(), *inverse = mean + rows;
    ForRows(rows, 2 * width, [&](int64_t first, int64_t count) {
      cpu::Best().layer_norm(from + first * width, w, b, static_cast<float>(eps),
                             to + first * width, mean + first, inverse + first, count, width);
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
    const float *g = grad.const_data_ptr<float>(), *from = x.const_data_ptr<float>();
    const float *w = weight.const_data_ptr<float>(), *mean = saved[2].const_data_ptr<float>();
    float *to = grad_x.data_ptr<float>(), *sums = partial.data_ptr<float>();
    ForRows(rows, 2 * width, [&](int64_t first, int64_t count) {
      float* const sum = sums + first / kRowsPerTask * 2 * width;
      cpu::Best().layer_norm_backward(g + first * width, from + first * width, w, mean + first,
                                      mean + rows + first, to + first * width, sum, sum + width,
                                      count, width);
    });
    const at::Tensor total = partial.sum(0);
    return {grad_x, total[0], total[1], at::Tensor()};
  }
};

class GeluTanhFunction : public Function<GeluTanhFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& input) {
    const at::Tensor x = input.contiguous();
    at::Tensor y = at::empty_like(x);
    const int64_t width = x.size(1);
    const float* from = x.const_data_ptr<float>();
    float* to = y.data_ptr<float>();
    ForRows(x.size(0), 4 * width, [&](int64_t first, int64_t count) {
      cpu::Best().gelu_tanh(from + first * width, to + first * width, count * width);
    });
    ctx->save_for_backward({x});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const at::Tensor x = ctx->get_saved_variables()[0], grad = grads[0].contiguous();
    at::Tensor grad_x = at::empty_like(x);
    const int64_t width = x.size(1);
    const float *g = grad.const_data_ptr<float>(), *from = x.const_data_ptr<float>();
    float* to = grad_x.data_ptr<float>();
    ForRows(x.size(0), 4 * width, [&](int64_t first, int64_t count) {
      cpu::Best().gelu_tanh_backward(g + first * width, from + first * width, to + first * width,
                                     count * width);
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
    const float* from = gate_up.const_data_ptr<float>();
    float* to = y.data_ptr<float>();
    ForRows(rows, 4 * width, [&](int64_t first, int64_t count) {
      cpu::Best().swi_glu(from + first * 2 * width, to + first * width, count, width);
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
    const float *g = grad.const_data_ptr<float>(), *from = gate_up.const_data_ptr<float>();
    float* to = grad_gate_up.data_ptr<float>();
    ForRows(rows, 4 * width, [&](int64_t first, int64_t count) {
      cpu::Best().swi_glu_backward(g + first * width, from + first * 2 * width,
                                   to + first * 2 * width, count, width);
    });
    return {grad_gate_up};
  }
};

}  // namespace

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t rows = x.size(0), inputs = weight.size(1), outputs = weight.size(0);
  if (rows == 0 || rows > kFewRows || at::GradMode::is_enabled() || !RunsOurLoops(x) ||
      !RunsOurLoops(weight) || !x.is_contiguous() || !weight.is_contiguous()) {
    return at::linear(x, weight, bias);
  }
  at::Tensor y = at::empty({rows, outputs}, x.options());
  const cpu::FewRows product{.x = x.const_data_ptr<float>(),
                             .weight = weight.const_data_ptr<float>(),
                             .bias = bias.defined() ? bias.const_data_ptr<float>() : nullptr,
                             .y = y.data_ptr<float>(),
                             .rows = rows,
                             .inputs = inputs,
                             .outputs = outputs};
  at::parallel_for(0, outputs, Grain(rows * inputs / 8), [&](int64_t begin, int64_t end) {
    cpu::Best().multiply_few_rows(product, begin, end - begin);
  });
  return y;
}

at::Tensor RmsNorm(const at::Tensor& x, const at::Tensor& weight, double eps) {
  if (RunsOurLoops(x)) return RmsNormFunction::apply(x, weight, eps);
  return at::rms_norm(x, {x.size(-1)}, weight, eps);
}

at::Tensor LayerNorm(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                     double eps) {
  const int64_t width = x.size(-1);
  if (!RunsOurLoops(x)) return at::layer_norm(x, {width}, weight, bias, eps);
  return LayerNormFunction::apply(x, weight.defined() ? weight : at::ones({width}, x.options()),
                                  bias.defined() ? bias : at::zeros({width}, x.options()), eps);
}

at::Tensor GeluTanh(const at::Tensor& x) {
  return RunsOurLoops(x) ? GeluTanhFunction::apply(x) : at::gelu(x, "tanh");
}

at::Tensor SwiGlu(const at::Tensor& gate_up) {
  if (RunsOurLoops(gate_up)) return SwiGluFunction::apply(gate_up);
  const int64_t width = gate_up.size(1) / 2;
  return at::silu(gate_up.narrow(1, 0, width)) * gate_up.narrow(1, width, width);
}

}  // namespace lethe
