// Where things lie below the models folder that server, workers and verifier share. All paths here
// are relative to it.
//
//   <model>/checkpoints/<checkpoint id>/  published checkpoints: Hugging Face folders, whole or
//                                         absent
//   <model>/data/<checkpoint id>/         tokenised sets, made when the model was registered (that
//                                         checkpoint's id)
//   <model>/incoming/<job>-f<fence>/      work in progress of the lease (job, fence) alone
//   <model>/incoming/<job>-kept/          figures that the verifiers of a job have found so far,
//                                         whoever holds its lease; until the job is over
//   <model>/corpora/<job>/corpus/         what the model was trained on (corpus/), as the INGEST job
//                                         read it; jobs under later leases change it in place
//   <model>/corpora/<job>/teachers/       its teachers: slice states of every shard
//                                         (engine/teachers.h)
//   <model>/corpora/<job>/config/         what stood beside the weights of the checkpoint that was
//                                         current when the corpus was read
//   <model>/corpora/<job>/base/           states of the model's own training on it (engine/retrain.h)
//   <model>/current                       symbolic link to checkpoints/<checkpoint id>, switched by
//                                         the server alone
//
// A worker writes below IncomingFolder(its lease) and then renames to the folder that its job
// names. The checkpoint's id is a digest of (job, fence), so a worker that lost its lease can never
// write where its successor does. Corpora and teachers are too large to be made anew for each lease:
// they are changed in place, whole or not at all, behind a lock of the file system (flock), and
// whoever comes second finds the work done or waits for another lease.
//
// Threads    pure functions; any.
#ifndef LETHE_BASE_MODEL_LAYOUT_H_
#define LETHE_BASE_MODEL_LAYOUT_H_

#include <string>

#include "base/digest.h"
#include "base/ids.h"

namespace lethe {

// The id of the checkpoint that a lease will make.
inline CheckpointId CheckpointOfLease(const JobId& job, Fence fence) {
  const std::string digest =
      Sha256Hex("lethe checkpoint\n" + job.value + "\n" + std::to_string(fence.value) + "\n");
  return CheckpointId{"c-" + digest.substr(0, 32)};
}

inline std::string CheckpointFolder(const ModelId& model, const CheckpointId& checkpoint) {
  return model.value + "/checkpoints/" + checkpoint.value;
}

inline std::string DataFolder(const ModelId& model, const CheckpointId& registered) {
  return model.value + "/data/" + registered.value;
}

inline std::string IncomingFolder(const ModelId& model, const JobId& job, Fence fence) {
  return model.value + "/incoming/" + job.value + "-f" + std::to_string(fence.value);
}

inline std::string KeptWorkFolder(const ModelId& model, const JobId& job) {
  return model.value + "/incoming/" + job.value + "-kept";
}

inline std::string CorpusFolder(const ModelId& model, const JobId& ingest) {
  return model.value + "/corpora/" + ingest.value + "/corpus";
}

inline std::string TeachersFolder(const ModelId& model, const JobId& ingest) {
  return model.value + "/corpora/" + ingest.value + "/teachers";
}

inline std::string CorpusConfigFolder(const ModelId& model, const JobId& ingest) {
  return model.value + "/corpora/" + ingest.value + "/config";
}

inline std::string BaseStatesFolder(const ModelId& model, const JobId& ingest) {
  return model.value + "/corpora/" + ingest.value + "/base";
}

// A teacher's Hugging Face folder: a link to its newest state (engine/teachers.h, TeacherFolder).
inline std::string TeacherModelFolder(const ModelId& model, const JobId& ingest, int shard) {
  return TeachersFolder(model, ingest) + "/shard-" + std::to_string(shard) + "/model";
}

inline std::string CurrentLink(const ModelId& model) { return model.value + "/current"; }

// What `current` points to.
inline std::string CurrentTarget(const CheckpointId& checkpoint) {
  return "checkpoints/" + checkpoint.value;
}

}  // namespace lethe

#endif  // LETHE_BASE_MODEL_LAYOUT_H_
