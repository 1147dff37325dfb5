#include "engine/model/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/mm.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <string_view>

#include "engine/model/cpu_kernels.h"
#include "engine/model/row_tasks.h"

namespace lethe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

// A product of few rows is read from memory, not computed: oneDNN would only prepare at length.
constexpr int64_t kLeastRows = 32;

// LibTorch's door to oneDNN for fp32: x w^T + b with something behind it, here nothing.
using OneDnnLinear = at::Tensor(const at::Tensor& x, const at::Tensor& weight,
                                const std::optional<at::Tensor>& bias, c10::string_view behind,
                                c10::List<std::optional<at::Scalar>> scalars,
                                std::optional<c10::string_view> algorithm);
const std::optional<c10::TypedOperatorHandle<OneDnnLinear>>& OneDnn() {
  static const auto handle = []() -> std::optional<c10::TypedOperatorHandle<OneDnnLinear>> {
    const bool wide = std::string_view(cpu::Best().name) == "avx512";
    const auto found = c10::Dispatcher::singleton().findSchema({"mkldnn::_linear_pointwise", ""});
    if (!wide || !found.has_value()) return std::nullopt;
    return found->typed<OneDnnLinear>();
  }();
  return handle;
}

bool GoesThroughOneDnn(const at::Tensor& a, const at::Tensor& b) {
  return a.is_cpu() && a.scalar_type() == at::kFloat && a.size(0) >= kLeastRows &&
         b.size(0) >= kLeastRows && a.size(1) > 0 && OneDnn().has_value();
}

// Up to how many rows our own loop is the faster one.
constexpr int64_t kFewRows = 16;

bool AreFewRows(const at::Tensor& x, const at::Tensor& used) {
  const auto fits = [](const at::Tensor& t) {
    return t.is_cpu() && t.scalar_type() == at::kFloat && t.is_contiguous();
  };
  return !at::GradMode::is_enabled() && x.size(0) > 0 && x.size(0) <= kFewRows && fits(x) &&
         fits(used);
}

// Each weight is read once: x (N,I), weight (O,I), bias (O) or undefined -> (N,O)
at::Tensor MultiplyFewRows(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias) {
  const int64_t rows = x.size(0), inputs = weight.size(1), outputs = weight.size(0);
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

class LinearFunction : public Function<LinearFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& weight,
                            const std::optional<at::Tensor>& bias,
                            const std::optional<at::Tensor>& rounded) {
    const at::Tensor& used = rounded.has_value() ? *rounded : weight;
    at::Tensor y = ProductWithTransposed(x, used);
    if (bias.has_value()) y.add_(*bias);
    ctx->saved_data["bias"] = bias.has_value();
    ctx->save_for_backward({x, used});
    ctx->saved_data["type"] = weight.scalar_type();
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const variable_list saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &used = saved[1], grad = grads[0].contiguous();
    const at::ScalarType type = ctx->saved_data["type"].toScalarType();
    at::Tensor grad_x, grad_weight, grad_bias;
    if (ctx->needs_input_grad(0)) grad_x = ProductWithTransposed(grad, used.t());
    if (ctx->needs_input_grad(1)) grad_weight = ProductWithTransposed(grad.t(), x.t()).to(type);
    const bool with_bias = ctx->saved_data["bias"].toBool();
    if (with_bias && ctx->needs_input_grad(2)) grad_bias = grad.sum(0, /*keepdim=*/false, type);
    return {grad_x, grad_weight, grad_bias, at::Tensor()};
  }
};

}  // namespace

at::Tensor ProductWithTransposed(const at::Tensor& a, const at::Tensor& b) {
  if (!GoesThroughOneDnn(a, b)) return at::mm(a, b.t());
  return OneDnn()->call(a, b, std::nullopt, "none", c10::List<std::optional<at::Scalar>>(), "");
}

at::Tensor Linear(const at::Tensor& x, const at::Tensor& weight, const at::Tensor& bias,
                  const at::Tensor& rounded) {
  const at::Tensor& used = rounded.defined() ? rounded : weight;
  if (AreFewRows(x, used)) return MultiplyFewRows(x, used, bias);
  const auto maybe = [](const at::Tensor& t) {
    return t.defined() ? std::optional<at::Tensor>(t) : std::nullopt;
  };
  return LinearFunction::apply(x, weight, maybe(bias), maybe(rounded));
}

}  // namespace lethe
