// What the disk can do: writes of 512 bytes, each followed by fdatasync, by one thread; into a file
// that grows and into space reserved before (as a write-ahead log may do), whichever is faster.
//
//   LETHE_ASSIGN_OR_RETURN(DiskSpeed speed, MeasureFdatasync(folder, absl::Seconds(1)));
#ifndef LETHE_BENCH_DISK_H_
#define LETHE_BENCH_DISK_H_

#include <filesystem>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace lethe {

struct DiskSpeed {
  std::vector<double> seconds;  // of each write and sync
  double elapsed = 0;
  double PerSecond() const { return static_cast<double>(seconds.size()) / elapsed; }
};

absl::StatusOr<DiskSpeed> MeasureFdatasync(const std::filesystem::path& folder,
                                           absl::Duration span);

// The value below which a share of the sorted or unsorted list lies; 0 of an empty one.
double Percentile(std::vector<double> values, double share);

}  // namespace lethe

#endif  // LETHE_BENCH_DISK_H_
