#include "engine/model/recomputed.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/custom_class.h>

#include <utility>

namespace lethe {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

struct HeldPart : torch::CustomClassHolder {
  explicit HeldPart(Part part) : run(std::move(part)) {}
  Part run;
};

class RecomputedFunction : public Function<RecomputedFunction> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const Part& run) {
    ctx->save_for_backward({x});
    ctx->saved_data["part"] = c10::IValue::make_capsule(c10::make_intrusive<HeldPart>(run));
    return run(x);  // a function's forward pass records nothing
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    const auto held = ctx->saved_data["part"].toCapsule();
    at::AutoGradMode record(true);
    at::Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_(true);
    const at::Tensor y = static_cast<const HeldPart&>(*held).run(x);
    torch::autograd::backward({y}, {grads[0]});
    return {x.grad(), at::Tensor()};
  }
};

}  // namespace

at::Tensor Recomputed(const at::Tensor& x, Part run) {
  return RecomputedFunction::apply(x, std::move(run));
}

}  // namespace lethe
