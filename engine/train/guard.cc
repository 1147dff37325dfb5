#include "engine/train/guard.h"

#include <algorithm>
#include <cmath>

namespace lethe {

BandVerdict RunningBand::Judge(double value) {
  if (!std::isfinite(value)) return BandVerdict::kNotFinite;
  if (admitted_ >= options_.warm_up) {
    const double deviation = std::max(deviation_, options_.floor * (1 + std::abs(mean_)));
    if (value > mean_ + options_.width * deviation) return BandVerdict::kOutside;
  }
  if (admitted_ == 0) {
    mean_ = value;
  } else {
    deviation_ += (1 - options_.decay) * (std::abs(value - mean_) - deviation_);
    mean_ += (1 - options_.decay) * (value - mean_);
  }
  ++admitted_;
  return BandVerdict::kInside;
}

}  // namespace lethe
