#include "base/digest.h"

#include <openssl/evp.h>
#include <openssl/params.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace fs = std::filesystem;

namespace {

// Fetched once: OpenSSL 3 looks an algorithm up by name, under a lock, wherever it is named anew.
const EVP_MD* FetchedSha256() {
  static EVP_MD* digest = EVP_MD_fetch(nullptr, "SHA256", nullptr);
  return digest;
}

}  // namespace

Sha256::Sha256() : context_(EVP_MD_CTX_new()) {
  EVP_DigestInit_ex(static_cast<EVP_MD_CTX*>(context_), FetchedSha256(), nullptr);
}
Sha256::~Sha256() { EVP_MD_CTX_free(static_cast<EVP_MD_CTX*>(context_)); }
void Sha256::Update(std::string_view bytes) {
  EVP_DigestUpdate(static_cast<EVP_MD_CTX*>(context_), bytes.data(), bytes.size());
}
std::string Sha256::Hex() {
  unsigned char out[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(static_cast<EVP_MD_CTX*>(context_), out, &size);
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(out), size));
}

std::string Sha256Hex(std::string_view bytes) {
  Sha256 hash;
  hash.Update(bytes);
  return hash.Hex();
}

std::string HmacSha256Hex(std::string_view key, std::string_view bytes) {
  static EVP_MAC* hmac = EVP_MAC_fetch(nullptr, "HMAC", nullptr);
  char digest[] = "SHA256";
  const OSSL_PARAM parameters[] = {OSSL_PARAM_construct_utf8_string("digest", digest, 0),
                                   OSSL_PARAM_construct_end()};
  unsigned char out[EVP_MAX_MD_SIZE];
  size_t size = 0;
  const std::unique_ptr<EVP_MAC_CTX, decltype(&EVP_MAC_CTX_free)> context(EVP_MAC_CTX_new(hmac),
                                                                          &EVP_MAC_CTX_free);
  const auto* key_bytes = reinterpret_cast<const unsigned char*>(key.data());
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  if (!context || EVP_MAC_init(context.get(), key_bytes, key.size(), parameters) != 1 ||
      EVP_MAC_update(context.get(), data, bytes.size()) != 1 ||
      EVP_MAC_final(context.get(), out, &size, sizeof out) != 1) {
    std::abort();  // no memory, or an OpenSSL without SHA-256
  }
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(out), size));
}

absl::StatusOr<std::string> FileDigest(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) {
    return Error(
        absl::StatusCode::kNotFound, "FILE_ERROR",
        absl::StrCat("cannot read ", file.string(), ": check that it exists and is readable"));
  }
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  while (in) {
    in.read(buffer.data(), static_cast<std::streamsize>(buffer.size()));
    hash.Update({buffer.data(), static_cast<size_t>(in.gcount())});
  }
  if (in.bad()) {
    return Error(absl::StatusCode::kDataLoss, "FILE_ERROR",
                 absl::StrCat("reading ", file.string(), " failed"));
  }
  return hash.Hex();
}

absl::StatusOr<std::string> FolderDigest(const fs::path& folder,
                                         const std::set<std::string>& except) {
  std::error_code ec;
  std::vector<std::string> names;
  for (auto it = fs::recursive_directory_iterator(folder, ec);
       !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    const std::string name = fs::relative(it->path(), folder, ec).generic_string();
    if (it->path().filename().string().starts_with(".")) {
      if (it->is_directory(ec)) it.disable_recursion_pending();
      continue;
    }
    if (it->is_regular_file(ec) && !except.contains(name)) names.push_back(name);
  }
  if (ec) {
    return Error(absl::StatusCode::kNotFound, "FILE_ERROR",
                 absl::StrCat("cannot list ", folder.string(), ": ", ec.message()));
  }
  std::sort(names.begin(), names.end());
  Sha256 hash;
  for (const std::string& name : names) {
    LETHE_ASSIGN_OR_RETURN(std::string digest, FileDigest(folder / name));
    hash.Update(absl::StrCat(digest, "  ", name, "\n"));
  }
  return hash.Hex();
}

}  // namespace lethe
