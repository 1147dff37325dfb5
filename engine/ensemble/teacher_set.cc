#include "engine/ensemble/teacher_set.h"

#include <algorithm>
#include <set>

#include "base/digest.h"
#include "engine/checkpoint/decoder_config.h"

namespace lethe {
namespace {

absl::Status Refused(std::string_view reason, std::string_view message, size_t teacher,
                     const ErrorMetadata& metadata = {}) {
  return OfTeacher(Error(absl::StatusCode::kInvalidArgument, reason, message, metadata), teacher);
}

// What token ids of a folder mean, and how many fit its model.
struct Vocabulary {
  int64_t size = 0;
  int64_t context = 0;
  std::string tokenizer;  // digest of tokenizer.json; empty where there is none
};

absl::StatusOr<Vocabulary> ReadVocabulary(const std::filesystem::path& path) {
  LETHE_ASSIGN_OR_RETURN(const CheckpointFolder folder, CheckpointFolder::Open(path));
  LETHE_ASSIGN_OR_RETURN(const DecoderConfig config, ReadDecoderConfig(folder));
  Vocabulary vocabulary{.size = config.vocab_size, .context = config.context};
  std::error_code error;
  if (std::filesystem::exists(path / "tokenizer.json", error)) {
    LETHE_ASSIGN_OR_RETURN(vocabulary.tokenizer, FileDigest(path / "tokenizer.json"));
  }
  return vocabulary;
}

absl::Status CheckVocabulary(const Vocabulary& student, const Vocabulary& teacher, size_t place) {
  if (teacher.size != student.size) {
    return Refused(
        "TEACHER_VOCABULARY_DIFFERS",
        "its vocabulary has another size than the student's: what it says is about "
        "other tokens",
        place,
        {{"vocab_size", std::to_string(teacher.size)}, {"wanted", std::to_string(student.size)}});
  }
  if (teacher.tokenizer != student.tokenizer) {
    return Refused("TEACHER_VOCABULARY_DIFFERS",
                   "its tokenizer.json is not the student's, byte for byte: the same ids may be "
                   "other tokens",
                   place);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<bool>> WhomItTeaches(const Teacher& teacher, size_t place,
                                                size_t sequences) {
  std::vector<bool> teaches(sequences, true);
  for (const size_t s : teacher.saw) {
    if (s >= sequences) {
      return Refused("TEACHER_SAW_UNKNOWN",
                     "it is said to have seen a sequence that is not among those to be forgotten",
                     place, {{"index", std::to_string(s)}});
    }
    teaches[s] = false;
  }
  return teaches;
}

absl::Status CheckContext(const Vocabulary& teacher, const std::vector<bool>& teaches,
                          std::span<const Sequence> forget, size_t place) {
  for (size_t s = 0; s < forget.size(); ++s) {
    if (!teaches[s] || static_cast<int64_t>(forget[s].ids.size()) <= teacher.context) continue;
    return Refused("TEACHER_CONTEXT_TOO_SHORT", "a sequence that it is to teach does not fit it",
                   place,
                   {{"index", std::to_string(s)}, {"context", std::to_string(teacher.context)}});
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status OfTeacher(const absl::Status& status, size_t teacher) {
  ErrorMetadata metadata = ErrorDetails(status);
  const std::string place = metadata["teacher"] = std::to_string(teacher);
  return Error(status.code(), ErrorReason(status),
               "teacher " + place + ": " + std::string(status.message()), metadata);
}

absl::StatusOr<TeacherSet> TeacherSet::Open(std::span<const Teacher> teachers,
                                            const std::filesystem::path& base,
                                            std::span<const Sequence> forget,
                                            const Device& device) {
  if (teachers.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "TEACHERS_NEEDED",
                 "the method distils towards teachers, and none was given: name models that were "
                 "trained on parts of the data, with what each of them saw");
  }
  TeacherSet set;
  set.teachers_.assign(teachers.begin(), teachers.end());
  set.device_ = device;
  for (size_t i = 0; i < teachers.size(); ++i) {  // before any folder is read
    LETHE_ASSIGN_OR_RETURN(auto teaches, WhomItTeaches(teachers[i], i, forget.size()));
    set.teaches_.push_back(std::move(teaches));
  }
  int64_t left_alone = 0;
  for (size_t s = 0; s < forget.size(); ++s) left_alone += set.TeachersOf(s) == 0;
  if (left_alone > 0) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_TEACHER_LEFT",
                 "every teacher saw some of the sequences: nobody can say what a model that never "
                 "saw them would; forget them by another method",
                 {{"count", std::to_string(left_alone)}});
  }
  LETHE_ASSIGN_OR_RETURN(const Vocabulary student, ReadVocabulary(base));
  set.vocab_size_ = student.size;
  LETHE_ASSIGN_OR_RETURN(const std::string base_digest, FolderDigest(base));
  std::set<std::string> seen;
  for (size_t i = 0; i < teachers.size(); ++i) {
    const absl::StatusOr<Vocabulary> vocabulary = ReadVocabulary(teachers[i].folder);
    if (!vocabulary.ok()) return OfTeacher(vocabulary.status(), i);
    LETHE_RETURN_IF_ERROR(CheckVocabulary(student, *vocabulary, i));
    LETHE_RETURN_IF_ERROR(CheckContext(*vocabulary, set.teaches_[i], forget, i));
    LETHE_ASSIGN_OR_RETURN(const std::string digest, FolderDigest(teachers[i].folder));
    if (!teachers[i].digest.empty() && teachers[i].digest != digest) {
      return OfTeacher(Error(absl::StatusCode::kFailedPrecondition, "TEACHER_CHANGED",
                             "the folder's digest is not the one that was expected",
                             {{"expected", teachers[i].digest}, {"found", digest}}),
                       i);
    }
    if (digest == base_digest) {
      return Refused("TEACHER_IS_BASE", "it is the student, which has seen everything", i);
    }
    if (!seen.insert(digest).second) {
      return Refused("TEACHER_TWICE",
                     "the same folder stands under two places, so what it saw is said twice", i);
    }
    TeacherRecord record{.digest = digest};
    for (size_t s = 0; s < forget.size(); ++s) {
      if (!set.Teaches(i, s)) record.left_out_of.push_back(static_cast<int64_t>(s));
    }
    set.records_.push_back(std::move(record));
  }
  return set;
}

int64_t TeacherSet::TeachersOf(size_t sequence) const {
  return std::count_if(teaches_.begin(), teaches_.end(),
                       [&](const std::vector<bool>& teaches) { return teaches[sequence]; });
}

absl::StatusOr<ModelFolder> TeacherSet::Load(size_t teacher) const {
  absl::StatusOr<ModelFolder> loaded = ModelFolder::Load(teachers_[teacher].folder, device_);
  if (!loaded.ok()) return OfTeacher(loaded.status(), teacher);
  return loaded;
}

}  // namespace lethe
