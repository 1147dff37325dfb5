// The table of methods: one row for each name of the catalogue. A method changes a model's weights
// in place.
//
// Adding one: a row in catalog.h, a loss (a pure function in a header of its own), its hooks for
// the loop, a row in method_table.cc. A test holds table and catalogue equal.
#ifndef LETHE_ENGINE_UNLEARN_METHOD_TABLE_H_
#define LETHE_ENGINE_UNLEARN_METHOD_TABLE_H_

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/catalog.h"
#include "engine/ensemble/teacher_set.h"
#include "engine/model/decoder.h"
#include "engine/prepare.h"
#include "engine/progress.h"
#include "engine/unlearn.h"
#include "text/sequence.h"

namespace lethe {

struct MethodInput {
  const Decoder& model;     // the base on entry, the candidate on return; scores in fp32
  const Decoder& training;  // the same weights, as steps compute
  std::span<const Sequence> forget;
  std::span<const Sequence> retain;
  std::span<const Sequence> watch;
  const ModelThresholds& thresholds;
  const ParameterValues& parameters;  // all of the method's
  uint64_t seed = 0;
  ProgressCallback progress;
  Ranks* ranks = nullptr;                // who shares the work; null: nobody
  const TeacherSet* teachers = nullptr;  // of methods that need them
};

struct MethodOutcome {
  std::string stop_reason;
  int64_t steps = 0;
  int64_t micro_batch_tokens = 0;  // of the last step; less than asked for where memory was short
  std::vector<StepRecord> records;
  std::map<std::string, double> figures;  // what the method measured of its own work
};

using MethodFunction = absl::StatusOr<MethodOutcome> (*)(const MethodInput&);

// The function behind a name; null where there is none.
MethodFunction FindMethodFunction(std::string_view name);

// One file each.
absl::StatusOr<MethodOutcome> GradientAscent(const MethodInput& input);
absl::StatusOr<MethodOutcome> LeaveOneOut(const MethodInput& input);

}  // namespace lethe

#endif  // LETHE_ENGINE_UNLEARN_METHOD_TABLE_H_
