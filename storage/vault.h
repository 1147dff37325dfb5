// Vault: seals what a person wants forgotten, so that destroying a ticket's key destroys its text.
//
//   LETHE_ASSIGN_OR_RETURN(auto vault,
//                          Vault::Open("/etc/lethe/key", {.create = true}, SecureRandom()));
//   LETHE_ASSIGN_OR_RETURN(Sealed sealed,
//                          vault->Seal(SecureRandom(), ticket, payload.SerializeAsString()));
//   LETHE_ASSIGN_OR_RETURN(std::string plain, vault->Unseal(ticket, payload_record, key_record));
//
// Scheme     every ticket has a random 256-bit data key; AES-256-GCM, 96-bit random nonce, ticket
//            id as additional data. The data key is wrapped the same way by the key file's key of
//            the newest epoch. Store and key file lie apart: either alone is useless.
// Key file   text, mode 0600, outside the data folder; written to a temporary, synced, renamed:
//              lethe key file 1
//              digest <64 hex>          HMAC key for BodyDigest; never changes
//              epoch <n> <64 hex>       one line an epoch; the largest n wraps
// Rotation   AddEpoch, re-wrap what lives, DropEpochsBefore: a wrapped key that survives in an old
//            file of the store is then unreadable. compact.h does the three in order.
// Errors     Open: FAILED_PRECONDITION/KEY_FILE_EXPOSED (others may read it), KEY_FILE_INSIDE_DATA;
//            NOT_FOUND/KEY_FILE_MISSING; INVALID_ARGUMENT/KEY_FILE_MALFORMED.
//            Unseal: DATA_LOSS/PAYLOAD_TAMPERED (bytes, key or ticket id differ),
//            FAILED_PRECONDITION/KEY_EPOCH_UNKNOWN.
// Threads    any thread may call.
// Memory     keys and plain text in our buffers are overwritten before they are freed; what Unseal
//            returns is the caller's to Cleanse.
#ifndef LETHE_STORAGE_VAULT_H_
#define LETHE_STORAGE_VAULT_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "base/ids.h"
#include "base/random.h"
#include "storage/command/commands.h"

namespace lethe::storage {

struct Sealed {
  PayloadRecord payload;
  KeyRecord key;
  std::string commitment;  // HMAC-SHA-256 of the plain text under the ticket's data key, hex: binds
                           // the audit leaf, tells nothing once the key is gone
};

struct VaultOptions {
  bool create = false;                // make the file when it is not there
  std::filesystem::path data_folder;  // where given, a key file inside it is refused
};

class Vault {
 public:
  // `random` is used for new keys here and in AddEpoch; it must outlive the vault.
  static absl::StatusOr<std::unique_ptr<Vault>> Open(const std::filesystem::path& key_file,
                                                     const VaultOptions& options, Random* random);
  ~Vault();
  Vault(const Vault&) = delete;
  Vault& operator=(const Vault&) = delete;

  absl::StatusOr<Sealed> Seal(Random* random, const TicketId& ticket, std::string_view plain) const;
  absl::StatusOr<std::string> Unseal(const TicketId& ticket, const PayloadRecord& payload,
                                     const KeyRecord& key) const;

  // The same data key under the newest epoch; `random` gives the nonce.
  absl::StatusOr<KeyRecord> Rewrap(Random* random, const TicketId& ticket,
                                   const KeyRecord& key) const;

  // HMAC-SHA-256 under the digest key, hex: tells a repeated request from a reused request id, and
  // is no dictionary to guess text with.
  std::string BodyDigest(std::string_view body) const;

  // Names this key file without telling anything of it; the store remembers it.
  std::string Identity() const;

  uint64_t newest_epoch() const;
  bool HasEpoch(uint64_t epoch) const;

  // Writes the file, then uses it. The new epoch's number.
  absl::StatusOr<uint64_t> AddEpoch();
  absl::Status DropEpochsBefore(uint64_t epoch);

 private:
  using Keys = std::map<uint64_t, std::string>;
  Vault(std::filesystem::path file, Random* random, std::string digest_key, Keys epochs);
  absl::Status WriteFile(const Keys& epochs) const;

  const std::filesystem::path file_;
  Random* const random_;
  std::string digest_key_;
  mutable absl::Mutex mu_;
  Keys epochs_ ABSL_GUARDED_BY(mu_);
};

// The secret of the key of a corpus (CorpusKey::FromBytes of corpus/corpus_key.h): of one model's
// corpus in one folder, derived from the digest key, so that it stands in no file beside the corpus.
std::string CorpusSecret(const Vault& vault, const ModelId& model,
                         const std::string& corpus_folder);

// Overwrites the bytes in a way that the compiler may not leave out, then empties the string.
void Cleanse(std::string* secret);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_VAULT_H_
