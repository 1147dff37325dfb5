// CRC-32C (Castagnoli): finds each flipped bit, and each burst of up to 32, in what was read. It
// keeps nobody from writing something else: SHA-256 in the manifest stands for whole files.
//
//   if (Crc32c(body) != LoadLittle(at, 4)) return Damaged(...);
//
// Threads    any.
#ifndef LETHE_CORPUS_CHECKSUM_H_
#define LETHE_CORPUS_CHECKSUM_H_

#include <cstdint>
#include <string_view>

namespace lethe {

// Of `bytes` behind what gave `before`: Crc32c(b, Crc32c(a)) is that of a and b together.
uint32_t Crc32c(std::string_view bytes, uint32_t before = 0);

// The same without the processor's instruction, which tests compare with.
uint32_t Crc32cByTableForTest(std::string_view bytes, uint32_t before = 0);

}  // namespace lethe

#endif  // LETHE_CORPUS_CHECKSUM_H_
