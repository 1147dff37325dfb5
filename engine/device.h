// The device that the engine computes on, and what a job record says of it.
//
//   LETHE_ASSIGN_OR_RETURN(Device device, OpenDevice({.device = "auto", .threads = 2}));
//   device.Describe();
//   // {"device": "cpu", "libtorch": "2.11.0", "threads": "2", "cpu_capability": "AVX512"}
//
// One binary serves CPU and GPU: OpenDevice loads the CUDA backend where its libraries are, and the
// CPU serves where they are not. LibTorch's global generator is never used: whatever draws random
// numbers has its own seeded generator.
//
// Threads    OpenDevice sets process-wide thread counts: call it once, from main, before other
//            threads use the engine.
// Errors     INVALID_ARGUMENT/UNKNOWN_DEVICE; FAILED_PRECONDITION/NO_CUDA when "cuda" is asked for
//            by name and cannot be had.
#ifndef LETHE_ENGINE_DEVICE_H_
#define LETHE_ENGINE_DEVICE_H_

#include <map>
#include <string>

#include "base/status.h"

namespace lethe {

struct DeviceOptions {
  // "auto": a GPU where there is one; "cpu"; "cuda" or "cuda:N". Under torchrun "auto" and "cuda"
  // are the GPU of the process's LOCAL_RANK.
  std::string device = "auto";
  // CPU threads; 0: as many as the machine has cores, shared with the processes that torchrun
  // started beside this one (LOCAL_WORLD_SIZE)
  int threads = 0;
};

// A device that is open. A value; the default is the CPU.
struct Device {
  std::string name = "cpu";      // "cpu" or "cuda:N", as LibTorch writes it
  int threads = 0;               // CPU threads in use
  std::string libtorch;          // version
  std::string cpu_capability;    // "AVX512", "AVX2", "DEFAULT"
  std::string cuda_unavailable;  // why there is no CUDA, empty where there is

  std::map<std::string, std::string> Describe() const;
};

// Call this first in main. LibTorch's threads otherwise spin while they wait for one another, and
// where other processes want the cores too that made a step four times and an evaluation eight
// times as expensive (bench_step beside a compiler). How they wait is read before main begins, so
// the process executes itself once more, with OMP_WAIT_POLICY=PASSIVE; where the variable is set
// already, whatever it says, nothing happens. Same process id, same arguments.
void LetThreadsSleep(char** argv);

absl::StatusOr<Device> OpenDevice(const DeviceOptions& options = {});

}  // namespace lethe

#endif  // LETHE_ENGINE_DEVICE_H_
