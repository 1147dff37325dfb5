// A gate with its result, which follows from its figure and its limit.
#ifndef LETHE_EVIDENCE_GATE_H_
#define LETHE_EVIDENCE_GATE_H_

#include <string>
#include <utility>

#include "evidence/comparison.h"
#include "lethe/v1/report.pb.h"

namespace lethe::evidence {

inline v1::Gate MakeGate(std::string name, double value, double limit, bool at_least,
                         v1::Outcome failure, std::string sentence) {
  v1::Gate gate;
  gate.set_name(std::move(name));
  gate.set_value(value);
  gate.set_limit(limit);
  gate.set_at_least(at_least);
  gate.set_failure(failure);
  gate.set_sentence(std::move(sentence));
  gate.set_result(Holds(value, limit, at_least) ? v1::GATE_RESULT_PASS : v1::GATE_RESULT_FAIL);
  return gate;
}

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_GATE_H_
