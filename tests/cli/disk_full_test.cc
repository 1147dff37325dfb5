// A report that does not fit: on the disk of a file that was named, and where a shell sent the
// output. The command says so and ends with a code of its own, no half-written file stands under
// the name, and one that stood there before is as it was.
#include <fcntl.h>
#include <sys/wait.h>

#include "base/file.h"
#include "cli/descriptor_buffer.h"
#include "cli/exit_code.h"
#include "evidence/report.h"
#include "gmock/gmock.h"
#include "tests/cli/cli_harness.h"
#include "tests/evidence/fabricated.h"
#include "tests/support/small_disk.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using ::testing::StartsWith;

testing::Environment* const own_mounts = testing::AddGlobalTestEnvironment(new OwnMounts);

constexpr char kTicket[] = "t-00000000000000000000000000000001";
constexpr size_t kPage = 4096;

class CliDiskFull : public CliHarness {
 protected:
  CliDiskFull() {
    tickets_.report = *BuildReport(Fabricate(IdealTruth()).SerializeAsString(), {},
                                   absl::FromUnixSeconds(1795465815));
    *verifier_.responses.emplace_back().mutable_report() = tickets_.report;
  }
  void ExpectTold() const {
    EXPECT_THAT(err_, HasSubstr("No space left on device"));
    EXPECT_THAT(err_, HasSubstr("RESOURCE_EXHAUSTED"));
    EXPECT_THAT(err_, HasSubstr("LOCAL_DISK_FULL"));
    EXPECT_THAT(err_, HasSubstr("make room or name a file on another disk"));
  }

  const std::vector<std::string> audit_ = {"audit", "--model", "chat", "--ids", "1,2"};
};

// Each command that writes a report to a file, with the flag that names it last.
TEST_F(CliDiskFull, AFileIsWholeOrAsItWas) {
  if (!OwnMounts::Allowed()) GTEST_SKIP() << OwnMounts::kWhyNot;
  auto audit_out = audit_, audit_html = audit_;
  audit_out.emplace_back("--out");
  audit_html.emplace_back("--html");
  const std::vector<std::vector<std::string>> commands = {audit_out,
                                                          audit_html,
                                                          {"report", "html", kTicket, "--file"},
                                                          {"report", "show", kTicket, "--html"}};
  for (std::vector<std::string> command : commands) {
    SCOPED_TRACE(testing::PrintToString(command));
    SmallDisk disk(1 << 20);
    const fs::path file = disk.path() / "report";
    command.push_back(file);
    for (const size_t pages : {0, 1, 2}) {
      disk.LeaveFree(pages * kPage);
      EXPECT_EQ(Lethe(command), kExitNotWritten);
      ExpectTold();
      const auto files = fs::directory_iterator(disk.path());
      EXPECT_EQ(std::distance(begin(files), end(files)), 1) << "more than what fills the disk";
    }
    // What an audit found is shown, for it cost minutes.
    if (command[0] == "audit") {
      EXPECT_THAT(out_, StartsWith("PASS\n"));
    }
    disk.MakeRoom();
    EXPECT_EQ(Lethe(command), 0) << err_;
    const std::string whole = *ReadFile(file);
    ASSERT_GT(whole.size(), 2 * kPage);
    disk.LeaveFree(kPage);
    EXPECT_EQ(Lethe(command), kExitNotWritten);
    EXPECT_EQ(*ReadFile(file), whole);
  }
}

// Into /dev/full, as into a file of a full disk that a shell has opened.
TEST_F(CliDiskFull, OutputThatIsCutShortIsNoSuccess) {
  for (const std::vector<std::string>& command : {audit_,
                                                  {"report", "show", kTicket},
                                                  {"report", "show", kTicket, "--output", "json"},
                                                  {"report", "html", kTicket},
                                                  {"report", "check", kTicket},
                                                  {"version"}}) {
    SCOPED_TRACE(testing::PrintToString(command));
    const int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    ASSERT_GE(full, 0);
    for (const bool by_line : {false, true}) {
      DescriptorBuffer buffer(full, by_line);
      std::ostream out(&buffer);
      output_ = &out;
      EXPECT_EQ(Lethe(command), kExitNotWritten);
      ExpectTold();
    }
    close(full);
    output_ = nullptr;
    EXPECT_EQ(Lethe(command), 0) << err_;
  }
}

TEST_F(CliDiskFull, TheProgramEndsSo) {
  const auto code = [](const std::string& command) {
    return WEXITSTATUS(std::system((std::string(LETHE_PROGRAM) + command).c_str()));
  };
  EXPECT_EQ(code(" version > /dev/null"), 0);
  EXPECT_EQ(code(" version > /dev/full 2> /dev/null"), kExitNotWritten);
}

// What was sent is all there, in order, whatever the size of the pieces.
TEST(DescriptorBuffer, SendsEverything) {
  for (const bool by_line : {false, true}) {
    TempFolder folder;
    std::string wanted;
    const int file = open((folder / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    {
      DescriptorBuffer buffer(file, by_line);
      std::ostream out(&buffer);
      for (int i = 0; i < 3000; ++i) {
        const std::string piece(static_cast<size_t>(i % 100), static_cast<char>('a' + i % 26));
        wanted += piece + "\n";
        out << piece << '\n';
        if (by_line) {
          ASSERT_EQ(fs::file_size(folder / "out"), wanted.size());
        }
      }
      out << "no newline";
    }
    close(file);
    EXPECT_EQ(*ReadFile(folder / "out"), wanted + "no newline");
  }
}

}  // namespace
}  // namespace lethe
