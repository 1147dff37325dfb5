// What can be known of a corpus before a worker has read it: paths and options.
//
//   LETHE_ASSIGN_OR_RETURN(storage::RegisterCorpus command,
//                          CheckCorpusRegistration(request, model, random));
//
// Lines      are read by a worker: a corpus of millions of them would keep a call waiting for hours.
//            What is wrong with one stands in Corpus.failure_reason, failure_source and failure_line.
// Errors     INVALID_ARGUMENT: SOURCE_UNREADABLE, CORPUS_OPTIONS_INVALID, TEACHER_OPTIONS_INVALID,
//            BASE_OPTIONS_INVALID,
//            each with the field.
// Threads    pure but for the files it looks at: it blocks.
#ifndef LETHE_SERVER_CORPUS_REGISTRATION_H_
#define LETHE_SERVER_CORPUS_REGISTRATION_H_

#include <lethe/v1/model.pb.h>
#include <lethe/v1/model_service.pb.h>

#include "absl/status/statusor.h"
#include "base/random.h"
#include "storage/command/commands.h"

namespace lethe {

// With defaults filled in; without actor and job id. `random` draws a seed for teachers that have
// none.
absl::StatusOr<storage::RegisterCorpus> CheckCorpusRegistration(
    const v1::RegisterCorpusRequest& request, const v1::Model& model, Random* random);

}  // namespace lethe

#endif  // LETHE_SERVER_CORPUS_REGISTRATION_H_
