// What every command of `lethe-engine` shares. A command is a function that adds itself to the
// parser and leaves what is to be run.
#ifndef LETHE_ENGINE_CLI_COMMAND_H_
#define LETHE_ENGINE_CLI_COMMAND_H_

#include <CLI/CLI.hpp>
#include <cstdint>
#include <functional>
#include <string>

#include "base/status.h"
#include "engine/device.h"

namespace lethe::cli {

// Options that stand before or behind any command.
struct Common {
  std::string output = "table";  // or "json": one object a line
  DeviceOptions device_options;
  uint64_t seed = 0;
  bool Json() const { return output == "json"; }
};

// Set by the command that was named; main opens the device, then runs it.
using Action = std::function<absl::Status(const Device&)>;

void AddSynth(CLI::App& app, const Common& common, Action& action);
void AddTrain(CLI::App& app, const Common& common, Action& action);
void AddEval(CLI::App& app, const Common& common, Action& action);
void AddScore(CLI::App& app, const Common& common, Action& action);
void AddExtract(CLI::App& app, const Common& common, Action& action);
void AddGenerate(CLI::App& app, const Common& common, Action& action);
void AddPrepare(CLI::App& app, const Common& common, Action& action);
void AddUnlearn(CLI::App& app, const Common& common, Action& action);
void AddMerge(CLI::App& app, const Common& common, Action& action);
void AddTeachers(CLI::App& app, const Common& common, Action& action);
void AddEnsemble(CLI::App& app, const Common& common, Action& action);
void AddAudit(CLI::App& app, const Common& common, Action& action);
void AddCorpus(CLI::App& app, const Common& common, Action& action);

}  // namespace lethe::cli

#endif  // LETHE_ENGINE_CLI_COMMAND_H_
