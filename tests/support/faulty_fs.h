// File systems below RocksDB that fail the way disks do.
//
//   LossyFs     a power cut: what was not synced is gone, or torn. Cut(from, to) copies the folder
//               as a machine would find it after the cut.
//   FullDiskFs  a disk with so many bytes left: then writes fail with ENOSPC, the last one in the
//               middle.
//
//   auto fs = std::make_shared<LossyFs>(seed);
//   auto env = rocksdb::NewCompositeEnv(fs);
//   OpenRocksStore({.folder = folder, .env = env.get()}, options);
//
// Not modelled: directory entries and renames (they hold at once).
// Threads    any thread may call.
#ifndef LETHE_TESTS_SUPPORT_FAULTY_FS_H_
#define LETHE_TESTS_SUPPORT_FAULTY_FS_H_

#include <rocksdb/env.h>
#include <rocksdb/file_system.h>

#include <atomic>
#include <filesystem>
#include <map>
#include <random>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace lethe {

class LossyFs : public rocksdb::FileSystemWrapper {
 public:
  explicit LossyFs(uint64_t seed)
      : FileSystemWrapper(rocksdb::FileSystem::Default()), random_(seed) {}
  static const char* kClassName() { return "LossyFs"; }
  const char* Name() const override { return kClassName(); }

  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* result,
                                       rocksdb::IODebugContext* debug) override;

  // The files of `from` as a power cut of this moment leaves them: what is synced, and of the rest
  // of each file nothing, a part or all.
  void Cut(const std::filesystem::path& from, const std::filesystem::path& to);
  // The same at the worst moment: inside the next sync, before its bytes reach the disk. Returns at
  // once; CutDone tells when it happened.
  void CutInNextSync(const std::filesystem::path& from, const std::filesystem::path& to);
  bool CutDone();
  // Bytes that the last cut dropped.
  int64_t dropped() const { return dropped_; }

 private:
  friend class LossyFile;
  void CutLocked(const std::filesystem::path& from, const std::filesystem::path& to)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  absl::Mutex mu_;
  std::filesystem::path wanted_from_ ABSL_GUARDED_BY(mu_), wanted_to_ ABSL_GUARDED_BY(mu_);
  std::map<std::string, std::string> unsynced_ ABSL_GUARDED_BY(mu_);  // by file name
  std::mt19937_64 random_ ABSL_GUARDED_BY(mu_);
  std::atomic<int64_t> dropped_ = 0;
};

class FullDiskFs : public rocksdb::FileSystemWrapper {
 public:
  FullDiskFs() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  static const char* kClassName() { return "FullDiskFs"; }
  const char* Name() const override { return kClassName(); }
  rocksdb::IOStatus NewWritableFile(const std::string& name, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* result,
                                    rocksdb::IODebugContext* debug) override;

  void SetFree(int64_t bytes) { free_ = bytes; }
  // How many of `wanted` bytes still fit; they are taken.
  int64_t Take(int64_t wanted);

 private:
  std::atomic<int64_t> free_ = int64_t{1} << 60;
};

}  // namespace lethe

#endif  // LETHE_TESTS_SUPPORT_FAULTY_FS_H_
