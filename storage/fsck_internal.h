// The parts of fsck. Internal to storage/.
#ifndef LETHE_STORAGE_FSCK_INTERNAL_H_
#define LETHE_STORAGE_FSCK_INTERNAL_H_

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "storage/fsck.h"

namespace lethe::storage {

// Every record in memory: fsck looks from each to all others.
struct Everything {
  std::map<std::string, TicketRecord> tickets;
  std::map<std::string, JobRecord> jobs;
  std::map<std::string, ModelRecord> models;
  std::map<std::string, CheckpointRecord> checkpoints;
  std::map<std::string, ReportRecord> reports;
  std::map<std::string, RequestRecord> requests;
  std::map<std::string, PayloadRecord> payloads;
  std::map<std::string, KeyRecord> keys;
  CountersRecord counters;
};

class Findings {
 public:
  explicit Findings(FsckReport* report) : report_(report) {}
  void Error(std::string_view what, const std::string& detail) {
    Add(Severity::kError, what, detail,
        "the records contradict each other: restore a backup, and report this with the log of the "
        "server");
  }
  void Folder(std::string_view what, const std::string& detail, std::string_view remedy) {
    Add(Severity::kError, what, detail, remedy);
  }
  void Repairable(std::string_view what, const std::string& detail) {
    Add(Severity::kRepairable, what, detail, "start the server: it repairs this");
  }

 private:
  void Add(Severity severity, std::string_view what, const std::string& detail,
           std::string_view remedy) {
    report_->findings.push_back({severity, std::string(what), detail, std::string(remedy)});
  }
  FsckReport* const report_;
};

void CheckTickets(const Everything& all, Findings* out);
void CheckJobs(const Everything& all, Findings* out);
void CheckModels(const Everything& all, Findings* out);
void CheckCheckpoints(const Everything& all, Findings* out);
absl::Status CheckAudit(const Snapshot& snapshot, const Everything& all, FsckReport* report);
absl::Status CheckFolders(const Snapshot& snapshot, const Everything& all,
                          const std::filesystem::path& models, bool digests, Findings* out);

}  // namespace lethe::storage

#endif  // LETHE_STORAGE_FSCK_INTERNAL_H_
