#include "storage/rocksdb/format.h"

namespace lethe::storage::format {

std::string Be64(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 7; i >= 0; --i, value >>= 8) bytes[i] = static_cast<char>(value & 0xff);
  return bytes;
}

uint64_t FromBe64(std::string_view bytes) {
  uint64_t value = 0;
  for (int i = 0; i < 8; ++i) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

std::string TicketPrefix(const std::string& model, int32_t state) {
  std::string prefix = model.empty() ? "S" : "M" + model + '\0';
  prefix.push_back(static_cast<char>(state));
  return prefix;
}

std::string TicketPlace(const std::string& prefix, int64_t create_us, const std::string& ticket) {
  return prefix + Be64(~static_cast<uint64_t>(create_us)) + ticket;
}

std::string TicketOfPlace(const std::string& prefix, std::string_view key) {
  if (key.size() < prefix.size() + 8 || key.substr(0, prefix.size()) != prefix) return "";
  return std::string(key.substr(prefix.size() + 8));
}

int64_t CreateUsOfPlace(const std::string& prefix, std::string_view key) {
  return static_cast<int64_t>(~FromBe64(key.substr(prefix.size())));
}

std::string JobPrefix(int32_t state) { return std::string("J") + static_cast<char>(state); }

std::string CheckpointPrefix(const std::string& model) { return "C" + model + '\0'; }

std::string ExpiryKey(int64_t expire_us, const std::string& request_key) {
  return kExpiryPrefix + Be64(static_cast<uint64_t>(expire_us)) + request_key;
}

std::vector<std::string> IndexKeys(const TicketRecord& t) {
  return {TicketPlace(TicketPrefix("", t.state()), t.create_us(), t.ticket_id()),
          TicketPlace(TicketPrefix(t.model_id(), t.state()), t.create_us(), t.ticket_id())};
}

std::vector<std::string> IndexKeys(const JobRecord& j) {
  return {JobPrefix(j.state()) + j.job_id()};
}

std::vector<std::string> IndexKeys(const CheckpointRecord& c) {
  return {CheckpointPrefix(c.model_id()) + Be64(~static_cast<uint64_t>(c.create_us())) +
          c.checkpoint_id()};
}

}  // namespace lethe::storage::format
