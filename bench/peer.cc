#include "bench/peer.h"

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// Where tools/transformers_env.sh puts it.
fs::path Interpreter() {
  if (const char* python = std::getenv("LETHE_TRANSFORMERS_PYTHON")) return python;
  const char* deps = std::getenv("LETHE_DEPS");
  const fs::path parts = deps != nullptr ? fs::path(deps) : fs::path(LETHE_SOURCE_DIR) / ".deps";
  return parts / "transformers/bin/python";
}

absl::Status Failed(const std::string& what) {
  return Error(absl::StatusCode::kInternal, "PEER_FAILED",
               absl::StrCat("the peer ", what, "; what it wrote to stderr says why"));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Peer>> Peer::Start(const std::string& script,
                                                  const std::vector<std::string>& arguments) {
  const fs::path python = Interpreter();
  if (!fs::exists(python)) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_TRANSFORMERS",
                 absl::StrCat("there is no ", python.string(),
                              "; run tools/transformers_env.sh once (some 5 GB), or leave the peer "
                              "out with --no-peer"));
  }
  std::vector<std::string> words = {
      python.string(), (fs::path(LETHE_SOURCE_DIR) / "bench/transformers" / script).string()};
  words.insert(words.end(), arguments.begin(), arguments.end());
  return Run(std::move(words));
}

absl::StatusOr<std::unique_ptr<Peer>> Peer::Run(std::vector<std::string> words) {
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);

  int in[2], out[2];
  if (pipe2(in, O_CLOEXEC) != 0 || pipe2(out, O_CLOEXEC) != 0) return Failed("got no pipe");
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out[1], STDOUT_FILENO);
  pid_t pid = 0;
  const int failed = posix_spawn(&pid, argv[0], &actions, nullptr, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  close(in[0]);
  close(out[1]);
  if (failed != 0) {
    close(in[1]);
    close(out[0]);
    return Failed("cannot be started");
  }
  return std::unique_ptr<Peer>(new Peer(pid, fdopen(in[1], "w"), fdopen(out[0], "r")));
}

Peer::~Peer() {
  std::fclose(to_);
  std::fclose(from_);
  waitpid(pid_, nullptr, 0);
}

absl::StatusOr<nlohmann::json> Peer::Ask(const std::string& line) {
  if (std::fprintf(to_, "%s\n", line.c_str()) < 0 || std::fflush(to_) != 0) {
    return Failed("no longer reads");
  }
  char* text = nullptr;
  size_t room = 0;
  const ssize_t length = getline(&text, &room, from_);
  const std::string answer(text == nullptr ? "" : text, length > 0 ? length : 0);
  std::free(text);
  if (length <= 0) return Failed("ended");
  nlohmann::json json = nlohmann::json::parse(answer, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return Failed("did not answer with an object");
  return json;
}

// getrusage would count what the program before it had: a process that is spawned begins with its
// parent's peak.
double PeakMemory() {
  std::ifstream file("/proc/self/status");
  for (std::string word; file >> word;) {
    double kilobytes = 0;
    if (word == "VmHWM:" && file >> kilobytes) return 1024 * kilobytes;
  }
  return 0;
}

double MemoryNow() {
  std::ifstream file("/proc/self/statm");
  double pages = 0, resident = 0;
  file >> pages >> resident;
  return resident * static_cast<double>(sysconf(_SC_PAGESIZE));
}

}  // namespace lethe
