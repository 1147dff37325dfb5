// A corpus and what a ticket touches of it, in words.
//
//   for (auto& field : CorpusFields(model.corpus())) fields.push_back(std::move(field));
//   TouchText(ticket.corpus(), ticket.state());   // "21 sequences in shards 0 and 2; once the …"
#ifndef LETHE_CLI_CORPUS_VIEW_H_
#define LETHE_CLI_CORPUS_VIEW_H_

#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "lethe/v1/model.pb.h"
#include "lethe/v1/ticket.pb.h"

namespace lethe {

// "READY", "TRAINING, 1 of 4 teachers is ready", "FAILED, SUBJECT_MISSING: /data/b.jsonl:3".
std::string CorpusStateText(const v1::Corpus& corpus);

// Lines of a model that is shown.
std::vector<std::pair<std::string, std::string>> CorpusFields(const v1::Corpus& corpus);
// A table of its teachers; nothing before there are any.
void PrintTeachers(std::ostream& out, const v1::Corpus& corpus);

// "21 sequences in shards 0 and 2".
std::string PlaceText(const v1::CorpusTouch& touch);
// That, and what becomes of them in this state of the ticket.
std::string TouchText(const v1::CorpusTouch& touch, v1::TicketState state);

// Lines of a preview.
std::vector<std::pair<std::string, std::string>> PreviewFields(const v1::CorpusPreview& preview);

}  // namespace lethe

#endif  // LETHE_CLI_CORPUS_VIEW_H_
