// The format on disk: keys byte by byte, and what is refused at open.
#include "storage/rocksdb/format.h"

#include <gmock/gmock.h>
#include <rocksdb/db.h>

#include "base/file.h"
#include "base/status.h"
#include "storage/fsck.h"
#include "tests/support/store_world.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// 0x0102030405060708 microseconds; its complement is fe fd fc fb fa f9 f8 f7.
constexpr int64_t kTime = 0x0102030405060708;

TEST(Format, KeysByteByByte) {
  const std::string inverse = "\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7";
  TicketRecord t;
  t.set_ticket_id("t-1");
  t.set_model_id("m");
  t.set_state(2);
  t.set_create_us(kTime);
  EXPECT_THAT(format::IndexKeys(t),
              ElementsAre("S\x02" + inverse + "t-1", std::string("Mm\0\x02", 4) + inverse + "t-1"));
  JobRecord j;
  j.set_job_id("j-1");
  j.set_state(1);
  EXPECT_THAT(format::IndexKeys(j), ElementsAre("J\x01j-1"));
  CheckpointRecord c;
  c.set_checkpoint_id("c-1");
  c.set_model_id("m");
  c.set_create_us(kTime);
  EXPECT_THAT(format::IndexKeys(c), ElementsAre(std::string("Cm\0", 3) + inverse + "c-1"));
  EXPECT_EQ(format::ExpiryKey(kTime, "ab"),
            "E\x01\x02\x03\x04\x05\x06\x07\x08" + std::string("ab"));
  EXPECT_EQ(format::Be64(258), std::string("\0\0\0\0\0\0\x01\x02", 8));
  EXPECT_EQ(format::FromBe64(format::Be64(kTime)), static_cast<uint64_t>(kTime));
}

TEST(Format, LaterComesFirst) {
  const std::string prefix = format::TicketPrefix("m", 2);
  const std::string early = format::TicketPlace(prefix, 1000, "t-1");
  const std::string late = format::TicketPlace(prefix, 2000, "t-1");
  EXPECT_LT(late, early);
  EXPECT_EQ(format::TicketOfPlace(prefix, late), "t-1");
  EXPECT_EQ(format::CreateUsOfPlace(prefix, late), 2000);
  EXPECT_EQ(format::TicketOfPlace(format::TicketPrefix("m", 3), late), "");
  EXPECT_EQ(format::TicketOfPlace(format::TicketPrefix("mm", 2), late), "");
}

class OpenTest : public testing::Test {
 protected:
  OpenTest() : random_(1) { vault_ = MakeVault("key"); }
  std::unique_ptr<Vault> MakeVault(const std::string& name) {
    return Vault::Open(temp_ / name, {.create = true}, &random_).value();
  }
  absl::StatusOr<std::unique_ptr<TicketStore>> Open(bool create = true) {
    StoreOptions options{.clock = &clock_, .vault = vault_.get()};
    options.rules.judge = JudgeForTest;
    return OpenRocksStore({.folder = temp_ / "store", .create_if_missing = create}, options);
  }
  // Changes a value of the default family of the closed store.
  void SetMeta(const std::string& key, const std::string& value,
               const std::string& extra_family = "") {
    std::vector<std::string> names;
    ASSERT_TRUE(rocksdb::DB::ListColumnFamilies({}, temp_ / "store", &names).ok());
    std::vector<rocksdb::ColumnFamilyDescriptor> families;
    for (const std::string& name : names)
      families.emplace_back(name, rocksdb::ColumnFamilyOptions());
    std::vector<rocksdb::ColumnFamilyHandle*> handles;
    rocksdb::DB* db = nullptr;
    ASSERT_TRUE(rocksdb::DB::Open({}, temp_ / "store", families, &handles, &db).ok());
    ASSERT_TRUE(db->Put({}, key, value).ok());
    if (!extra_family.empty()) {
      rocksdb::ColumnFamilyHandle* extra = nullptr;
      ASSERT_TRUE(db->CreateColumnFamily({}, extra_family, &extra).ok());
      handles.push_back(extra);
    }
    for (auto* handle : handles) ASSERT_TRUE(db->DestroyColumnFamilyHandle(handle).ok());
    delete db;
  }
  TempFolder temp_;
  SeededRandom random_;
  FakeClock clock_;
  std::unique_ptr<Vault> vault_;
};

TEST_F(OpenTest, AnUnknownFormatIsRefusedByName) {
  ASSERT_TRUE(Open().ok());
  SetMeta("format", "2 lethe 7.1.0");
  const absl::Status refused = Open().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(refused), "FORMAT_VERSION_UNKNOWN");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("lethe 7.1.0"));
  EXPECT_EQ(ErrorReason(Fsck({.store = temp_ / "store"}).status()), "FORMAT_VERSION_UNKNOWN");
}

TEST_F(OpenTest, AFolderWithUnknownFamiliesIsRefusedByName) {
  ASSERT_TRUE(Open().ok());
  SetMeta("format", "3 lethe 8.0.0", "merkle");
  const absl::Status refused = Open().status();
  EXPECT_EQ(ErrorReason(refused), "FORMAT_VERSION_UNKNOWN");
  EXPECT_THAT(std::string(refused.message()), HasSubstr("lethe 8.0.0"));
}

TEST_F(OpenTest, TheSecondServerIsRefused) {
  auto first = Open();
  ASSERT_TRUE(first.ok());
  const absl::Status refused = Open().status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(ErrorReason(refused), "DATA_FOLDER_IN_USE");
  first->reset();
  EXPECT_TRUE(Open().ok());
}

TEST_F(OpenTest, NothingIsMadeUnlessAsked) {
  EXPECT_EQ(ErrorReason(Open(/*create=*/false).status()), "DATA_FOLDER_MISSING");
  EXPECT_FALSE(std::filesystem::exists(temp_ / "store"));
  EXPECT_EQ(ErrorReason(Fsck({.store = temp_ / "store"}).status()), "DATA_FOLDER_MISSING");
}

TEST_F(OpenTest, TheWrongKeyFileIsRefused) {
  ASSERT_TRUE(Open().ok());
  vault_ = MakeVault("other key");
  EXPECT_EQ(ErrorReason(Open().status()), "KEY_FILE_WRONG");
}

TEST_F(OpenTest, AnOldCopyOfTheKeyFileIsRefused) {
  const std::string old = *ReadFile(temp_ / "key");
  ASSERT_TRUE(vault_->AddEpoch().ok());
  {
    auto store = *Open();
    World world(store.get(), vault_.get(), &clock_, 1);
    world.File(world.ReadyModel("m"));  // sealed under epoch 2
  }
  ASSERT_TRUE(WriteFileAtomically(temp_ / "key", old, 0600).ok());
  vault_ = MakeVault("key");
  const absl::Status refused = Open().status();
  EXPECT_EQ(ErrorReason(refused), "KEY_FILE_OUTDATED");
  EXPECT_EQ(ErrorDetails(refused)["epoch"], "2");
}

// A damaged table is said to be one, not read as an empty store.
TEST_F(OpenTest, AMissingFileIsCorruption) {
  {
    auto store = *Open();
    World world(store.get(), vault_.get(), &clock_, 1);
    world.File(world.ReadyModel("m"));
    ASSERT_TRUE(store->CompactFiles().ok());
  }
  for (const auto& entry : std::filesystem::directory_iterator(temp_ / "store")) {
    if (entry.path().extension() == ".sst") std::filesystem::remove(entry.path());
  }
  EXPECT_EQ(ErrorReason(Open().status()), "STORE_CORRUPT") << Open().status();
}

}  // namespace
}  // namespace lethe::storage
