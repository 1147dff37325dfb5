#include "server/rpc/wire.h"

#include <google/protobuf/stubs/logging.h>
#include <grpcpp/support/proto_buffer_reader.h>
#include <grpcpp/support/slice.h>

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "server/errors.h"

namespace lethe {
namespace {

// The field that the parser complained about on this thread.
thread_local std::string* bad_utf8_field = nullptr;

void OnProtobufLog(google::protobuf::LogLevel level, const char* file, int line,
                   const std::string& message) {
  constexpr std::string_view kPrefix = "String field '";
  const bool names_field = message.compare(0, kPrefix.size(), kPrefix) == 0;
  if (bad_utf8_field != nullptr && names_field) {
    const size_t end = message.find('\'', kPrefix.size());
    *bad_utf8_field = message.substr(kPrefix.size(), end - kPrefix.size());
    return;
  }
  // A message of protobuf's may quote what it read; its place in the source may not.
  LogWarning("protobuf complained",
             {{"file", file}, {"line", line}, {"level", static_cast<int>(level)}});
}

bool IsTargetText(std::string_view field) {
  return field == "lethe.v1.Target.text" || field == "lethe.v1.PromptAnswer.prompt" ||
         field == "lethe.v1.PromptAnswer.answer";
}

}  // namespace

void InstallProtobufLog() { google::protobuf::SetLogHandler(&OnProtobufLog); }

absl::Status ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::MessageLite* message) {
  std::string field;
  bad_utf8_field = &field;
  // The reader only reads, but its constructor asks for a pointer that is not const.
  grpc::ProtoBufferReader reader(const_cast<grpc::ByteBuffer*>(&bytes));
  const bool parsed = reader.status().ok() && message->ParseFromZeroCopyStream(&reader);
  bad_utf8_field = nullptr;
  if (parsed) return absl::OkStatus();
  if (field.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "MALFORMED_REQUEST",
                 absl::StrCat("the bytes are no ", message->GetTypeName()));
  }
  const std::string name = field.substr(field.rfind('.') + 1);
  return FieldError(IsTargetText(field) ? "TEXT_NOT_UTF8" : "MALFORMED_REQUEST", name,
                    absl::StrCat(field, " is not UTF-8"));
}

grpc::ByteBuffer SerialiseMessage(const google::protobuf::MessageLite& message) {
  const size_t size = message.ByteSizeLong();
  grpc::Slice slice(size);
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace lethe
