#include "tests/fault/soak/corpus_checks.h"

#include <fstream>
#include <set>
#include <sstream>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/digest.h"
#include "base/file.h"
#include "base/model_layout.h"
#include "base/random.h"
#include "base/status.h"
#include "corpus/check.h"
#include "corpus/corpus.h"
#include "storage/rocksdb/rocks_driver.h"
#include "storage/state/corpus_state.h"
#include "storage/state/ticket_state.h"
#include "storage/vault.h"
#include "tests/fault/soak/process.h"

namespace lethe::soak {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<storage::ModelRecord> ReadModel(const CorpusPlaces& places) {
  LETHE_ASSIGN_OR_RETURN(auto folder, storage::OpenRocksReadOnly(places.store, nullptr));
  const storage::RocksReader reader(folder->db(), folder->families(), /*moment=*/false);
  return reader.GetModel(ModelId{places.model});
}

// Little-endian, `width` bytes an id: as slices, tensors and vectors store them.
std::string Raw(const std::vector<int32_t>& ids, int width) {
  std::string bytes;
  for (const int32_t id : ids) {
    for (int i = 0; i < width; ++i) bytes += static_cast<char>(static_cast<uint64_t>(id) >> 8 * i);
  }
  return bytes;
}

// A person in every form in which something of them was ever stored: ids raw and as text, and what
// their key is hashed to, raw and hex.
std::vector<std::string> FormsOf(const World& world, int person, const CorpusKey& key) {
  const std::vector<int32_t> all = world.PhraseOf(person);
  const std::vector<int32_t> ids(all.begin(), all.begin() + std::min<size_t>(all.size(), 12));
  const KeyHash subject = key.OfSubject(World::PersonName(person));
  const KeyHash document = key.OfDocument(absl::StrCat("mail-", person));
  std::vector<std::string> forms = {Raw(ids, 2), Raw(ids, 4), Raw(ids, 8), absl::StrJoin(ids, ","),
                                    absl::StrJoin(ids, ", ")};
  for (const KeyHash& hash : {subject, document}) {
    forms.emplace_back(View(hash));
    forms.push_back(absl::BytesToHexString(std::string(View(hash))));
  }
  return forms;
}

// Files below `folder` that hold one of the forms.
void Scan(const fs::path& folder, const std::vector<std::string>& forms, const std::string& who,
          Problems* out) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(folder, error), end; !error && it != end;
       it.increment(error)) {
    if (!it->is_regular_file(error) || it->is_symlink(error)) continue;
    std::ifstream in(it->path(), std::ios::binary);
    std::ostringstream bytes;
    bytes << in.rdbuf();
    for (size_t form = 0; form < forms.size(); ++form) {
      if (bytes.str().find(forms[form]) == std::string::npos) continue;
      out->push_back(absl::StrCat(who, " was forgotten and stands in ", it->path().string(),
                                  " (form ", form, ")"));
    }
  }
}

// The people whom the corpus has no more.
std::set<int> Erased(const Corpus& corpus, const World& world, Problems* out) {
  std::set<int> erased;
  for (int person = 0; person < world.people(); ++person) {
    const auto by_person = corpus.FindSubject(World::PersonName(person));
    const auto by_document = corpus.FindDocument(absl::StrCat("mail-", person));
    if (!by_person.ok() || !by_document.ok() || *by_person != *by_document) {
      out->push_back(absl::StrCat("person ", person, " is found by one key and not by another"));
    } else if (by_person->empty()) {
      erased.insert(person);
    }
  }
  return erased;
}

// Whose ticket is COMPLETED is gone.
void CheckTickets(const CorpusPlaces& places, const Ledger& ledger, const std::set<int>& gone,
                  Problems* out) {
  auto folder = storage::OpenRocksReadOnly(places.store, nullptr);
  if (!folder.ok()) {
    out->push_back(folder.status().ToString());
    return;
  }
  const storage::RocksReader reader((*folder)->db(), (*folder)->families(), /*moment=*/false);
  for (const auto& [ticket, person] : ledger.people()) {
    const auto record = reader.GetTicket(TicketId{ticket});
    if (!record.ok() || record->model_id() != places.model) continue;
    const bool completed =
        record->state() == static_cast<int32_t>(storage::TicketState::kCompleted);
    if (completed && !gone.contains(person)) {
      out->push_back(absl::StrCat(ticket, " is COMPLETED, and the corpus has its person"));
    }
  }
}

// Names of states and of the link. A state that saw who was erased has another one.
std::set<std::string> NamesIn(const fs::path& folder) {
  std::set<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    names.insert(it->path().filename());
  }
  return names;
}

// The same teachers, trained once, from nothing, without a fault.
void CompareTeachers(const CorpusPlaces& places, const World& world,
                     const storage::ModelRecord& model, const fs::path& corpus,
                     const std::string& secret, Problems* out) {
  const fs::path key = places.scratch / "corpus.key", fresh = places.scratch / "teachers";
  std::error_code error;
  fs::create_directories(places.scratch, error);
  std::ofstream(key) << secret;
  v1::TeacherOptions options;
  options.ParseFromString(model.corpus().teachers());
  auto training = Process::Start({places.programs / "lethe-engine",
                                  "teachers",
                                  "train",
                                  "--corpus",
                                  corpus,
                                  "--key",
                                  key,
                                  "--tokenizer",
                                  world.folder() / "model" / "tokenizer.json",
                                  "--out",
                                  fresh,
                                  "--hidden",
                                  absl::StrCat(options.hidden_size()),
                                  "--layers",
                                  absl::StrCat(options.layers()),
                                  "--context",
                                  absl::StrCat(options.context_length()),
                                  "--epochs",
                                  absl::StrCat(options.epochs()),
                                  "--batch-tokens",
                                  absl::StrCat(options.batch_tokens()),
                                  "--learning-rate",
                                  absl::StrCat(options.learning_rate()),
                                  "--seed",
                                  absl::StrCat(options.seed()),
                                  "--threads",
                                  "1",
                                  "--device",
                                  "cpu"},
                                 places.scratch / "teachers.log");
  const auto end = training.ok() ? training->WaitForEnd(absl::Minutes(2)) : training.status();
  if (!end.ok() || *end != "exit code 0") {
    out->push_back(
        absl::StrCat("lethe-engine teachers train: ", end.ok() ? *end : end.status().ToString()));
    return;
  }
  const ModelId id{places.model};
  const JobId job{model.corpus().job_id()};
  for (int shard = 0; shard < model.corpus().shards_size(); ++shard) {
    const auto digest = [](const fs::path& folder) {
      return FolderDigest(folder).value_or("none");
    };
    const std::string served = digest(places.models / TeacherModelFolder(id, job, shard));
    const std::string trained = digest(fresh / absl::StrCat("shard-", shard) / "model");
    if (NamesIn(places.models / TeachersFolder(id, job) / absl::StrCat("shard-", shard)) !=
        NamesIn(fresh / absl::StrCat("shard-", shard))) {
      out->push_back(absl::StrCat("the states of shard ", shard,
                                  " are not those that a training without faults leaves"));
    }
    if (served != trained || served != model.corpus().shards(shard).model_digest()) {
      out->push_back(absl::StrCat("the teacher of shard ", shard,
                                  " is not the one that a training without faults gives"));
    }
  }
}

}  // namespace

Problems CheckCorpusEnd(const CorpusPlaces& places, const World& world, const Ledger& ledger,
                        int* erased) {
  Problems out;
  const auto model = ReadModel(places);
  if (!model.ok()) return {model.status().ToString()};
  if (model->corpus().state() != static_cast<int32_t>(storage::CorpusState::kReady)) {
    return {absl::StrCat("the corpus of ", places.model, " is not READY")};
  }
  for (int shard = 0; shard < model->corpus().shards_size(); ++shard) {
    const auto state = static_cast<storage::TeacherState>(model->corpus().shards(shard).state());
    if (state != storage::TeacherState::kReady) {
      out.push_back(
          absl::StrCat("the teacher of shard ", shard, " is ", std::string(storage::Name(state))));
    }
  }
  auto vault = storage::Vault::Open(places.key_file, {}, SecureRandom());
  if (!vault.ok()) return {vault.status().ToString()};
  const ModelId id{places.model};
  const std::string folder = CorpusFolder(id, JobId{model->corpus().job_id()});
  const std::string secret = storage::CorpusSecret(**vault, id, folder);
  const auto key = CorpusKey::FromBytes(secret);
  const auto corpus = key.ok() ? Corpus::Open(places.models / folder, *key) : key.status();
  if (!corpus.ok()) return {corpus.status().ToString()};
  const std::set<int> gone = Erased(*corpus, world, &out);
  *erased = static_cast<int>(gone.size());
  if (corpus->sequences() + gone.size() != static_cast<size_t>(world.people())) {
    out.push_back("the corpus has lost people whom nobody asked to forget, or kept their text");
  }
  CheckTickets(places, ledger, gone, &out);
  for (const int person : gone) {
    const std::string who = absl::StrCat("person ", person);
    const std::vector<std::string> forms = FormsOf(world, person, *key);
    Scan(places.models / places.model / "corpora", forms, who, &out);
    Scan(places.store, forms, who, &out);
  }
  CompareTeachers(places, world, *model, places.models / folder, secret, &out);
  return out;
}

}  // namespace lethe::soak
