// ValidateMeasurements: the figures fit together and are figures. What passes here never makes the
// verdict stumble.
#include <cmath>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "engine/condition.h"
#include "evidence/verdict.h"

namespace lethe {
namespace {

using Doubles = google::protobuf::RepeatedField<double>;

constexpr double kLargest = 1e9;     // no honest score is larger, and sums of these stay finite
constexpr double kLeastNll = -1e-3;  // rounding may put a certain token a hair below 0
constexpr size_t kMostFaults = 20;   // named in one message

// Letters, digits and a few marks: a name cannot carry text.
bool IsName(std::string_view name) {
  if (name.empty() || name.size() > 64) return false;
  for (char c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      c == '_' || c == '-' || c == '+' || c == '.';
    if (!good) return false;
  }
  return true;
}

bool IsConditionName(const std::string& name) { return ParseCondition(name).ok(); }

class Faults {
 public:
  void Add(std::string fault) {
    if (faults_.size() < kMostFaults) faults_.push_back(std::move(fault));
  }

  void Figures(const std::string& what, const Doubles& values, int want, double low, double high) {
    if (values.size() != want) {
      return Add(absl::StrCat(what, " has ", values.size(), " figures, want ", want));
    }
    for (int i = 0; i < values.size(); ++i) {
      if (values[i] >= low && values[i] <= high) continue;  // NaN fails both
      return Add(absl::StrCat(what, "[", i, "] is ", values[i], ", want ", low, " to ", high));
    }
  }

  void Pair(const std::string& what, const v1::BeforeAfter& pair, int want, double low,
            double high) {
    Figures(what + ".before", pair.before(), want, low, high);
    Figures(what + ".after", pair.after(), want, low, high);
  }

  absl::Status Result() const {
    if (faults_.empty()) return absl::OkStatus();
    return Error(
        absl::StatusCode::kInvalidArgument, "REPORT_MALFORMED",
        absl::StrCat("no verdict follows from these measurements: ", absl::StrJoin(faults_, "; ")),
        {{"faults", absl::StrCat(faults_.size())}});
  }

 private:
  std::vector<std::string> faults_;
};

void CheckSequences(const v1::Measurements& m, Faults& faults) {
  if (m.forgotten().empty()) faults.Add("no forgotten sequence");
  std::set<std::pair<std::string, int>> seen;
  for (int i = 0; i < m.forgotten_size(); ++i) {
    const v1::ForgottenSequence& f = m.forgotten(i);
    const std::string at = absl::StrCat("forgotten[", i, "]");
    if (!IsName(f.ticket_id())) faults.Add(at + ".ticket_id is not an id");
    if (!seen.insert({f.ticket_id(), f.index()}).second) faults.Add(at + " stands there twice");
    if (f.index() < 0) faults.Add(at + ".index is negative");
    if (f.tokens() < 1) faults.Add(at + ".tokens must be at least 1");
    if (f.sensitive_tokens() < 0 || f.sensitive_tokens() > f.tokens()) {
      faults.Add(at + ".sensitive_tokens must be from 0 to tokens");
    }
  }
  for (int i = 0; i < m.control_tokens_size(); ++i) {
    if (m.control_tokens(i) < 1) {
      faults.Add(absl::StrCat("control_tokens[", i, "] must be at least 1"));
    }
  }
}

// How many control sequences a result is about.
int CheckControlOf(const v1::Measurements& m, const v1::AttackResult& a, const std::string& at,
                   Faults& faults) {
  if (a.control_indexes().empty()) return m.control_tokens_size();
  if (!a.report_only())
    faults.Add(at + ".control_indexes: a judged attack is about all of control");
  int last = -1;
  for (const int index : a.control_indexes()) {
    if (index <= last || index >= m.control_tokens_size()) {
      faults.Add(at + ".control_indexes must ascend and lie below the number of control sequences");
      break;
    }
    last = index;
  }
  return a.control_indexes_size();
}

void CheckAttacks(const v1::Measurements& m, Faults& faults) {
  const int n = m.forgotten_size();
  if (m.attacks().empty()) faults.Add("no attack ran");
  for (int i = 0; i < m.attacks_size(); ++i) {
    const v1::AttackResult& a = m.attacks(i);
    const std::string at = absl::StrCat("attacks[", i, "]");
    if (!IsName(a.attack())) faults.Add(at + ".attack is not a name");
    if (!IsConditionName(a.condition())) faults.Add(at + ".condition is not a name");
    for (const auto& [name, value] : a.parameters()) {
      if (!IsName(name) || !std::isfinite(value)) {
        faults.Add(at + ".parameters has a key that is no name or a value that is not finite");
      }
    }
    double low = 0;
    double high = 1;
    switch (a.family()) {
      case v1::ATTACK_FAMILY_EXTRACTION:
      case v1::ATTACK_FAMILY_MEMORISATION:
        break;
      case v1::ATTACK_FAMILY_MEMBERSHIP:
      case v1::ATTACK_FAMILY_DIAGNOSTIC:
        low = -kLargest;
        high = kLargest;
        break;
      default:
        faults.Add(at + ".family is not one that this version knows");
    }
    const int c = CheckControlOf(m, a, at, faults);
    faults.Pair(at + ".forgotten", a.forgotten(), n, low, high);
    faults.Pair(at + ".control", a.control(), c, low, high);
    for (const v1::AttackDetail& detail : a.details()) {
      const std::string figure = absl::StrCat(at, ".details[", detail.name(), "]");
      if (!IsName(detail.name())) faults.Add(at + ".details has a name that is none");
      faults.Pair(figure + ".forgotten", detail.forgotten(), n, -1e300, 1e300);
      faults.Pair(figure + ".control", detail.control(), c, -1e300, 1e300);
    }
    if (a.forward_tokens() < 0 || a.expected_forward_tokens() < 0 ||
        !(a.seconds() >= 0 && a.seconds() <= kLargest)) {
      faults.Add(at + ": its cost must be finite and not negative");
    }
  }
}

void CheckRest(const v1::Measurements& m, Faults& faults) {
  for (const v1::LeftOut& left : m.left_out()) {
    if (!IsName(left.attack()) || !IsConditionName(left.condition())) {
      faults.Add("left_out names an attack or a condition by what is no name");
    }
    if (left.reason().empty() || left.reason().size() > 300) {
      faults.Add("left_out gives no reason, or one of more than 300 bytes");
    }
    if (left.expected_forward_tokens() < 0) faults.Add("left_out has a negative cost");
  }
  for (const v1::CodeChange& change : m.code_changes()) {
    if (!IsName(change.condition()) || !(change.share() >= 0 && change.share() <= 1)) {
      faults.Add("code_changes has a name that is none or a share that is not from 0 to 1");
    }
  }
  if (m.forward_tokens() < 0 || !(m.relearning_rate() >= 0 && m.relearning_rate() <= 1)) {
    faults.Add("forward_tokens or relearning_rate is out of range");
  }
  if (m.holdout_sequences() < 0 ||
      (m.holdout_sequences() > 0 && m.holdout_sequences() < m.control_tokens_size())) {
    faults.Add("holdout_sequences is fewer than the control that was chosen from them");
  }
  const auto list = [&](const char* what, const auto& values, int count) {
    if (values.empty()) return;
    if (values.size() != count) faults.Add(absl::StrCat(what, " does not fit its sequences"));
    for (const double nll : values) {
      if (!(nll >= kLeastNll && nll <= kLargest)) {
        faults.Add(absl::StrCat(what, " has a likelihood that is none"));
        return;
      }
    }
  };
  list("forgotten_reference_nll", m.forgotten_reference_nll(), m.forgotten_size());
  list("control_reference_nll", m.control_reference_nll(), m.control_tokens_size());
  if (m.forgotten_reference_nll().empty() != m.control_reference_nll().empty() &&
      !m.control_tokens().empty()) {
    faults.Add("the reference's likelihoods stand for one side only");
  }
}

void CheckUtility(const v1::Measurements& m, Faults& faults) {
  std::set<std::string> names;
  for (int i = 0; i < m.utility_size(); ++i) {
    const v1::TextUtility& u = m.utility(i);
    const std::string at = absl::StrCat("utility[", i, "]");
    if (!IsName(u.name())) faults.Add(at + ".name is not a name");
    if (!names.insert(u.name()).second) faults.Add(at + ".name stands there twice");
    if (u.role() != v1::TEXT_ROLE_RETAIN && u.role() != v1::TEXT_ROLE_CONTROL &&
        u.role() != v1::TEXT_ROLE_OTHER) {
      faults.Add(at + ".role is not one that this version knows");
    }
    if (u.sequences() < 1 || u.tokens() < 1) faults.Add(at + " measured nothing");
    for (double nll : {u.nll_before(), u.nll_after()}) {
      if (!(nll >= kLeastNll && nll <= kLargest)) faults.Add(at + " has a likelihood that is none");
    }
  }
}

}  // namespace

absl::Status ValidateMeasurements(const v1::Measurements& m) {
  Faults faults;
  CheckSequences(m, faults);
  CheckAttacks(m, faults);
  CheckUtility(m, faults);
  CheckRest(m, faults);
  faults.Pair("forgotten_nll", m.forgotten_nll(), m.forgotten_size(), kLeastNll, kLargest);
  faults.Pair("control_nll", m.control_nll(), m.control_tokens_size(), kLeastNll, kLargest);
  return faults.Result();
}

}  // namespace lethe
