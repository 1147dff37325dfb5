// What the services share: one struct of borrowed parts, built and owned by Server.
//
// Threads    constant after the server's start; each part is safe by itself.
#ifndef LETHE_SERVER_CORE_H_
#define LETHE_SERVER_CORE_H_

#include <atomic>
#include <utility>

#include "base/clock.h"
#include "base/random.h"
#include "server/audit_hub.h"
#include "server/background.h"
#include "server/config.h"
#include "server/errors.h"
#include "server/identity/principal.h"
#include "server/metrics.h"
#include "server/model_index.h"
#include "server/open_corpora.h"
#include "server/page_token.h"
#include "server/rpc/call_gate.h"
#include "server/rpc/unary_call.h"
#include "server/ticket_hub.h"
#include "server/tokenizer_cache.h"
#include "storage/ticket_store.h"
#include "storage/vault.h"

namespace lethe {

struct Core {
  const ServerConfig* config = nullptr;
  Clock* clock = nullptr;
  Random* random = nullptr;
  const Identity* identity = nullptr;
  Metrics* metrics = nullptr;
  storage::TicketStore* store = nullptr;
  storage::Vault* vault = nullptr;
  ModelIndex* models = nullptr;
  TokenizerCache* tokenizers = nullptr;
  OpenCorpora* corpora = nullptr;
  TicketHub* hub = nullptr;
  AuditHub* audits = nullptr;
  const PageTokens* pages = nullptr;
  Background* background = nullptr;  // short tasks: lists, tokenising, building jobs
  Background* digests = nullptr;     // long ones: digests of checkpoints, checks of data sets
  CallGate* calls = nullptr;
  CallGate* polls = nullptr;
  CallGate* watches = nullptr;
  CallGate* audit_calls = nullptr;
  std::atomic<int64_t> waiting_tickets{0};  // QUEUED
  std::atomic<int64_t> queued_commands{0};  // posted, not yet decided

  // As TicketStore::Post, but refuses instead of queueing without end.
  void Post(storage::Command command, storage::TicketStore::Done done) {
    if (queued_commands.fetch_add(1) >= config->max_queued_commands) {
      queued_commands.fetch_sub(1);
      done(RetryLater(absl::StatusCode::kResourceExhausted, "STORE_BUSY",
                      "too many writes wait for the disk; call again a little later",
                      absl::Milliseconds(200)));
      return;
    }
    store->Post(std::move(command), [this, done = std::move(done)](auto receipt) {
      queued_commands.fetch_sub(1);
      done(std::move(receipt));
    });
  }

  // Runs a task of a call that would block a handler; finishes the call itself when it cannot.
  template <typename Call, typename Task>
  void RunFor(Call* call, Background* pool, Task task) {
    if (pool->Run(std::move(task))) return;
    call->Finish(RetryLater(absl::StatusCode::kResourceExhausted, "SERVER_BUSY",
                            "too many calls wait for a thread; call again a little later",
                            absl::Milliseconds(500)));
  }

  RpcMethod Method(const char* service, const char* method, CallGate* gate,
                   const char* type = "unary") const {
    return RpcMethod{metrics->Method(service, method, type), gate, identity};
  }
};

}  // namespace lethe

#endif  // LETHE_SERVER_CORE_H_
