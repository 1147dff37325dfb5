// A models folder with one verification in it that can really be done, and in which every attack of
// the standard plan has what it needs: a base that has memorised four records, a candidate that
// never saw them, a tokenizer, records of the kind with a secret that has a format, other text.
//
//   MakeVerifyWorld(models);                                 // job.pb lies beside the model
//   v1::Measurements found = Verify(models, /*fence=*/1, &control);
//   auto pieces = Pieces(models);                            // what was kept
//
// The models are trained once a process, in two seconds. Another process needs the folder alone.
// Helpers that cannot go on add a test failure and return what they have.
#ifndef LETHE_TESTS_VERIFIER_VERIFY_WORLD_H_
#define LETHE_TESTS_VERIFIER_VERIFY_WORLD_H_

#include <gtest/gtest.h>

#include <filesystem>
#include <map>
#include <string>

#include "verifier/verify_job.h"

namespace lethe {

// Its job asks for the standard plan. Attacks that draw take fewer than by default: it is not their
// figures that are tested.
void MakeVerifyWorld(const std::filesystem::path& models);

// job.pb under this fence.
v1::Job StoredJob(const std::filesystem::path& models, uint64_t fence);

JobOutcome RunVerifier(const std::filesystem::path& models, uint64_t fence, JobControl* control);

// What it hands in, but for what may differ between two that found the same: the lease, seconds.
v1::Measurements Verify(const std::filesystem::path& models, uint64_t fence, JobControl* control);

// Byte for byte; says which attacks differ.
void ExpectSame(const v1::Measurements& found, const v1::Measurements& wanted);

// Of the pieces that lie in the job's folder: the inode of each. A piece that was written again has
// another.
std::map<std::string, uint64_t> Pieces(const std::filesystem::path& models);
std::filesystem::path PiecesFolder(const std::filesystem::path& models);

// How many there are when all is done. Of each side: one for each row of the plan, two where halves
// are taught, and the likelihoods; of the base also the step size for each text that is taught, but for
// the text itself, which takes that of half of it.
size_t PiecesOfPlan(const v1::Job& job);
// How many steps progress counts: rows on each side, two where halves are taught.
int StepsOfPlan(const v1::Job& job);

class UndisturbedControl : public JobControl {
 public:
  const std::atomic<bool>& cancelled() const override { return cancelled_; }
  void Report(const v1::Progress&) override {}

 private:
  std::atomic<bool> cancelled_ = false;
};

}  // namespace lethe

#endif  // LETHE_TESTS_VERIFIER_VERIFY_WORLD_H_
