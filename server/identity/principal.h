// Who calls, independent of how they reached us. Services and the audit log know only a Principal;
// where it comes from is decided here.
//
// Today      LocalIdentity: the server listens on loopback (or on a network its operator vouched
//            for), so every caller is "local".
// Later      mutual TLS: the name is the certificate's SAN, a file maps it to roles. Only a new
//            Identity is needed for that.
// Threads    any.
#ifndef LETHE_SERVER_IDENTITY_PRINCIPAL_H_
#define LETHE_SERVER_IDENTITY_PRINCIPAL_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lethe {

// A caller's name as it stands in the audit log. Never a person's name: a service account, a
// certificate's URI, or "local".
struct Principal {
  std::string name;
};

// What the transport knows of the other side.
struct PeerFacts {
  std::string address;                // "ipv4:127.0.0.1:53712"; for nothing but this decision
  std::vector<std::string> subjects;  // SANs of a verified certificate; empty without TLS
};

class Identity {
 public:
  virtual ~Identity() = default;
  virtual absl::StatusOr<Principal> Identify(const PeerFacts& peer) const = 0;
};

class LocalIdentity : public Identity {
 public:
  absl::StatusOr<Principal> Identify(const PeerFacts& peer) const override {
    return Principal{"local"};
  }
};

}  // namespace lethe

#endif  // LETHE_SERVER_IDENTITY_PRINCIPAL_H_
