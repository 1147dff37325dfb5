#include "server/convert.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/model_layout.h"
#include "base/status.h"

namespace lethe {
namespace {

void SetTime(int64_t micros, google::protobuf::Timestamp* out) {
  ToTimestamp(absl::FromUnixMicros(micros), out);
}

}  // namespace

void ToTicket(const storage::TicketRecord& record, const v1::Progress* progress, v1::Ticket* out) {
  out->set_ticket_id(record.ticket_id());
  out->set_model_id(record.model_id());
  out->set_state(static_cast<v1::TicketState>(record.state()));
  out->set_reason(static_cast<v1::TicketReason>(record.reason()));
  out->set_held(record.held());
  out->set_regulation(static_cast<v1::Regulation>(record.regulation()));
  out->set_external_reference(record.external_reference());
  SetTime(record.create_us(), out->mutable_create_time());
  SetTime(record.request_us(), out->mutable_request_time());
  SetTime(record.due_us(), out->mutable_due_time());
  SetTime(record.original_due_us(), out->mutable_original_due_time());
  SetTime(record.update_us(), out->mutable_update_time());
  if (record.end_us() != 0) SetTime(record.end_us(), out->mutable_end_time());
  out->set_sequences(record.sequences());
  out->set_tokens(record.tokens());
  out->set_rung(record.rung());
  out->set_job_id(record.job_id());
  out->set_checkpoint_id(record.checkpoint_id());
  *out->mutable_report_ids() = record.report_ids();
  if (progress != nullptr) *out->mutable_progress() = *progress;
  out->set_etag(Etag(record.version()));
  out->set_payload_destroyed(record.payload_destroyed());
  if (record.corpus_sequences() > 0) {
    out->mutable_corpus()->set_sequences(record.corpus_sequences());
    *out->mutable_corpus()->mutable_shards() = record.corpus_shards();
  }
}

namespace {

void ToCorpus(const storage::ModelRecord& model, v1::Corpus* out) {
  const storage::CorpusRecord& record = model.corpus();
  out->set_state(static_cast<v1::CorpusState>(record.state()));
  out->set_failure_reason(record.failure_reason());
  out->set_failure_line(record.failure_line());
  out->set_failure_source(record.failure_source());
  out->mutable_options()->ParseFromString(record.options());
  out->mutable_teachers()->ParseFromString(record.teachers());
  if (!record.base().empty()) out->mutable_base()->ParseFromString(record.base());
  out->set_sequences(record.sequences());
  out->set_tokens(record.tokens());
  for (int shard = 0; shard < record.shards_size(); ++shard) {
    const storage::TeacherRecord& teacher = record.shards(shard);
    v1::TeacherStatus* status = out->add_shards();
    status->set_shard(shard);
    status->set_state(static_cast<v1::TeacherState>(teacher.state()));
    status->set_state_key(teacher.state_key());
    status->set_job_id(teacher.job_id());
    status->set_failure_reason(teacher.failure_reason());
    SetTime(teacher.update_us(), status->mutable_update_time());
  }
  out->set_folder(CorpusFolder(ModelId{model.model_id()}, JobId{record.job_id()}));
  SetTime(record.create_us(), out->mutable_create_time());
  SetTime(record.update_us(), out->mutable_update_time());
  if (record.trained_tokens() > 0) {
    out->set_train_token_seconds(record.trained_seconds() /
                                 static_cast<double>(record.trained_tokens()));
  }
  *out->mutable_source_paths() = record.source_paths();
}

}  // namespace

void ToModel(const storage::ModelRecord& record, v1::Model* out) {
  out->set_model_id(record.model_id());
  out->set_state(static_cast<v1::ModelState>(record.state()));
  out->set_failure_reason(record.failure_reason());
  out->set_generation(record.generation());
  out->set_current_checkpoint_id(record.current_checkpoint_id());
  if (!record.facts().empty()) out->mutable_facts()->ParseFromString(record.facts());
  if (!record.thresholds().empty()) out->mutable_thresholds()->ParseFromString(record.thresholds());
  out->mutable_policy()->ParseFromString(record.policy());
  SetTime(record.create_us(), out->mutable_create_time());
  SetTime(record.update_us(), out->mutable_update_time());
  out->set_active_job_id(record.active_job_id());
  out->set_folder(record.model_id());
  if (record.has_corpus()) ToCorpus(record, out->mutable_corpus());
}

void ToCheckpoint(const storage::CheckpointRecord& record, v1::Checkpoint* out) {
  out->set_checkpoint_id(record.checkpoint_id());
  out->set_model_id(record.model_id());
  out->set_state(static_cast<v1::CheckpointState>(record.state()));
  out->set_generation(record.generation());
  out->set_job_id(record.job_id());
  out->set_fence(record.fence());
  out->set_digest(record.digest());
  out->set_parent_checkpoint_id(record.parent_checkpoint_id());
  out->set_tickets(record.ticket_ids_size());
  SetTime(record.create_us(), out->mutable_create_time());
  SetTime(record.update_us(), out->mutable_update_time());
  out->set_folder(record.folder());
  out->set_report_id(record.report_id());
  out->set_folder_removed(record.folder_removed());
}

void ToLimits(const ServerConfig& config, v1::Limits* out) {
  out->set_max_text_bytes(config.max_text_bytes);
  out->set_max_target_tokens(static_cast<int32_t>(config.max_target_tokens));
  out->set_max_targets_per_ticket(static_cast<int32_t>(config.max_targets_per_ticket));
  out->set_max_ticket_tokens(config.max_ticket_tokens);
  out->set_max_tickets_per_batch(static_cast<int32_t>(config.max_tickets_per_batch));
}

void ToTimestamp(absl::Time time, google::protobuf::Timestamp* out) {
  const int64_t seconds = absl::ToUnixSeconds(time);
  out->set_seconds(seconds);
  const absl::Duration rest = time - absl::FromUnixSeconds(seconds);
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

std::optional<absl::Time> FromTimestamp(const google::protobuf::Timestamp& time) {
  // Protobuf's own range: 0001-01-01 to 9999-12-31.
  constexpr int64_t kFirst = -62'135'596'800, kLast = 253'402'300'799;
  if (time.seconds() < kFirst || time.seconds() > kLast) return std::nullopt;
  if (time.nanos() < 0 || time.nanos() > 999'999'999) return std::nullopt;
  return absl::FromUnixSeconds(time.seconds()) + absl::Nanoseconds(time.nanos());
}

std::optional<absl::Duration> FromDuration(const google::protobuf::Duration& duration) {
  constexpr int64_t kMost = 315'576'000'000;
  if (duration.seconds() < -kMost || duration.seconds() > kMost) return std::nullopt;
  if (duration.nanos() < -999'999'999 || duration.nanos() > 999'999'999) return std::nullopt;
  return absl::Seconds(duration.seconds()) + absl::Nanoseconds(duration.nanos());
}

void ToDuration(absl::Duration duration, google::protobuf::Duration* out) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  out->set_seconds(seconds);
  const absl::Duration rest = duration - absl::Seconds(seconds);
  out->set_nanos(static_cast<int32_t>(absl::ToInt64Nanoseconds(rest)));
}

std::string DeterministicBytes(const google::protobuf::MessageLite& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream stream(&bytes);
    google::protobuf::io::CodedOutputStream coded(&stream);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

std::string Etag(uint64_t version) { return absl::StrCat("\"", version, "\""); }

absl::StatusOr<std::optional<uint64_t>> ParseEtag(const std::string& etag) {
  if (etag.empty()) return std::optional<uint64_t>();
  uint64_t version = 0;
  if (etag.size() > 2 && etag.front() == '"' && etag.back() == '"' &&
      absl::SimpleAtoi(etag.substr(1, etag.size() - 2), &version)) {
    return std::optional<uint64_t>(version);
  }
  return Error(absl::StatusCode::kAborted, "ETAG_MISMATCH",
               "no ticket has this etag; read the ticket again and decide again");
}

}  // namespace lethe
