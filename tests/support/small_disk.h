// A disk that is really full when it is full: a tmpfs of so many bytes in a mount namespace of this
// process, seen by nobody else and gone with it. The kernel says ENOSPC, at any system call that it
// likes; no privilege is needed where users may make namespaces.
//
//   testing::Environment* const own_mounts = testing::AddGlobalTestEnvironment(new OwnMounts);
//   TEST(X, Y) {
//     if (!OwnMounts::Allowed()) GTEST_SKIP() << OwnMounts::kWhyNot;
//     SmallDisk disk(1 << 20);
//     disk.LeaveFree(8192);   // the rest is taken by a file, in pages
//     disk.LeaveNoFiles();    // ... or no further file can be made
//     disk.MakeRoom();
//   }
//
// Threads    one. The environment is set up before the first test, while there is one thread yet.
#ifndef LETHE_TESTS_SUPPORT_SMALL_DISK_H_
#define LETHE_TESTS_SUPPORT_SMALL_DISK_H_

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>

#include "tests/support/temp_folder.h"

namespace lethe {

class OwnMounts : public testing::Environment {
 public:
  static constexpr char kWhyNot[] = "this machine lets no process have mounts of its own";
  static bool Allowed() { return allowed_; }
  void SetUp() override {
    const auto user = std::to_string(getuid()), group = std::to_string(getgid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0) {
      std::ofstream("/proc/self/setgroups") << "deny";
      std::ofstream("/proc/self/uid_map") << user << " " << user << " 1";
      std::ofstream("/proc/self/gid_map") << group << " " << group << " 1";
    } else if (unshare(CLONE_NEWNS) != 0) {
      return;
    }
    allowed_ = mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  }

 private:
  static inline bool allowed_ = false;
};

class SmallDisk {
 public:
  explicit SmallDisk(size_t bytes) : bytes_(bytes) {
    EXPECT_EQ(mount("lethe-small-disk", path().c_str(), "tmpfs", MS_NOSUID | MS_NODEV,
                    Options(1 << 16).c_str()),
              0)
        << std::strerror(errno);
  }
  ~SmallDisk() { EXPECT_EQ(umount2(path().c_str(), MNT_DETACH), 0) << std::strerror(errno); }
  SmallDisk(const SmallDisk&) = delete;
  SmallDisk& operator=(const SmallDisk&) = delete;

  const std::filesystem::path& path() const { return folder_.path(); }

  // Not more than so many bytes, in whole pages.
  void LeaveFree(size_t bytes) {
    const int file = open(Ballast().c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    const size_t taken = std::filesystem::file_size(Ballast()) + Free();
    EXPECT_GE(taken, bytes);
    EXPECT_EQ(ftruncate(file, 0), 0);
    EXPECT_EQ(posix_fallocate(file, 0, static_cast<off_t>(taken - bytes)), 0);
    close(file);
    EXPECT_LE(Free(), bytes);
  }
  void LeaveNoFiles() {
    struct statvfs status;
    EXPECT_EQ(statvfs(path().c_str(), &status), 0);
    Remount(status.f_files - status.f_ffree);
  }
  void MakeRoom() {
    std::filesystem::remove(Ballast());
    Remount(1 << 16);
  }
  size_t Free() const {
    struct statvfs status;
    EXPECT_EQ(statvfs(path().c_str(), &status), 0);
    return status.f_bavail * status.f_bsize;
  }

 private:
  std::filesystem::path Ballast() const { return path() / "ballast"; }
  std::string Options(size_t files) const {
    return "size=" + std::to_string(bytes_) + ",nr_inodes=" + std::to_string(files);
  }
  void Remount(size_t files) {
    EXPECT_EQ(mount("none", path().c_str(), nullptr, MS_REMOUNT | MS_NOSUID | MS_NODEV,
                    Options(files).c_str()),
              0)
        << std::strerror(errno);
  }

  const size_t bytes_;
  TempFolder folder_;
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_SMALL_DISK_H_
