// Where the real data of LETHE_TESTDATA lies; folders of a test's own are in test_folders.h.
//
//   LETHE_TESTDATA_OR_SKIP(const std::filesystem::path folder, "models/stories260k");
#ifndef LETHE_TESTS_SUPPORT_TESTDATA_H_
#define LETHE_TESTS_SUPPORT_TESTDATA_H_

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "tests/support/test_folders.h"

namespace lethe {

// The path, whether or not it is there; relative to nothing when the variable is unset.
inline std::filesystem::path TestDataPath(std::string_view relative) {
  const char* folder = std::getenv("LETHE_TESTDATA");
  return (folder == nullptr ? std::filesystem::path("LETHE_TESTDATA-is-not-set") : folder) /
         std::filesystem::path(relative);
}

}  // namespace lethe

#define LETHE_TESTDATA_OR_SKIP(declaration, relative)                                      \
  if (!std::filesystem::exists(::lethe::TestDataPath(relative)))                           \
    GTEST_SKIP() << "missing: " << ::lethe::TestDataPath(relative) << " (LETHE_TESTDATA)"; \
  declaration = ::lethe::TestDataPath(relative)

#endif  // LETHE_TESTS_SUPPORT_TESTDATA_H_
