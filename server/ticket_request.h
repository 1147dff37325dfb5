// A CreateTicketRequest checked and turned into what the store and the vault take; its targets apart,
// for an audit has targets too.
//
//   LETHE_RETURN_IF_ERROR(CheckForm(request, config, now));     // needs no model
//   LETHE_ASSIGN_OR_RETURN(CheckedTicket ticket,
//                          Resolve(request.targets(), *model, {&tokenizer, &corpus}, config));
//
// Errors     those of DeletionService.CreateTicket, each with the field it is about, all that were
//            found in one status (field_violations.h). No message repeats what a caller wrote.
// Threads    pure functions. Resolve tokenises text: on a background thread, unless NeedsTokenizer
//            says no.
#ifndef LETHE_SERVER_TICKET_REQUEST_H_
#define LETHE_SERVER_TICKET_REQUEST_H_

#include <lethe/v1/deletion_service.pb.h>
#include <lethe/v1/job.pb.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/config.h"
#include "server/corpus_targets.h"
#include "server/field_violations.h"
#include "server/model_index.h"
#include "text/tokenizer.h"

namespace lethe {

struct TicketTimes {
  v1::Regulation regulation;
  absl::Time asked;
  absl::Time due;
};

struct CheckedTicket {
  v1::TicketPayload payload;  // without the ticket's id
  CorpusFinds corpus;         // what of the model's corpus goes; its numbers are in the payload too
  int64_t tokens = 0;
  std::vector<int32_t> target_tokens;
};

using Targets = google::protobuf::RepeatedPtrField<v1::Target>;

absl::Status CheckForm(const v1::CreateTicketRequest& request, const ServerConfig& config);
// The part of CheckForm that is about the targets.
void CheckTargets(const Targets& targets, const ServerConfig& config, FieldViolations* wrong);
absl::StatusOr<TicketTimes> ResolveTimes(const v1::CreateTicketRequest& request,
                                         const ServerConfig& config, absl::Time now);

bool NeedsTokenizer(const Targets& targets);
// Whether one of them is a person or a document of a corpus.
bool NamesCorpus(const Targets& targets);

// What targets are read with.
struct TargetSources {
  const Tokenizer* tokenizer = nullptr;  // may be null when NeedsTokenizer says no
  const Corpus* corpus = nullptr;        // null: the model has none
};

// NO_CORPUS for a subject or document without one.
absl::StatusOr<CheckedTicket> Resolve(const Targets& targets, const v1::Model& model,
                                      const TargetSources& sources, const ServerConfig& config);

// True for 1 to 64 of [A-Za-z0-9._:-], with `more` allowed too.
bool IsPlainName(const std::string& text, std::string_view more = {});

}  // namespace lethe

#endif  // LETHE_SERVER_TICKET_REQUEST_H_
