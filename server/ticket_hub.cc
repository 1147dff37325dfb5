#include "server/ticket_hub.h"

#include <lethe/v1/deletion_service.pb.h>

#include <algorithm>
#include <cmath>

#include "server/convert.h"
#include "server/ticket_request.h"
#include "storage/state/ticket_state.h"

namespace lethe {

void TicketHub::WatchTicket(const TicketId& id, std::shared_ptr<WatchCall> call) {
  std::optional<absl::Status> ended;
  {
    absl::MutexLock lock(&mu_);
    ended = ended_;
    if (!ended.has_value()) tickets_[id].calls.push_back(call);
  }
  if (ended.has_value()) call->End(*ended);
}

void TicketHub::WatchPromotions(const ModelId& model, std::shared_ptr<WatchCall> call) {
  std::optional<absl::Status> ended;
  {
    absl::MutexLock lock(&mu_);
    ended = ended_;
    if (!ended.has_value()) promotions_.emplace(model, call);
  }
  if (ended.has_value()) call->End(*ended);
}

void TicketHub::Forget(const WatchCall* call) {
  Calls last;  // destroyed after the lock is left
  absl::MutexLock lock(&mu_);
  for (auto it = tickets_.begin(); it != tickets_.end();) {
    Calls& calls = it->second.calls;
    const auto found = std::find_if(calls.begin(), calls.end(),
                                    [&](const auto& other) { return other.get() == call; });
    if (found != calls.end()) {
      last.push_back(std::move(*found));
      calls.erase(found);
    }
    it = calls.empty() ? tickets_.erase(it) : std::next(it);
  }
  for (auto it = promotions_.begin(); it != promotions_.end();) {
    if (it->second.get() == call) {
      last.push_back(it->second);
      it = promotions_.erase(it);
    } else {
      ++it;
    }
  }
}

void TicketHub::OnTicket(const storage::TicketRecord& record) {
  const TicketId id{record.ticket_id()};
  {
    absl::MutexLock lock(&mu_);
    const auto it = tickets_.find(id);
    if (it == tickets_.end()) return;
    WatchedTicket& watched = it->second;
    if (watched.record.has_value() && watched.record->version() > record.version()) return;
    watched.record = record;
  }
  PublishTicket(id);
}

void TicketHub::PublishTicket(const TicketId& id) {
  v1::WatchTicketResponse response;
  Calls calls;
  uint64_t version = 0;
  bool final = false;
  {
    absl::MutexLock lock(&mu_);
    const auto it = tickets_.find(id);
    if (it == tickets_.end() || !it->second.record.has_value()) return;
    const storage::TicketRecord& record = *it->second.record;
    const auto progress = progress_.find(record.job_id());
    ToTicket(record, progress == progress_.end() ? nullptr : &progress->second,
             response.mutable_ticket());
    version = record.version();
    final = storage::IsFinal(static_cast<storage::TicketState>(record.state()));
    calls = it->second.calls;
  }
  for (const auto& call : calls) {
    call->Publish("", version, response);
    if (final) call->End(absl::OkStatus());
  }
}

void TicketHub::OnPromotion(const v1::WatchPromotionsResponse& promotion) {
  Calls calls;
  {
    absl::MutexLock lock(&mu_);
    for (const ModelId& model : {ModelId{}, ModelId{promotion.model_id()}}) {
      const auto [from, to] = promotions_.equal_range(model);
      for (auto it = from; it != to; ++it) calls.push_back(it->second);
    }
  }
  for (const auto& call : calls) {
    call->Publish(promotion.model_id(), promotion.generation(), promotion);
  }
}

void TicketHub::SetProgress(const JobId& job, const v1::Progress& progress,
                            const std::vector<TicketId>& tickets) {
  {
    absl::MutexLock lock(&mu_);
    progress_[job.value] = TrimProgress(progress);
  }
  for (const TicketId& ticket : tickets) PublishTicket(ticket);
}

void TicketHub::DropProgress(const JobId& job) {
  absl::MutexLock lock(&mu_);
  progress_.erase(job.value);
}

std::optional<v1::Progress> TicketHub::ProgressOf(const std::string& job_id) const {
  absl::MutexLock lock(&mu_);
  const auto it = progress_.find(job_id);
  if (it == progress_.end()) return std::nullopt;
  return it->second;
}

void TicketHub::EndAll(const absl::Status& status) {
  Calls calls;
  {
    absl::MutexLock lock(&mu_);
    ended_ = status;
    for (auto& [id, watched] : tickets_) {
      calls.insert(calls.end(), watched.calls.begin(), watched.calls.end());
    }
    for (auto& [model, call] : promotions_) calls.push_back(call);
    tickets_.clear();
    promotions_.clear();
  }
  for (const auto& call : calls) call->End(status);
}

v1::Progress TrimProgress(const v1::Progress& progress) {
  constexpr int kMostFigures = 32;
  v1::Progress out;
  if (IsPlainName(progress.phase())) out.set_phase(progress.phase());
  out.set_step(std::max<int64_t>(progress.step(), 0));
  out.set_max_steps(std::max<int64_t>(progress.max_steps(), 0));
  for (const auto& [name, value] : progress.figures()) {
    if (out.figures_size() >= kMostFigures) break;
    if (IsPlainName(name) && std::isfinite(value)) (*out.mutable_figures())[name] = value;
  }
  return out;
}

}  // namespace lethe
