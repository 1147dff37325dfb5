#include "verifier/verify_job.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include <algorithm>
#include <span>
#include <system_error>
#include <vector>

#include "base/ids.h"
#include "base/model_layout.h"
#include "base/status.h"
#include "engine/control.h"
#include "workers/host/job_failure.h"
#include "workers/host/job_input.h"

namespace lethe {

namespace fs = std::filesystem;

namespace {

void Fill(const BeforeAfter& from, v1::BeforeAfter* to) {
  to->mutable_before()->Add(from.before.begin(), from.before.end());
  to->mutable_after()->Add(from.after.begin(), from.after.end());
}

v1::AttackFamily FamilyOf(AttackFamily family) {
  switch (family) {
    case AttackFamily::kExtraction:
      return v1::ATTACK_FAMILY_EXTRACTION;
    case AttackFamily::kMembership:
      return v1::ATTACK_FAMILY_MEMBERSHIP;
    case AttackFamily::kMemorisation:
      return v1::ATTACK_FAMILY_MEMORISATION;
    case AttackFamily::kDiagnostic:
      return v1::ATTACK_FAMILY_DIAGNOSTIC;
  }
  return v1::ATTACK_FAMILY_UNSPECIFIED;
}

v1::TextRole RoleOf(const std::string& name) {
  if (name == "retain") return v1::TEXT_ROLE_RETAIN;
  if (name == "control") return v1::TEXT_ROLE_CONTROL;
  return v1::TEXT_ROLE_OTHER;
}

// The registered sets beside the holdout set, by the names of their files.
absl::StatusOr<std::vector<NamedText>> LoadTexts(const fs::path& data, size_t max_utility) {
  std::vector<fs::path> files;
  std::error_code error;
  for (auto it = fs::directory_iterator(data, error); !error && it != fs::directory_iterator();
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    const bool other = name.compare(0, 6, "other-") == 0 && it->path().extension() == ".jsonl";
    if (name == "retain.jsonl" || other) files.push_back(it->path());
  }
  if (error) {
    return Error(absl::StatusCode::kUnavailable, "FILE_ERROR",
                 "cannot read the folder of the tokenised sets: " + error.message());
  }
  std::sort(files.begin(), files.end());  // the order in which a folder is read is not fixed
  std::vector<NamedText> texts;
  for (const fs::path& file : files) {
    LETHE_ASSIGN_OR_RETURN(std::vector<Sequence> sequences, LoadSequences(file, nullptr));
    std::string name = file.stem().string();
    if (name != "retain") name = name.substr(6);
    if (!sequences.empty()) texts.push_back({name, Thinned(std::move(sequences), max_utility)});
  }
  return texts;
}

std::span<const Sequence> RetainOf(const std::vector<NamedText>& texts) {
  for (const NamedText& text : texts) {
    if (text.name == "retain") return text.sequences;
  }
  return {};
}

void FillForgotten(const v1::VerifyWork& work, v1::Measurements* out) {
  for (const v1::TicketPayload& ticket : work.tickets()) {
    for (int index = 0; index < ticket.sequences_size(); ++index) {
      const v1::TokenSequence& sequence = ticket.sequences(index);
      v1::ForgottenSequence* forgotten = out->add_forgotten();
      forgotten->set_ticket_id(ticket.ticket_id());
      forgotten->set_index(index);
      forgotten->set_tokens(sequence.ids_size());
      int32_t sensitive = 0;
      for (const v1::Span& span : sequence.sensitive()) sensitive += span.end() - span.begin();
      forgotten->set_sensitive_tokens(sensitive);
    }
  }
}

void FillAttack(const AttackOutcome& outcome, v1::AttackResult* out) {
  out->set_attack(outcome.attack);
  out->set_condition(outcome.condition);
  out->set_report_only(outcome.report_only);
  for (const auto& [name, value] : outcome.parameters) (*out->mutable_parameters())[name] = value;
  out->set_family(FamilyOf(outcome.family));
  out->set_reach(outcome.reach == AttackReach::kGreedy ? v1::ATTACK_REACH_GREEDY
                                                       : v1::ATTACK_REACH_DEEPER);
  Fill(outcome.forgotten, out->mutable_forgotten());
  Fill(outcome.control, out->mutable_control());
  out->set_expected_forward_tokens(outcome.expected_forward_tokens);
  out->set_forward_tokens(outcome.forward_tokens);
  for (const size_t index : outcome.control_indexes) {
    out->add_control_indexes(static_cast<int32_t>(index));
  }
  out->set_seconds(outcome.seconds);
  for (const AttackDetail& detail : outcome.details) {
    v1::AttackDetail* figure = out->add_details();
    figure->set_name(detail.name);
    Fill(detail.forgotten, figure->mutable_forgotten());
    Fill(detail.control, figure->mutable_control());
  }
}

}  // namespace

std::string DeterministicBytes(const google::protobuf::Message& message) {
  std::string bytes;
  google::protobuf::io::StringOutputStream stream(&bytes);
  google::protobuf::io::CodedOutputStream coded(&stream);
  coded.SetSerializationDeterministic(true);
  message.SerializeToCodedStream(&coded);
  coded.Trim();
  return bytes;
}

v1::Measurements MeasurementsOf(const v1::Job& job, const AttackRequest& request,
                                const AttackReport& report) {
  const v1::VerifyWork& work = job.verify();
  v1::Measurements out;
  out.set_model_id(job.model_id());
  out.set_job_id(job.job_id());
  out.set_fence(job.fence());
  out.set_candidate_checkpoint_id(work.candidate_checkpoint_id());
  out.set_candidate_digest(work.candidate_digest());
  out.set_base_checkpoint_id(work.base_checkpoint_id());
  out.set_base_digest(work.base_digest());
  out.set_base_generation(work.base_generation());
  FillForgotten(work, &out);
  for (const Sequence& sequence : request.control) {
    out.add_control_tokens(static_cast<int32_t>(sequence.ids.size()));
  }
  int64_t forward_tokens = 0;
  for (const AttackOutcome& outcome : report.attacks) {
    FillAttack(outcome, out.add_attacks());
    forward_tokens += outcome.forward_tokens;
    out.set_relearning_rate(std::max(out.relearning_rate(), outcome.relearn_step_size));
  }
  const auto fill = [](const std::vector<double>& from, auto* to) {
    to->Add(from.begin(), from.end());
  };
  fill(report.forgotten_reference_nll, out.mutable_forgotten_reference_nll());
  fill(report.control_reference_nll, out.mutable_control_reference_nll());
  for (const CodeChange& change : report.code_changes) {
    v1::CodeChange* entry = out.add_code_changes();
    entry->set_condition(change.condition);
    entry->set_share(change.share);
  }
  for (const LeftOut& left : report.left_out) {
    v1::LeftOut* entry = out.add_left_out();
    entry->set_attack(left.attack);
    entry->set_condition(left.condition);
    entry->set_reason(left.reason);
    entry->set_expected_forward_tokens(left.expected_forward_tokens);
  }
  out.set_forward_tokens(forward_tokens);
  for (const TextUtility& utility : report.utility) {
    v1::TextUtility* text = out.add_utility();
    text->set_name(utility.name);
    text->set_role(RoleOf(utility.name));
    text->set_sequences(static_cast<int32_t>(utility.sequences));
    text->set_tokens(utility.tokens);
    text->set_nll_before(utility.nll_before);
    text->set_nll_after(utility.nll_after);
  }
  *out.mutable_unlearn_run() = work.unlearn_run();
  *out.mutable_verify_run() = ToProto(report.run);
  Fill(report.forgotten_nll, out.mutable_forgotten_nll());
  Fill(report.control_nll, out.mutable_control_nll());
  return out;
}

absl::StatusOr<VerifyRunner::Order> VerifyRunner::OrderOf(const v1::Job& job) const {
  const v1::VerifyWork& work = job.verify();
  Order order;
  AttackRequest& request = order.request;
  LETHE_ASSIGN_OR_RETURN(request.base_folder, UnderModels(models_, work.base_folder()));
  LETHE_ASSIGN_OR_RETURN(request.candidate_folder, UnderModels(models_, work.candidate_folder()));
  LETHE_ASSIGN_OR_RETURN(const fs::path data, UnderModels(models_, work.data_folder()));
  request.base_digest = work.base_digest();
  request.candidate_digest = work.candidate_digest();
  request.forgotten = SequencesOf(work.tickets());
  LETHE_ASSIGN_OR_RETURN(std::vector<Sequence> holdout,
                         LoadSequences(data / "holdout.jsonl", nullptr));
  LETHE_ASSIGN_OR_RETURN(request.texts, LoadTexts(data, limits_.max_utility));
  order.holdout = holdout.size();
  request.control = MatchControl(request.forgotten, std::move(holdout), RetainOf(request.texts),
                                 {.most = limits_.max_control});
  request.texts.insert(request.texts.begin(), NamedText{"control", request.control});
  for (const v1::AttackSpec& spec : work.attacks()) {
    AttackSpec& attack = request.plan.emplace_back();
    attack.attack = spec.attack();
    attack.condition = spec.condition();
    attack.report_only = spec.report_only();
    for (const auto& [name, value] : spec.parameters()) attack.overrides[name] = value;
  }
  if (request.plan.empty()) request.plan = DefaultPlan();
  request.max_forward_tokens = work.max_forward_tokens();
  // Of the job, not of the lease: whoever gets it next goes on from there.
  LETHE_ASSIGN_OR_RETURN(
      request.resume_folder,
      UnderModels(models_, KeptWorkFolder(ModelId{job.model_id()}, JobId{job.job_id()})));
  request.seed = job.seed();
  request.digest_key = DigestKey(job);
  request.device = device_;
  return order;
}

absl::StatusOr<v1::VerifyResult> VerifyRunner::Verify(const v1::Job& job,
                                                      const ProgressCallback& progress) {
  LETHE_ASSIGN_OR_RETURN(const Order order, OrderOf(job));
  const AttackRequest& request = order.request;
  metrics_->TokensTaken(TokenCount(request.forgotten));
  LETHE_ASSIGN_OR_RETURN(const AttackReport report, RunAttacks(request, progress));
  v1::Measurements measured = MeasurementsOf(job, request, report);
  measured.set_holdout_sequences(static_cast<int32_t>(order.holdout));
  v1::VerifyResult result;
  result.set_measurements(DeterministicBytes(measured));
  return result;
}

JobOutcome VerifyRunner::Run(const v1::Job& job, JobControl* control) {
  ProgressBridge bridge(control, metrics_);
  if (!job.has_verify()) {
    return FailureOf(Error(absl::StatusCode::kInternal, "KIND_UNKNOWN",
                           "the server gave a job of a kind that this verifier did not ask for"),
                     job.kind());
  }
  absl::StatusOr<v1::VerifyResult> result = Verify(job, bridge.callback());
  if (!result.ok()) return FailureOf(result.status(), job.kind());
  return JobResult(*std::move(result));
}

}  // namespace lethe
