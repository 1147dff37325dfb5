#include "bench/disk.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <string>

#include "base/status.h"

namespace lethe {

namespace {

// One way of writing: into a file that grows, or into space that was reserved and written before.
absl::StatusOr<DiskSpeed> Measure(const std::filesystem::path& path, bool reserved,
                                  absl::Duration span) {
  using Clock = std::chrono::steady_clock;
  constexpr off_t kReserved = 4 << 20;
  const auto failed = [&] {
    return Error(absl::StatusCode::kUnavailable, "FILE_ERROR", "cannot write " + path.string());
  };
  const int fd = open(path.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0600);
  if (fd < 0) return failed();
  const std::string block(512, 'x');
  bool good = true;
  for (off_t at = 0; reserved && good && at < kReserved; at += static_cast<off_t>(block.size())) {
    good = pwrite(fd, block.data(), block.size(), at) == static_cast<ssize_t>(block.size());
  }
  good = good && fsync(fd) == 0;
  DiskSpeed speed;
  const auto begin = Clock::now();
  const auto end = begin + absl::ToChronoNanoseconds(span);
  off_t at = 0;
  for (auto now = begin; good && now < end;) {
    good = pwrite(fd, block.data(), block.size(), at) == static_cast<ssize_t>(block.size()) &&
           fdatasync(fd) == 0;
    at += static_cast<off_t>(block.size());
    if (reserved && at >= kReserved) at = 0;
    const auto after = Clock::now();
    speed.seconds.push_back(std::chrono::duration<double>(after - now).count());
    now = after;
  }
  speed.elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
  close(fd);
  unlink(path.c_str());
  if (!good) return failed();
  return speed;
}

}  // namespace

absl::StatusOr<DiskSpeed> MeasureFdatasync(const std::filesystem::path& folder,
                                           absl::Duration span) {
  const std::filesystem::path path = folder / "fdatasync.bin";
  LETHE_ASSIGN_OR_RETURN(DiskSpeed growing, Measure(path, false, span / 2));
  LETHE_ASSIGN_OR_RETURN(DiskSpeed reserved, Measure(path, true, span / 2));
  return growing.PerSecond() > reserved.PerSecond() ? growing : reserved;
}

double Percentile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const size_t at = std::min(values.size() - 1, static_cast<size_t>(share * values.size()));
  std::nth_element(values.begin(), values.begin() + static_cast<ptrdiff_t>(at), values.end());
  return values[at];
}

}  // namespace lethe
