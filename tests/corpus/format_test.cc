// The bytes on disk are those that another program writes from the grammar.
#include <gtest/gtest.h>

#include "absl/strings/escaping.h"
#include "tests/corpus/made_corpus.h"
#include "tests/support/temp_folder.h"

namespace lethe {
namespace {

// tests/corpus/slice_golden.py prints it; docs/corpus.md explains it.
constexpr char kGolden[] =
    "4c45544845534c31"                                                                  // magic
    "a88aa0500301010201050008000d00"                                                    // record
    "00000000000000000008a4a80469"                                                      // places
    "106eed3362ed1b710c35cf27e7eab319000000000070137a3b"                                // subjects
    "83c8c8d8fa4bd1477e79f4077690c95d0000000000ce20f393"                                // documents
    "cd05cde8b9d11ffd00000000005e9dd6f9"                                                // grams
    "01000000000000000000000002000000060000000600000001000000000000000100000000000000"  // footer
    "03000000000000000f00000000000000010000000000000001000000000000000100000000000000"
    "0000000000000000000000000000000000000000000000000000000000000000a24f66c8ef3d066f"
    "474e06c469623fab2ee1a7c4955929e1b4a39e4cae9a08db437af88a";

TEST(CorpusFormat, IsTheWorkedExample) {
  TempFolder folder;
  const MadeLine line{{{5, 8, 13}, 1, {{2, 3}}}, "p-17", "mail-3"};
  const CorpusKey key = *CorpusKey::FromBytes("0123456789abcdef0123456789abcdef");
  ASSERT_TRUE(BuildCorpus(folder / "corpus", key, {.shards = 1, .slices = 1},
                          InputOf(WriteLines(folder / "in", {line}), 300))
                  .ok());
  EXPECT_EQ(absl::BytesToHexString(BytesOf(folder / "corpus" / "s000-r000-g1.slice")), kGolden);
}

}  // namespace
}  // namespace lethe
