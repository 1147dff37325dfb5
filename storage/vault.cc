#include "storage/vault.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>

#include <sstream>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/escaping.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"

namespace lethe::storage {
namespace {

namespace fs = std::filesystem;

constexpr size_t kKeyBytes = 32;
constexpr size_t kNonceBytes = 12;
constexpr size_t kTagBytes = 16;
constexpr char kHeader[] = "lethe key file 1";

const unsigned char* Bytes(std::string_view text) {
  return reinterpret_cast<const unsigned char*>(text.data());
}
unsigned char* Bytes(std::string& text) { return reinterpret_cast<unsigned char*>(text.data()); }

using Cipher = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
Cipher NewCipher() { return Cipher(EVP_CIPHER_CTX_new(), EVP_CIPHER_CTX_free); }

// Fetched once: OpenSSL 3 looks an algorithm up by name, under a lock, wherever it is named anew.
const EVP_CIPHER* Aes256Gcm() {
  static EVP_CIPHER* cipher = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  return cipher;
}

absl::Status CipherFailed() {
  return Error(absl::StatusCode::kInternal, "CIPHER_FAILED", "AES-256-GCM is not available");
}

// Cipher text, then the tag.
absl::StatusOr<std::string> Encrypt(std::string_view key, std::string_view nonce,
                                    std::string_view aad, std::string_view plain) {
  Cipher ctx = NewCipher();
  std::string out(plain.size() + kTagBytes, '\0');
  int n = 0;
  if (!ctx || EVP_EncryptInit_ex(ctx.get(), Aes256Gcm(), nullptr, Bytes(key), Bytes(nonce)) != 1 ||
      EVP_EncryptUpdate(ctx.get(), nullptr, &n, Bytes(aad), static_cast<int>(aad.size())) != 1 ||
      EVP_EncryptUpdate(ctx.get(), Bytes(out), &n, Bytes(plain), static_cast<int>(plain.size())) !=
          1 ||
      EVP_EncryptFinal_ex(ctx.get(), Bytes(out) + n, &n) != 1 ||
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_GET_TAG, kTagBytes, Bytes(out) + plain.size()) !=
          1) {
    return CipherFailed();
  }
  return out;
}

absl::StatusOr<std::string> Decrypt(std::string_view key, std::string_view nonce,
                                    std::string_view aad, std::string_view sealed,
                                    const TicketId& ticket) {
  const absl::Status tampered = Error(
      absl::StatusCode::kDataLoss, "PAYLOAD_TAMPERED",
      "the sealed text, its key or its ticket is not what was stored", {{"ticket", ticket.value}});
  if (sealed.size() < kTagBytes || nonce.size() != kNonceBytes) return tampered;
  const std::string_view body = sealed.substr(0, sealed.size() - kTagBytes);
  std::string tag(sealed.substr(body.size()));
  std::string out(body.size(), '\0');
  Cipher ctx = NewCipher();
  int n = 0;
  if (!ctx || EVP_DecryptInit_ex(ctx.get(), Aes256Gcm(), nullptr, Bytes(key), Bytes(nonce)) != 1 ||
      EVP_DecryptUpdate(ctx.get(), nullptr, &n, Bytes(aad), static_cast<int>(aad.size())) != 1 ||
      EVP_DecryptUpdate(ctx.get(), Bytes(out), &n, Bytes(body), static_cast<int>(body.size())) !=
          1 ||
      EVP_CIPHER_CTX_ctrl(ctx.get(), EVP_CTRL_GCM_SET_TAG, kTagBytes, tag.data()) != 1) {
    Cleanse(&out);
    return CipherFailed();
  }
  if (EVP_DecryptFinal_ex(ctx.get(), Bytes(out) + n, &n) != 1) {
    Cleanse(&out);  // unauthenticated plain text is nobody's
    return tampered;
  }
  return out;
}

absl::Status KeyFileMalformed(const fs::path& file) {
  return Error(absl::StatusCode::kInvalidArgument, "KEY_FILE_MALFORMED",
               "this is not a key file of lethe, or a damaged one; give the right one",
               {{"file", file.string()}});
}

// 64 hex digits as 32 bytes, or "".
std::string FromHex(const std::string& text) {
  if (text.size() != 2 * kKeyBytes ||
      text.find_first_not_of("0123456789abcdef") != std::string::npos) {
    return "";
  }
  return absl::HexStringToBytes(text);
}

absl::Status CheckExposure(const fs::path& file) {
  struct stat info;
  if (stat(file.c_str(), &info) != 0) {
    return Error(absl::StatusCode::kNotFound, "KEY_FILE_MISSING",
                 "the key file cannot be read; without it no stored text can be opened",
                 {{"file", file.string()}});
  }
  if ((info.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_FILE_EXPOSED",
                 "others may read the key file; chmod 600 it", {{"file", file.string()}});
  }
  return absl::OkStatus();
}

bool IsInside(const fs::path& file, const fs::path& folder) {
  const fs::path f = fs::weakly_canonical(file), d = fs::weakly_canonical(folder);
  return std::mismatch(d.begin(), d.end(), f.begin(), f.end()).first == d.end();
}

}  // namespace

std::string CorpusSecret(const Vault& vault, const ModelId& model,
                         const std::string& corpus_folder) {
  return vault.BodyDigest("lethe corpus key\n" + model.value + "\n" + corpus_folder);
}

void Cleanse(std::string* secret) {
  OPENSSL_cleanse(secret->data(), secret->size());
  secret->clear();
}

Vault::Vault(fs::path file, Random* random, std::string digest_key, Keys epochs)
    : file_(std::move(file)),
      random_(random),
      digest_key_(std::move(digest_key)),
      epochs_(std::move(epochs)) {}

Vault::~Vault() {
  absl::MutexLock lock(&mu_);
  Cleanse(&digest_key_);
  for (auto& [epoch, key] : epochs_) Cleanse(&key);
}

absl::Status Vault::WriteFile(const Keys& epochs) const {
  std::string text =
      std::string(kHeader) + "\ndigest " + absl::BytesToHexString(digest_key_) + "\n";
  for (const auto& [epoch, key] : epochs) {
    text += "epoch " + std::to_string(epoch) + " " + absl::BytesToHexString(key) + "\n";
  }
  auto cleanse = absl::MakeCleanup([&] { Cleanse(&text); });
  return WriteFileAtomically(file_, text, 0600);
}

absl::StatusOr<std::unique_ptr<Vault>> Vault::Open(const fs::path& key_file,
                                                   const VaultOptions& options, Random* random) {
  if (!options.data_folder.empty() && IsInside(key_file, options.data_folder)) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_FILE_INSIDE_DATA",
                 "the key file must lie outside the data folder: a copy of the one must not carry "
                 "the other",
                 {{"file", key_file.string()}});
  }
  if (!fs::exists(key_file) && options.create) {
    auto vault = std::unique_ptr<Vault>(
        new Vault(key_file, random, random->Bytes(kKeyBytes), {{1, random->Bytes(kKeyBytes)}}));
    absl::MutexLock lock(&vault->mu_);
    LETHE_RETURN_IF_ERROR(vault->WriteFile(vault->epochs_));
    return vault;
  }
  LETHE_RETURN_IF_ERROR(CheckExposure(key_file));
  LETHE_ASSIGN_OR_RETURN(std::string text, ReadFile(key_file, 1 << 20));
  auto cleanse = absl::MakeCleanup([&] { Cleanse(&text); });
  std::istringstream lines(text);
  std::string line, word, hex, digest_key;
  Keys epochs;
  if (!std::getline(lines, line) || line != kHeader) return KeyFileMalformed(key_file);
  while (lines >> word) {
    if (word == "digest" && lines >> hex) {
      digest_key = FromHex(hex);
    } else if (uint64_t epoch = 0; word == "epoch" && lines >> epoch >> hex) {
      epochs[epoch] = FromHex(hex);
    } else {
      return KeyFileMalformed(key_file);
    }
  }
  if (digest_key.empty() || epochs.empty()) return KeyFileMalformed(key_file);
  for (const auto& [epoch, key] : epochs) {
    if (key.empty() || epoch == 0) return KeyFileMalformed(key_file);
  }
  return std::unique_ptr<Vault>(
      new Vault(key_file, random, std::move(digest_key), std::move(epochs)));
}

absl::StatusOr<Sealed> Vault::Seal(Random* random, const TicketId& ticket,
                                   std::string_view plain) const {
  // One call for the data key and both nonces: the generator's set-up costs more than its bytes.
  std::string drawn = random->Bytes(kKeyBytes + 2 * kNonceBytes);
  auto cleanse = absl::MakeCleanup([&] { Cleanse(&drawn); });
  const std::string_view data_key = std::string_view(drawn).substr(0, kKeyBytes);
  Sealed sealed;
  sealed.payload.set_nonce(drawn.substr(kKeyBytes, kNonceBytes));
  sealed.key.set_nonce(drawn.substr(kKeyBytes + kNonceBytes));
  LETHE_ASSIGN_OR_RETURN(*sealed.payload.mutable_sealed(),
                         Encrypt(data_key, sealed.payload.nonce(), ticket.value, plain));
  sealed.commitment = HmacSha256Hex(data_key, plain);
  absl::MutexLock lock(&mu_);
  sealed.key.set_epoch(epochs_.rbegin()->first);
  LETHE_ASSIGN_OR_RETURN(
      *sealed.key.mutable_wrapped(),
      Encrypt(epochs_.rbegin()->second, sealed.key.nonce(), ticket.value, data_key));
  return sealed;
}

absl::StatusOr<std::string> Vault::Unseal(const TicketId& ticket, const PayloadRecord& payload,
                                          const KeyRecord& key) const {
  std::string data_key;
  auto cleanse = absl::MakeCleanup([&] { Cleanse(&data_key); });
  {
    absl::MutexLock lock(&mu_);
    auto epoch = epochs_.find(key.epoch());
    if (epoch == epochs_.end()) {
      return Error(absl::StatusCode::kFailedPrecondition, "KEY_EPOCH_UNKNOWN",
                   "the key file no longer holds the epoch of this key",
                   {{"ticket", ticket.value}, {"epoch", std::to_string(key.epoch())}});
    }
    LETHE_ASSIGN_OR_RETURN(
        data_key, Decrypt(epoch->second, key.nonce(), ticket.value, key.wrapped(), ticket));
  }
  return Decrypt(data_key, payload.nonce(), ticket.value, payload.sealed(), ticket);
}

absl::StatusOr<KeyRecord> Vault::Rewrap(Random* random, const TicketId& ticket,
                                        const KeyRecord& key) const {
  std::string data_key;
  auto cleanse = absl::MakeCleanup([&] { Cleanse(&data_key); });
  absl::MutexLock lock(&mu_);
  auto epoch = epochs_.find(key.epoch());
  if (epoch == epochs_.end()) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_EPOCH_UNKNOWN",
                 "the key file no longer holds the epoch of this key", {{"ticket", ticket.value}});
  }
  LETHE_ASSIGN_OR_RETURN(data_key,
                         Decrypt(epoch->second, key.nonce(), ticket.value, key.wrapped(), ticket));
  KeyRecord out;
  out.set_epoch(epochs_.rbegin()->first);
  out.set_nonce(random->Bytes(kNonceBytes));
  LETHE_ASSIGN_OR_RETURN(*out.mutable_wrapped(),
                         Encrypt(epochs_.rbegin()->second, out.nonce(), ticket.value, data_key));
  return out;
}

std::string Vault::BodyDigest(std::string_view body) const {
  return HmacSha256Hex(digest_key_, body);
}

std::string Vault::Identity() const {
  return HmacSha256Hex(digest_key_, "lethe key file identity");
}

uint64_t Vault::newest_epoch() const {
  absl::MutexLock lock(&mu_);
  return epochs_.rbegin()->first;
}

bool Vault::HasEpoch(uint64_t epoch) const {
  absl::MutexLock lock(&mu_);
  return epochs_.contains(epoch);
}

absl::StatusOr<uint64_t> Vault::AddEpoch() {
  absl::MutexLock lock(&mu_);
  Keys next = epochs_;
  const uint64_t epoch = epochs_.rbegin()->first + 1;
  next[epoch] = random_->Bytes(kKeyBytes);
  LETHE_RETURN_IF_ERROR(WriteFile(next));
  epochs_.swap(next);
  for (auto& [old, key] : next) Cleanse(&key);
  return epoch;
}

absl::Status Vault::DropEpochsBefore(uint64_t epoch) {
  absl::MutexLock lock(&mu_);
  if (!epochs_.contains(epoch)) {
    return Error(absl::StatusCode::kFailedPrecondition, "KEY_EPOCH_UNKNOWN",
                 "the key file has no such epoch", {{"epoch", std::to_string(epoch)}});
  }
  Keys next(epochs_.lower_bound(epoch), epochs_.end());
  LETHE_RETURN_IF_ERROR(WriteFile(next));
  epochs_.swap(next);
  for (auto& [old, key] : next) Cleanse(&key);
  return absl::OkStatus();
}

}  // namespace lethe::storage
