#include "tests/support/faulty_fs.h"

#include <algorithm>
#include <fstream>

namespace lethe {

namespace fs = std::filesystem;
using rocksdb::FSWritableFile;
using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;
using rocksdb::Slice;

// Appended bytes stay in memory until a sync pushes them to the real file.
class LossyFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  LossyFile(LossyFs* fs, std::string name, std::unique_ptr<FSWritableFile> target)
      : FSWritableFileOwnerWrapper(std::move(target)), fs_(fs), name_(std::move(name)) {
    absl::MutexLock lock(&fs_->mu_);
    fs_->unsynced_[name_].clear();
  }

  IOStatus Append(const Slice& data, const IOOptions&, IODebugContext*) override {
    absl::MutexLock lock(&fs_->mu_);
    fs_->unsynced_[name_].append(data.data(), data.size());
    size_ += data.size();
    return IOStatus::OK();
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }
  IOStatus Flush(const IOOptions&, IODebugContext*) override { return IOStatus::OK(); }
  IOStatus RangeSync(uint64_t, uint64_t, const IOOptions&, IODebugContext*) override {
    return IOStatus::OK();
  }
  // The page cache outlives this process, so pushing is enough: no real
  // sync, and hundreds of cuts take seconds.
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    absl::MutexLock lock(&fs_->mu_);
    if (!fs_->wanted_from_.empty()) {
      fs_->CutLocked(fs_->wanted_from_, fs_->wanted_to_);
      fs_->wanted_from_.clear();
    }
    std::string& bytes = fs_->unsynced_[name_];
    IOStatus status = target()->Append(bytes, options, debug);
    if (status.ok()) status = target()->Flush(options, debug);
    if (status.ok()) bytes.clear();
    return status;
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Sync(options, debug);
  }
  // Closing is no sync: the bytes stay in memory, for a cut to drop.
  // RocksDB reads no file that it has not synced.
  IOStatus Close(const IOOptions& options, IODebugContext* debug) override {
    return target()->Close(options, debug);
  }
  uint64_t GetFileSize(const IOOptions&, IODebugContext*) override { return size_; }

 private:
  LossyFs* const fs_;
  const std::string name_;
  uint64_t size_ = 0;
};

IOStatus LossyFs::NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                  std::unique_ptr<FSWritableFile>* result, IODebugContext* debug) {
  std::unique_ptr<FSWritableFile> target_file;
  IOStatus status = target()->NewWritableFile(name, options, &target_file, debug);
  if (status.ok()) *result = std::make_unique<LossyFile>(this, name, std::move(target_file));
  return status;
}

IOStatus LossyFs::ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                     std::unique_ptr<FSWritableFile>* result,
                                     IODebugContext* debug) {
  std::unique_ptr<FSWritableFile> target_file;
  IOStatus status = target()->ReopenWritableFile(name, options, &target_file, debug);
  if (status.ok()) *result = std::make_unique<LossyFile>(this, name, std::move(target_file));
  return status;
}

void LossyFs::Cut(const fs::path& from, const fs::path& to) {
  absl::MutexLock lock(&mu_);
  wanted_from_.clear();
  CutLocked(from, to);
}

void LossyFs::CutInNextSync(const fs::path& from, const fs::path& to) {
  absl::MutexLock lock(&mu_);
  wanted_from_ = from;
  wanted_to_ = to;
}

bool LossyFs::CutDone() {
  absl::MutexLock lock(&mu_);
  return wanted_from_.empty();
}

void LossyFs::CutLocked(const fs::path& from, const fs::path& to) {
  fs::remove_all(to);
  fs::create_directories(to);
  int64_t dropped = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(from)) {
    std::error_code gone;  // RocksDB may remove a file meanwhile, as it may before a real cut
    fs::copy_file(entry.path(), to / entry.path().filename(), gone);
    auto it = unsynced_.find(entry.path().string());
    if (gone || it == unsynced_.end() || it->second.empty()) continue;
    const size_t size = it->second.size();
    const size_t torn = std::min<size_t>(size, random_() % (size + 1));
    const size_t kept = random_() % 3 == 0 ? torn : 0;
    std::ofstream(to / entry.path().filename(), std::ios::app | std::ios::binary)
        .write(it->second.data(), static_cast<std::streamsize>(kept));
    dropped += static_cast<int64_t>(size - kept);
  }
  dropped_ = dropped;
}

namespace {

class FullDiskFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  FullDiskFile(FullDiskFs* fs, std::unique_ptr<FSWritableFile> target)
      : FSWritableFileOwnerWrapper(std::move(target)), fs_(fs) {}
  IOStatus Append(const Slice& data, const IOOptions& options, IODebugContext* debug) override {
    const auto fits = static_cast<size_t>(fs_->Take(static_cast<int64_t>(data.size())));
    IOStatus status = target()->Append(Slice(data.data(), fits), options, debug);
    if (status.ok() && fits < data.size()) return IOStatus::NoSpace("No space left on device");
    return status;
  }
  IOStatus Append(const Slice& data, const IOOptions& options, const rocksdb::DataVerificationInfo&,
                  IODebugContext* debug) override {
    return Append(data, options, debug);
  }

 private:
  FullDiskFs* const fs_;
};

}  // namespace

int64_t FullDiskFs::Take(int64_t wanted) {
  int64_t before = free_.load();
  while (!free_.compare_exchange_weak(before, std::max<int64_t>(0, before - wanted))) {
  }
  return std::min(before, wanted);
}

IOStatus FullDiskFs::NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                     std::unique_ptr<FSWritableFile>* result,
                                     IODebugContext* debug) {
  std::unique_ptr<FSWritableFile> target_file;
  IOStatus status = target()->NewWritableFile(name, options, &target_file, debug);
  if (status.ok()) *result = std::make_unique<FullDiskFile>(this, std::move(target_file));
  return status;
}

}  // namespace lethe
