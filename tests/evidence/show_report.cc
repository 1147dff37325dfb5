// Writes the fabricated reports as text, JSON and HTML, to look at.   show_report FOLDER
#include <cstdio>
#include <fstream>

#include "evidence/report.h"
#include "evidence/report_html.h"
#include "evidence/report_json.h"
#include "evidence/report_text.h"
#include "tests/evidence/fabricated.h"

namespace {

bool Write(const std::string& stem, const lethe::v1::Measurements& measurements) {
  const auto report =
      lethe::BuildReport(measurements.SerializeAsString(), {}, absl::FromUnixSeconds(1795465815));
  if (!report.ok()) {
    std::fprintf(stderr, "%s: %s\n", stem.c_str(), report.status().ToString().c_str());
    return false;
  }
  std::ofstream(stem + ".txt") << *lethe::ReportToText(*report);
  std::ofstream(stem + ".all.txt") << *lethe::ReportToText(*report, {.all = true});
  std::ofstream(stem + ".json") << *lethe::ReportToJson(*report);
  std::ofstream(stem + ".html") << *lethe::ReportToHtml(*report);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return std::fprintf(stderr, "show_report FOLDER\n"), 2;
  const std::string folder = std::string(argv[1]) + "/";
  std::vector<lethe::NamedTruth> all = lethe::KnownTruths();
  lethe::Truth many = lethe::IdealTruth();
  many.sequences = 96;
  many.tickets = 12;
  many.control = 64;
  all.push_back({"many", many, lethe::v1::OUTCOME_PASS});
  bool good = true;
  for (lethe::NamedTruth& known : all) {
    good &= Write(folder + known.name, lethe::Fabricate(known.truth));
    known.truth.sequences = std::max(known.truth.sequences, 12);
    known.truth.tickets = std::max(known.truth.tickets, 2);
    good &= Write(folder + "whole_" + known.name, lethe::FabricateWholePlan(known.truth));
  }
  const lethe::Truth truth = lethe::UntouchedTruth();
  std::vector<lethe::v1::Target> targets(static_cast<size_t>(truth.sequences));
  for (lethe::v1::Target& target : targets) {
    target.set_text("Contact card of Jane Roe.\nPhone 555-0100, e-mail j.roe@example.");
    target.add_sensitive_spans()->set_begin(32);
    target.mutable_sensitive_spans(0)->set_end(40);
  }
  const auto revealed = lethe::BuildReport(lethe::Fabricate(truth).SerializeAsString(), {},
                                           absl::FromUnixSeconds(1795465815));
  std::ofstream(folder + "revealed.html") << *lethe::ReportToHtml(*revealed, {.revealed = targets});
  return good ? 0 : 1;
}
