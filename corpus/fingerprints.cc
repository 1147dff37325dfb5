#include "corpus/fingerprints.h"

#include <algorithm>
#include <string>

#include "corpus/byte_order.h"

namespace lethe {
namespace {

uint64_t HashIds(char kind, std::span<const int32_t> ids, const SipKey& key, std::string* buffer) {
  buffer->assign(1, kind);
  for (const int32_t id : ids) PutLittle(buffer, static_cast<uint32_t>(id), 4);
  return SipHash(key, *buffer);
}

}  // namespace

uint64_t WholeHash(std::span<const int32_t> ids, const SipKey& key) {
  std::string buffer;
  return HashIds('w', ids, key, &buffer);
}

std::vector<uint64_t> GramHashes(std::span<const int32_t> ids, int32_t gram_tokens,
                                 const SipKey& key) {
  const auto n = static_cast<size_t>(gram_tokens);
  std::vector<uint64_t> hashes;
  if (ids.size() < n) return hashes;
  hashes.reserve(ids.size() - n + 1);
  std::string buffer;
  for (size_t i = 0; i + n <= ids.size(); ++i) {
    hashes.push_back(HashIds('g', ids.subspan(i, n), key, &buffer));
  }
  return hashes;
}

std::vector<uint64_t> Fingerprints(std::span<const int32_t> ids, const GramOptions& options,
                                   const SipKey& key) {
  const std::vector<uint64_t> grams = GramHashes(ids, options.gram_tokens, key);
  std::vector<uint64_t> prints = {WholeHash(ids, key)};
  const size_t window = std::min<size_t>(static_cast<size_t>(options.window), grams.size());
  for (size_t i = 0; window > 0 && i + window <= grams.size(); ++i) {
    const auto begin = grams.begin() + static_cast<ptrdiff_t>(i);
    const uint64_t least = *std::min_element(begin, begin + static_cast<ptrdiff_t>(window));
    if (prints.back() != least) prints.push_back(least);
  }
  std::sort(prints.begin(), prints.end());
  prints.erase(std::unique(prints.begin(), prints.end()), prints.end());
  return prints;
}

}  // namespace lethe
