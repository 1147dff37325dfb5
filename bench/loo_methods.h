// The methods that bench_loo compares, and the curve of each: the model measured along its run.
//
//   for (const loo::MethodRow& row : loo::kMethods) {
//     LETHE_RETURN_IF_ERROR(loo::RunCurve(row, setting, options, [&](int64_t step, Figures f) {...}));
//   }
//
// "Secret": the method is told which tokens are the secret, as a ticket's sensitive spans; calibrated
// ascent always heeds them. The others know the record alone.
//
// A run goes through the engine's own method (engine/unlearn/method_table.h) and is looked at after
// chosen steps. The rule by which the engine would end it is not asked: the curve goes on until
// nothing comes out at three looks in a row, or max_steps; a run that the engine refuses as diverged
// ends there.
// Errors     as the methods.
#ifndef LETHE_BENCH_LOO_METHODS_H_
#define LETHE_BENCH_LOO_METHODS_H_

#include <cstdint>
#include <functional>
#include <string>

#include "bench/loo_corpus.h"
#include "bench/loo_measure.h"
#include "bench/loo_models.h"
#include "engine/parameter.h"

namespace lethe::loo {

struct MethodRow {
  const char* name;
  const char* label;
  const char* method;  // of the catalogue
  const char* preset;
  ParameterValues overrides;
  const char* reference;  // the row that it is compared with; null: none
};

// With retain text, with the secret known too, and alone: leave-one-out of each kind is what the others
// of that kind are compared with.
const std::vector<MethodRow>& Methods();
const MethodRow* FindRow(const std::string& name);

struct Setting {
  const Corpus& corpus;
  const Models& models;
  const Probe& probe;
  Device device;
  uint64_t seed = 1;
};

using Take = std::function<void(int64_t step, Figures figures)>;

// Without steps: the models as they were trained.
absl::Status MeasureModel(const Setting& setting, const std::filesystem::path& folder,
                          const Take& take);
absl::Status RunCurve(const MethodRow& row, const Setting& setting, int64_t max_steps,
                      const Take& take);

}  // namespace lethe::loo

#endif  // LETHE_BENCH_LOO_METHODS_H_
