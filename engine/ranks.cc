#include "engine/ranks.h"

#define USE_C10D_GLOO
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include "engine/cuda/cuda_library.h"
#include "engine/torch_status.h"

namespace lethe {
namespace {

using Gloo = c10d::ProcessGroupGloo;

constexpr auto kTimeToMeet = std::chrono::minutes(5);
// A rank may be at an evaluation for long while the others wait; one that dies is noticed at once.
constexpr auto kTimeToAnswer = std::chrono::hours(2);

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

absl::Status BadEnvironment(const std::string& name, std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "BAD_ENVIRONMENT",
               name + " " + std::string(message) +
                   "; start the processes with torchrun, or unset WORLD_SIZE to work alone",
               {{"variable", name}});
}

absl::StatusOr<int> Number(const char* name, int low, int high) {
  const std::string text = Variable(name);
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < low || value > high) {
    return BadEnvironment(
        name, "is not a whole number from " + std::to_string(low) + " to " + std::to_string(high));
  }
  return value;
}

absl::StatusOr<RanksOptions> ReadEnvironment() {
  RanksOptions options;
  LETHE_ASSIGN_OR_RETURN(options.count, Number("WORLD_SIZE", 1, 4096));
  if (options.count == 1) return options;
  LETHE_ASSIGN_OR_RETURN(options.index, Number("RANK", 0, options.count - 1));
  LETHE_ASSIGN_OR_RETURN(options.port, Number("MASTER_PORT", 1, 65535));
  options.address = Variable("MASTER_ADDR");
  if (options.address.empty()) return BadEnvironment("MASTER_ADDR", "is not set");
  options.store_is_served = Variable("TORCHELASTIC_USE_AGENT_STORE") == "True";
  options.attempt = Variable("TORCHELASTIC_RESTART_COUNT");
  options.interface = Variable("GLOO_SOCKET_IFNAME");
  return options;
}

// Where the ranks leave word for one another.
c10::intrusive_ptr<c10d::Store> OpenStore(const RanksOptions& options) {
  c10d::TCPStoreOptions tcp;
  tcp.port = static_cast<uint16_t>(options.port);
  tcp.isServer = options.index == 0 && !options.store_is_served;
  tcp.numWorkers = options.count;
  tcp.waitWorkers = false;
  tcp.timeout = kTimeToMeet;
  auto store = c10::make_intrusive<c10d::TCPStore>(options.address, tcp);
  return c10::make_intrusive<c10d::PrefixStore>("lethe/" + options.attempt, std::move(store));
}

c10::intrusive_ptr<Gloo::Options> GlooOptions(const std::string& interface) {
  auto options = Gloo::Options::create(kTimeToAnswer);
  options->devices.push_back(interface.empty() ? Gloo::createDefaultDevice()
                                               : Gloo::createDeviceForInterface(interface));
  return options;
}

}  // namespace

struct Ranks::Wire {
  int index, count;
  c10::intrusive_ptr<c10d::Store> store;  // rank 0's serves the others as long as it lives
  c10::intrusive_ptr<Gloo> gloo;
};

// A rank's word: what it is about to do, or that it cannot. As bytes, between like machines.
struct Ranks::Control {
  enum Kind : int32_t { kGather, kAgree, kSum, kCopy, kFail };
  Kind kind;
  int32_t code = 0;  // kAgree, kFail: of the status
  int64_t size = 0;  // bytes or values that follow
  char reason[112] = {};

  static Control Of(Kind kind, const absl::Status& status) {
    Control control{.kind = kind, .code = static_cast<int32_t>(status.code())};
    const std::string reason = ErrorReason(status);
    reason.copy(control.reason, sizeof(control.reason) - 1);
    return control;
  }

  absl::Status StatusOf(size_t rank) const {
    const auto code_of = static_cast<absl::StatusCode>(code);
    if (code_of == absl::StatusCode::kOk) return absl::OkStatus();
    const std::string index = std::to_string(rank);
    return Error(code_of, reason[0] != '\0' ? reason : "RANK_FAILED",
                 "rank " + index + " cannot go on; its own output says why", {{"rank", index}});
  }
};

Ranks::Ranks(std::unique_ptr<Wire> wire) : wire_(std::move(wire)) {}
Ranks::~Ranks() = default;
int Ranks::index() const { return wire_->index; }
int Ranks::count() const { return wire_->count; }

absl::StatusOr<std::shared_ptr<Ranks>> Ranks::FromEnvironment() {
  if (Variable("WORLD_SIZE").empty()) return nullptr;
  LETHE_ASSIGN_OR_RETURN(const RanksOptions options, ReadEnvironment());
  if (options.count == 1) return nullptr;
  return Join(options);
}

absl::StatusOr<std::shared_ptr<Ranks>> Ranks::Join(const RanksOptions& options) {
  try {
    auto wire = std::make_unique<Wire>();
    wire->index = options.index;
    wire->count = options.count;
    wire->store = OpenStore(options);
    wire->gloo = c10::make_intrusive<Gloo>(wire->store, options.index, options.count,
                                           GlooOptions(options.interface));
    return std::shared_ptr<Ranks>(new Ranks(std::move(wire)));
  } catch (const std::exception& error) {
    std::string_view text = error.what();
    return Error(
        absl::StatusCode::kUnavailable, "RANK_LOST",
        "the ranks did not find one another at MASTER_ADDR:MASTER_PORT (" +
            std::string(text.substr(0, text.find('\n'))) +
            "); check that all were started and can reach that address",
        {{"rank", std::to_string(options.index)}, {"ranks", std::to_string(options.count)}});
  }
}

absl::Status Ranks::Lost(std::string_view what, const std::exception& error) {
  std::string_view text = error.what();
  text = text.substr(0, text.find('\n'));
  failure_ = Error(absl::StatusCode::kUnavailable, "RANK_LOST",
                   "a rank has gone or does not answer, while " + std::string(what) + " (" +
                       std::string(text.substr(0, 200)) +
                       "); look at the other ranks' output and start all again",
                   {{"rank", std::to_string(index())}});
  return failure_;
}

absl::StatusOr<std::vector<Ranks::Control>> Ranks::Exchange(const Control& mine) {
  LETHE_RETURN_IF_ERROR(failure_);
  static_assert(std::is_trivially_copyable_v<Control>);
  const auto bytes = static_cast<int64_t>(sizeof(Control));
  std::vector<at::Tensor> in = {at::empty({bytes}, at::kByte)};
  std::vector<std::vector<at::Tensor>> out(1);
  std::memcpy(in[0].data_ptr(), &mine, sizeof(mine));
  for (int r = 0; r < count(); ++r) out[0].push_back(at::empty({bytes}, at::kByte));
  try {
    wire_->gloo->allgather(out, in)->wait();
  } catch (const std::exception& error) {
    return Lost("the ranks compared notes", error);
  }
  std::vector<Control> all(out[0].size(), mine);
  for (size_t r = 0; r < all.size(); ++r) {
    std::memcpy(static_cast<void*>(&all[r]), out[0][r].const_data_ptr(), sizeof(mine));
    if (all[r].kind == Control::kFail && failure_.ok()) failure_ = all[r].StatusOf(r);
  }
  const bool sized_alike = mine.kind == Control::kSum || mine.kind == Control::kCopy;
  const bool in_step = std::all_of(all.begin(), all.end(), [&](const Control& other) {
    return other.kind == mine.kind && (!sized_alike || other.size == mine.size);
  });
  if (!in_step && failure_.ok()) {
    failure_ = Error(absl::StatusCode::kInternal, "RANKS_OUT_OF_STEP",
                     "the ranks are not at the same place of the run; please report this");
  }
  LETHE_RETURN_IF_ERROR(failure_);
  return all;
}

absl::StatusOr<std::vector<std::string>> Ranks::Gather(std::string_view mine) {
  LETHE_ASSIGN_OR_RETURN(
      const std::vector<Control> all,
      Exchange({.kind = Control::kGather, .size = static_cast<int64_t>(mine.size())}));
  int64_t most = 1;  // an empty tensor is refused
  for (const Control& other : all) most = std::max(most, other.size);
  std::vector<at::Tensor> in = {at::empty({most}, at::kByte)};
  std::vector<std::vector<at::Tensor>> out(1);
  mine.copy(static_cast<char*>(in[0].data_ptr()), mine.size());
  for (int r = 0; r < count(); ++r) out[0].push_back(at::empty({most}, at::kByte));
  try {
    wire_->gloo->allgather(out, in)->wait();
  } catch (const std::exception& error) {
    return Lost("they gathered results", error);
  }
  std::vector<std::string> gathered;
  for (size_t r = 0; r < all.size(); ++r) {
    gathered.emplace_back(static_cast<const char*>(out[0][r].const_data_ptr()),
                          static_cast<size_t>(all[r].size));
  }
  return gathered;
}

absl::Status Ranks::Agree(const absl::Status& mine) {
  const auto all = Exchange(Control::Of(Control::kAgree, mine));
  if (!all.ok()) return mine.ok() ? all.status() : mine;
  for (size_t r = 0; r < all->size(); ++r) {
    if (absl::Status theirs = (*all)[r].StatusOf(r); !theirs.ok()) {
      return static_cast<int>(r) == index() ? mine : theirs;
    }
  }
  return absl::OkStatus();
}

absl::Status Ranks::Fail(const absl::Status& why) {
  if (failure_.ok()) Exchange(Control::Of(Control::kFail, why)).status().IgnoreError();
  failure_ = why;
  return why;
}

absl::Status Ranks::CheckSame(std::string_view mine, std::string_view what) {
  LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> all, Gather(mine));
  if (std::all_of(all.begin(), all.end(), [&](const std::string& other) { return other == mine; }))
    return absl::OkStatus();
  return Error(absl::StatusCode::kInvalidArgument, "RANKS_DIFFER",
               "the ranks were not started with the same " + std::string(what) +
                   "; give all of them the same arguments and files");
}

template <typename Collective>
absl::Status Ranks::InPlace(const Control& mine, std::span<float> values, std::string_view what,
                            const Collective& collective) {
  LETHE_RETURN_IF_ERROR(Exchange(mine).status());
  if (values.empty()) return absl::OkStatus();
  try {
    std::vector<at::Tensor> tensors = {at::from_blob(values.data(), {mine.size}, at::kFloat)};
    collective(tensors)->wait();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return Lost(what, error);
  }
}

absl::Status Ranks::Sum(std::span<float> values) {
  return InPlace({.kind = Control::kSum, .size = static_cast<int64_t>(values.size())}, values,
                 "they summed gradients",
                 [&](std::vector<at::Tensor>& tensors) { return wire_->gloo->allreduce(tensors); });
}

absl::Status Ranks::CopyFromFirst(std::span<float> values) {
  return InPlace({.kind = Control::kCopy, .size = static_cast<int64_t>(values.size())}, values,
                 "rank 0 gave out its weights",
                 [&](std::vector<at::Tensor>& tensors) { return wire_->gloo->broadcast(tensors); });
}

absl::Status Ranks::JoinGpus(const Device& device) {
  if (gpus_ != nullptr) return absl::OkStatus();
  const CudaLibrary* cuda = device.name == "cpu" ? nullptr : OpenedCuda();
  std::string word;
  // What cannot be had is not an error: the word then is not what it should be.
  if (cuda != nullptr && IsFirst()) {
    CatchTorch("asking NCCL", [&] { word = cuda->MakeNcclWord(); }).IgnoreError();
  }
  const std::string mine = (cuda != nullptr ? "gpu " : "cpu ") + word;
  LETHE_ASSIGN_OR_RETURN(const std::vector<std::string> all, Gather(mine));
  word = all[0].substr(4);
  const bool on_gpus = std::all_of(
      all.begin(), all.end(), [](const std::string& other) { return other.starts_with("gpu "); });
  if (!on_gpus || word.empty()) return absl::OkStatus();
  absl::Status joined = CatchTorch("joining NCCL", [&] {
    gpus_ = cuda->JoinNccl(word, index(), count(), at::Device(device.name));
  });
  if (!Agree(joined).ok()) gpus_.reset();
  return failure_;
}

}  // namespace lethe
