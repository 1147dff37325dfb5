// Numbers as bytes: little-endian in records and footers, big-endian in the keys of sorted tables,
// whose order is that of memcmp.
//
// Threads    free functions; any.
// Errors     none: who loads has looked at the length first. LoadVarint alone says whether one was
//            there.
#ifndef LETHE_CORPUS_BYTE_ORDER_H_
#define LETHE_CORPUS_BYTE_ORDER_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace lethe {

inline void PutLittle(std::string* out, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) out->push_back(static_cast<char>(value >> (8 * i)));
}

inline uint64_t LoadLittle(const char* from, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i)
    value |= uint64_t{static_cast<unsigned char>(from[i])} << 8 * i;
  return value;
}

inline void StoreBig(char* to, uint64_t value, size_t bytes) {
  for (size_t i = 0; i < bytes; ++i) to[i] = static_cast<char>(value >> (8 * (bytes - 1 - i)));
}

inline uint64_t LoadBig(const char* from, size_t bytes) {
  uint64_t value = 0;
  for (size_t i = 0; i < bytes; ++i) value = value << 8 | static_cast<unsigned char>(from[i]);
  return value;
}

// Seven bits a byte, the lowest first; the highest bit says that another byte follows.
inline void PutVarint(std::string* out, uint32_t value) {
  for (; value >= 0x80; value >>= 7) out->push_back(static_cast<char>(value | 0x80));
  out->push_back(static_cast<char>(value));
}

// Takes a number off the head of `bytes`; false when there is none of 32 bits.
inline bool LoadVarint(std::string_view* bytes, uint32_t* value) {
  uint64_t sum = 0;
  for (size_t i = 0; i < bytes->size() && i < 5; ++i) {
    const auto byte = static_cast<unsigned char>((*bytes)[i]);
    sum |= uint64_t{byte & 0x7fu} << (7 * i);
    if (byte >= 0x80) continue;
    if (sum > UINT32_MAX) return false;
    *value = static_cast<uint32_t>(sum);
    bytes->remove_prefix(i + 1);
    return true;
  }
  return false;
}

}  // namespace lethe

#endif  // LETHE_CORPUS_BYTE_ORDER_H_
