#include "cli/up/supervisor.h"

#include <signal.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status.h"

namespace lethe {
namespace {

constexpr absl::Duration kHealthy = absl::Minutes(1);
const RetryPolicy kRestart = {
    .first_pause = absl::Seconds(1), .longest_pause = absl::Seconds(30), .max_attempts = 0};

}  // namespace

absl::Status Supervisor::Add(ServiceSpec spec) {
  Service& service = services_.emplace_back(
      Service{std::move(spec), std::nullopt, std::nullopt, {}, {}, Backoff(kRestart, io_->random)});
  const absl::Status started = StartService(&service, absl::Now());
  if (!started.ok()) services_.pop_back();
  return started;
}

void Supervisor::Replace(const std::string& name, std::vector<std::string> arguments) {
  for (Service& service : services_) {
    if (service.spec.name == name) service.spec.arguments = std::move(arguments);
  }
}

absl::Status Supervisor::StartService(Service* service, absl::Time now) {
  LETHE_ASSIGN_OR_RETURN(service->child,
                         ChildProcess::Start(service->spec.arguments, service->spec.log));
  service->exit.reset();
  service->started = now;
  return absl::OkStatus();
}

void Supervisor::Tick(absl::Time now) {
  for (Service& service : services_) {
    if (service.child) {
      std::optional<ChildExit> exit = service.child->Poll();
      if (!exit) continue;
      service.child.reset();
      service.exit = exit;
      if (now - service.started > kHealthy) service.backoff.Reset();
      const absl::Duration pause = service.backoff.Next(absl::UnavailableError(""));
      service.restart_at = now + pause;
      *io_->err << service.spec.name << " ended with " << exit->Text()
                << absl::StrFormat("; starting it again in %.1f s (log: %s)\n",
                                   absl::ToDoubleSeconds(pause), service.spec.log.string())
                << std::flush;
    } else if (now >= service.restart_at) {
      const absl::Status started = StartService(&service, now);
      if (!started.ok()) {
        service.restart_at = now + service.backoff.Next(started);
        *io_->err << service.spec.name << ": " << started.message() << std::endl;
      }
    }
  }
}

const Supervisor::Service* Supervisor::Find(const std::string& name) const {
  for (const Service& service : services_) {
    if (service.spec.name == name) return &service;
  }
  return nullptr;
}

pid_t Supervisor::PidOf(const std::string& name) const {
  const Service* service = Find(name);
  return service != nullptr && service->child ? service->child->pid() : 0;
}

std::optional<ChildExit> Supervisor::ExitOf(const std::string& name) const {
  const Service* service = Find(name);
  return service != nullptr ? service->exit : std::nullopt;
}

void Supervisor::EndInOrder(absl::Duration grace) {
  while (!services_.empty()) {
    int stage = services_.front().spec.stage;
    for (const Service& service : services_) stage = std::max(stage, service.spec.stage);
    std::vector<Service*> together;
    for (Service& service : services_) {
      if (service.spec.stage == stage) together.push_back(&service);
    }
    EndTogether(together, grace);
    services_.remove_if([&](const Service& service) { return service.spec.stage == stage; });
  }
}

void Supervisor::EndTogether(const std::vector<Service*>& services, absl::Duration grace) {
  for (Service* service : services) {
    if (service->child) service->child->Signal(SIGTERM);
  }
  const absl::Time until = absl::Now() + grace;
  bool killed = false;
  while (true) {
    bool running = false;
    for (Service* service : services) {
      if (!service->child) continue;
      if (service->child->Poll()) {
        service->child.reset();
      } else {
        running = true;
      }
    }
    if (!running) return;
    if (!killed && absl::Now() > until) {
      killed = true;
      for (Service* service : services) {
        if (!service->child) continue;
        *io_->err << service->spec.name << " does not end; killing it" << std::endl;
        service->child->Signal(SIGKILL);
      }
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
}

}  // namespace lethe
