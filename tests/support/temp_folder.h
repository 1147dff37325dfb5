// A folder of a test's own, removed at the end unless the test has failed (test_folders.h).
#ifndef LETHE_TESTS_SUPPORT_TEMP_FOLDER_H_
#define LETHE_TESTS_SUPPORT_TEMP_FOLDER_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <string>

#include "tests/support/test_folders.h"

namespace lethe {

class TempFolder {
 public:
  TempFolder() {
    std::string name = testing::TempDir() + "lethe-XXXXXX";
    const char* made = mkdtemp(name.data());
    EXPECT_NE(made, nullptr) << name;
    path_ = name;
  }
  ~TempFolder() {
    if (testing::Test::HasFailure() || KeepTestFolders()) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(const std::string& name) const { return path_ / name; }

 private:
  std::filesystem::path path_;
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_TEMP_FOLDER_H_
