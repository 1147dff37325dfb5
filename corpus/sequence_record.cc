#include "corpus/sequence_record.h"

#include "corpus/byte_order.h"
#include "corpus/checksum.h"
#include "corpus/corpus_status.h"

namespace lethe {
namespace {

uint32_t RecordChecksum(SequenceId id, std::string_view body) {
  char key[kSequenceIdBytes];
  StoreBig(key, id.value, sizeof key);
  return Crc32c(body, Crc32c({key, sizeof key}));
}

// Takes lengths and spans off `rest`; false when they cannot be those of a record.
bool ParseHead(std::string_view* rest, Sequence* sequence, uint32_t* tokens) {
  uint32_t prompt, spans;
  if (!LoadVarint(rest, tokens) || !LoadVarint(rest, &prompt) || !LoadVarint(rest, &spans)) {
    return false;
  }
  if (*tokens > INT32_MAX || prompt >= *tokens || spans > *tokens) return false;
  sequence->prompt_tokens = static_cast<int32_t>(prompt);
  uint64_t at = 0;
  for (uint32_t i = 0; i < spans; ++i) {
    uint32_t gap, length;
    if (!LoadVarint(rest, &gap) || !LoadVarint(rest, &length)) return false;
    const uint64_t begin = at + gap;
    at = begin + length;
    if (at > *tokens) return false;
    sequence->sensitive.push_back({static_cast<int32_t>(begin), static_cast<int32_t>(at)});
  }
  return true;
}

}  // namespace

int TokenIdBytes(int32_t vocab_size) {
  if (vocab_size <= 1 << 16) return 2;
  return vocab_size <= 1 << 24 ? 3 : 4;
}

void AppendRecord(SequenceId id, const Sequence& sequence, int id_bytes, std::string* out) {
  const size_t at = out->size();
  out->append(4, '\0');  // the checksum
  PutVarint(out, static_cast<uint32_t>(sequence.ids.size()));
  PutVarint(out, static_cast<uint32_t>(sequence.prompt_tokens));
  PutVarint(out, static_cast<uint32_t>(sequence.sensitive.size()));
  int32_t end = 0;
  for (const Span& span : sequence.sensitive) {
    PutVarint(out, static_cast<uint32_t>(span.begin - end));
    PutVarint(out, static_cast<uint32_t>(span.end - span.begin));
    end = span.end;
  }
  for (const int32_t token : sequence.ids) {
    PutLittle(out, static_cast<uint32_t>(token), static_cast<size_t>(id_bytes));
  }
  std::string checksum;
  PutLittle(&checksum, RecordChecksum(id, std::string_view(*out).substr(at + 4)), 4);
  out->replace(at, 4, checksum);
}

absl::StatusOr<Sequence> ParseRecord(std::string_view bytes, SequenceId id, int id_bytes,
                                     const std::filesystem::path& file) {
  const auto width = static_cast<size_t>(id_bytes);
  Sequence sequence;
  if (bytes.size() < 4) return Damaged(file, "it ends inside a sequence");
  std::string_view rest = bytes.substr(4);
  const std::string_view body = rest;
  uint32_t tokens;
  if (!ParseHead(&rest, &sequence, &tokens)) return Damaged(file, "a sequence cannot be read");
  if (rest.size() / width < tokens) return Damaged(file, "it ends inside a sequence");
  const size_t body_bytes = body.size() - rest.size() + tokens * width;
  if (RecordChecksum(id, body.substr(0, body_bytes)) != LoadLittle(bytes.data(), 4)) {
    return Damaged(file, "the checksum of a sequence is wrong");
  }
  sequence.ids.resize(tokens);
  for (uint32_t i = 0; i < tokens; ++i) {
    sequence.ids[i] = static_cast<int32_t>(LoadLittle(rest.data() + i * width, width));
  }
  return sequence;
}

void AppendContent(const Sequence& sequence, std::string* out) {
  const auto put = [out](size_t value) { PutLittle(out, value, 4); };
  put(sequence.ids.size());
  put(static_cast<size_t>(sequence.prompt_tokens));
  put(sequence.sensitive.size());
  for (const Span& span : sequence.sensitive) {
    put(static_cast<size_t>(span.begin));
    put(static_cast<size_t>(span.end));
  }
  for (const int32_t token : sequence.ids) put(static_cast<size_t>(token));
}

}  // namespace lethe
