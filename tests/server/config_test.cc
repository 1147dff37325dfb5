#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/status.h"
#include "tests/support/test_folders.h"

namespace lethe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

std::string TempFile(const std::string& content) {
  const auto path = FreshFolder() / "lethe.toml";
  std::ofstream(path) << content;
  return path.string();
}

std::string Message(const absl::StatusOr<LoadedConfig>& loaded) {
  return std::string(loaded.status().message());
}

TEST(Config, DefaultsNeedOnlyADataFolder) {
  const auto loaded = LoadConfig({{"data_folder", "/d/"}}, {});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.model_folder, "/d/models");
  EXPECT_EQ(loaded->config.key_file, "/d.key");
  EXPECT_EQ(loaded->config.HeartbeatInterval(), absl::Seconds(20));
}

TEST(Config, FlagBeatsEnvironmentBeatsFile) {
  const std::string file = TempFile(
      "data_folder = \"/file\"\nmax_text_bytes = 1000\nlease_duration = \"10s\"\nlog_level = "
      "\"warn\"\n");
  const auto loaded =
      LoadConfig({{"config", file}, {"max_text_bytes", "3000"}},
                 {{"LETHE_MAX_TEXT_BYTES", "2000"}, {"LETHE_LEASE_DURATION", "20s"}});
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(loaded->config.max_text_bytes, 3000);
  EXPECT_EQ(loaded->config.lease_duration, absl::Seconds(20));
  EXPECT_EQ(loaded->config.log_level, "warn");
  EXPECT_EQ(loaded->config.data_folder, "/file");
  EXPECT_EQ(loaded->sources.at("max_text_bytes"), "flag --max-text-bytes");
  EXPECT_EQ(loaded->sources.at("lease_duration"), "environment LETHE_LEASE_DURATION");
  EXPECT_EQ(loaded->sources.at("log_level"), "file " + file);
  EXPECT_EQ(loaded->sources.at("reflection"), "default");
}

TEST(Config, SaysAllMistakesAtOnce) {
  const std::string file = TempFile(
      "max_txt_bytes = 5\nmax_message_bytes = \"big\"\nlease_duration = \"soon\"\nreflection = "
      "1\n");
  const auto loaded =
      LoadConfig({{"config", file}, {"max_polls", "0"}}, {{"LETHE_MAX_WATCHERS", "x"}});
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(ErrorReason(loaded.status()), "CONFIG_INVALID");
  EXPECT_THAT(
      Message(loaded),
      AllOf(HasSubstr("max_txt_bytes: no such option; did you mean max_text_bytes?"),
            HasSubstr("max_message_bytes: wants a whole number"),
            HasSubstr("\"soon\" is no duration"), HasSubstr("reflection: wants true or false"),
            HasSubstr("max_polls: 0 is outside 1 to 1000000"),
            HasSubstr("max_watchers (environment LETHE_MAX_WATCHERS): \"x\" is no whole number"),
            HasSubstr("data_folder: required")));
}

TEST(Config, RefusesPlainTextBeyondLoopback) {
  const auto refused = LoadConfig({{"data_folder", "/d"}, {"listen_address", "0.0.0.0:7700"}}, {});
  ASSERT_FALSE(refused.ok());
  EXPECT_THAT(Message(refused), AllOf(HasSubstr("without TLS"), HasSubstr("allow_insecure")));
  EXPECT_TRUE(
      LoadConfig(
          {{"data_folder", "/d"}, {"listen_address", "0.0.0.0:7700"}, {"allow_insecure", "true"}},
          {})
          .ok());
}

TEST(Config, KnowsLoopback) {
  for (const char* address :
       {"127.0.0.1:1", "127.9.9.9:0", "localhost:7700", "[::1]:5", "unix:/run/x"}) {
    EXPECT_TRUE(IsLoopback(address)) << address;
  }
  for (const char* address :
       {"0.0.0.0:1", "[::]:1", "127.example.com:1", "127.0.0:1", "10.0.0.1:1", "127.0.0.256:1"}) {
    EXPECT_FALSE(IsLoopback(address)) << address;
  }
}

TEST(Config, ChecksCombinations) {
  ServerConfig config;
  config.data_folder = "/d";
  EXPECT_TRUE(ConfigMistakes(config).empty());
  config.heartbeat_interval = absl::Seconds(40);
  config.retry_base = absl::Hours(1);
  config.default_regulation = "DSGVO";
  EXPECT_EQ(ConfigMistakes(config).size(), 3u);
}

TEST(Config, PrintedConfigIsReadAgain) {
  const auto first =
      LoadConfig({{"data_folder", "/a \"quoted\" folder"}, {"max_batch_wait", "90s"}}, {});
  ASSERT_TRUE(first.ok());
  const std::string text = PrintConfig(*first);
  EXPECT_THAT(text, HasSubstr("# flag --max-batch-wait"));
  const auto second = LoadConfig({{"config", TempFile(text)}}, {});
  ASSERT_TRUE(second.ok()) << second.status();
  for (const ConfigOption& option : ConfigOptions()) {
    EXPECT_EQ(ValueText(option, first->config), ValueText(option, second->config)) << option.name;
  }
}

TEST(Config, DocsNameEveryOption) {
  const std::string docs = ConfigDocs();
  for (const ConfigOption& option : ConfigOptions()) {
    EXPECT_THAT(docs, HasSubstr("`" + std::string(option.name) + "`"));
    EXPECT_THAT(std::string(option.help), Not(HasSubstr("|")));
  }
}

TEST(Config, BrokenTomlNamesTheLine) {
  const auto loaded = LoadConfig({{"config", TempFile("data_folder = \"/d\"\nx = = 1\n")}}, {});
  ASSERT_FALSE(loaded.ok());
  EXPECT_THAT(Message(loaded), HasSubstr(".toml:2: "));
}

}  // namespace
}  // namespace lethe
