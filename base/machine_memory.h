// How much memory this process may use: the machine's, or its container's where that is less.
//
//   MachineMemory memory = ReadMachineMemory();
//   if (needed > memory.available) ...
//
// Threads    any. Errors: none; 0 is "not known".
#ifndef LETHE_BASE_MACHINE_MEMORY_H_
#define LETHE_BASE_MACHINE_MEMORY_H_

#include <cstdint>
#include <string>

namespace lethe {

struct MachineMemory {
  int64_t total = 0;      // bytes
  int64_t available = 0;  // bytes that can be had without swapping
};

MachineMemory ReadMachineMemory();

// From the texts of /proc/meminfo and of a cgroup's memory.max and memory.current; empty where
// there is none.
MachineMemory ParseMachineMemory(const std::string& meminfo, const std::string& cgroup_max,
                                 const std::string& cgroup_current);

}  // namespace lethe

#endif  // LETHE_BASE_MACHINE_MEMORY_H_
