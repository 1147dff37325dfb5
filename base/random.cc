#include "base/random.h"

#include <openssl/rand.h>

#include <cstdint>
#include <cstdlib>

#include "absl/strings/escaping.h"

namespace lethe {
namespace {

class OpenSslRandom : public Random {
 public:
  std::string Bytes(size_t count) override {
    std::string bytes(count, '\0');
    if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1)
      std::abort();
    return bytes;
  }
};

}  // namespace

Random* SecureRandom() {
  static OpenSslRandom* random = new OpenSslRandom;
  return random;
}

std::string NewId(Random* random, char prefix) {
  return std::string(1, prefix) + "-" + std::string(absl::BytesToHexString(random->Bytes(16)));
}

std::string NewOrderedId(Random* random, char prefix, absl::Time now) {
  const auto ms = static_cast<uint64_t>(absl::ToUnixMillis(now));
  std::string bytes;
  for (int shift = 40; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(ms >> shift));
  return std::string(1, prefix) + "-" + absl::BytesToHexString(bytes + random->Bytes(10));
}

}  // namespace lethe
