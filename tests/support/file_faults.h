// File operations that fail, or the process that ends, at a chosen one: kill -9 at every step of
// something that writes, and a full disk at every step. Nothing in the code under test knows of it:
// a test that links file_faults.cc has its own open (for writing), write, fsync, rename and unlink,
// which all of our code calls.
//
//   for (int64_t n = 1;; ++n) {
//     const int end = InChild([&] { FileFaults::KillAt(n); return Erase(folder).ok(); });
//     if (end != FileFaults::kKilled) break;      // there is no n-th operation
//     ... what the folder looks like now ...
//   }
//
// A write that is the last one writes the first half of its bytes.
// Threads    one.
#ifndef LETHE_TESTS_SUPPORT_FILE_FAULTS_H_
#define LETHE_TESTS_SUPPORT_FILE_FAULTS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace lethe {

class FileFaults {
 public:
  static constexpr int kKilled = 77;  // exit status

  static void KillAt(int64_t n);  // from now, counted from 1
  // The n-th operation fails, and all after it if `for_ever`.
  static void FailAt(int64_t n, int error, bool for_ever = false);
  static void Stop();

  // "fsync /folder/name", one an operation since the call.
  static void Record(std::vector<std::string>* operations);
};

// Runs it in a child process; its exit status: 0 for true, 1 for false.
int InChild(const std::function<bool()>& run);

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_FILE_FAULTS_H_
