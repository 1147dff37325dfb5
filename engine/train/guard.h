// Refuses a training run that has left its course: a value that is not finite, or far above the
// band of the values before it.
//
//   RunningBand band({.width = 20});
//   switch (band.Judge(loss)) { case BandVerdict::kInside: ... }
//
// Judge first, then admit: a value outside never enters the band, so that one bad step cannot widen
// it for the next, and a NaN cannot stay in its sums. Only rises are judged: a loss that falls is
// what training is for.
// Threads    none; one band a run.
#ifndef LETHE_ENGINE_TRAIN_GUARD_H_
#define LETHE_ENGINE_TRAIN_GUARD_H_

#include <cstdint>

namespace lethe {

enum class BandVerdict {
  kInside,
  kOutside,    // further above the running mean than the band is wide
  kNotFinite,  // a verdict of its own: refused from the first value on
};

struct BandOptions {
  double width = 20;   // how many deviations above the mean are still inside
  double decay = 0.9;  // of mean and deviation, a value; the memory is about 1 / (1 - decay) values
  // The deviation is never taken below this share of 1 + |mean|: a constant loss has a band too.
  double floor = 0.05;
  int warm_up = 5;  // finite values that are admitted without judgement
};

class RunningBand {
 public:
  explicit RunningBand(const BandOptions& options = {}) : options_(options) {}
  BandVerdict Judge(double value);
  double mean() const { return mean_; }
  double deviation() const { return deviation_; }  // mean absolute distance from the running mean

 private:
  const BandOptions options_;
  int64_t admitted_ = 0;
  double mean_ = 0;
  double deviation_ = 0;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TRAIN_GUARD_H_
