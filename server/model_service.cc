#include "server/model_service.h"

#include <lethe/v1/model_service.grpc.pb.h>

#include <algorithm>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/convert.h"
#include "server/core.h"
#include "server/corpus_registration.h"
#include "server/registration.h"
#include "server/rpc/watch_call.h"

namespace lethe {
namespace {

using Bytes = grpc::ByteBuffer;
using Context = grpc::CallbackServerContext;
using Unary = grpc::ServerUnaryReactor;
using S = v1::ModelService;

using Raw = S::WithRawCallbackMethod_RegisterModel<
    S::WithRawCallbackMethod_RegisterCorpus<S::WithRawCallbackMethod_GetModel<
        S::WithRawCallbackMethod_ListModels<S::WithRawCallbackMethod_ListCheckpoints<
            S::WithRawCallbackMethod_PromoteCheckpoint<S::WithRawCallbackMethod_RollbackModel<
                S::WithRawCallbackMethod_WatchPromotions<S::Service>>>>>>>>;

// A malformed name may be anything: it is not repeated.
absl::StatusOr<ModelId> ParseModelId(const std::string& text) {
  if (IsModelName(text)) return ModelId{text};
  return Error(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
               "no model has this name; names are 1 to 63 of [a-z0-9-], beginning with a letter");
}

absl::StatusOr<CheckpointId> ParseCheckpointId(const std::string& text) {
  if (IsRandomId(text, 'c')) return CheckpointId{text};
  return Error(absl::StatusCode::kNotFound, "CHECKPOINT_NOT_FOUND",
               "no checkpoint has this id; ids are \"c-\" and 32 hex digits");
}

absl::Status CheckReason(const std::string& reason) {
  const auto characters =
      std::count_if(reason.begin(), reason.end(), [](char c) { return (c & 0xc0) != 0x80; });
  if (characters >= 1 && characters <= 500) return absl::OkStatus();
  return FieldError("REASON_REQUIRED", "reason", "1 to 500 characters, no personal data");
}

class ModelServiceImpl final : public Raw {
 public:
  explicit ModelServiceImpl(Core* core) : core_(core) {}

  Unary* RegisterModel(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::RegisterModelRequest, v1::Model>(
        register_, c, in, out, [this](auto* call) {
          core_->RunFor(call, core_->digests, [this, call] { Register(call); });
        });
  }
  Unary* RegisterCorpus(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::RegisterCorpusRequest, v1::Model>(
        register_corpus_, c, in, out, [this](auto* call) {
          core_->RunFor(call, core_->digests, [this, call] { AddCorpus(call); });
        });
  }
  Unary* GetModel(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::GetModelRequest, v1::Model>(get_, c, in, out, [this](auto* call) {
      call->Finish(Get(call->request, &call->response));
    });
  }
  Unary* ListModels(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::ListModelsRequest, v1::ListModelsResponse>(
        list_, c, in, out, [this](auto* call) {
          core_->RunFor(call, core_->background,
                        [this, call] { call->Finish(List(call->request, &call->response)); });
        });
  }
  Unary* ListCheckpoints(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::ListCheckpointsRequest, v1::ListCheckpointsResponse>(
        checkpoints_, c, in, out, [this](auto* call) {
          core_->RunFor(call, core_->background, [this, call] {
            call->Finish(Checkpoints(call->request, &call->response));
          });
        });
  }
  Unary* PromoteCheckpoint(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::PromoteCheckpointRequest, v1::Model>(
        promote_, c, in, out, [this](auto* call) {
          const JobId retrain{NewId(core_->random, 'j')};
          Move(call, storage::PromoteCheckpoint{.retrain_job = retrain});
        });
  }
  Unary* RollbackModel(Context* c, const Bytes* in, Bytes* out) override {
    return StartUnary<v1::RollbackModelRequest, v1::Model>(
        rollback_, c, in, out, [this](auto* call) {
          const bool acknowledged = call->request.acknowledge_reexposed();
          Move(call, storage::RollbackModel{.acknowledge_reexposed = acknowledged});
        });
  }
  grpc::ServerWriteReactor<Bytes>* WatchPromotions(Context* c, const Bytes* in) override {
    v1::WatchPromotionsRequest request;
    absl::Status status;
    const auto call = WatchCall::Start(watch_, c, *in, &request, &status);
    if (!status.ok()) return call.get();
    const ModelId model{request.model_id()};
    if (!model.empty() && core_->models->Find(model) == nullptr) {
      call->End(Error(absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", "no model has this name"));
      return call.get();
    }
    call->OnGone([hub = core_->hub, watcher = call.get()] { hub->Forget(watcher); });
    core_->hub->WatchPromotions(model, call);
    // The headers tell the caller that no later promotion will be missed.
    call->StartSendInitialMetadata();
    return call.get();
  }

 private:
  RpcMethod Method(const char* name) {
    return core_->Method("lethe.v1.ModelService", name, core_->calls);
  }

  template <typename Call>
  void Register(Call* call) {
    auto command = CheckRegistration(call->request, *core_->config);
    if (!command.ok()) {
      call->Finish(command.status());
      return;
    }
    if (call->request.validate_only()) {
      call->Finish(Preview(*command, &call->response));
      return;
    }
    command->actor = call->principal().name;
    command->job = JobId{NewId(core_->random, 'j')};
    for (const char byte : core_->random->Bytes(8)) {
      command->seed = command->seed << 8 | static_cast<unsigned char>(byte);
    }
    core_->Post(*std::move(command), [call](absl::StatusOr<storage::Receipt> receipt) {
      if (receipt.ok()) ToModel(*receipt->model, &call->response);
      call->Finish(receipt.status());
    });
  }

  absl::Status Preview(const storage::RegisterModel& command, v1::Model* out) const {
    if (core_->models->Find(command.model) != nullptr) {
      return Error(absl::StatusCode::kAlreadyExists, "MODEL_EXISTS", "a model has this name",
                   {{"model", command.model.value}});
    }
    out->set_model_id(command.model.value);
    out->set_state(v1::MODEL_STATE_PREPARING);
    out->mutable_policy()->ParseFromString(command.policy);
    return absl::OkStatus();
  }

  template <typename Call>
  void AddCorpus(Call* call) {
    absl::StatusOr<storage::RegisterCorpus> command = CheckCorpus(call->request);
    if (!command.ok()) {
      call->Finish(command.status());
      return;
    }
    if (call->request.validate_only()) {
      const auto model = core_->store->Snapshot()->GetModel(command->model);
      if (model.ok()) {
        ToModel(*model, &call->response);
        v1::Corpus* corpus = call->response.mutable_corpus();
        corpus->Clear();
        corpus->set_state(v1::CORPUS_STATE_READING);
        corpus->mutable_options()->ParseFromString(command->options);
        corpus->mutable_teachers()->ParseFromString(command->teachers);
        if (!command->base.empty()) corpus->mutable_base()->ParseFromString(command->base);
      }
      call->Finish(model.status());
      return;
    }
    command->actor = call->principal().name;
    command->job = JobId{NewId(core_->random, 'j')};
    core_->Post(*std::move(command), [call](absl::StatusOr<storage::Receipt> receipt) {
      if (receipt.ok()) ToModel(*receipt->model, &call->response);
      call->Finish(receipt.status());
    });
  }

  absl::StatusOr<storage::RegisterCorpus> CheckCorpus(
      const v1::RegisterCorpusRequest& request) const {
    LETHE_ASSIGN_OR_RETURN(const ModelId id, ParseModelId(request.model_id()));
    LETHE_ASSIGN_OR_RETURN(const auto info, core_->models->GetReady(id));
    LETHE_ASSIGN_OR_RETURN(storage::RegisterCorpus command,
                           CheckCorpusRegistration(request, info->model, core_->random));
    const v1::CorpusState state = info->model.corpus().state();
    if (state != v1::CORPUS_STATE_UNSPECIFIED && state != v1::CORPUS_STATE_FAILED) {
      return Error(absl::StatusCode::kAlreadyExists, "CORPUS_EXISTS",
                   "the model has a corpus; a model has one", {{"model", id.value}});
    }
    LETHE_RETURN_IF_ERROR(CheckNoOpenTickets(id));
    return command;
  }

  // What an open ticket touches was looked up when it was filed, without the corpus. One that is
  // filed while this looks is not seen; it would end without erasing anything.
  absl::Status CheckNoOpenTickets(const ModelId& model) const {
    using storage::TicketState;
    storage::TicketQuery query{.model = model, .limit = 1};
    for (const TicketState state : storage::kTicketStates) {
      if (state != TicketState::kNone && !storage::IsFinal(state)) query.states.push_back(state);
    }
    LETHE_ASSIGN_OR_RETURN(const auto open, core_->store->Snapshot()->ListTickets(query));
    if (open.tickets.empty()) return absl::OkStatus();
    return Error(absl::StatusCode::kFailedPrecondition, "TICKETS_OPEN",
                 "tickets of this model have not ended: what they touch of the corpus would not be "
                 "erased. Wait for them, or cancel them and file them again",
                 {{"model", model.value}});
  }

  absl::Status Get(const v1::GetModelRequest& request, v1::Model* out) const {
    LETHE_ASSIGN_OR_RETURN(const ModelId id, ParseModelId(request.model_id()));
    LETHE_ASSIGN_OR_RETURN(const auto record, core_->store->Snapshot()->GetModel(id));
    ToModel(record, out);
    if (!out->has_corpus()) return absl::OkStatus();
    if (const auto progress = core_->hub->ProgressOf(record.corpus().job_id())) {
      *out->mutable_corpus()->mutable_progress() = *progress;
    }
    for (v1::TeacherStatus& teacher : *out->mutable_corpus()->mutable_shards()) {
      if (const auto progress = core_->hub->ProgressOf(teacher.job_id())) {
        *teacher.mutable_progress() = *progress;
      }
    }
    return absl::OkStatus();
  }

  absl::Status List(const v1::ListModelsRequest& request, v1::ListModelsResponse* out) const {
    LETHE_ASSIGN_OR_RETURN(const int limit, PageSize(request.page_size()));
    LETHE_ASSIGN_OR_RETURN(const std::string after,
                           core_->pages->Read("models", request.page_token()));
    // One more than is shown tells whether there is a next page.
    LETHE_ASSIGN_OR_RETURN(const auto models,
                           core_->store->Snapshot()->ListModels(ModelId{after}, limit + 1));
    const size_t shown = std::min(models.size(), static_cast<size_t>(limit));
    for (size_t i = 0; i < shown; ++i) {
      v1::Model* model = out->add_models();
      ToModel(models[i], model);
      if (!model->has_corpus()) continue;
      // Hundreds a model: GetModel has them.
      model->mutable_corpus()->clear_shards();
      model->mutable_corpus()->clear_source_paths();
    }
    if (shown < models.size()) {
      out->set_next_page_token(core_->pages->Make("models", models[shown - 1].model_id()));
    }
    return absl::OkStatus();
  }

  absl::Status Checkpoints(const v1::ListCheckpointsRequest& request,
                           v1::ListCheckpointsResponse* out) const {
    LETHE_ASSIGN_OR_RETURN(const int limit, PageSize(request.page_size()));
    LETHE_ASSIGN_OR_RETURN(const ModelId model, ParseModelId(request.model_id()));
    const std::string filter = absl::StrCat("checkpoints/", model.value);
    LETHE_ASSIGN_OR_RETURN(const std::string after,
                           core_->pages->Read(filter, request.page_token()));
    const auto snapshot = core_->store->Snapshot();
    LETHE_RETURN_IF_ERROR(snapshot->GetModel(model).status());
    LETHE_ASSIGN_OR_RETURN(const auto checkpoints,
                           snapshot->ListCheckpoints(model, CheckpointId{after}, limit + 1));
    const size_t shown = std::min(checkpoints.size(), static_cast<size_t>(limit));
    for (size_t i = 0; i < shown; ++i) ToCheckpoint(checkpoints[i], out->add_checkpoints());
    if (shown < checkpoints.size()) {
      out->set_next_page_token(core_->pages->Make(filter, checkpoints[shown - 1].checkpoint_id()));
    }
    return absl::OkStatus();
  }

  // PromoteCheckpoint and RollbackModel: the same request, another command.
  template <typename Call, typename Command>
  void Move(Call* call, Command command) {
    const auto model = ParseModelId(call->request.model_id());
    const auto checkpoint = ParseCheckpointId(call->request.checkpoint_id());
    absl::Status status = CheckReason(call->request.reason());
    if (status.ok()) status = model.status();
    if (status.ok()) status = checkpoint.status();
    if (!status.ok()) {
      call->Finish(status);
      return;
    }
    command.actor = call->principal().name;
    command.model = *model;
    command.checkpoint = *checkpoint;
    command.expected_generation = Generation{call->request.expected_generation()};
    command.reason = call->request.reason();
    core_->Post(std::move(command), [call](absl::StatusOr<storage::Receipt> receipt) {
      if (receipt.ok()) ToModel(*receipt->model, &call->response);
      call->Finish(receipt.status());
    });
  }

  Core* const core_;
  const RpcMethod register_ = Method("RegisterModel");
  const RpcMethod register_corpus_ = Method("RegisterCorpus");
  const RpcMethod get_ = Method("GetModel");
  const RpcMethod list_ = Method("ListModels");
  const RpcMethod checkpoints_ = Method("ListCheckpoints");
  const RpcMethod promote_ = Method("PromoteCheckpoint");
  const RpcMethod rollback_ = Method("RollbackModel");
  const RpcMethod watch_ =
      core_->Method("lethe.v1.ModelService", "WatchPromotions", core_->watches, "server_stream");
};

}  // namespace

std::unique_ptr<grpc::Service> MakeModelService(Core* core) {
  return std::make_unique<ModelServiceImpl>(core);
}

}  // namespace lethe
