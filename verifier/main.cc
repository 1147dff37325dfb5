// lethe-verifier: leases VERIFY jobs and audits, attacks checkpoints and hands in what it measured.
// `lethe-verifier calibrate` measures instead how often the verdict is right, `lethe-verifier audit`
// makes a report of folders alone.
#include <memory>
#include <string_view>

#include "engine/device.h"
#include "verifier/audit_folders.h"
#include "verifier/calibrate/calibrate.h"
#include "verifier/verify_job.h"
#include "workers/host/host.h"

int main(int argc, char** argv) {
  using namespace lethe;
  LetThreadsSleep(argv);
  if (argc > 1 && std::string_view(argv[1]) == "calibrate") {
    return CalibrateMain(argc - 1, argv + 1);
  }
  if (argc > 1 && std::string_view(argv[1]) == "audit") {
    return AuditFoldersMain(argc - 1, argv + 1);
  }
  HostOptions options;
  const char kWhat[] =
      "Leases verification jobs and audits from lethe-server and attacks checkpoints.\n"
      "Example:\n"
      "  lethe-verifier --server 127.0.0.1:7700 --model-folder /var/lib/lethe/models\n"
      "`lethe-verifier calibrate --help`: how often the verdict is right.\n"
      "`lethe-verifier audit --help`: a report of folders alone, without a server.";
  if (auto code = ParseHostOptions("lethe-verifier", kWhat, argc, argv, &options)) return *code;
  return RunHost(options, {v1::JOB_KIND_VERIFY, v1::JOB_KIND_AUDIT},
                 [&](const Device& device, HostMetrics* metrics) {
                   const VerifyLimits limits = {static_cast<size_t>(options.max_control),
                                                static_cast<size_t>(options.max_utility)};
                   return std::make_unique<VerifyRunner>(options.model_folder, device, limits,
                                                         metrics);
                 });
}
