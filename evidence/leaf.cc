#include "evidence/leaf.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/message_lite.h>
#include <openssl/sha.h>

#include <cstddef>

namespace lethe {
namespace {

std::string Sha256(const std::string& bytes) {
  std::string digest(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(),
         reinterpret_cast<unsigned char*>(digest.data()));
  return digest;
}

// The tree over `count` > 0 leaves splits at the largest power of two below `count`.
std::string RootOf(const std::string* leaves, size_t count) {
  if (count == 1) return leaves[0];
  size_t split = 1;
  while (split * 2 < count) split *= 2;
  return NodeHash(RootOf(leaves, split), RootOf(leaves + split, count - split));
}

}  // namespace

std::string CanonicalBytes(const google::protobuf::MessageLite& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

std::string LeafHash(std::string_view bytes) {
  std::string input(1, '\0');
  return Sha256(input.append(bytes));
}

std::string NodeHash(std::string_view left, std::string_view right) {
  std::string input(1, '\1');
  return Sha256(input.append(left).append(right));
}

std::string MerkleRoot(const std::vector<std::string>& leaf_hashes) {
  if (leaf_hashes.empty()) return Sha256("");
  return RootOf(leaf_hashes.data(), leaf_hashes.size());
}

}  // namespace lethe
