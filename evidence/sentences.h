// What a gate says in plain words: what was tried, what was found, what it
// means. No text of the ticket stands in any.
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_SENTENCES_H_
#define LETHE_EVIDENCE_SENTENCES_H_

#include <string>

#include "evidence/comparison.h"
#include "lethe/v1/report.pb.h"

namespace lethe::evidence {

// The sentence of a comparison of all sequences.
std::string ComparisonSentence(const Comparison& comparison, const Finding& before,
                               const Finding& after, v1::GateResult result);

// The sentence of a moved likelihood: `set` names the text ("Control text", "Retain text 'x'").
std::string LikelihoodSentence(const std::string& set, double before, double after, double allowed,
                               bool both_ways, bool held);

// "3 sequences", "1 sequence".
std::string Count(size_t count, const char* one, const char* many);

// What the way in which the candidate was made promises, whatever was measured.
std::string GuaranteeSentence(const v1::RunRecord& run);

// The verdict's one sentence, from its outcome and gates. `sequences` and `tickets` were judged.
std::string Summary(const v1::Verdict& verdict, size_t sequences, size_t tickets,
                    bool nothing_to_forget);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_SENTENCES_H_
