#include "tests/fault/soak/moments.h"

#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/match.h"
#include "absl/time/clock.h"

namespace lethe::soak {

namespace fs = std::filesystem;

const char* MomentName(Moment moment) {
  switch (moment) {
    case Moment::kAnyTime:
      return "any time";
    case Moment::kFiled:
      return "filed";
    case Moment::kLeased:
      return "leased";
    case Moment::kSaving:
      return "saving";
    case Moment::kPublished:
      return "published";
    case Moment::kJudging:
      return "judging";
    case Moment::kSwitching:
      return "switching";
    case Moment::kSwept:
      return "sweeping";
    case Moment::kErasing:
      return "erasing";
    case Moment::kTraining:
      return "training";
  }
  return "";
}

void Moments::Watch(const fs::path& folder, Place place) {
  const int watch =
      inotify_add_watch(inotify_, folder.c_str(), IN_CREATE | IN_MOVED_TO | IN_DELETE);
  if (watch < 0) return;  // it is not there (yet)
  watches_[watch] = {place, folder};
  if (place == Place::kLease) return;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    if (place == Place::kModels) Watch(entry.path(), Place::kModel);
    if (place == Place::kModel && name == "incoming") Watch(entry.path(), Place::kIncoming);
    if (place == Place::kModel && name == "checkpoints") Watch(entry.path(), Place::kCheckpoints);
    if (place == Place::kModel && name == "corpora") Watch(entry.path(), Place::kCorpora);
    if (place == Place::kIncoming) Watch(entry.path(), Place::kLease);
    if (place == Place::kCheckpoints) Watch(entry.path(), Place::kCheckpoint);
    // One level more: corpora/<job>/corpus and corpora/<job>/teachers/shard-N.
    if (place == Place::kCorpora) {
      Watch(entry.path() / "corpus", Place::kCorpus);
      Watch(entry.path() / "teachers", Place::kTeachers);
    }
    if (place == Place::kTeachers) Watch(entry.path(), Place::kTeacher);
  }
}

bool Moments::See(Moment moment, int watch, uint32_t mask, const std::string& name) {
  const auto it = watches_.find(watch);
  if (it == watches_.end()) return false;
  const auto [place, folder] = it->second;
  const bool created = (mask & (IN_CREATE | IN_MOVED_TO)) != 0;
  if (place == Place::kModels && created) Watch(folder / name, Place::kModel);
  if (place == Place::kModel && created && name == "incoming") {
    Watch(folder / name, Place::kIncoming);
  }
  if (place == Place::kModel && created && name == "checkpoints") {
    Watch(folder / name, Place::kCheckpoints);
  }
  if (place == Place::kIncoming && created) Watch(folder / name, Place::kLease);
  if (place == Place::kCheckpoints && created) Watch(folder / name, Place::kCheckpoint);
  switch (moment) {
    case Moment::kLeased:
      return place == Place::kIncoming && created;
    case Moment::kSaving:
      return place == Place::kLease && created;
    case Moment::kPublished:
    case Moment::kJudging:
      return place == Place::kCheckpoints && created;
    case Moment::kSwitching:
      return place == Place::kModel && created && absl::StartsWith(name, ".current.tmp-");
    case Moment::kSwept:
      return place == Place::kCheckpoint && (mask & IN_DELETE) != 0;
    case Moment::kErasing:
      return place == Place::kCorpus;
    case Moment::kTraining:
      return place == Place::kTeacher;
    case Moment::kAnyTime:
    case Moment::kFiled:
      return false;
  }
  return false;
}

bool Moments::Wait(Moment moment, absl::Duration patience) {
  inotify_ = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
  if (inotify_ < 0) return false;
  auto closer = absl::MakeCleanup([this] {
    close(inotify_);
    watches_.clear();
  });
  Watch(models_, Place::kModels);
  const absl::Time until = absl::Now() + patience;
  alignas(inotify_event) char buffer[4096];
  while (absl::Now() < until) {
    pollfd poll_fd = {inotify_, POLLIN, 0};
    poll(&poll_fd, 1,
         static_cast<int>(std::max<int64_t>(1, absl::ToInt64Milliseconds(until - absl::Now()))));
    const ssize_t got = read(inotify_, buffer, sizeof(buffer));
    for (ssize_t at = 0; at < got;) {
      const auto* event = reinterpret_cast<const inotify_event*>(buffer + at);
      at += static_cast<ssize_t>(sizeof(inotify_event)) + event->len;
      if (See(moment, event->wd, event->mask, event->len > 0 ? event->name : "")) return true;
    }
  }
  return false;
}

}  // namespace lethe::soak
