// What was tried, a row a family of attempts: the table that a report opens with. Eighty results
// are too many to read; nine rows are not.
//
//   for (const FamilyRow& row : FamilyRows(view)) Print(row.title, row.sentence);
//
// Every family has its row, also one of which nothing was tried: a gap is to be seen. A row shows
// the attempt after which the forgotten text stands out most now, failures first.
//
// Threads    pure; any.
#ifndef LETHE_EVIDENCE_REPORT_FAMILIES_H_
#define LETHE_EVIDENCE_REPORT_FAMILIES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "evidence/report_view.h"

namespace lethe::evidence {

enum class Family {
  kAsked,       // once, greedily
  kSampled,     // many times: draws, beams, the exact chance
  kPrompts,     // other prompts
  kLikelihood,  // likelihood and membership
  kInside,      // layers
  kRounded8,
  kRounded4,
  kTaught,  // a few steps
};

// Where a result, or what was left out, belongs: by its condition, then by its name, then by how
// its score is read.
Family FamilyOf(const v1::AttackResult& attack);
Family FamilyOf(const v1::LeftOut& left);

struct FamilyRow {
  Family family;
  std::string title;            // "Asked many times"
  std::string what;             // what that means, a few words
  std::vector<size_t> attacks;  // places in ReportView.attacks
  size_t left_out = 0;
  std::string
      shown;  // the attempt that the figures are of: "Greedy extraction, 20 steps"; empty: none
  std::string figure;  // what they are: "share or chance that came out"
  std::string before, after, control_after;
  Standing standing = Standing::kNotTried;
  std::string sentence;
  // Forward tokens and seconds of its attempts.
  int64_t expected_tokens = 0, tokens = 0;
  double seconds = 0;
};
std::vector<FamilyRow> FamilyRows(const ReportView& view);

}  // namespace lethe::evidence

#endif  // LETHE_EVIDENCE_REPORT_FAMILIES_H_
