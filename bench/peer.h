// A measured peer: a Python program of bench/transformers in a process of its own, that does the
// same work with Hugging Face transformers and answers one line of JSON to each line it is sent.
//
//   LETHE_ASSIGN_OR_RETURN(auto peer, Peer::Start("step.py", {"--model", folder, "--threads", "2"}));
//   LETHE_ASSIGN_OR_RETURN(nlohmann::json answer, peer->Ask("step 3"));
//   answer.at("seconds");
//
// The interpreter is that of tools/transformers_env.sh; where there is none, Start says how to get
// one. A peer that is not asked waits in a read and takes no processor time, so that one and the
// other can be measured in turns.
//
// Errors     FAILED_PRECONDITION/NO_TRANSFORMERS; INTERNAL/PEER_FAILED with what it said last.
// Threads    one at a time.
#ifndef LETHE_BENCH_PEER_H_
#define LETHE_BENCH_PEER_H_

#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace lethe {

class Peer {
 public:
  static absl::StatusOr<std::unique_ptr<Peer>> Start(const std::string& script,
                                                     const std::vector<std::string>& arguments);
  // The same of any program, which answers in the same way.
  static absl::StatusOr<std::unique_ptr<Peer>> Run(std::vector<std::string> words);
  ~Peer();  // closes its input and waits for its end
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;

  absl::StatusOr<nlohmann::json> Ask(const std::string& line);

 private:
  Peer(pid_t pid, std::FILE* to, std::FILE* from) : pid_(pid), to_(to), from_(from) {}

  const pid_t pid_;
  std::FILE* const to_;
  std::FILE* const from_;
};

// Largest resident set of this process so far, bytes.
double PeakMemory();
// Resident set of this process now, bytes.
double MemoryNow();

}  // namespace lethe

#endif  // LETHE_BENCH_PEER_H_
