// CorpusKey: what turns the keys of people and documents into the hashes that a corpus stores.
//
//   LETHE_ASSIGN_OR_RETURN(CorpusKey key, CorpusKey::FromFile("/etc/lethe/corpus.key"));
//   const KeyHash hash = key.OfSubject("p-17");
//
// Subkeys    each use has a key of its own: HMAC-SHA256(secret, "lethe corpus <use>"). A subject and
//            a document of the same name have nothing in common on disk.
// Hashes     HMAC-SHA256(subkey, key), cut to 16 bytes: two of 2^32 keys meet with probability
//            2^-65.
// Lost       without the secret no subject or document can be found again; sequences can be read.
// Threads    a CorpusKey never changes; any.
// Errors     INVALID_ARGUMENT/KEY_TOO_SHORT; those of ReadFile.
#ifndef LETHE_CORPUS_CORPUS_KEY_H_
#define LETHE_CORPUS_CORPUS_KEY_H_

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "corpus/siphash.h"

namespace lethe {

inline constexpr size_t kKeyHashBytes = 16;
using KeyHash = std::array<char, kKeyHashBytes>;

inline std::string_view View(const KeyHash& hash) { return {hash.data(), hash.size()}; }

class CorpusKey {
 public:
  static constexpr size_t kMinBytes = 32;

  static absl::StatusOr<CorpusKey> FromBytes(std::string_view secret);
  // The bytes of a file, without line ends behind them: `openssl rand -hex 32` makes one.
  static absl::StatusOr<CorpusKey> FromFile(const std::filesystem::path& file);

  KeyHash OfSubject(std::string_view subject) const;
  KeyHash OfDocument(std::string_view document) const;
  const SipKey& grams() const { return grams_; }

  // For keys of what is made of the corpus: states of training. 32 bytes.
  const std::string& states() const { return states_; }

  // Tells whether a corpus was made with this key, and nothing else about it.
  const std::string& id() const { return id_; }

 private:
  CorpusKey() = default;

  std::string subjects_, documents_, states_;  // subkeys
  SipKey grams_;
  std::string id_;
};

// The shard that holds a person, of so many.
uint32_t ShardOf(const KeyHash& subject, uint32_t shards);

}  // namespace lethe

#endif  // LETHE_CORPUS_CORPUS_KEY_H_
