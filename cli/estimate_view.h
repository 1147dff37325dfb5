// How long a ticket will take, in plain words, for a terminal.
//
//   for (auto& field : EstimateFields(preview)) fields.push_back(std::move(field));
//
//   takes:   about 4 to 9 minutes once a worker takes it, 5 minutes as a rule: …
//   waits:   about 2 to 5 minutes before that: 3 tickets wait for this model
//   memory:  about 1.2 GB; the worker that prepared the model has 16 GB
//   note:    the run needs …
#ifndef LETHE_CLI_ESTIMATE_VIEW_H_
#define LETHE_CLI_ESTIMATE_VIEW_H_

#include <string>
#include <utility>
#include <vector>

#include "lethe/v1/ticket.pb.h"

namespace lethe {

std::vector<std::pair<std::string, std::string>> EstimateFields(const v1::TicketPreview& preview);

// "4 to 9 minutes", "40 seconds to 2 minutes", "3 hours" where both are the same.
std::string SpanText(double low_seconds, double high_seconds);

// "1.2 GB", "64 MB".
std::string BytesText(double bytes);

}  // namespace lethe

#endif  // LETHE_CLI_ESTIMATE_VIEW_H_
