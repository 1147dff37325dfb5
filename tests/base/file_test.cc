#include "base/file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <fstream>

#include "base/status.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

TEST(File, WriteReplacesAndLeavesNothingBeside) {
  const fs::path folder = FreshFolder();
  ASSERT_TRUE(WriteFileAtomically(folder / "f", "one").ok());
  ASSERT_TRUE(WriteFileAtomically(folder / "f", "two", 0600).ok());
  EXPECT_EQ(*ReadFile(folder / "f"), "two");
  struct stat info;
  ASSERT_EQ(stat((folder / "f").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
}

TEST(File, ErrorsNameTheFile) {
  const fs::path folder = FreshFolder();
  EXPECT_EQ(ReadFile(folder / "none").status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(WriteFileAtomically(folder / "big", "12345").ok());
  EXPECT_EQ(ErrorReason(ReadFile(folder / "big", 4).status()), "FILE_TOO_LARGE");
  EXPECT_FALSE(WriteFileAtomically(folder / "no" / "f", "x").ok());
}

TEST(File, CopyOfAMissingFolderIsAnError) {
  EXPECT_EQ(ErrorReason(CopyFolder("/nonexistent", FreshFolder())), "FILE_ERROR");
}

TEST(File, SymlinkSwitchesAndFolderIsPublishedOnce) {
  const fs::path folder = FreshFolder();
  fs::create_directories(folder / "tmp");
  std::ofstream(folder / "tmp/x") << "1";
  ASSERT_TRUE(PublishFolder(folder / "tmp", folder / "a").ok());
  EXPECT_FALSE(fs::exists(folder / "tmp"));
  fs::create_directories(folder / "tmp");
  EXPECT_EQ(PublishFolder(folder / "tmp", folder / "a").code(), absl::StatusCode::kAlreadyExists);
  ASSERT_TRUE(SwitchSymlink(folder / "current", "a").ok());
  ASSERT_TRUE(SwitchSymlink(folder / "current", "tmp").ok());
  EXPECT_EQ(fs::read_symlink(folder / "current"), "tmp");
}

}  // namespace
}  // namespace lethe
