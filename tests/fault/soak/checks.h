// What must hold in the folders of a dead server: the soak's own eyes beside fsck.
//
//   for (const std::string& wrong : CheckPromises(store, ledger)) ...       // after each round
//   for (const std::string& wrong : CheckEnd(store, models, ledger, &sums)) ...   // at the end
//
// Independent of fsck and of the code that decides: the audit log and the folders are read here and
// compared with what clients were told. Each line is one sentence; none: all is well.
//
// Threads    free functions; no server may run on the folders.
#ifndef LETHE_TESTS_FAULT_SOAK_CHECKS_H_
#define LETHE_TESTS_FAULT_SOAK_CHECKS_H_

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tests/fault/soak/ledger.h"

namespace lethe::soak {

using Problems = std::vector<std::string>;

struct Sums {
  std::map<std::string, int> tickets;      // by final state
  std::map<std::string, int> states;       // how often a ticket came to it
  std::map<std::string, int> checkpoints;  // by state
  std::map<std::string, int> leases;       // by how they ended: what a job went to from LEASED
  std::map<std::string, int> gates;        // of the verdicts, those that did not hold, by name
};

// fsck; `strict`: also what the next start of the server would repair counts. Digests of the
// promoted folders are computed. `repairable` gets the number of those findings.
Problems CheckWithFsck(const std::filesystem::path& store, const std::filesystem::path& models,
                       bool strict, int* repairable);

// Every acknowledged ticket is there.
Problems CheckPromises(const std::filesystem::path& store, const Ledger& ledger);

// All tickets have ended, as they were promised to; promotions make a chain; nothing is left over.
Problems CheckEnd(const std::filesystem::path& store, const std::filesystem::path& models,
                  const Ledger& ledger, Sums* sums);

}  // namespace lethe::soak

#endif  // LETHE_TESTS_FAULT_SOAK_CHECKS_H_
