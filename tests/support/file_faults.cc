#include "tests/support/file_faults.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdarg>
#include <cstdio>

namespace lethe {
namespace {

int64_t operations = 0, kill_at = 0, fail_at = 0;
int fail_with = 0;
bool fail_for_ever = false;
std::vector<std::string>* record = nullptr;

enum class Fate { kGoOn, kFail, kDie };

Fate Next(const char* name, const char* path) {
  if (record != nullptr) record->push_back(std::string(name) + " " + path);
  ++operations;
  if (operations == kill_at) return Fate::kDie;
  if (fail_at > 0 && (operations == fail_at || (fail_for_ever && operations > fail_at))) {
    errno = fail_with;
    return Fate::kFail;
  }
  return Fate::kGoOn;
}

bool Armed() { return kill_at > 0 || fail_at > 0 || record != nullptr; }

std::string PathOf(int fd) {
  char path[PATH_MAX];
  const std::string link = "/proc/self/fd/" + std::to_string(fd);
  const ssize_t size = readlink(link.c_str(), path, sizeof path);
  return size < 0 ? "?" : std::string(path, static_cast<size_t>(size));
}

// Whether the operation is not to be done; ends the process where it is the last one.
bool Stopped(const char* name, const char* path) {
  if (!Armed()) return false;
  const Fate fate = Next(name, path);
  if (fate == Fate::kDie) _exit(FileFaults::kKilled);
  return fate == Fate::kFail;
}

}  // namespace

void FileFaults::KillAt(int64_t n) {
  Stop();
  kill_at = n;
}

void FileFaults::FailAt(int64_t n, int error, bool for_ever) {
  Stop();
  fail_at = n;
  fail_with = error;
  fail_for_ever = for_ever;
}

void FileFaults::Record(std::vector<std::string>* to) {
  Stop();
  record = to;
}

void FileFaults::Stop() {
  operations = kill_at = fail_at = 0;
  record = nullptr;
}

int InChild(const std::function<bool()>& run) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) _exit(run() ? 0 : 1);
  int status = 0;
  waitpid(child, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace lethe

// The operations, in front of the C library's.
extern "C" {

int open(const char* path, int flags, ...) {
  mode_t mode = 0;
  if ((flags & O_CREAT) != 0) {
    va_list arguments;
    va_start(arguments, flags);
    mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (lethe::Stopped("open", path)) return -1;
  }
  return static_cast<int>(syscall(SYS_openat, AT_FDCWD, path, flags, mode));
}

ssize_t write(int fd, const void* bytes, size_t size) {
  if (fd > STDERR_FILENO && lethe::Armed()) {
    const lethe::Fate fate = lethe::Next("write", lethe::PathOf(fd).c_str());
    if (fate == lethe::Fate::kFail) return -1;
    if (fate == lethe::Fate::kDie) {
      syscall(SYS_write, fd, bytes, size / 2);
      _exit(lethe::FileFaults::kKilled);
    }
  }
  return syscall(SYS_write, fd, bytes, size);
}

int fsync(int fd) {
  if (lethe::Armed() && lethe::Stopped("fsync", lethe::PathOf(fd).c_str())) return -1;
  return static_cast<int>(syscall(SYS_fsync, fd));
}

int rename(const char* from, const char* to) noexcept {
  if (lethe::Stopped("rename", to)) return -1;
  return static_cast<int>(syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to));
}

int unlink(const char* path) noexcept {
  if (lethe::Stopped("unlink", path)) return -1;
  return static_cast<int>(syscall(SYS_unlinkat, AT_FDCWD, path, 0));
}

}  // extern "C"
