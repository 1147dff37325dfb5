// The teachers of a run: whom each may teach, and their folders, checked before any is loaded.
//
//   LETHE_ASSIGN_OR_RETURN(const TeacherSet teachers,
//                          TeacherSet::Open(request.teachers, base, request.forget, device));
//   LETHE_ASSIGN_OR_RETURN(const ModelFolder teacher, teachers.Load(0));   // dropped by its owner
//
// Open reads every folder once, for its digest.
// Threads    const calls from any.
// Errors     (metadata "teacher": its place)
//            INVALID_ARGUMENT     TEACHERS_NEEDED; TEACHER_SAW_UNKNOWN, a place beyond the
//                                 sequences; TEACHER_VOCABULARY_DIFFERS, another tokenizer.json or
//                                 size of vocabulary than the student's; TEACHER_CONTEXT_TOO_SHORT;
//                                 TEACHER_TWICE, the same weights under two places;
//                                 TEACHER_IS_BASE, the student itself; what opening a folder says
//            FAILED_PRECONDITION  NO_TEACHER_LEFT (metadata "count": sequences that all teachers
//                                 saw), try the next rung; TEACHER_CHANGED
//            Load: as ModelFolder::Load
#ifndef LETHE_ENGINE_ENSEMBLE_TEACHER_SET_H_
#define LETHE_ENGINE_ENSEMBLE_TEACHER_SET_H_

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "engine/device.h"
#include "engine/model/model_folder.h"
#include "engine/run_record.h"
#include "engine/teacher.h"
#include "text/sequence.h"

namespace lethe {

// The same error, said of a teacher.
absl::Status OfTeacher(const absl::Status& status, size_t teacher);

class TeacherSet {
 public:
  static absl::StatusOr<TeacherSet> Open(std::span<const Teacher> teachers,
                                         const std::filesystem::path& base,
                                         std::span<const Sequence> forget, const Device& device);

  size_t count() const { return teachers_.size(); }
  int64_t vocab_size() const { return vocab_size_; }  // theirs and the student's
  bool Teaches(size_t teacher, size_t sequence) const { return teaches_[teacher][sequence]; }
  int64_t TeachersOf(size_t sequence) const;
  absl::StatusOr<ModelFolder> Load(size_t teacher) const;

  // Digests, and where each was left out: what the run record has of them.
  const std::vector<TeacherRecord>& records() const { return records_; }

 private:
  std::vector<Teacher> teachers_;
  std::vector<std::vector<bool>> teaches_;  // [teacher][sequence]
  std::vector<TeacherRecord> records_;
  Device device_;
  int64_t vocab_size_ = 0;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_ENSEMBLE_TEACHER_SET_H_
