// lethe-states: prints docs/states.md from the transition tables, so that the page cannot drift
// from the code.
#include <cstdio>
#include <string>

#include "storage/state/checkpoint_state.h"
#include "storage/state/corpus_state.h"
#include "storage/state/job_state.h"
#include "storage/state/ticket_state.h"

namespace lethe::storage {
namespace {

std::string Text(std::string_view text) { return std::string(text); }

std::string Effects(const TicketTransition& t) {
  std::string out;
  if (t.rung == RungEffect::kNext) out = "next rung";
  if (t.rung == RungEffect::kFirst) out = "first rung";
  if (IsFinal(t.to)) out += out.empty() ? "payload destroyed" : ", payload destroyed";
  return out;
}

std::string Effects(const JobTransition& t) {
  std::string out;
  const auto add = [&](int count, const char* name) {
    if (count > 0)
      out += (out.empty() ? "" : ", ") + std::string(name) + " +" + std::to_string(count);
  };
  add(t.attempts, "attempts");
  add(t.losses, "losses");
  add(t.retries, "retries");
  return out;
}

std::string Effects(const CheckpointTransition& t) {
  return t.new_generation ? "the model's next generation" : "";
}

std::string Effects(const CorpusTransition&) { return ""; }
std::string Effects(const TeacherTransition&) { return ""; }

template <typename Transition, size_t N, typename Final>
void Machine(const char* title, const char* file, const Transition (&table)[N], Final is_final) {
  std::printf("\n## %s\n\nThe table is `storage/state/%s`.\n\n", title, file);
  std::printf("```mermaid\nstateDiagram-v2\n");
  for (const Transition& t : table) {
    const std::string from = Name(t.from) == "NONE" ? "[*]" : Text(Name(t.from));
    std::printf("  %s --> %s: %s\n", from.c_str(), Text(Name(t.to)).c_str(),
                Text(Name(t.on)).c_str());
  }
  std::printf("```\n\n| from | on | to | effects | why |\n|---|---|---|---|---|\n");
  for (const Transition& t : table) {
    std::printf("| %s | %s | %s%s | %s | %s |\n", Text(Name(t.from)).c_str(),
                Text(Name(t.on)).c_str(), Text(Name(t.to)).c_str(),
                is_final(t.to) ? " (final)" : "", Effects(t).c_str(), t.why);
  }
}

void Print() {
  std::printf(
      "# States\n\nPrinted by `lethe-states` from the tables that the code runs on; do not edit.\n"
      "Whatever is not in a table is refused with FAILED_PRECONDITION, WRONG_STATE, and changes "
      "nothing.\n"
      "A ticket's hold is a flag beside its state: it blocks \"job formed\" and every "
      "promotion. While a ticket is ERASING there is nothing left to hold.\n");
  Machine("Ticket", "ticket_state.h", kTicketTransitions, [](TicketState s) { return IsFinal(s); });
  Machine("Job", "job_state.h", kJobTransitions, [](JobState s) { return IsFinal(s); });
  Machine("Checkpoint", "checkpoint_state.h", kCheckpointTransitions,
          [](CheckpointState s) { return s == CheckpointState::kRejected; });
  Machine("Corpus", "corpus_state.h", kCorpusTransitions, [](CorpusState) { return false; });
  Machine("Teacher", "corpus_state.h", kTeacherTransitions, [](TeacherState) { return false; });
}

}  // namespace
}  // namespace lethe::storage

int main() {
  lethe::storage::Print();
  return 0;
}
