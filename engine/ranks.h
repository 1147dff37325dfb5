// The processes that train one model together, each on its share of the sequences: data parallel,
// in the environment that torchrun makes (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).
//
//   LETHE_ASSIGN_OR_RETURN(const std::shared_ptr<Ranks> ranks, Ranks::FromEnvironment());
//   request.ranks = ranks.get();   // null where this process works alone
//
//   LETHE_ASSIGN_OR_RETURN(std::vector<std::string> all, ranks->Gather(mine));   // one a rank
//
// Together   Every call is one that all ranks make, in the same order, and all return the same. A
//            rank that cannot go on says so with Fail, once: it is what the others' next call
//            returns, so that none waits for one that has gone. After a failure every call returns
//            it at once.
// Sums       come out as the same bits in every rank, and the same on every run of as many ranks.
// Wire       c10d with Gloo over TCP, found through rank 0's store at MASTER_ADDR:MASTER_PORT, or
//            through torchrun's own. GLOO_SOCKET_IFNAME names the interface. Nothing is
//            encrypted: the network between the ranks is to be one's own.
// GPUs       where each rank has one for itself, tensors on it are summed by NCCL (JoinGpus), and what
//            the ranks have to say to one another goes through Gloo as before. A rank that dies while
//            NCCL is at work leaves the others waiting for it.
// Threads    one at a time.
// Errors     INVALID_ARGUMENT/BAD_ENVIRONMENT, RANKS_DIFFER (CheckSame); UNAVAILABLE/RANK_LOST when
//            a rank does not answer or has gone; INTERNAL/RANKS_OUT_OF_STEP, a mistake in Lethe;
//            another rank's own code and reason.
#ifndef LETHE_ENGINE_RANKS_H_
#define LETHE_ENGINE_RANKS_H_

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "engine/device.h"

namespace lethe {

class GpuRanks;  // engine/cuda/cuda_library.h

// Where the ranks find one another.
struct RanksOptions {
  int index = 0, count = 1;
  std::string address;           // of a store that all can reach, ...
  int port = 0;                  // ... which rank 0 serves, ...
  bool store_is_served = false;  // ... or someone else does, as torchrun
  std::string attempt;           // of torchrun's restarts: none meets the words of an earlier one
  std::string interface;         // of the network; empty: the one of the machine's name
};

class Ranks {
 public:
  // Waits until all ranks are there.
  static absl::StatusOr<std::shared_ptr<Ranks>> Join(const RanksOptions& options);
  // By torchrun's variables; null where WORLD_SIZE is absent or 1.
  static absl::StatusOr<std::shared_ptr<Ranks>> FromEnvironment();
  ~Ranks();
  Ranks(const Ranks&) = delete;
  Ranks& operator=(const Ranks&) = delete;

  int index() const;  // 0, 1, ..., count() - 1
  int count() const;
  bool IsFirst() const { return index() == 0; }

  // Every rank's bytes, by index.
  absl::StatusOr<std::vector<std::string>> Gather(std::string_view mine);
  // OK where it is OK in all; else the status of the first rank that it is not, by index. The run
  // may go on.
  absl::Status Agree(const absl::Status& mine);
  // The last call of a rank that cannot go on. Returns `why`.
  absl::Status Fail(const absl::Status& why);
  // That `mine` is the same in all ranks; `what` says what it is, for the message.
  absl::Status CheckSame(std::string_view mine, std::string_view what);

  absl::Status Sum(std::span<float> values);            // in place, of as many in every rank
  absl::Status CopyFromFirst(std::span<float> values);  // what rank 0 has

  // Where all ranks compute on GPUs, each on its own: gpus() is there from now on. Where one does
  // not, or NCCL cannot, it stays null in all, and Gloo serves.
  absl::Status JoinGpus(const Device& device);
  GpuRanks* gpus() const { return gpus_.get(); }

 private:
  struct Wire;
  struct Control;
  explicit Ranks(std::unique_ptr<Wire> wire);
  // What every call begins with: all ranks' words, or the failure that one of them reports.
  absl::StatusOr<std::vector<Control>> Exchange(const Control& mine);
  absl::Status Lost(std::string_view what, const std::exception& error);
  // A collective of c10d on values of as many in every rank; `what` for the message when one goes.
  template <typename Collective>
  absl::Status InPlace(const Control& mine, std::span<float> values, std::string_view what,
                       const Collective& collective);

  std::unique_ptr<Wire> wire_;
  std::unique_ptr<GpuRanks> gpus_;
  absl::Status failure_;
};

// With a null `ranks` this process works alone.
inline absl::Status Agree(Ranks* ranks, const absl::Status& mine) {
  return ranks == nullptr ? mine : ranks->Agree(mine);
}
// The end of a run that rank 0 has written: the others wait for that. What is written stands, so a
// rank that is lost now is nothing to rank 0.
inline absl::Status EndTogether(Ranks* ranks) {
  const absl::Status status = Agree(ranks, absl::OkStatus());
  return ranks != nullptr && ranks->IsFirst() ? absl::OkStatus() : status;
}
inline bool IsFirst(const Ranks* ranks) { return ranks == nullptr || ranks->IsFirst(); }

// The items that a rank works on, of `items` in an order that all have: dealt out one by one, so
// that items sorted by size weigh about the same in each.
template <typename Item>
std::vector<Item> Deal(const std::vector<Item>& items, int index, int count) {
  std::vector<Item> mine;
  for (size_t i = static_cast<size_t>(index); i < items.size(); i += static_cast<size_t>(count)) {
    mine.push_back(items[i]);
  }
  return mine;
}

}  // namespace lethe

#endif  // LETHE_ENGINE_RANKS_H_
