// Writes the fabricated reports as text, JSON and HTML, to look at.   show_report FOLDER
#include <cstdio>
#include <fstream>

#include "evidence/report.h"
#include "evidence/report_html.h"
#include "evidence/report_json.h"
#include "evidence/report_text.h"
#include "tests/evidence/fabricated.h"

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "show_report FOLDER\n"), 2;
  const std::string folder = argv[1];
  std::vector<lethe::NamedTruth> all = lethe::KnownTruths();
  lethe::Truth many = lethe::IdealTruth();
  many.sequences = 96;
  many.tickets = 12;
  many.control = 64;
  all.push_back({"many", many, lethe::v1::OUTCOME_PASS});
  for (const lethe::NamedTruth& known : all) {
    const auto report = lethe::BuildReport(lethe::Fabricate(known.truth).SerializeAsString(), {},
                                           absl::FromUnixSeconds(1795465815));
    if (!report.ok()) return std::fprintf(stderr, "%s\n", report.status().ToString().c_str()), 1;
    std::ofstream(folder + "/" + known.name + ".txt") << *lethe::ReportToText(*report);
    std::ofstream(folder + "/" + known.name + ".json") << *lethe::ReportToJson(*report);
    std::ofstream(folder + "/" + known.name + ".html") << *lethe::ReportToHtml(*report);
  }
  return 0;
}
