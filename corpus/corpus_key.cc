#include "corpus/corpus_key.h"

#include <algorithm>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/status.h"
#include "corpus/byte_order.h"

namespace lethe {
namespace {

std::string Subkey(std::string_view secret, const char* use) {
  return absl::HexStringToBytes(HmacSha256Hex(secret, absl::StrCat("lethe corpus ", use)));
}

KeyHash Cut(std::string_view subkey, std::string_view key) {
  const std::string bytes = absl::HexStringToBytes(HmacSha256Hex(subkey, key));
  KeyHash hash;
  std::copy_n(bytes.data(), hash.size(), hash.data());
  return hash;
}

}  // namespace

absl::StatusOr<CorpusKey> CorpusKey::FromBytes(std::string_view secret) {
  if (secret.size() < kMinBytes) {
    return Error(absl::StatusCode::kInvalidArgument, "KEY_TOO_SHORT",
                 absl::StrCat("the key has ", secret.size(), " bytes; at least ", kMinBytes,
                              " are needed: `openssl rand -hex 32` makes one"));
  }
  CorpusKey key;
  key.subjects_ = Subkey(secret, "subjects");
  key.documents_ = Subkey(secret, "documents");
  key.states_ = Subkey(secret, "states");
  const std::string grams = Subkey(secret, "grams");
  key.grams_ = {LoadLittle(grams.data(), 8), LoadLittle(grams.data() + 8, 8)};
  key.id_ = HmacSha256Hex(secret, "lethe corpus id").substr(0, 32);
  return key;
}

absl::StatusOr<CorpusKey> CorpusKey::FromFile(const std::filesystem::path& file) {
  LETHE_ASSIGN_OR_RETURN(std::string secret, ReadFile(file, /*limit_bytes=*/65536));
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  absl::StatusOr<CorpusKey> key = FromBytes(secret);
  if (!key.ok()) return Annotate(key.status(), file.string());
  return key;
}

KeyHash CorpusKey::OfSubject(std::string_view subject) const { return Cut(subjects_, subject); }
KeyHash CorpusKey::OfDocument(std::string_view document) const { return Cut(documents_, document); }

uint32_t ShardOf(const KeyHash& subject, uint32_t shards) {
  return static_cast<uint32_t>(LoadBig(subject.data(), 8) % shards);
}

}  // namespace lethe
