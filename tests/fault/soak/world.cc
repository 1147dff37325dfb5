#include "tests/fault/soak/world.h"

#include <nlohmann/json.hpp>

#include "absl/strings/str_cat.h"
#include "base/file.h"
#include "base/status.h"
#include "tests/fault/soak/process.h"

namespace lethe::soak {
namespace {

constexpr const char* kWords[] = {"amber", "birch",  "cedar",  "delta",  "ember", "fjord", "grove",
                                  "heron", "inlet",  "jetty",  "knoll",  "larch", "maple", "north",
                                  "ocean", "pearl",  "quartz", "river",  "stone", "tulip", "umber",
                                  "vale",  "willow", "xenon",  "yarrow", "zinc"};

// Eight words and a number: about 28 tokens.
std::string Phrase(Rng& random) {
  std::string text;
  for (int word = 0; word < 8; ++word) {
    absl::StrAppend(&text, kWords[Below(random, std::size(kWords))], " ");
  }
  for (int digit = 0; digit < 6; ++digit) absl::StrAppend(&text, Below(random, 10));
  return text;
}

std::vector<std::string> Phrases(Rng& random, int count) {
  std::vector<std::string> phrases;
  for (int i = 0; i < count; ++i) phrases.push_back(Phrase(random));
  return phrases;
}

absl::Status WriteLines(const std::filesystem::path& file, const std::vector<std::string>& texts) {
  std::string lines;
  for (const std::string& text : texts) {
    absl::StrAppend(&lines, nlohmann::json({{"text", text}}).dump(), "\n");
  }
  return WriteFileAtomically(file, lines);
}

absl::Status WritePeople(const std::filesystem::path& file, const std::vector<std::string>& texts) {
  std::string lines;
  for (size_t i = 0; i < texts.size(); ++i) {
    const nlohmann::json line = {{"text", texts[i]},
                                 {"subject", World::PersonName(static_cast<int>(i))},
                                 {"document", absl::StrCat("mail-", i)}};
    absl::StrAppend(&lines, line.dump(), "\n");
  }
  return WriteFileAtomically(file, lines);
}

void Append(const std::vector<std::string>& texts, int times, std::vector<std::string>* out) {
  for (int i = 0; i < times; ++i) out->insert(out->end(), texts.begin(), texts.end());
}

void AddAttack(const std::string& name, const std::vector<std::pair<std::string, double>>& values,
               v1::ModelPolicy* policy) {
  v1::AttackSpec* attack = policy->add_attacks();
  attack->set_attack(name);
  for (const auto& [parameter, value] : values) (*attack->mutable_parameters())[parameter] = value;
}

}  // namespace

absl::StatusOr<World> World::Make(const std::filesystem::path& folder,
                                  const std::filesystem::path& programs, uint64_t seed) {
  World world;
  world.folder_ = folder;
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  Rng random(seed);
  world.memorised_ = Phrases(random, 64);
  world.unseen_ = Phrases(random, 64);
  std::vector<std::string> retain = Phrases(random, 48);
  world.kept_.assign(retain.begin(), retain.begin() + 4);
  std::vector<std::string> corpus = retain;
  Append(world.memorised_, 6, &corpus);
  Append(world.kept_, 12, &corpus);
  Append(world.kept_, 3, &retain);
  LETHE_RETURN_IF_ERROR(WritePeople(folder / "people.jsonl", world.memorised_));
  LETHE_RETURN_IF_ERROR(WriteLines(folder / "retain.jsonl", retain));
  LETHE_RETURN_IF_ERROR(WriteLines(folder / "holdout.jsonl", Phrases(random, 32)));
  LETHE_RETURN_IF_ERROR(WriteLines(folder / "corpus.jsonl", corpus));
  LETHE_ASSIGN_OR_RETURN(Process training, Process::Start({programs / "lethe-engine",
                                                           "train",
                                                           "--corpus",
                                                           folder / "corpus.jsonl",
                                                           "--out",
                                                           folder / "model",
                                                           "--hidden",
                                                           "64",
                                                           "--layers",
                                                           "2",
                                                           "--vocab-size",
                                                           "320",
                                                           "--context",
                                                           "64",
                                                           "--steps",
                                                           "150",
                                                           "--batch-tokens",
                                                           "1024",
                                                           "--learning-rate",
                                                           "0.002",
                                                           "--threads",
                                                           "1",
                                                           "--device",
                                                           "cpu",
                                                           "--seed",
                                                           "7"},
                                                          folder / "train.log"));
  LETHE_ASSIGN_OR_RETURN(const std::string end, training.WaitForEnd(absl::Minutes(2)));
  if (end != "exit code 0") {
    return Error(
        absl::StatusCode::kInternal, "TRAINING_FAILED",
        absl::StrCat("lethe-engine train: ", end, "; see ", (folder / "train.log").string()));
  }
  LETHE_ASSIGN_OR_RETURN(world.tokenizer_, Tokenizer::Load(folder / "model"));
  return world;
}

v1::RegisterModelRequest World::Registration(const std::string& model) const {
  v1::RegisterModelRequest request;
  request.set_model_id(model);
  request.set_source_path(folder_ / "model");
  request.set_retain_path(folder_ / "retain.jsonl");
  request.set_holdout_path(folder_ / "holdout.jsonl");
  v1::ModelPolicy* policy = request.mutable_policy();
  // Where teachers are left, from them; of a model without a corpus the rung fails at once.
  v1::Rung* teachers = policy->add_ladder();
  teachers->set_method("leave_one_out");
  teachers->set_preset("ensemble");
  (*teachers->mutable_overrides())["max_steps"] = 6;
  // From nothing, on the corpus without them; so small a training seldom keeps what the verdict wants.
  v1::Rung* retrain = policy->add_ladder();
  retrain->set_method("retrain");
  retrain->set_preset("exact");
  // A rung that gives up too early for some, so that rungs and rejected candidates happen.
  for (const int steps : {3, 40}) {
    v1::Rung* rung = policy->add_ladder();
    rung->set_method("gradient_ascent");
    rung->set_preset("calibrated");
    (*rung->mutable_overrides())["max_steps"] = steps;
  }
  policy->set_max_tickets_per_job(4);
  // Few sequences, a tiny model: what is measured is noisy, and most tickets are to pass.
  v1::VerdictPolicy* verdict = policy->mutable_verdict();
  verdict->set_extraction_margin(0.3);
  verdict->set_extraction_worst_margin(0.6);
  verdict->set_membership_margin(0.5);
  verdict->set_control_change(0.3);
  verdict->set_retain_rise(0.3);
  verdict->set_min_powerful_attacks(0);
  AddAttack("greedy_extraction", {{"max_suffix_tokens", 12}}, policy);
  AddAttack("memorisation_accuracy", {}, policy);
  AddAttack("loss", {}, policy);
  return request;
}

std::string World::PersonName(int i) { return absl::StrCat("person-", i); }

std::vector<int32_t> World::PhraseOf(int i) const {
  const auto ids = tokenizer_->Encode(memorised_[static_cast<size_t>(i)], /*add_special=*/false);
  return ids.ok() ? std::vector<int32_t>(ids->begin(), ids->end()) : std::vector<int32_t>();
}

v1::RegisterCorpusRequest World::CorpusOf(const std::string& model) const {
  v1::RegisterCorpusRequest request;
  request.set_model_id(model);
  request.add_source_paths(folder_ / "people.jsonl");
  request.mutable_options()->set_shards(3);
  request.mutable_options()->set_slices(2);
  v1::TeacherOptions* teachers = request.mutable_teachers();
  teachers->set_hidden_size(32);
  teachers->set_layers(1);
  teachers->set_epochs(2);
  teachers->set_batch_tokens(256);
  teachers->set_seed(11);
  request.mutable_base()->set_epochs(1);
  request.mutable_base()->set_batch_tokens(512);
  request.mutable_base()->set_seed(13);
  return request;
}

v1::CreateTicketRequest World::PersonTicket(Rng& random, int i, const std::string& request_id,
                                            const std::string& model) const {
  v1::CreateTicketRequest request;
  request.set_request_id(request_id);
  request.set_model_id(model);
  if (Chance(random, 50)) {
    request.add_targets()->set_subject(PersonName(i));
  } else {
    request.add_targets()->set_document(absl::StrCat("mail-", i));
  }
  return request;
}

v1::CreateTicketRequest World::Ticket(Rng& random, const std::string& request_id,
                                      const std::string& model) const {
  v1::CreateTicketRequest request;
  request.set_request_id(request_id);
  request.set_model_id(model);
  request.set_external_reference(absl::StrCat("case/", request_id));
  const auto pick = [&](const std::vector<std::string>& from) {
    return from[Below(random, static_cast<int>(from.size()))];
  };
  const int targets = 1 + Below(random, 2);
  for (int i = 0; i < targets; ++i) {
    v1::Target* target = request.add_targets();
    const int kind = Below(random, 100);
    if (kind < 6) {
      // No text at all: far less likely than any unseen one, so no candidate can pass.
      for (int token = 0; token < 12; ++token) target->mutable_ids()->add_ids(Below(random, 250));
      continue;
    }
    const std::string text = pick(kind < 55 ? memorised_ : kind < 90 ? unseen_ : kept_);
    const int form = Below(random, 3);
    if (form == 0) {
      target->set_text(text);
    } else if (form == 1) {
      const size_t middle = text.find(' ', text.size() / 2);
      target->mutable_prompt_answer()->set_prompt(text.substr(0, middle));
      target->mutable_prompt_answer()->set_answer(text.substr(middle));
    } else {
      const auto ids = tokenizer_->Encode(text, /*add_special=*/false);
      if (ids.ok()) target->mutable_ids()->mutable_ids()->Add(ids->begin(), ids->end());
    }
  }
  return request;
}

}  // namespace lethe::soak
