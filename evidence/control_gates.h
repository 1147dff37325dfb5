// Whether control can be compared with the forgotten text at all: there is enough of it, it is of
// the same kind and of about the same length. What differs before the model is asked could decide a
// comparison by itself.
//
//   const ControlGates control(measurements, policy, /*chance=*/0.001);
//   if (control.comparable()) ...   // else no comparison is judged
//
// chance     that noise alone makes the kinds differ, where that is more than the policy's margin;
//            1: noise is not asked about.
// Kind       only where the verifier measured a reference; length only where it says what it chose
//            control from: others did not choose it by length.
// Threads    const: any. Both arguments must outlive it. Errors: none.
#ifndef LETHE_EVIDENCE_CONTROL_GATES_H_
#define LETHE_EVIDENCE_CONTROL_GATES_H_

#include <vector>

#include "lethe/v1/policy.pb.h"
#include "lethe/v1/report.pb.h"

namespace lethe::evidence {

class ControlGates {
 public:
  ControlGates(const v1::Measurements& m, const v1::VerdictPolicy& policy, double chance);

  bool enough() const { return enough_; }          // to say what unseen text looks like
  bool comparable() const { return comparable_; }  // and alike

  v1::Gate Enough() const;
  // Those that there is anything to say of; none where there is not enough.
  std::vector<v1::Gate> Alike() const;

 private:
  v1::Gate Kind() const;
  v1::Gate Length() const;

  const v1::Measurements& m_;
  const v1::VerdictPolicy& p_;
  const double chance_;
  const bool enough_;
  bool comparable_ = false;
};

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_CONTROL_GATES_H_
