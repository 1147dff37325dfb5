// The format of the data folder: column families, keys and values. This file is the only place that
// makes or reads a key; docs/storage.md shows the same with an example in bytes.
//
//   value   serialised lethe.store.v1 record named below; index entries have an empty value
//   be64    8 bytes, big-endian;  ~be64  of the complement, so that later comes first
//   state   one byte, the number of storage/state/*.h
//   time    create_us of the record
//
//   family       key                                       value
//   default      "format"                                  text, see below
//                "vault"                                   text, Vault::Identity of the key file
//                "counters"                                CountersRecord
//   tickets      ticket id                                 TicketRecord
//   jobs         job id                                    JobRecord
//   models       model id                                  ModelRecord
//   checkpoints  checkpoint id                             CheckpointRecord
//   reports      report id                                 ReportRecord
//   requests     SHA-256 of the request id, hex            RequestRecord
//   payloads     ticket id                                 PayloadRecord
//   keys         ticket id                                 KeyRecord
//   audit        be64 index, from 0 without a gap          AuditLeaf
//   index        'S' state ~be64(time) ticket id           tickets of all models by state
//                'M' model 0x00 state ~be64(time) ticket   tickets of one model by state
//                'J' state job id                          jobs by state
//                'C' model 0x00 ~be64(time) checkpoint     checkpoints of a model
//                'E' be64(expire_us) request key           idempotency keys by expiry
//
// "format" holds "<format version> <lethe version that wrote it>". Payloads and keys are not
// compressed and exist exactly for the tickets that have not ended. An audit leaf is never
// rewritten and never removed.
//
// No key holds personal data: keys survive longest (in MANIFEST and the info log). A version is
// raised when an older reader would misread; an unknown one is refused at open.
#ifndef LETHE_STORAGE_ROCKSDB_FORMAT_H_
#define LETHE_STORAGE_ROCKSDB_FORMAT_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "storage/command/commands.h"

namespace lethe::storage::format {

inline constexpr int kVersion = 1;
inline constexpr std::string_view kFormatKey = "format";
inline constexpr std::string_view kVaultKey = "vault";
inline constexpr std::string_view kCountersKey = "counters";

// Their order is the order of the open handles.
enum Family {
  kDefault,
  kTickets,
  kJobs,
  kModels,
  kCheckpoints,
  kReports,
  kRequests,
  kPayloads,
  kKeys,
  kAudit,
  kIndex,
  kFamilies
};
inline constexpr const char* kFamilyNames[kFamilies] = {
    "default",  "tickets",  "jobs", "models", "checkpoints", "reports",
    "requests", "payloads", "keys", "audit",  "index"};

std::string Be64(uint64_t value);
uint64_t FromBe64(std::string_view bytes);  // of at least 8 bytes

// The prefix under which all tickets of that state lie, newest first; `model` empty: of all models.
std::string TicketPrefix(const std::string& model, int32_t state);
// `prefix` + place of that ticket.
std::string TicketPlace(const std::string& prefix, int64_t create_us, const std::string& ticket);
// The ticket id, or "" when the key is none of that prefix.
std::string TicketOfPlace(const std::string& prefix, std::string_view key);
int64_t CreateUsOfPlace(const std::string& prefix, std::string_view key);

std::string JobPrefix(int32_t state);
std::string CheckpointPrefix(const std::string& model);
std::string ExpiryKey(int64_t expire_us, const std::string& request_key);
inline constexpr char kExpiryPrefix = 'E';

// Every index entry of a record.
std::vector<std::string> IndexKeys(const TicketRecord& ticket);
std::vector<std::string> IndexKeys(const JobRecord& job);
std::vector<std::string> IndexKeys(const CheckpointRecord& checkpoint);
inline std::vector<std::string> IndexKeys(const ModelRecord&) { return {}; }

}  // namespace lethe::storage::format

#endif  // LETHE_STORAGE_ROCKSDB_FORMAT_H_
