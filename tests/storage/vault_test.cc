#include "storage/vault.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "absl/strings/escaping.h"
#include "base/file.h"
#include "base/status.h"
#include "tests/support/seeded_random.h"
#include "tests/support/temp_folder.h"

namespace lethe::storage {
namespace {

namespace fs = std::filesystem;

// Bytes as written down, one after the other: for values that were computed elsewhere.
class GivenBytes : public Random {
 public:
  explicit GivenBytes(const std::string& hex) : bytes_(absl::HexStringToBytes(hex)) {}
  std::string Bytes(size_t count) override {
    EXPECT_LE(at_ + count, bytes_.size());
    at_ += count;
    return bytes_.substr(at_ - count, count);
  }

 private:
  std::string bytes_;
  size_t at_ = 0;
};

class VaultTest : public testing::Test {
 protected:
  std::unique_ptr<Vault> Open(bool create = true) {
    auto vault = Vault::Open(folder_ / "key", {.create = create}, &random_);
    EXPECT_TRUE(vault.ok()) << vault.status();
    return vault.ok() ? *std::move(vault) : nullptr;
  }
  std::string Reason(bool create = false) {
    return ErrorReason(Vault::Open(folder_ / "key", {.create = create}, &random_).status());
  }
  TempFolder folder_;
  SeededRandom random_{3};
  const TicketId ticket_{"t-0123456789abcdef0123456789abcdef"};
};

TEST_F(VaultTest, OpensWhatItSealed) {
  auto vault = Open();
  const Sealed sealed = *vault->Seal(&random_, ticket_, "my number is 555");
  EXPECT_EQ(sealed.payload.sealed().find("555"), std::string::npos);
  EXPECT_EQ(sealed.payload.sealed().size(), 16u + 16u);  // GCM adds its tag only
  EXPECT_EQ(*vault->Unseal(ticket_, sealed.payload, sealed.key), "my number is 555");
  EXPECT_EQ(*Open(false)->Unseal(ticket_, sealed.payload, sealed.key), "my number is 555");
}

// Values of the independent Python `cryptography` package (AESGCM, hmac), see the comment at each.
TEST_F(VaultTest, IsPlainAesGcm) {
  ASSERT_TRUE(WriteFileAtomically(folder_ / "key",
                                  "lethe key file 1\ndigest " + std::string(64, '2') +
                                      "\nepoch 1 " + std::string(64, '1') + "\n",
                                  0600)
                  .ok());
  auto vault = Open(false);
  GivenBytes given(std::string(64, '3') +  // data key
                   std::string(24, '4') +  // nonce of the payload
                   std::string(24, '5'));  // nonce of the key
  const Sealed sealed = *vault->Seal(&given, ticket_, "forget me");
  EXPECT_EQ(absl::BytesToHexString(sealed.payload.sealed()),
            "56feb6f5af72af06c5cb7818257b713fda24cd688e450c9ad4");
  EXPECT_EQ(absl::BytesToHexString(sealed.key.wrapped()),
            "1cc9f859fb8f2bf93bb4ec4365963bad672a279f80994513433b5c28f6a1b3ee39a347552ecf24308bb19a"
            "aca2be8d24");
  EXPECT_EQ(sealed.commitment, "cdfb84debc6a7b692ab8493dcaac2e23fccd816abed95b01c299fd939482e55a");
  EXPECT_EQ(vault->BodyDigest("body"),
            "e97c3ccff931a3b4b1df3f4051ded3e13e2b95daecb1b1f1b7cf284566d6c90d");
}

TEST_F(VaultTest, AnyChangedByteIsNoticed) {
  auto vault = Open();
  const Sealed good = *vault->Seal(&random_, ticket_, "text");
  const auto reason = [&](const TicketId& t, const Sealed& s) {
    return ErrorReason(vault->Unseal(t, s.payload, s.key).status());
  };
  for (size_t i = 0; i < good.payload.sealed().size(); ++i) {
    Sealed bad = good;
    (*bad.payload.mutable_sealed())[i] ^= 1;
    EXPECT_EQ(reason(ticket_, bad), "PAYLOAD_TAMPERED") << i;
  }
  for (size_t i = 0; i < good.key.wrapped().size(); ++i) {
    Sealed bad = good;
    (*bad.key.mutable_wrapped())[i] ^= 1;
    EXPECT_EQ(reason(ticket_, bad), "PAYLOAD_TAMPERED") << i;
  }
  Sealed bad = good;
  (*bad.payload.mutable_nonce())[0] ^= 1;
  EXPECT_EQ(reason(ticket_, bad), "PAYLOAD_TAMPERED");
  bad = good;
  bad.payload.set_sealed("short");
  EXPECT_EQ(reason(ticket_, bad), "PAYLOAD_TAMPERED");
  // A payload moved to another ticket does not open there.
  EXPECT_EQ(reason(TicketId{"t-ffffffffffffffffffffffffffffffff"}, good), "PAYLOAD_TAMPERED");
}

TEST_F(VaultTest, RotationKeepsWhatWasWrappedAgainAndLosesTheRest) {
  auto vault = Open();
  const Sealed kept = *vault->Seal(&random_, ticket_, "kept"),
               lost = *vault->Seal(&random_, ticket_, "lost");
  const std::string identity = vault->Identity(), digest = vault->BodyDigest("b");
  EXPECT_EQ(*vault->AddEpoch(), 2u);
  const KeyRecord rewrapped = *vault->Rewrap(&random_, ticket_, kept.key);
  EXPECT_EQ(rewrapped.epoch(), 2u);
  ASSERT_TRUE(vault->DropEpochsBefore(2).ok());
  for (auto* v : {vault.get(), Open(false).release()}) {  // now, and after a restart
    EXPECT_EQ(*v->Unseal(ticket_, kept.payload, rewrapped), "kept");
    EXPECT_EQ(ErrorReason(v->Unseal(ticket_, lost.payload, lost.key).status()),
              "KEY_EPOCH_UNKNOWN");
    EXPECT_EQ(v->Identity(), identity);
    EXPECT_EQ(v->BodyDigest("b"), digest);
    if (v != vault.get()) delete v;
  }
  EXPECT_EQ(ErrorReason(vault->DropEpochsBefore(9)), "KEY_EPOCH_UNKNOWN");
}

TEST_F(VaultTest, TheFileIsOursAlone) {
  Open();
  struct stat info;
  ASSERT_EQ(stat((folder_ / "key").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  fs::permissions(folder_ / "key", fs::perms::group_read, fs::perm_options::add);
  EXPECT_EQ(Reason(), "KEY_FILE_EXPOSED");
}

TEST_F(VaultTest, BadFiles) {
  EXPECT_EQ(Reason(), "KEY_FILE_MISSING");
  for (const std::string& text : std::vector<std::string>{
           std::string(), std::string("something else\n"), std::string("lethe key file 1\n"),
           "lethe key file 1\ndigest " + std::string(64, 'a') + "\n",
           "lethe key file 1\ndigest " + std::string(64, 'a') + "\nepoch 1 abc\n",
           "lethe key file 1\ndigest " + std::string(64, 'a') + "\nepoch x " +
               std::string(64, 'a') + "\n",
           "lethe key file 1\ndigest zz\nepoch 1 " + std::string(64, 'a') + "\n"}) {
    ASSERT_TRUE(WriteFileAtomically(folder_ / "key", text, 0600).ok());
    EXPECT_EQ(Reason(), "KEY_FILE_MALFORMED") << text;
  }
  fs::create_directories(folder_ / "data");
  EXPECT_EQ(ErrorReason(Vault::Open(folder_ / "data" / "key",
                                    {.create = true, .data_folder = folder_ / "data"}, &random_)
                            .status()),
            "KEY_FILE_INSIDE_DATA");
}

}  // namespace
}  // namespace lethe::storage
