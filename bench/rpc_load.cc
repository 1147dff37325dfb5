#include "bench/rpc_load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"

namespace lethe {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kPrefixBytes = 5;  // gRPC: a flag and the length, before each message
constexpr int32_t kWindowBytes = 1 << 24;

absl::Status ConnectionLost(const char* what) {
  return Error(absl::StatusCode::kUnavailable, "CONNECTION_LOST",
               absl::StrCat(what, ": ", std::strerror(errno)));
}

std::string WithPrefix(const std::string& message) {
  const auto size = static_cast<uint32_t>(message.size());
  std::string out(1, '\0');
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<char>(size >> shift));
  return out + message;
}

struct Stream {
  std::string body;  // prefix and request
  size_t sent = 0;
  std::string reply;
  std::string grpc_status, grpc_message;
  Clock::time_point start;
};

// What one run shares among its connections.
struct Pump {
  std::string path, authority;
  const RpcLoad::MakeRequest* make;
  const RpcLoad::OnReply* on_reply;
  Clock::time_point end;
  int64_t next = 0;
  int open = 0;  // streams in flight
  Level level;
  std::string failure;
};

nghttp2_nv Header(std::string_view name, std::string_view value) {
  const auto bytes = [](std::string_view text) {
    return reinterpret_cast<uint8_t*>(const_cast<char*>(text.data()));  // nghttp2 copies
  };
  return {bytes(name), bytes(value), name.size(), value.size(), NGHTTP2_NV_FLAG_NONE};
}

// One HTTP/2 connection. Nothing blocks: Send and Receive move what the socket takes and has.
class Connection {
 public:
  explicit Connection(int fd) : fd_(fd) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, OnHeader);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, OnData);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, OnClose);
    nghttp2_session_client_new(&session_, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, kWindowBytes}};
    nghttp2_submit_settings(session_, NGHTTP2_FLAG_NONE, settings, std::size(settings));
    nghttp2_session_set_local_window_size(session_, NGHTTP2_FLAG_NONE, 0, kWindowBytes);
  }
  ~Connection() {
    nghttp2_session_del(session_);
    close(fd_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return fd_; }
  bool wants_to_send() const { return !unsent_.empty(); }
  void set_pump(Pump* pump) { pump_ = pump; }

  void Start() {
    auto* stream = new Stream{.body = WithPrefix((*pump_->make)(pump_->next++))};
    const nghttp2_nv headers[] = {
        Header(":method", "POST"),
        Header(":scheme", "http"),
        Header(":path", pump_->path),
        Header(":authority", pump_->authority),
        Header("te", "trailers"),
        Header("content-type", "application/grpc"),
        Header("user-agent", "lethe-bench"),
    };
    const nghttp2_data_provider body{.source = {.ptr = stream}, .read_callback = ReadBody};
    stream->start = Clock::now();
    if (nghttp2_submit_request(session_, nullptr, headers, std::size(headers), &body, stream) < 0) {
      delete stream;
      pump_->failure = "nghttp2 takes no more requests";
      return;
    }
    ++pump_->open;
  }

  absl::Status Send() {
    const uint8_t* data = nullptr;
    for (;;) {
      const ssize_t size = nghttp2_session_mem_send(session_, &data);
      if (size < 0) return ConnectionLost(nghttp2_strerror(static_cast<int>(size)));
      if (size == 0) break;
      unsent_.append(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
    }
    if (unsent_.empty()) return absl::OkStatus();
    const ssize_t sent = send(fd_, unsent_.data(), unsent_.size(), MSG_NOSIGNAL);
    if (sent < 0 && errno != EAGAIN) return ConnectionLost("sending failed");
    if (sent > 0) unsent_.erase(0, static_cast<size_t>(sent));
    return absl::OkStatus();
  }

  absl::Status Receive() {
    uint8_t buffer[1 << 16];
    for (;;) {
      const ssize_t size = recv(fd_, buffer, sizeof buffer, 0);
      if (size < 0 && errno == EAGAIN) return absl::OkStatus();
      if (size <= 0) return ConnectionLost("the server closed the connection");
      const ssize_t used = nghttp2_session_mem_recv(session_, buffer, static_cast<size_t>(size));
      if (used < 0) return ConnectionLost(nghttp2_strerror(static_cast<int>(used)));
    }
  }

 private:
  static Stream* Of(nghttp2_session* session, int32_t id) {
    return static_cast<Stream*>(nghttp2_session_get_stream_user_data(session, id));
  }

  static ssize_t ReadBody(nghttp2_session*, int32_t, uint8_t* out, size_t room, uint32_t* flags,
                          nghttp2_data_source* source, void*) {
    auto* stream = static_cast<Stream*>(source->ptr);
    const size_t size = std::min(room, stream->body.size() - stream->sent);
    std::memcpy(out, stream->body.data() + stream->sent, size);
    stream->sent += size;
    if (stream->sent == stream->body.size()) *flags |= NGHTTP2_DATA_FLAG_EOF;
    return static_cast<ssize_t>(size);
  }

  static int OnHeader(nghttp2_session* session, const nghttp2_frame* frame, const uint8_t* name,
                      size_t name_size, const uint8_t* value, size_t value_size, uint8_t, void*) {
    Stream* stream = Of(session, frame->hd.stream_id);
    if (stream == nullptr) return 0;
    const std::string_view key(reinterpret_cast<const char*>(name), name_size);
    const std::string_view text(reinterpret_cast<const char*>(value), value_size);
    if (key == "grpc-status") stream->grpc_status = text;
    if (key == "grpc-message") stream->grpc_message = text;
    return 0;
  }

  static int OnData(nghttp2_session* session, uint8_t, int32_t id, const uint8_t* data, size_t size,
                    void*) {
    if (Stream* stream = Of(session, id)) {
      stream->reply.append(reinterpret_cast<const char*>(data), size);
    }
    return 0;
  }

  static int OnClose(nghttp2_session* session, int32_t id, uint32_t error, void* self) {
    std::unique_ptr<Stream> stream(Of(session, id));
    if (stream != nullptr) static_cast<Connection*>(self)->Closed(*stream, error);
    return 0;
  }

  void Closed(const Stream& stream, uint32_t error) {
    const auto now = Clock::now();
    --pump_->open;
    if (error != 0 || stream.grpc_status != "0" || stream.reply.size() < kPrefixBytes) {
      pump_->failure = absl::StrCat("HTTP/2 error ", error, ", gRPC status ", stream.grpc_status,
                                    ": ", stream.grpc_message);
      return;
    }
    pump_->level.seconds.push_back(std::chrono::duration<double>(now - stream.start).count());
    (*pump_->on_reply)(std::string_view(stream.reply).substr(kPrefixBytes));
    if (now < pump_->end) Start();
  }

  const int fd_;
  nghttp2_session* session_ = nullptr;
  Pump* pump_ = nullptr;
  std::string unsent_;
};

class RpcLoadImpl : public RpcLoad {
 public:
  RpcLoadImpl(std::string address, std::vector<std::unique_ptr<Connection>> connections)
      : address_(std::move(address)), connections_(std::move(connections)) {}

  absl::StatusOr<Level> Run(int in_flight, absl::Duration span, const std::string& method,
                            const MakeRequest& make, const OnReply& on_reply) override {
    const auto begin = Clock::now();
    Pump pump{.path = method,
              .authority = address_,
              .make = &make,
              .on_reply = &on_reply,
              .end = begin + absl::ToChronoNanoseconds(span)};
    for (const auto& connection : connections_) connection->set_pump(&pump);
    for (int i = 0; i < in_flight; ++i) connections_[i % connections_.size()]->Start();
    std::vector<pollfd> polls(connections_.size());
    while (pump.open > 0) {
      for (size_t i = 0; i < connections_.size(); ++i) {
        LETHE_RETURN_IF_ERROR(connections_[i]->Send());
        const short wants = connections_[i]->wants_to_send() ? POLLIN | POLLOUT : POLLIN;
        polls[i] = {.fd = connections_[i]->fd(), .events = wants, .revents = 0};
      }
      if (poll(polls.data(), polls.size(), -1) < 0) return ConnectionLost("poll");
      for (size_t i = 0; i < connections_.size(); ++i) {
        if (polls[i].revents & ~POLLOUT) LETHE_RETURN_IF_ERROR(connections_[i]->Receive());
      }
      if (!pump.failure.empty()) {
        return Error(absl::StatusCode::kInternal, "CALL_FAILED", pump.failure);
      }
    }
    pump.level.elapsed = std::chrono::duration<double>(Clock::now() - begin).count();
    return std::move(pump.level);
  }

 private:
  const std::string address_;
  const std::vector<std::unique_ptr<Connection>> connections_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RpcLoad>> RpcLoad::Connect(const std::string& address,
                                                          int connections) {
  const std::pair<std::string, std::string> host_port = absl::StrSplit(address, ':');
  sockaddr_in to{.sin_family = AF_INET};
  uint32_t port = 0;
  if (!absl::SimpleAtoi(host_port.second, &port) ||
      inet_pton(AF_INET, host_port.first.c_str(), &to.sin_addr) != 1) {
    return Error(absl::StatusCode::kInvalidArgument, "ADDRESS_MALFORMED",
                 "an address is an IPv4 address and a port: 127.0.0.1:7450");
  }
  to.sin_port = htons(static_cast<uint16_t>(port));
  std::vector<std::unique_ptr<Connection>> open;
  for (int i = 0; i < connections; ++i) {
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return ConnectionLost("no socket");
    auto connection = std::make_unique<Connection>(fd);
    const int on = 1;
    if (connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) != 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) != 0) {
      return ConnectionLost("cannot connect");
    }
    open.push_back(std::move(connection));
  }
  return std::make_unique<RpcLoadImpl>(address, std::move(open));
}

}  // namespace lethe
