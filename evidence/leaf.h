// Merkle hashes of the audit log, RFC 6962 section 2.1.
//
//   std::string leaf = LeafHash(bytes);            // SHA-256(0x00 || bytes), 32 bytes
//   std::string root = MerkleRoot({leaf0, leaf1, leaf2});
//   std::string bytes = CanonicalBytes(message);   // equal for equal messages, map order or not
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_LEAF_H_
#define LETHE_EVIDENCE_LEAF_H_

#include <string>
#include <string_view>
#include <vector>

namespace google::protobuf {
class MessageLite;
}

namespace lethe {

// A message as bytes that a hash may rest on: fields by number, maps by
// key. Unknown fields are kept as they came.
std::string CanonicalBytes(const google::protobuf::MessageLite& message);

// SHA-256(0x00 || bytes), 32 bytes.
std::string LeafHash(std::string_view bytes);

// SHA-256(0x01 || left || right), 32 bytes.
std::string NodeHash(std::string_view left, std::string_view right);

// Root over leaf hashes in their order; of none: SHA-256 of nothing.
std::string MerkleRoot(const std::vector<std::string>& leaf_hashes);

}  // namespace lethe

#endif  // LETHE_EVIDENCE_LEAF_H_
