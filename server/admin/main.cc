// lethe-admin: what an operator does to a data folder without a server. `lethe admin …` starts it:
// a program of its own, since only server and storage may open the store.
//
// Exit codes  0 done, sound; 1 findings; 2 wrong usage; 3 the folder cannot be opened.
#include <CLI/CLI.hpp>
#include <filesystem>
#include <functional>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/random.h"
#include "base/status.h"
#include "base/version.h"
#include "storage/audit_reader.h"
#include "storage/compact.h"
#include "storage/fsck.h"
#include "storage/ticket_store.h"
#include "storage/vault.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

enum { kOk = 0, kFindings = 1, kUsage = 2, kCannotOpen = 3 };

struct Folders {
  std::string up;  // of `lethe up`: holds db, models and keys
  std::string data, models, key_file;

  void AddTo(CLI::App* command, bool with_key) {
    command->add_option("--data", up, "The folder of `lethe up`: stands for the options below");
    command->add_option("--data-folder", data, "data_folder of lethe-server");
    command->add_option("--model-folder", models, "model_folder of lethe-server");
    if (with_key) command->add_option("--key-file", key_file, "key_file of lethe-server");
  }
  // Fills in what --data stands for; false when nothing names the data folder.
  bool Complete() {
    if (!up.empty()) {
      if (data.empty()) data = (fs::path(up) / "db").string();
      if (models.empty()) models = (fs::path(up) / "models").string();
      if (key_file.empty()) key_file = (fs::path(up) / "keys" / "vault.key").string();
    }
    return !data.empty();
  }
  fs::path store() const { return fs::path(data) / "store"; }
};

int CannotOpen(const absl::Status& status) {
  std::cerr << "lethe-admin: " << status.message() << " (" << ErrorReason(status) << ")\n";
  return kCannotOpen;
}

int Check(const Folders& folders, bool digests, bool strict, bool json) {
  absl::StatusOr<storage::FsckReport> report =
      storage::Fsck({.store = folders.store(), .models = folders.models, .digests = digests});
  if (!report.ok()) return CannotOpen(report.status());
  const bool clean = report->Clean(/*repairable=*/!strict);
  if (json) {
    nlohmann::json out = {{"sound", clean},
                          {"tickets", report->tickets},
                          {"jobs", report->jobs},
                          {"models", report->models},
                          {"checkpoints", report->checkpoints},
                          {"leaves", report->leaves},
                          {"findings", nlohmann::json::array()}};
    for (const storage::Finding& finding : report->findings) {
      const bool error = finding.severity == storage::Severity::kError;
      out["findings"].push_back({{"severity", error ? "error" : "repairable"},
                                 {"what", finding.what},
                                 {"detail", finding.detail},
                                 {"remedy", finding.remedy}});
    }
    std::cout << out.dump(2) << "\n";
  } else {
    std::cout << report->Text() << report->tickets << " tickets, " << report->jobs << " jobs, "
              << report->models << " models, " << report->checkpoints << " checkpoints, "
              << report->leaves << " audit leaves: " << (clean ? "sound" : "NOT SOUND") << "\n";
  }
  return clean ? kOk : kFindings;
}

int RunCompact(const Folders& folders) {
  if (folders.key_file.empty()) {
    std::cerr << "lethe-admin: compact needs --key-file\n";
    return kUsage;
  }
  auto vault = storage::Vault::Open(
      folders.key_file, {.create = false, .data_folder = folders.store()}, SecureRandom());
  if (!vault.ok()) return CannotOpen(vault.status());
  auto store = storage::OpenRocksStore({.folder = folders.store(), .create_if_missing = false},
                                       {.clock = SystemClock(), .vault = vault->get()});
  if (!store.ok()) return CannotOpen(store.status());
  absl::StatusOr<storage::CompactReport> report =
      storage::Compact(store->get(), vault->get(), SecureRandom());
  if (!report.ok()) return CannotOpen(report.status());
  std::cout
      << "key epoch " << report->epoch << ", " << report->rewrapped
      << " live keys wrapped again; files rewritten: nothing of a destroyed payload is left\n";
  return kOk;
}

nlohmann::json LeafJson(uint64_t index, const storage::AuditLeaf& leaf) {
  nlohmann::json out = {
      {"index", index},
      {"time", absl::FormatTime(absl::RFC3339_full, absl::FromUnixMicros(leaf.time_us()),
                                absl::UTCTimeZone())},
      {"event", leaf.event()}};
  const auto add = [&](const char* name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  add("ticket", leaf.ticket_id());
  add("job", leaf.job_id());
  add("checkpoint", leaf.checkpoint_id());
  add("model", leaf.model_id());
  add("from", leaf.from());
  add("to", leaf.to());
  add("reason", leaf.reason());
  add("actor", leaf.actor());
  if (leaf.fence() != 0) out["fence"] = leaf.fence();
  if (leaf.generation() != 0) out["generation"] = leaf.generation();
  for (const auto& [name, digest] : leaf.digests()) out["digests"][name] = digest;
  return out;
}

// A JSON object a line; `only` keeps those that name this id.
int Audit(const Folders& folders, const std::string& only) {
  const absl::Status status = storage::ForEachAuditLeaf(
      folders.store(), [&](LogIndex index, const storage::AuditLeaf& leaf) {
        const nlohmann::json line = LeafJson(index.value, leaf);
        bool wanted = only.empty();
        for (const char* name : {"ticket", "job", "checkpoint", "model"}) {
          wanted = wanted || line.value(name, "") == only;
        }
        if (wanted) std::cout << line.dump() << "\n";
        return absl::OkStatus();
      });
  if (status.ok()) return kOk;
  if (status.code() != absl::StatusCode::kDataLoss) return CannotOpen(status);
  std::cerr << "lethe-admin: " << status.message() << "\n";
  return kFindings;
}

int Main(int argc, char** argv) {
  CLI::App app("Checks, compacts and reads a data folder of Lethe, offline.", "lethe admin");
  app.require_subcommand(1);
  app.set_version_flag("--version", absl::StrCat("lethe-admin ", LetheVersion()));
  app.footer(
      "Exit codes: 0 done, sound; 1 findings; 2 wrong usage; 3 the folder cannot be opened.");
  auto folders = std::make_shared<Folders>();
  bool digests = false, strict = false, json = false;
  std::string only;
  std::function<int()> run;

  CLI::App* check = app.add_subcommand("check", "Is this folder sound?");
  check->footer(
      "Examples:\n  lethe admin check --data lethe-data\n"
      "  lethe admin check --data-folder /var/lib/lethe --model-folder /srv/models --digests\n"
      "Takes no lock; beside a running server the answer may be out of date. What the next start "
      "of\n"
      "the server puts right by itself is listed, and counts only with --strict.");
  folders->AddTo(check, /*with_key=*/false);
  check->add_flag("--digests", digests, "Read every promoted folder and compare its digest");
  check->add_flag("--strict", strict, "What the next start repairs counts too");
  check->add_flag("--json", json, "As JSON");
  check->callback([&] { run = [&] { return Check(*folders, digests, strict, json); }; });

  CLI::App* compact =
      app.add_subcommand("compact", "Rotates the key file and rewrites every file of the store");
  compact->footer(
      "Examples:\n  lethe admin compact --data lethe-data\n"
      "Afterwards no file of the data folder can give a destroyed payload back. Stop the server "
      "first.");
  folders->AddTo(compact, /*with_key=*/true);
  compact->callback([&] { run = [&] { return RunCompact(*folders); }; });

  CLI::App* audit = app.add_subcommand("audit", "Prints the audit log, a JSON object a line");
  audit->footer(
      "Examples:\n  lethe admin audit --data lethe-data\n  lethe admin audit --data lethe-data "
      "--id t-…");
  folders->AddTo(audit, /*with_key=*/false);
  audit->add_option("--id", only, "Only what names this ticket, job, checkpoint or model");
  audit->callback([&] { run = [&] { return Audit(*folders, only); }; });

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kOk : kUsage;
  }
  InitLogging({.process = "lethe-admin", .level = "warn"});
  if (!folders->Complete()) {
    std::cerr << "lethe-admin: give --data, or --data-folder\n";
    return kUsage;
  }
  return run();
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) { return lethe::Main(argc, argv); }
