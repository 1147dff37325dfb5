#include "corpus/intake.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "corpus/byte_order.h"
#include "corpus/sequence_record.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

// An entry of a spill: length:4, id:5, subject:16, has document:1, document:16, record.
constexpr size_t kEntryHead = kSequenceIdBytes + 2 * kKeyHashBytes + 1;
constexpr size_t kReadAhead = 256 << 10;
constexpr uint64_t kLinesPerProgress = 1024;

absl::Status Repeated(const std::string& where) {
  return Error(absl::StatusCode::kInvalidArgument, "DOCUMENT_REPEATED",
               absl::StrCat("its document ", where,
                            "; if documents come in parts, the corpus must be built so"));
}

// A line of the input, for people and for programs.
struct InputLine {
  std::string text;  // "file:line"
  ErrorMetadata details;
};

// The line that was the n-th to be read, from 0. Only errors need it, so it is looked for again
// instead of being kept for millions of lines.
absl::StatusOr<InputLine> LineOf(const CorpusInput& input, uint64_t n) {
  for (size_t source = 0; source < input.files.size(); ++source) {
    const fs::path& file = input.files[source];
    LETHE_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open(file, input.limits.max_line_bytes));
    for (;;) {
      LETHE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, lines.Next());
      if (!line.has_value()) break;
      if (n-- > 0) continue;
      return InputLine{
          .text = absl::StrCat(file.string(), ":", lines.number()),
          .details = {{"line", absl::StrCat(lines.number())}, {"source", absl::StrCat(source)}}};
    }
  }
  return InputLine{.text = "a line that is not there any more"};
}

KeyHash HashAt(std::string_view bytes) {
  KeyHash hash;
  std::copy_n(bytes.data(), hash.size(), hash.data());
  return hash;
}

}  // namespace

Intake::Intake(fs::path folder, const CorpusKey& key, const Manifest& next)
    : folder_(std::move(folder)),
      key_(key),
      id_bytes_(TokenIdBytes(next.vocab_size)),
      document_parts_(next.document_parts),
      first_id_(next.next_id),
      next_id_(next.next_id),
      shards_(next.shards),
      documents_(folder_) {}

absl::Status Intake::Take(const KeyedSequence& line, const Corpus* before) {
  if (next_id_ == kMaxSequences) {
    return Error(absl::StatusCode::kInvalidArgument, "TOO_MANY_SEQUENCES",
                 absl::StrCat("a corpus gives at most ", kMaxSequences, " ids"));
  }
  const SequenceId id{next_id_};
  const KeyHash subject = key_.OfSubject(line.subject);
  KeyHash document{};
  if (line.document.has_value()) document = key_.OfDocument(*line.document);
  if (line.document.has_value() && !document_parts_) {
    if (before != nullptr) {
      LETHE_ASSIGN_OR_RETURN(const std::vector<SequenceId> there,
                             before->FindDocument(*line.document));
      if (!there.empty()) return Repeated("stands in the corpus already");
    }
    LETHE_RETURN_IF_ERROR(documents_.Add(std::string(View(document)) + PlaceKey(id)));
  }
  entry_.assign(4, '\0');
  entry_ += PlaceKey(id);
  entry_ += View(subject);
  entry_ += line.document.has_value() ? '\1' : '\0';
  entry_ += View(document);
  AppendRecord(id, line.sequence, id_bytes_, &entry_);
  StoreBig(entry_.data(), entry_.size() - 4, 4);
  Shard& shard = shards_[ShardOf(subject, static_cast<uint32_t>(shards_.size()))];
  if (!shard.spill.has_value()) {
    LETHE_ASSIGN_OR_RETURN(SpillFile spill, SpillFile::Create(folder_));
    shard.spill.emplace(std::move(spill));
  }
  ++shard.arrivals;
  ++next_id_;
  return shard.spill->Append(entry_);
}

absl::Status Intake::ReadFile(const fs::path& file, const CorpusInput& input, const Corpus* before,
                              const CorpusProgressCallback& progress, CorpusProgress* done) {
  LETHE_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open(file, input.limits.max_line_bytes));
  const uint64_t bytes_before = done->bytes;
  for (;;) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, lines.Next());
    done->bytes = bytes_before + lines.bytes_read();
    if (!line.has_value()) return absl::OkStatus();
    const absl::StatusOr<KeyedSequence> read =
        KeyedSequenceFromLine(*line, input.tokenizer, input.limits);
    if (!read.ok()) return lines.At(read.status());
    if (absl::Status taken = Take(*read, before); !taken.ok()) return lines.At(taken);
    if (++done->sequences % kLinesPerProgress == 0 && progress && !progress(*done)) {
      return Error(absl::StatusCode::kCancelled, "CANCELLED", "given up while reading");
    }
  }
}

absl::Status Intake::Read(const CorpusInput& input, const Corpus* before,
                          const CorpusProgressCallback& progress) {
  CorpusProgress done{.phase = "read"};
  for (const fs::path& file : input.files) {
    std::error_code ec;
    if (const auto size = fs::file_size(file, ec); !ec) done.of_bytes += size;
  }
  for (size_t source = 0; source < input.files.size(); ++source) {
    absl::Status read = ReadFile(input.files[source], input, before, progress, &done);
    if (!read.ok()) return WithDetails(std::move(read), {{"source", absl::StrCat(source)}});
  }
  for (Shard& shard : shards_) {
    if (shard.spill.has_value()) LETHE_RETURN_IF_ERROR(shard.spill->Flush());
  }
  return absl::OkStatus();
}

absl::Status Intake::RefuseRepeatedDocuments(const CorpusInput& input) {
  // Of all that are repeated, the line that comes first: as if they had been looked at in order.
  std::string last;
  std::optional<std::pair<uint64_t, uint64_t>> repeat;  // the later, the earlier
  LETHE_RETURN_IF_ERROR(documents_.Drain([&](std::string_view record) {
    if (!last.empty() && record.substr(0, kKeyHashBytes) == last.substr(0, kKeyHashBytes)) {
      const std::pair found(IdOfEntry(record).value, IdOfEntry(last).value);
      repeat = repeat.has_value() ? std::min(*repeat, found) : found;
    }
    last = record;
    return absl::OkStatus();
  }));
  if (!repeat.has_value()) return absl::OkStatus();
  LETHE_ASSIGN_OR_RETURN(const InputLine later, LineOf(input, repeat->first - first_id_));
  LETHE_ASSIGN_OR_RETURN(const InputLine earlier, LineOf(input, repeat->second - first_id_));
  return WithDetails(
      Annotate(Repeated(absl::StrCat("is that of ", earlier.text, " too")), later.text),
      later.details);
}

// The next entry without its length; good until the next call.
absl::StatusOr<std::string_view> Intake::NextEntry(Shard* shard) const {
  const auto need = [&](size_t bytes) -> absl::Status {
    if (shard->block.size() - shard->position >= bytes) return absl::OkStatus();
    shard->block.erase(0, shard->position);
    shard->position = 0;
    const uint64_t left = shard->spill->size() - shard->read;
    const uint64_t wanted = std::max<uint64_t>(bytes - shard->block.size(), kReadAhead);
    std::string more;
    LETHE_RETURN_IF_ERROR(shard->spill->ReadAt(shard->read, std::min(left, wanted), &more));
    shard->read += more.size();
    shard->block += more;
    return absl::OkStatus();
  };
  LETHE_RETURN_IF_ERROR(need(4));
  const uint64_t length = LoadBig(shard->block.data() + shard->position, 4);
  LETHE_RETURN_IF_ERROR(need(4 + length));
  const auto entry = std::string_view(shard->block).substr(shard->position + 4, length);
  shard->position += 4 + length;
  return entry;
}

absl::Status Intake::ForNext(uint32_t shard, uint64_t most, const Visitor& visit) {
  for (uint64_t i = 0; i < most; ++i) {
    LETHE_ASSIGN_OR_RETURN(std::string_view entry, NextEntry(&shards_[shard]));
    Arrival arrival;
    arrival.stored.id = IdOfEntry(entry.substr(0, kSequenceIdBytes));
    arrival.subject = HashAt(entry.substr(kSequenceIdBytes));
    if (entry[kSequenceIdBytes + kKeyHashBytes] != 0) {
      arrival.document = HashAt(entry.substr(kSequenceIdBytes + kKeyHashBytes + 1));
    }
    LETHE_ASSIGN_OR_RETURN(
        arrival.stored.sequence,
        ParseRecord(entry.substr(kEntryHead), arrival.stored.id, id_bytes_, folder_ / "(spill)"));
    LETHE_RETURN_IF_ERROR(visit(arrival));
  }
  return absl::OkStatus();
}

}  // namespace lethe
