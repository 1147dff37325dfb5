#include "engine/attack/sampling_scheme.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/topk.h>
#include <ATen/ops/where.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace lethe {
namespace {

constexpr double kNever = -std::numeric_limits<double>::infinity();
constexpr int64_t kNucleus = 1024;  // tokens that top-p mostly makes do with

// q (N,V) -> (N) double: the mass of the fewest tokens that reach p. What is likelier than a kept
// token is kept, so values suffice: of equals it does not matter which one is counted.
at::Tensor NucleusMass(const at::Tensor& q, double p) {
  const auto mass_of = [&](const at::Tensor& falling) {
    return (falling * ((falling.cumsum(1) - falling) < p)).sum(1);
  };
  const int64_t width = std::min(kNucleus, q.size(1));
  const at::Tensor head = std::get<0>(q.topk(width, 1)).to(at::kDouble);  // (N,width), falling
  at::Tensor mass = mass_of(head);
  if (width == q.size(1)) return mass;
  // A flat row goes on beyond the head: sort all of it.
  const at::Tensor flat = head.sum(1).lt(p).nonzero().view({-1});
  if (flat.numel() == 0) return mass;
  const at::Tensor all = std::get<0>(at::sort(q.index_select(0, flat), 1, true)).to(at::kDouble);
  return mass.index_copy(0, flat, mass_of(all));
}

}  // namespace

at::Tensor SchemeLogProbs(const at::Tensor& logits, const at::Tensor& targets,
                          const SamplingScheme& scheme) {
  at::Tensor scaled = logits.to(at::kFloat) / scheme.temperature;  // (N,V)
  if (scheme.top_k > 0 && scheme.top_k < scaled.size(1)) {
    const at::Tensor kept = std::get<0>(scaled.topk(scheme.top_k, 1));
    scaled = scaled.masked_fill(scaled < kept.select(1, scheme.top_k - 1).unsqueeze(1), kNever);
  }
  const at::Tensor target = targets.unsqueeze(1);        // (N,1)
  const at::Tensor log_q = at::log_softmax(scaled, 1);   // (N,V)
  const at::Tensor of_target = log_q.gather(1, target);  // (N,1)
  if (scheme.top_p >= 1) return of_target.squeeze(1);
  // A token is kept when what comes before it does not reach p yet.
  const at::Tensor q = log_q.exp();
  const at::Tensor ids = at::arange(q.size(1), targets.options()).unsqueeze(0);
  const at::Tensor before =
      log_q.gt(of_target).logical_or(log_q.eq(of_target).logical_and(ids < target));
  const at::Tensor mass_before = at::where(before, q, 0.0).to(at::kDouble).sum(1);  // (N)
  const at::Tensor log_mass = NucleusMass(q, scheme.top_p).log().to(at::kFloat);
  return (of_target.squeeze(1) - log_mass).masked_fill(mass_before >= scheme.top_p, kNever);
}

double QueriesNeeded(double log_p_z, double p) {
  if (!(log_p_z > kNever)) return 0;
  if (log_p_z >= 0) return 1;
  const double misses = std::log1p(-std::exp(log_p_z));  // log(1 - p_z); 0 when p_z underflows
  const double draws = std::log1p(-p) / misses;
  return draws < 1e15 ? std::max(1.0, std::ceil(draws)) : 0;
}

double ChanceInDraws(double log_p_z, double draws) {
  if (!(log_p_z > kNever)) return 0;
  if (log_p_z >= 0) return 1;
  return -std::expm1(draws * std::log1p(-std::exp(log_p_z)));
}

}  // namespace lethe
