// Ranks as threads of one process, on loopback.
#ifndef LETHE_TESTS_ENGINE_TRAIN_RANKS_HARNESS_H_
#define LETHE_TESTS_ENGINE_TRAIN_RANKS_HARNESS_H_

#include <gtest/gtest.h>
#include <stdlib.h>

#include <functional>
#include <memory>
#include <thread>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <vector>

#include "engine/ranks.h"

namespace lethe {

// A store as torchrun serves it, on a port of the machine's choice.
class ServedStore {
 public:
  ServedStore() {
    c10d::TCPStoreOptions options;
    options.isServer = true;
    options.port = 0;  // the default is torch's own, one for the machine
    options.waitWorkers = false;
    store_ = c10::make_intrusive<c10d::TCPStore>("127.0.0.1", options);
  }
  int port() const { return store_->getPort(); }

 private:
  c10::intrusive_ptr<c10d::TCPStore> store_;
};

// Runs body(ranks) in `count` threads, each with Ranks of its own, and waits for all.
inline void WithRanks(int count, const std::function<void(Ranks&)>& body) {
  // c10d's flight recorder is one for the process and expects the one rank that a process has.
  setenv("TORCH_FR_BUFFER_SIZE", "0", /*overwrite=*/1);
  const ServedStore store;
  std::vector<std::thread> threads;
  for (int index = 0; index < count; ++index) {
    threads.emplace_back([&, index] {
      const auto ranks = Ranks::Join({.index = index,
                                      .count = count,
                                      .address = "127.0.0.1",
                                      .port = store.port(),
                                      .store_is_served = true,
                                      .interface = "lo"});
      ASSERT_TRUE(ranks.ok()) << ranks.status();
      body(**ranks);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_TRAIN_RANKS_HARNESS_H_
