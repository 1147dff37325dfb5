#include "base/machine_memory.h"

#include <gtest/gtest.h>

namespace lethe {
namespace {

constexpr char kMeminfo[] =
    "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    600 kB\n";

TEST(MachineMemory, OfTheMachine) {
  for (const char* no_limit : {"", "max\n", "2000000\n"}) {
    const MachineMemory memory = ParseMachineMemory(kMeminfo, no_limit, "5\n");
    EXPECT_EQ(memory.total, 1000 * 1024) << no_limit;
    EXPECT_EQ(memory.available, 600 * 1024) << no_limit;
  }
}

TEST(MachineMemory, OfAContainer) {
  const MachineMemory memory = ParseMachineMemory(kMeminfo, "500000\n", "100000\n");
  EXPECT_EQ(memory.total, 500000);
  EXPECT_EQ(memory.available, 400000);
  EXPECT_EQ(ParseMachineMemory(kMeminfo, "500000\n", "600000\n").available, 0);
}

TEST(MachineMemory, NotKnown) {
  EXPECT_EQ(ParseMachineMemory("", "", "").total, 0);
  EXPECT_EQ(ParseMachineMemory("", "max", "").available, 0);
}

TEST(MachineMemory, OfThisMachine) {
  const MachineMemory memory = ReadMachineMemory();
  EXPECT_GT(memory.total, int64_t{1} << 20);
  EXPECT_LE(memory.available, memory.total);
}

}  // namespace
}  // namespace lethe
