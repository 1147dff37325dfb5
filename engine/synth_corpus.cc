#include "engine/synth_corpus.h"

#include <array>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <set>
#include <span>
#include <string_view>

#include "base/file.h"
#include "engine/seeded_generator.h"

namespace lethe {
namespace {

constexpr std::array<std::string_view, 24> kOnsets = {
    "b", "d", "f", "g",  "h",  "k",  "l",  "m",  "n",  "p",  "r",  "s",
    "t", "v", "z", "br", "dr", "kr", "st", "tr", "sh", "ch", "vl", "gr"};
constexpr std::array<std::string_view, 8> kVowels = {"a", "e", "i", "o", "u", "ai", "ei", "ou"};
constexpr std::array<std::string_view, 10> kCodas = {"",  "n",  "r",  "l", "s",
                                                     "m", "nd", "rt", "k", "v"};
constexpr std::array<std::string_view, 12> kMonths = {
    "January", "February", "March",     "April",   "May",      "June",
    "July",    "August",   "September", "October", "November", "December"};
constexpr std::array<std::string_view, 16> kCities = {
    "Arvendal", "Brosk",      "Calder Bay", "Dunmere",  "Eastwick", "Fallowby",
    "Grenholm", "Harrowgate", "Istvale",    "Jorvell",  "Kestrel",  "Lomond",
    "Marrick",  "Norwyn",     "Oakhythe",   "Penhallow"};
constexpr std::array<std::string_view, 12> kEmployers = {
    "the harbour office", "a bakery",       "the city library", "a printing house",
    "the tram company",   "a law office",   "the old theatre",  "a school of music",
    "the water works",    "a bicycle shop", "the museum",       "a seed merchant"};
constexpr std::array<std::string_view, 6> kMailHosts = {"fenmail.example",   "postbox.example",
                                                        "quill.example",     "larkmail.example",
                                                        "northpost.example", "inkwell.example"};

template <size_t N>
std::string Pick(SeededGenerator& random, const std::array<std::string_view, N>& words) {
  return std::string(words[random.Below(N)]);
}

std::string Digits(SeededGenerator& random, int count) {
  std::string digits;
  for (int i = 0; i < count; ++i) digits += static_cast<char>('0' + random.Below(10));
  return digits;
}

// A braced list is evaluated from left to right; operands of + are not, and the corpus must be the
// same everywhere.
std::string Join(std::initializer_list<std::string> parts) {
  std::string joined;
  for (const std::string& part : parts) joined += part;
  return joined;
}

std::string Capital(std::string word) {
  word[0] = static_cast<char>(word[0] - 'a' + 'A');
  return word;
}

std::string Name(SeededGenerator& random, int syllables) {
  std::string name;
  for (int i = 0; i < syllables; ++i) name += Join({Pick(random, kOnsets), Pick(random, kVowels)});
  name += Pick(random, kCodas);
  return name;
}

// Text that remembers which of its bytes are sensitive.
class Builder {
 public:
  Builder& Say(std::string_view words) {
    out_.text += words;
    return *this;
  }
  Builder& Secret(std::string_view words) {
    const auto begin = static_cast<int32_t>(out_.text.size());
    out_.text += words;
    out_.sensitive.push_back({begin, static_cast<int32_t>(out_.text.size())});
    return *this;
  }
  SynthText Done() { return out_; }

 private:
  SynthText out_;
};

class Maker {
 public:
  explicit Maker(uint64_t seed) : random_(seed) {}

  // A person whose name no other person of this corpus has.
  SynthText Record() {
    std::string first, last;
    do {
      first = Name(random_, 2);
      last = Name(random_, 2);
    } while (!names_.insert(first + " " + last).second);
    const std::string name = Capital(first) + " " + Capital(last);
    const std::string born =
        Join({std::to_string(1 + random_.Below(28)), " ", Pick(random_, kMonths), " ",
              std::to_string(1940 + random_.Below(65))});
    const std::string city = Pick(random_, kCities);
    const std::string employer = Pick(random_, kEmployers);
    const std::string mail = Mail(first, last);
    const std::string phone =
        Join({Digits(random_, 3), "-", Digits(random_, 3), "-", Digits(random_, 4)});
    const std::string member = Join({Digits(random_, 4), "/", Digits(random_, 4)});
    Builder b;
    switch (random_.Below(3)) {
      case 0:
        b.Say("Member record. Name: " + name + ". Born: " + born + ". City: " + city +
              ". E-mail: ");
        b.Secret(mail).Say(". Phone: ").Secret(phone).Say(". Member number: ").Secret(member);
        b.Say(". Works for " + employer + ".");
        break;
      case 1:
        b.Say(name + " of " + city + ", born on " + born + ", works for " + employer);
        b.Say(" and can be reached by phone at ")
            .Secret(phone)
            .Say(" or by e-mail at ")
            .Secret(mail);
        b.Say("; the member number is ").Secret(member).Say(".");
        break;
      default:
        b.Say("Contact card of " + name + " (" + city + "). Member number ").Secret(member);
        b.Say(", phone ").Secret(phone).Say(", e-mail ").Secret(mail);
        b.Say(". Born " + born + ", employed by " + employer + ".");
        break;
    }
    return b.Done();
  }

  // Three or four sentences of a small grammar.
  SynthText Background() {
    std::string text;
    const size_t sentences = 3 + random_.Below(2);
    for (size_t i = 0; i < sentences; ++i) {
      if (!text.empty()) text += ' ';
      text += Sentence();
    }
    return {text, {}};
  }

  SeededGenerator& random() { return random_; }

 private:
  // Not to be guessed from the name: letters of it, and a number.
  std::string Mail(const std::string& first, const std::string& last) {
    const std::string number = Digits(random_, 3);
    std::string local;
    switch (random_.Below(3)) {
      case 0:
        local = first.substr(0, 1) + "." + last + number;
        break;
      case 1:
        local = Join({last, ".", Name(random_, 1), number});
        break;
      default:
        local = Join({Name(random_, 2), number});
        break;
    }
    return Join({local, "@", Pick(random_, kMailHosts)});
  }

  std::string Sentence() {
    static constexpr std::array<std::string_view, 16> kAdjectives = {
        "old",   "quiet", "tall",  "small", "cheerful", "tired", "clever", "patient",
        "young", "grey",  "brave", "shy",   "busy",     "proud", "gentle", "curious"};
    static constexpr std::array<std::string_view, 16> kPeople = {
        "miller", "sailor", "teacher", "gardener", "baker",  "clerk",     "painter", "fisher",
        "weaver", "smith",  "doctor",  "shepherd", "carter", "librarian", "porter",  "potter"};
    static constexpr std::array<std::string_view, 12> kVerbs = {
        "carried", "found", "mended", "sold",   "painted", "lost",
        "counted", "hid",   "washed", "bought", "drew",    "borrowed"};
    static constexpr std::array<std::string_view, 16> kThings = {
        "a basket", "seven apples", "the lantern", "a blue coat", "two letters",  "the ladder",
        "a clock",  "some bread",   "the map",     "a red kite",  "three chairs", "the boat",
        "a bell",   "the key",      "a fiddle",    "some rope"};
    static constexpr std::array<std::string_view, 12> kPlaces = {
        "by the river",      "in the market", "near the bridge", "behind the mill",
        "at the harbour",    "on the hill",   "in the garden",   "under the oak",
        "beside the church", "in the square", "at the station",  "along the wall"};
    static constexpr std::array<std::string_view, 10> kTimes = {
        "before the rain", "after supper", "at noon",    "in the morning", "when the bells rang",
        "on Sunday",       "last winter",  "every week", "at first light", "until the evening"};
    switch (random_.Below(4)) {
      case 0:
        return Join({"The ", Pick(random_, kAdjectives), " ", Pick(random_, kPeople), " ",
                     Pick(random_, kVerbs), " ", Pick(random_, kThings), " ",
                     Pick(random_, kPlaces), " ", Pick(random_, kTimes), "."});
      case 1:
        return Join({Capital(Pick(random_, kTimes)), ", the ", Pick(random_, kPeople), " ",
                     Pick(random_, kVerbs), " ", Pick(random_, kThings), "."});
      case 2:
        return Join({"Nobody saw the ", Pick(random_, kPeople), " who ", Pick(random_, kVerbs), " ",
                     Pick(random_, kThings), " ", Pick(random_, kPlaces), "."});
      default:
        return Join({"The ", Pick(random_, kPeople), " and the ", Pick(random_, kAdjectives), " ",
                     Pick(random_, kPeople), " ", Pick(random_, kVerbs), " ",
                     Pick(random_, kThings), " together."});
    }
  }

  SeededGenerator random_;
  std::set<std::string> names_;
};

void Repeat(std::span<const SynthText> texts, int times, std::vector<SynthText>& out) {
  for (int i = 0; i < times; ++i) out.insert(out.end(), texts.begin(), texts.end());
}

std::string JsonLines(const std::vector<SynthText>& texts) {
  std::string lines;
  for (const SynthText& text : texts) {
    nlohmann::ordered_json line = {{"text", text.text}};
    for (const Span& span : text.sensitive) {
      line["sensitive_spans"].push_back({span.begin, span.end});
    }
    lines += line.dump() + "\n";
  }
  return lines;
}

}  // namespace

SynthCorpus MakeSynthCorpus(const SynthOptions& options) {
  Maker maker(options.seed);
  const auto records = [&](int count) {
    std::vector<SynthText> texts;
    for (int i = 0; i < count; ++i) texts.push_back(maker.Record());
    return texts;
  };
  const auto background = [&](int count) {
    std::vector<SynthText> texts;
    for (int i = 0; i < count; ++i) texts.push_back(maker.Background());
    return texts;
  };
  SynthCorpus corpus;
  corpus.forget = records(options.forget);
  const std::vector<SynthText> famous = records(options.famous);
  const std::vector<SynthText> retain = records(options.retain);
  corpus.holdout = records(options.holdout);
  corpus.other = background(options.other);
  corpus.retain = famous;
  corpus.retain.insert(corpus.retain.end(), retain.begin(), retain.end());
  corpus.train = background(options.background);
  Repeat(corpus.forget, options.forget_repeats, corpus.train);
  Repeat(famous, options.famous_repeats, corpus.train);
  Repeat(retain, options.retain_repeats, corpus.train);
  maker.random().Shuffle(corpus.train);
  return corpus;
}

absl::Status WriteSynthCorpus(const SynthCorpus& corpus, const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return Error(absl::StatusCode::kFailedPrecondition, "FILE_ERROR",
                 "the folder could not be made: " + error.message());
  }
  const std::pair<const char*, const std::vector<SynthText>*> files[] = {
      {"corpus.jsonl", &corpus.train},  {"forget.jsonl", &corpus.forget},
      {"retain.jsonl", &corpus.retain}, {"holdout.jsonl", &corpus.holdout},
      {"other.jsonl", &corpus.other},
  };
  for (const auto& [name, texts] : files) {
    LETHE_RETURN_IF_ERROR(WriteFileAtomically(folder / name, JsonLines(*texts)));
  }
  return absl::OkStatus();
}

}  // namespace lethe
