#include "bench/disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "base/status.h"

namespace lethe {

absl::StatusOr<DiskSpeed> MeasureFdatasync(const std::filesystem::path& folder,
                                           absl::Duration span) {
  using Clock = std::chrono::steady_clock;
  const std::filesystem::path path = folder / "fdatasync.bin";
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) {
    return Error(absl::StatusCode::kUnavailable, "FILE_ERROR", "cannot create " + path.string());
  }
  const std::string block(512, 'x');
  DiskSpeed speed;
  const auto begin = Clock::now();
  const auto end = begin + absl::ToChronoNanoseconds(span);
  bool good = true;
  for (auto now = begin; good && now < end;) {
    good = write(fd, block.data(), block.size()) == static_cast<ssize_t>(block.size()) &&
           fdatasync(fd) == 0;
    const auto after = Clock::now();
    speed.seconds.push_back(std::chrono::duration<double>(after - now).count());
    now = after;
  }
  speed.elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  close(fd);
  unlink(path.c_str());
  if (!good) {
    return Error(absl::StatusCode::kUnavailable, "FILE_ERROR", "cannot write " + path.string());
  }
  return speed;
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const size_t at = std::min(values.size() - 1, static_cast<size_t>(share * values.size()));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(at), values.end());
  return values[at];
}

}  // namespace lethe
