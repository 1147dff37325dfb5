#include "tests/engine/checkpoint/mutator.h"

#include <algorithm>
#include <iterator>

namespace lethe {
namespace {

using OrderedJson = nlohmann::ordered_json;

uint64_t ReadLength(const std::string& file) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<unsigned char>(file[i]);
  return value;
}

std::string WriteLength(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

// Every place of the tree.
void Collect(OrderedJson* node, std::vector<OrderedJson*>* nodes) {
  nodes->push_back(node);
  if (node->is_structured()) {
    for (OrderedJson& child : *node) Collect(&child, nodes);
  }
}

constexpr const char* kWords[] = {"0",
                                  "-1",
                                  "1",
                                  "18446744073709551615",
                                  "9223372036854775808",
                                  "4294967296",
                                  "1e308",
                                  "0.5",
                                  "null",
                                  "true",
                                  "[]",
                                  "{}",
                                  "\"\"",
                                  "\"F32\"",
                                  "\"F64\"",
                                  "\"U8\"",
                                  "\"X9\"",
                                  "\"dtype\"",
                                  "\"shape\"",
                                  "\"data_offsets\"",
                                  "\"__metadata__\"",
                                  "\"../x.safetensors\"",
                                  "\"BPE\"",
                                  "\"Unigram\"",
                                  "\"WordPiece\"",
                                  "\"Sequence\"",
                                  "\"Regex\"",
                                  "[[[[[[[[[[[[[[[[",
                                  "\\u0000",
                                  "\\ud800",
                                  ",",
                                  ":",
                                  "{",
                                  "}"};

}  // namespace

std::string Mutator::Bytes(std::string bytes) {
  for (uint64_t round = 0, rounds = 1 + Pick(4); round < rounds && !bytes.empty(); ++round) {
    const uint64_t at = Pick(bytes.size());
    const uint64_t count = 1 + Pick(std::min<uint64_t>(64, bytes.size() - at));
    switch (Pick(6)) {
      case 0:
      case 1:
        bytes[at] = static_cast<char>(bytes[at] ^ (1 << Pick(8)));
        break;
      case 2:
        bytes[at] = static_cast<char>(Pick(256));
        break;
      case 3:
        bytes.erase(at, count);
        break;
      case 4:
        bytes.insert(at, bytes.substr(at, count));
        break;
      default:
        bytes.resize(Pick(4) == 0 ? Pick(24) : at);
    }
  }
  return bytes;
}

// Puts a word in the place of another, or between two.
std::string Mutator::Words(std::string text) {
  for (uint64_t round = 0, rounds = 1 + Pick(3); round < rounds && !text.empty(); ++round) {
    const std::string word = kWords[Pick(std::size(kWords))];
    const uint64_t begin = Pick(text.size());
    uint64_t end = begin;
    const auto is_word = [&](char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0; };
    while (end < text.size() && is_word(text[end])) ++end;
    text.replace(begin, Pick(4) == 0 ? 0 : std::max<uint64_t>(end - begin, 1), word);
  }
  return text;
}

OrderedJson Mutator::Value() {
  switch (Pick(16)) {
    case 0:
      return nullptr;
    case 1:
      return Pick(2) == 0;
    case 2:
      return -static_cast<int64_t>(Pick(1000)) - 1;
    case 3:
      return ~uint64_t{0} - Pick(3);
    case 4:
      return uint64_t{1} << Pick(64);
    case 5:
      return 0;
    case 6:
      return 1e300;
    case 7:
      return 0.25;
    case 8:
      return "";
    case 9:
      return OrderedJson::array();
    case 10:
      return OrderedJson::object();
    case 11:
      return std::string(Pick(300), 'x');
    case 12:
      return {{"type", "linear"}, {"factor", Pick(9)}};
    case 13:
      return {Pick(9), Pick(9)};
    case 14:
      return "model-00002-of-00003.safetensors";
    default:
      return Pick(100);
  }
}

void Mutator::Tree(OrderedJson* root) {
  for (uint64_t round = 0, rounds = 1 + Pick(3); round < rounds; ++round) {
    std::vector<OrderedJson*> nodes;
    Collect(root, &nodes);
    OrderedJson* node = nodes[Pick(nodes.size())];
    const OrderedJson other = *nodes[Pick(nodes.size())];
    switch (Pick(6)) {
      case 0:
        *node = Value();
        break;
      case 1:
        *node = other;
        break;
      case 2:
        if (node->is_number_integer()) *node = node->get<int64_t>() + (Pick(2) == 0 ? 1 : -1);
        break;
      case 3:
        if (node->is_structured() && !node->empty()) {
          node->erase(std::next(node->begin(), static_cast<int64_t>(Pick(node->size()))));
        }
        break;
      case 4:
        if (node->is_array()) node->push_back(node->empty() ? Value() : node->front());
        if (node->is_object()) (*node)["new" + std::to_string(Pick(3))] = Value();
        break;
      default:
        if (node->is_number_integer()) *node = node->get<int64_t>() * (int64_t{1} << Pick(40));
    }
  }
}

std::string Mutator::Json(const std::string& text) {
  switch (Pick(4)) {
    case 0:
      return Bytes(text);
    case 1:
      return Words(text);
    default:
      OrderedJson root = OrderedJson::parse(text);
      Tree(&root);
      return root.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  }
}

std::string Mutator::Safetensors(const std::string& file) {
  const uint64_t length = ReadLength(file);
  std::string header = file.substr(8, length);
  std::string data = file.substr(8 + length);
  switch (Pick(8)) {
    case 0:
      return Bytes(file);
    case 1:
      return file.substr(0, Pick(file.size()));
    case 2: {  // a length that lies
      const uint64_t lies[] = {
          Pick(file.size() + 9),  length + 8, length - 1, engine_(), uint64_t{1} << Pick(64),
          ~uint64_t{0} - Pick(16)};
      return WriteLength(lies[Pick(std::size(lies))]) + header + data;
    }
    case 3:
      header = Bytes(header);
      break;
    case 4:
      header = Words(header);
      break;
    case 5:
    case 6: {
      OrderedJson root = OrderedJson::parse(header);
      Tree(&root);
      header = root.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
      break;
    }
    default: {
      if (Pick(2) == 0) return WriteLength(length) + header + Bytes(data);
      std::string noise(Pick(200), '\0');
      for (char& c : noise) c = static_cast<char>(engine_());
      return noise;
    }
  }
  return WriteLength(Pick(8) == 0 ? length : header.size()) + header + data;
}

}  // namespace lethe
