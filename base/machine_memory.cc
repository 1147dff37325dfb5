#include "base/machine_memory.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace lethe {
namespace {

// Files of the kernel have no size: they are read to their end.
std::string ReadAll(const char* path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

// "MemTotal:       24684084 kB" in bytes; 0 where the line is not there.
int64_t LineBytes(const std::string& meminfo, const std::string& name) {
  const size_t at = meminfo.find(name + ":");
  if (at == std::string::npos) return 0;
  return std::strtoll(meminfo.c_str() + at + name.size() + 1, nullptr, 10) * 1024;
}

}  // namespace

MachineMemory ParseMachineMemory(const std::string& meminfo, const std::string& cgroup_max,
                                 const std::string& cgroup_current) {
  MachineMemory memory{LineBytes(meminfo, "MemTotal"), LineBytes(meminfo, "MemAvailable")};
  const int64_t limit = std::strtoll(cgroup_max.c_str(), nullptr, 10);  // "max": no limit
  if (limit <= 0 || (memory.total > 0 && limit >= memory.total)) return memory;
  const int64_t used = std::strtoll(cgroup_current.c_str(), nullptr, 10);
  const int64_t left = std::max<int64_t>(0, limit - used);
  return {limit, memory.available > 0 ? std::min(memory.available, left) : left};
}

MachineMemory ReadMachineMemory() {
  return ParseMachineMemory(ReadAll("/proc/meminfo"), ReadAll("/sys/fs/cgroup/memory.max"),
                            ReadAll("/sys/fs/cgroup/memory.current"));
}

}  // namespace lethe
