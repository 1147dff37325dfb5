// lethe-soak: kill -9 of server, workers and verifier at random and at nasty moments, while tickets
// are being filed.
//
// Each round      several strikes (strikes.h), each followed by a restart; then everything is
//                 killed, fsck must find no error, every acknowledged ticket must be there; a
//                 server is started alone and drained, and fsck must find nothing at all.
// At the end      everything may finish; then every acknowledged ticket has ended, none was
//                 unlearned twice into `current`, promotions make one chain, nothing is left over
//                 (checks.h).
// Seed            printed first. It repeats the choices; when they fall the machine decides.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/status.h"
#include "client/call.h"
#include "client/watch_ticket.h"
#include "tests/fault/soak/checks.h"
#include "tests/fault/soak/corpus_checks.h"
#include "tests/fault/soak/filers.h"
#include "tests/fault/soak/fleet.h"
#include "tests/fault/soak/ledger.h"
#include "tests/fault/soak/moments.h"
#include "tests/fault/soak/strikes.h"
#include "tests/fault/soak/world.h"
#include "tests/support/seeded_random.h"

namespace lethe::soak {
namespace {

namespace fs = std::filesystem;

constexpr int kFilers = 3;
constexpr const char* kModels[] = {"soak-1", "soak-2"};
// How long a moment is waited for; after that it is struck all the same.
constexpr absl::Duration kMomentPatience = absl::Seconds(2);
// Far beyond what any of it takes.
constexpr absl::Duration kSettlePatience = absl::Minutes(4);

struct Options {
  int rounds = 10;
  uint64_t seed = 0;
  int tickets = 6;  // a round
  std::string folder;
  std::string programs;
  bool keep = false;
};

void Say(const std::string& line) {
  std::printf("%s\n", line.c_str());
  std::fflush(stdout);
}

// A random point in time is a wait of random length; nothing here waits for an effect.
void LetTimePass(absl::Duration duration) { absl::SleepFor(duration); }

class Soak {
 public:
  explicit Soak(const Options& options)
      : options_(options), random_(options.seed), fleet_(options.folder, options.programs) {}

  absl::Status Run() {
    LETHE_RETURN_IF_ERROR(Begin());
    for (int round = 1; round <= options_.rounds; ++round) {
      const absl::Status status = Round(round);
      if (!status.ok()) return Annotate(status, absl::StrCat("round ", round));
    }
    return Annotate(End(), "after the last round");
  }

 private:
  absl::Status Begin() {
    LETHE_ASSIGN_OR_RETURN(
        world_, World::Make(fs::path(options_.folder) / "world", options_.programs, options_.seed));
    LETHE_RETURN_IF_ERROR(fleet_.Prepare());
    LETHE_RETURN_IF_ERROR(fleet_.Start(All()));
    filers_ = std::make_unique<Filers>(
        &world_, [this] { return fleet_.stubs(); }, &ledger_, options_.seed, kFilers);
    LETHE_RETURN_IF_ERROR(Register(kModels[0]));
    LETHE_RETURN_IF_ERROR(WaitUntil("the model to be prepared", absl::Minutes(1),
                                    [&] { return IsReady(kModels[0]); }));
    LETHE_RETURN_IF_ERROR(RegisterCorpus(kModels[0]));
    LETHE_RETURN_IF_ERROR(WaitUntil("its corpus to be read and taught", absl::Minutes(2),
                                    [&] { return HasCorpus(kModels[0]); }));
    filers_->AddModel(kModels[0]);
    return Register(kModels[1]);  // the first round's strikes meet its preparation
  }

  static std::vector<Role> All() { return {std::begin(kRoles), std::end(kRoles)}; }

  template <typename Request, typename Response>
  absl::StatusOr<Response> Ask(grpc::Status (v1::ModelService::StubInterface::*method)(
                                   grpc::ClientContext*, const Request&, Response*),
                               const Request& request) {
    const Caller caller({.deadline = absl::Seconds(20)});
    v1::ModelService::StubInterface* stub = fleet_.stubs()->model.get();
    return caller.Call(stub, method, request, Repeat::kSafe);
  }

  absl::Status Register(const std::string& model) {
    return Ask(&v1::ModelService::StubInterface::RegisterModel, world_.Registration(model))
        .status();
  }

  bool IsReady(const std::string& model) {
    v1::GetModelRequest request;
    request.set_model_id(model);
    const auto found = Ask(&v1::ModelService::StubInterface::GetModel, request);
    return found.ok() && found->state() == v1::MODEL_STATE_READY;
  }

  // Repeating it is refused once the first call got through.
  absl::Status RegisterCorpus(const std::string& model) {
    const absl::Status status =
        Ask(&v1::ModelService::StubInterface::RegisterCorpus, world_.CorpusOf(model)).status();
    return ErrorReason(status) == "CORPUS_EXISTS" ? absl::OkStatus() : status;
  }

  bool HasCorpus(const std::string& model) {
    v1::GetModelRequest request;
    request.set_model_id(model);
    const auto found = Ask(&v1::ModelService::StubInterface::GetModel, request);
    return found.ok() && found->corpus().state() == v1::CORPUS_STATE_READY;
  }

  absl::Status Round(int round) {
    const absl::Time start = absl::Now();
    std::vector<std::string> told;
    for (int strikes = 2 + Below(random_, 2); strikes > 0; --strikes) {
      filers_->Allow(std::max(1, options_.tickets / 3));
      LETHE_RETURN_IF_ERROR(Hit(ChooseStrike(random_), &told));
      AddSecondModel();
    }
    filers_->Allow(std::max(1, options_.tickets / 3));
    AwaitMoment(ChooseStrike(random_));
    LETHE_ASSIGN_OR_RETURN(const std::string fsck, KillAllAndCheck());
    LETHE_RETURN_IF_ERROR(fleet_.Start(All()));
    Say(absl::StrCat(
        "round ", round, ": killed ", absl::StrJoin(told, ", "), ", then all | ",
        ledger_.acknowledged(), " tickets, ", ledger_.repeats(), " repeats | fsck ", fsck, " | ",
        absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Milliseconds(100)))));
    return absl::OkStatus();
  }

  bool AwaitMoment(const Strike& strike) {
    bool came = true;
    if (strike.moment == Moment::kFiled) {
      came = ledger_.WaitForMoreThan(ledger_.acknowledged(), kMomentPatience);
    } else if (strike.moment != Moment::kAnyTime) {
      came = Moments(fleet_.models()).Wait(strike.moment, kMomentPatience);
    }
    LetTimePass(strike.delay);
    return came;
  }

  absl::Status Hit(const Strike& strike, std::vector<std::string>* told) {
    const bool came = AwaitMoment(strike);
    LETHE_RETURN_IF_ERROR(fleet_.CheckAlive());
    told->push_back(absl::StrCat(StrikeText(strike), came ? "" : " (did not come)"));
    if (strike.freeze) {
      for (const Role role : strike.roles) fleet_.process(role).Freeze();
      LetTimePass(strike.downtime);
      for (const Role role : strike.roles) fleet_.process(role).Thaw();
      return absl::OkStatus();
    }
    fleet_.Kill(strike.roles);
    LetTimePass(strike.downtime);
    return fleet_.Start(strike.roles);
  }

  void AddSecondModel() {
    if (second_model_ || !IsReady(kModels[1])) return;
    // Strikes meet the reading of its lines, and the training of its teachers.
    if (!second_corpus_) second_corpus_ = RegisterCorpus(kModels[1]).ok();
    if (!HasCorpus(kModels[1])) return;
    second_model_ = true;
    filers_->AddModel(kModels[1]);
  }

  absl::Status Judge(const Problems& problems) const {
    std::vector<std::string> all = problems;
    for (const std::string& broken : ledger_.broken()) all.push_back(broken);
    if (all.empty()) return absl::OkStatus();
    return Error(absl::StatusCode::kDataLoss, "SOAK_FAILED",
                 absl::StrCat("\n  ", absl::StrJoin(all, "\n  ")));
  }

  absl::StatusOr<std::string> KillAllAndCheck() {
    std::vector<Role> all = All();
    std::shuffle(all.begin(), all.end(), random_);
    fleet_.Kill(all);
    int repairable = 0, left = 0;
    Problems problems =
        CheckWithFsck(fleet_.store(), fleet_.models(), /*strict=*/false, &repairable);
    for (std::string& lost : CheckPromises(fleet_.store(), ledger_)) {
      problems.push_back(std::move(lost));
    }
    LETHE_RETURN_IF_ERROR(Judge(problems));
    LETHE_RETURN_IF_ERROR(fleet_.Start({Role::kServer}));
    LETHE_RETURN_IF_ERROR(fleet_.Drain({Role::kServer}));
    LETHE_RETURN_IF_ERROR(
        Judge(CheckWithFsck(fleet_.store(), fleet_.models(), /*strict=*/true, &left)));
    return absl::StrCat("clean (", repairable, " repaired)");
  }

  absl::Status WaitUntilSettled(const std::string& ticket, Stop* stop) {
    const Caller caller({.retry = {.max_attempts = 0}, .stop = stop});
    v1::TicketState state = v1::TICKET_STATE_UNSPECIFIED;
    const auto stubs = fleet_.stubs();
    const absl::Status status =
        WatchTicket(stubs->deletion.get(), ticket, caller, [&](const v1::Ticket& now) {
          state = now.state();
          return IsSettled(state) ? Watch::kEnough : Watch::kGoOn;
        });
    if (status.ok() && IsSettled(state)) return absl::OkStatus();
    return Error(absl::StatusCode::kDeadlineExceeded, "NOT_SETTLED",
                 absl::StrCat(ticket, " is ", v1::TicketState_Name(state), " after ",
                              absl::FormatDuration(kSettlePatience), ": ", status.ToString()));
  }

  absl::Status Settle() {
    LETHE_RETURN_IF_ERROR(filers_->Finish(kSettlePatience));
    Stop stop, done;
    std::thread alarm([&] {
      if (!done.WaitFor(kSettlePatience)) stop.Request();
    });
    absl::Status status;
    for (const auto& [request, ticket] : ledger_.tickets()) {
      if (status.ok()) status = WaitUntilSettled(ticket, &stop);
    }
    done.Request();
    alarm.join();
    return status;
  }

  absl::Status End() {
    const absl::Time start = absl::Now();
    LETHE_RETURN_IF_ERROR(Settle());
    LETHE_RETURN_IF_ERROR(fleet_.CheckAlive());
    LETHE_RETURN_IF_ERROR(
        fleet_.Drain({Role::kWorker1, Role::kWorker2, Role::kVerifier, Role::kServer}));
    int repairable = 0;
    Problems problems = CheckWithFsck(fleet_.store(), fleet_.models(), true, &repairable);
    Sums sums;
    for (std::string& wrong : CheckEnd(fleet_.store(), fleet_.models(), ledger_, &sums)) {
      problems.push_back(std::move(wrong));
    }
    std::string corpora;
    for (const char* model : kModels) {
      if (model == kModels[1] && !second_model_) continue;
      int erased = 0;
      const CorpusPlaces places{.store = fleet_.store(),
                                .models = fleet_.models(),
                                .key_file = fs::path(options_.folder) / "vault.key",
                                .programs = options_.programs,
                                .scratch = fs::path(options_.folder) / "scratch" / model,
                                .model = model};
      for (std::string& wrong : CheckCorpusEnd(places, world_, ledger_, &erased)) {
        problems.push_back(std::move(wrong));
      }
      absl::StrAppend(&corpora, corpora.empty() ? "" : ", ", model, " ", erased, " of ",
                      world_.people(), " erased");
    }
    const auto text = [](const std::map<std::string, int>& counts) {
      return absl::StrJoin(counts, ", ", [](std::string* out, const auto& count) {
        absl::StrAppend(out, count.second, " ", count.first);
      });
    };
    Say(absl::StrCat(
        "settled in ",
        absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Milliseconds(100))),
        "\n  tickets      ", text(sums.tickets), "\n  checkpoints  ", text(sums.checkpoints),
        "\n  leases       ", text(sums.leases), "\n  gates failed ", text(sums.gates),
        "\n  corpora      ", corpora, "; ", ledger_.gone(), " asked for who was gone"));
    // A soak in which nothing was unlearned, or nothing lost, would prove nothing.
    if (sums.tickets["COMPLETED"] == 0) problems.push_back("no ticket was completed");
    if (ledger_.people().size() > 10 && sums.states["ERASING"] == 0) {
      problems.push_back("no ticket went through ERASING");
    }
    if (sums.leases["READY"] == 0) problems.push_back("no lease was lost");
    return Judge(problems);
  }

  const Options options_;
  Rng random_;
  World world_;
  Ledger ledger_;
  Fleet fleet_;
  bool second_model_ = false, second_corpus_ = false;
  std::unique_ptr<Filers> filers_;  // goes first: its threads use the above
};

int Main(int argc, char** argv) {
  // An idle connection of ours hears the server's farewell when gRPC looks after it: every 5 s
  // unless told otherwise, and so long a draining server would wait for us.
  setenv("GRPC_CLIENT_CHANNEL_BACKUP_POLL_INTERVAL_MS", "50", 1);
  Options options;
  options.seed = TestSeed(static_cast<uint64_t>(absl::ToUnixNanos(absl::Now())) % 1'000'000);
  options.programs = (fs::path(argv[0]).parent_path() / ".." / "bin").string();
  CLI::App app(
      "Kills server, workers and verifier with SIGKILL again and again while tickets are filed, "
      "and "
      "checks that nothing\nacknowledged is lost, nothing is unlearned twice and nothing is left "
      "behind.",
      "lethe-soak");
  app.add_option("--rounds", options.rounds, "How many; 10 take about a minute")
      ->check(CLI::Range(0, 100'000))
      ->capture_default_str();
  app.add_option("--seed", options.seed, "Of all choices; else LETHE_TEST_SEED, else the clock");
  app.add_option("--tickets", options.tickets, "Filed in each round")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--programs", options.programs, "Folder of lethe-server, lethe-worker, ...")
      ->capture_default_str();
  app.add_option("--folder", options.folder, "Where to work, kept; else a temporary one");
  app.add_flag("--keep", options.keep, "Keep the temporary folder of a run that went well too");
  app.footer("Example, as for a release:\n  tests/fault/soak.sh --rounds 50\n");
  CLI11_PARSE(app, argc, argv);
  InitLogging({.process = "lethe-soak", .level = "off"});
  const bool temporary = options.folder.empty();
  if (temporary) {
    options.folder = fs::temp_directory_path() / absl::StrCat("lethe-soak-", getpid());
  }
  options.folder = fs::absolute(options.folder);
  options.programs = fs::absolute(options.programs).lexically_normal();
  Say(absl::StrCat("lethe-soak --seed ", options.seed, " --rounds ", options.rounds, "  (in ",
                   options.folder, ")"));
  const absl::Time start = absl::Now();
  const absl::Status status = Soak(options).Run();
  const std::string took =
      absl::FormatDuration(absl::Trunc(absl::Now() - start, absl::Milliseconds(100)));
  if (!status.ok()) {
    Say(absl::StrCat("FAILED after ", took, ": ", status.message(), "\nseed ", options.seed,
                     "; data, models and logs are kept in ", options.folder));
    return 1;
  }
  Say(absl::StrCat("passed: ", options.rounds, " rounds in ", took));
  if (temporary && !options.keep) RemoveFolder(options.folder).IgnoreError();
  return 0;
}

}  // namespace
}  // namespace lethe::soak

int main(int argc, char** argv) { return lethe::soak::Main(argc, argv); }
