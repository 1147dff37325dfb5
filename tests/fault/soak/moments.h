// Moments: the points in time at which a crash hurts most, recognised by what happens in the model
// folders (inotify: no polling).
//
//   Moments moments(models);
//   const bool came = moments.Wait(Moment::kPublished, absl::Seconds(2));   // from now on
//
// Threads    one.
#ifndef LETHE_TESTS_FAULT_SOAK_MOMENTS_H_
#define LETHE_TESTS_FAULT_SOAK_MOMENTS_H_

#include <filesystem>
#include <map>
#include <string>

#include "absl/time/time.h"

namespace lethe::soak {

enum class Moment {
  kAnyTime,    // a random one
  kFiled,      // a ticket was just acknowledged
  kLeased,     // a worker has just acquired a job and opens its incoming folder
  kSaving,     // a worker has begun to write its checkpoint
  kPublished,  // a checkpoint has just got its name: CompleteJob comes next, then the verifier
  kJudging,    // a little later: the verifier works on it
  kSwitching,  // the server is about to move `current`: the promotion is decided
  kSwept,      // the server has begun to remove a checkpoint folder
  kErasing,    // a worker writes slices of a corpus again, or is about to name the new ones
  kTraining,   // a worker writes or removes a teacher's state
};
const char* MomentName(Moment moment);

class Moments {
 public:
  explicit Moments(std::filesystem::path models) : models_(std::move(models)) {}
  // Waits for a moment that folders tell; false when the time is over.
  bool Wait(Moment moment, absl::Duration patience);

 private:
  enum class Place {
    kModels,
    kModel,
    kIncoming,
    kLease,
    kCheckpoints,
    kCheckpoint,
    kCorpora,
    kCorpus,
    kTeachers,
    kTeacher
  };
  void Watch(const std::filesystem::path& folder, Place place);
  // Whether the event is the moment; follows new folders.
  bool See(Moment moment, int watch, uint32_t mask, const std::string& name);

  const std::filesystem::path models_;
  int inotify_ = -1;
  std::map<int, std::pair<Place, std::filesystem::path>> watches_;
};

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_MOMENTS_H_
