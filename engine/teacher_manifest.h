// Teachers that were trained elsewhere: a manifest says what of a corpus each of them saw.
//
//   LETHE_ASSIGN_OR_RETURN(const TeacherManifest manifest,
//                          TeacherManifest::Read("teachers.json", corpus));
//   LETHE_ASSIGN_OR_RETURN(request.teachers, manifest.TeachersFor(corpus, forget));
//
//   teachers.json   {"teachers": [TEACHER, ...]}
//   TEACHER         {"folder": PATH, "saw": SAW, "digest": SHA256}       the digest may be left out
//   SAW             {"shards": [0, 2]} | {"documents": [KEY, ...]} | {"documents_file": PATH}
//   documents_file  one document key a line
//   PATH            relative to the manifest's folder, or absolute
//   SHA256          FolderDigest of the folder (base/digest.h), so that the claim is bound to weights
//
// Saw        a teacher has seen a sequence that is to be forgotten where one of its documents or
//            shards holds it, or one much like it (corpus/near.h), whoever that belongs to. It is left
//            out there, and teaches the others. All that it says rests on the claim: nobody can
//            read off weights what they were trained on.
// Checked    as far as the corpus and the folders can tell, and all of it before anything is used.
//            Documents that have been erased from the corpus since are unknown to it: the teacher
//            knows them still, and must be trained again before it may be registered again.
// Memory     8 bytes for each sequence that a teacher saw by document, and its list while that is read.
// Threads    const calls from any.
// Errors     name the teacher by its place, from 0 (metadata "teacher"), and no key of a document:
//            INVALID_ARGUMENT  BAD_TEACHER_MANIFEST     not of this form (with the line, where it is
//                                                       not JSON), or something named twice
//                              TEACHER_SAW_NOTHING      an empty list
//                              DOCUMENT_UNKNOWN         metadata "document": its place in the list, or
//                                                       "line" of the file
//                              SHARD_UNKNOWN            metadata "shard"
//                              TEACHER_TWICE            one folder under two places
//                              TOKENIZER_DIFFERS        from that of the corpus
//                              TEACHER_VOCABULARY_DIFFERS  smaller than the corpus's
//                              what opening a folder says, where it is no model
//            FAILED_PRECONDITION TEACHER_CHANGED        the digest is another; NOT_FOUND and
//            FILE_ERROR for files; those of Corpus.
#ifndef LETHE_ENGINE_TEACHER_MANIFEST_H_
#define LETHE_ENGINE_TEACHER_MANIFEST_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "base/status.h"
#include "corpus/corpus.h"
#include "corpus/near.h"
#include "engine/teacher.h"
#include "text/sequence.h"

namespace lethe {

class TeacherManifest {
 public:
  static absl::StatusOr<TeacherManifest> Read(const std::filesystem::path& file,
                                              const Corpus& corpus);

  size_t count() const { return entries_.size(); }

  // All of them, each with the places in `forget` that it saw: for UnlearnRequest.teachers. `corpus` is
  // the one that the manifest was read against.
  absl::StatusOr<std::vector<Teacher>> TeachersFor(const Corpus& corpus,
                                                   std::span<const Sequence> forget,
                                                   const NearOptions& options = {}) const;

  // What one teacher saw.
  struct Entry {
    std::filesystem::path folder;
    std::string digest;  // empty: none was said
    std::set<uint32_t> shards;
    std::vector<SequenceId> sequences;  // ascending; beside those of the shards

    bool Saw(const NearSequence& found) const;
  };

 private:
  std::vector<Entry> entries_;
};

}  // namespace lethe

#endif  // LETHE_ENGINE_TEACHER_MANIFEST_H_
