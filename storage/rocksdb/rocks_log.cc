#include "storage/rocksdb/rocks_log.h"

#include <cstdarg>
#include <cstdio>
#include <string>

#include "base/log.h"

namespace lethe::storage {
namespace {

class RocksLog : public rocksdb::Logger {
 public:
  RocksLog() : Logger(rocksdb::WARN_LEVEL) {}
  void LogHeader(const char*, va_list) override {}
  void Logv(const char* format, va_list arguments) override {
    Logv(rocksdb::WARN_LEVEL, format, arguments);
  }
  void Logv(const rocksdb::InfoLogLevel level, const char* format, va_list arguments) override {
    if (level < GetInfoLogLevel() || level > rocksdb::FATAL_LEVEL) return;
    char line[512];
    std::vsnprintf(line, sizeof(line), format, arguments);
    if (level == rocksdb::WARN_LEVEL) {
      LogWarning("rocksdb warns", {{"text", line}});
    } else {
      LogError("rocksdb failed", {{"text", line}});
    }
  }
};

}  // namespace

std::shared_ptr<rocksdb::Logger> MakeRocksLog() { return std::make_shared<RocksLog>(); }

}  // namespace lethe::storage
