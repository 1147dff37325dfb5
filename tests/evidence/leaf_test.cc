// The reference inputs and roots that certificate-transparency
// implementations test with (eight leaves, RFC 6962).
#include "evidence/leaf.h"

#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "lethe/v1/report.pb.h"
#include "tests/evidence/fabricated.h"

namespace lethe {
namespace {

std::string Hex(const std::string& bytes) { return absl::BytesToHexString(bytes); }

const char* const kInputs[] = {"",
                               "00",
                               "10",
                               "2021",
                               "3031",
                               "40414243",
                               "5051525354555657",
                               "606162636465666768696a6b6c6d6e6f"};
const char* const kRoots[] = {"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
                              "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                              "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
                              "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
                              "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
                              "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
                              "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
                              "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
                              "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"};

TEST(Merkle, KnownRoots) {
  std::vector<std::string> leaves;
  EXPECT_EQ(Hex(MerkleRoot(leaves)), kRoots[0]);
  for (int i = 0; i < 8; ++i) {
    leaves.push_back(LeafHash(absl::HexStringToBytes(kInputs[i])));
    EXPECT_EQ(Hex(MerkleRoot(leaves)), kRoots[i + 1]) << i + 1 << " leaves";
  }
}

// A node's hash is never a leaf's: the prefixes differ.
TEST(Merkle, LeafAndNodeAreApart) {
  const std::string a = LeafHash("a");
  const std::string b = LeafHash("b");
  EXPECT_NE(NodeHash(a, b), LeafHash(a + b));
  EXPECT_NE(NodeHash(a, b), NodeHash(b, a));
}

TEST(CanonicalBytes, MapsInTheOrderOfKeys) {
  v1::RunRecord forward, backward;
  for (int i = 0; i < 60; ++i) forward.mutable_libraries()->insert({std::to_string(i), "one"});
  for (int i = 60; i-- > 0;) backward.mutable_libraries()->insert({std::to_string(i), "one"});
  EXPECT_EQ(CanonicalBytes(forward), CanonicalBytes(backward));
  v1::RunRecord again;
  ASSERT_TRUE(again.ParseFromString(CanonicalBytes(forward)));
  EXPECT_EQ(CanonicalBytes(again), CanonicalBytes(forward));
}

}  // namespace
}  // namespace lethe
