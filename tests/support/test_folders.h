// Folders of tests: who makes one here leaves nothing behind.
//
//   const std::filesystem::path mine = FreshFolder();       // empty, gone when the test has ended
//   const std::filesystem::path ours = ProcessFolder("m");  // gone when the process ends
//
// Kept       those of tests that failed, and all where LETHE_KEEP_TEST_FOLDERS is set, to look at.
//            Their names hold the test's and the process id.
// Threads    the one that runs the tests.
#ifndef LETHE_TESTS_SUPPORT_TEST_FOLDERS_H_
#define LETHE_TESTS_SUPPORT_TEST_FOLDERS_H_

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace lethe {

inline bool KeepTestFolders() { return std::getenv("LETHE_KEEP_TEST_FOLDERS") != nullptr; }

// Removes what a passed test, or a process in which all passed, has made.
class TestFolders : public testing::EmptyTestEventListener {
 public:
  static TestFolders& Get() {
    static auto* const folders = [] {
      auto* made = new TestFolders;  // the listeners own it
      testing::UnitTest::GetInstance()->listeners().Append(made);
      return made;
    }();
    return *folders;
  }

  // Empty, below the folder for temporary files.
  std::filesystem::path Make(std::string name, bool of_process) {
    for (char& c : name) {
      if (c == '/') c = '_';
    }
    const std::filesystem::path folder =
        std::filesystem::path(testing::TempDir()) / (name + "-" + std::to_string(getpid()));
    std::filesystem::remove_all(folder);
    std::filesystem::create_directories(folder);
    (of_process ? process_ : test_).push_back(folder);
    return folder;
  }

  void OnTestEnd(const testing::TestInfo& test) override {
    RemoveUnless(test.result()->Failed(), test_);
  }
  void OnTestProgramEnd(const testing::UnitTest& all) override {
    RemoveUnless(all.Failed(), process_);
  }

 private:
  static void RemoveUnless(bool failed, std::vector<std::filesystem::path>& folders) {
    if (!failed && !KeepTestFolders()) {
      std::error_code ignored;
      for (const auto& folder : folders) std::filesystem::remove_all(folder, ignored);
    }
    folders.clear();
  }

  std::vector<std::filesystem::path> test_, process_;
};

// An empty folder for the running test, under the process's own name so that tests run in parallel.
inline std::filesystem::path FreshFolder(std::string_view part = "") {
  const testing::TestInfo* test = testing::UnitTest::GetInstance()->current_test_info();
  std::string name = std::string(test->test_suite_name()) + "-" + test->name();
  if (!part.empty()) name += "-" + std::string(part);
  return TestFolders::Get().Make(name, /*of_process=*/false);
}

// One that outlives the test that asked first.
inline std::filesystem::path ProcessFolder(std::string_view name) {
  return TestFolders::Get().Make(std::string(name), /*of_process=*/true);
}

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_TEST_FOLDERS_H_
