#include "workers/base_training.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "corpus/corpus.h"
#include "workers/corpus_place.h"
#include "workers/host/job_input.h"
#include "workers/incoming_work.h"

namespace lethe {

namespace fs = std::filesystem;

absl::StatusOr<RetrainRequest> BaseRequest(const fs::path& models, const v1::BaseWork& work,
                                           const Device& device) {
  RetrainRequest request;
  LETHE_ASSIGN_OR_RETURN(request.states_folder, UnderModels(models, work.states_folder()));
  LETHE_ASSIGN_OR_RETURN(const fs::path config, UnderModels(models, work.config_folder()));
  TrainSlicesRequest& recipe = request.recipe;
  LETHE_ASSIGN_OR_RETURN(recipe.config_json, ReadFile(config / "config.json"));
  LETHE_ASSIGN_OR_RETURN(recipe.tokenizer_json, ReadFile(config / "tokenizer.json"));
  recipe.epochs = work.options().epochs();
  recipe.batch_tokens = work.options().batch_tokens();
  recipe.learning_rate = work.options().learning_rate();
  recipe.seed = work.options().seed();
  recipe.precision = "fp32";
  recipe.device = device;
  request.companions_of = config;
  return request;
}

absl::StatusOr<v1::UnlearnResult> RetrainRung(const v1::Job& job, const fs::path& models,
                                              const Device& device,
                                              const ProgressCallback& progress) {
  const v1::UnlearnWork& work = job.unlearn();
  if (!work.has_base()) {
    return Error(absl::StatusCode::kFailedPrecondition, "BASE_NEEDED",
                 "the model cannot be trained again: register its corpus with `base`");
  }
  LETHE_ASSIGN_OR_RETURN(const fs::path output, UnderModels(models, work.output_folder()));
  LETHE_ASSIGN_OR_RETURN(const CorpusAt at, CorpusAt::From(models, work.base().corpus()));
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, Corpus::Open(at.folder, at.key));
  LETHE_ASSIGN_OR_RETURN(RetrainRequest request, BaseRequest(models, work.base(), device));
  for (const v1::TicketPayload& ticket : work.tickets()) {
    if (ticket.corpus_sequences().empty()) {
      return Error(absl::StatusCode::kFailedPrecondition, "NOT_IN_CORPUS",
                   "a ticket of the job names nothing that the corpus holds: training without it "
                   "would change nothing of what the model learnt elsewhere");
    }
    for (const uint64_t id : ticket.corpus_sequences()) request.without.push_back({id});
  }
  std::sort(request.without.begin(), request.without.end());
  LETHE_ASSIGN_OR_RETURN(IncomingWork incoming, IncomingWork::Start(models, job));
  request.out_folder = incoming.checkpoint();
  request.lineage = {{"model", job.model_id()},
                     {"job", job.job_id()},
                     {"fence", absl::StrCat(job.fence())},
                     {"base_digest", work.base_digest()}};
  LETHE_ASSIGN_OR_RETURN(const RetrainResult made, RetrainWithout(corpus, request, progress));
  LETHE_RETURN_IF_ERROR(incoming.Publish(output));
  v1::UnlearnResult result;
  result.set_candidate_digest(made.out_digest);
  *result.mutable_run() = ToProto(made.run);
  return result;
}

}  // namespace lethe
