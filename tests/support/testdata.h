// Where the real data of LETHE_TESTDATA lies, and folders of a test's own.
//
//   LETHE_TESTDATA_OR_SKIP(const std::filesystem::path folder, "models/stories260k");
//   const std::filesystem::path mine = FreshFolder();   // empty, named after the test
#ifndef LETHE_TESTS_SUPPORT_TESTDATA_H_
#define LETHE_TESTS_SUPPORT_TESTDATA_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>

namespace lethe {

// The path, whether or not it is there; relative to nothing when the variable is unset.
inline std::filesystem::path TestDataPath(std::string_view relative) {
  const char* folder = std::getenv("LETHE_TESTDATA");
  return (folder == nullptr ? std::filesystem::path("LETHE_TESTDATA-is-not-set") : folder) /
         std::filesystem::path(relative);
}

// An empty folder for the running test, under the process's own name so that tests run in parallel.
inline std::filesystem::path FreshFolder(std::string_view part = "") {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "-" + test->name() + "-" +
                     std::to_string(getpid()) + (part.empty() ? "" : "-") + std::string(part);
  for (char& c : name) {
    if (c == '/') c = '_';
  }
  const std::filesystem::path folder = std::filesystem::path(testing::TempDir()) / name;
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace lethe

#define LETHE_TESTDATA_OR_SKIP(declaration, relative)                                      \
  if (!std::filesystem::exists(::lethe::TestDataPath(relative)))                           \
    GTEST_SKIP() << "missing: " << ::lethe::TestDataPath(relative) << " (LETHE_TESTDATA)"; \
  declaration = ::lethe::TestDataPath(relative)

#endif  // LETHE_TESTS_SUPPORT_TESTDATA_H_
