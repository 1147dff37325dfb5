#include "base/digest.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "tests/support/test_folders.h"

namespace lethe {
namespace {

// FIPS 180-2 appendix B.1 and the empty string.
TEST(Sha256, KnownAnswers) {
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

// RFC 4231, test case 2.
TEST(HmacSha256, KnownAnswer) {
  EXPECT_EQ(HmacSha256Hex("Jefe", "what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

// The same bytes as `(cd folder; sha256sum a sub/b) | sha256sum` of coreutils.
TEST(FolderDigest, EqualsSha256sum) {
  const std::filesystem::path folder = FreshFolder();
  std::filesystem::create_directories(folder / "sub");
  std::ofstream(folder / "a") << "one";
  std::ofstream(folder / "sub/b") << "two";
  std::ofstream(folder / "lethe.json") << "left out";
  std::ofstream(folder / ".hidden") << "left out";
  const std::string command = "cd " + folder.string() + " && sha256sum a sub/b | sha256sum";
  FILE* pipe = popen(command.c_str(), "r");
  char expected[65] = {};
  ASSERT_EQ(fread(expected, 1, 64, pipe), 64u);
  pclose(pipe);
  EXPECT_EQ(*FolderDigest(folder), expected);
  EXPECT_FALSE(FolderDigest(folder / "missing").ok());
}

}  // namespace
}  // namespace lethe
