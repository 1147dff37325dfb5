// corpus: what a model is trained on, by person; see corpus/corpus.h.
#include <algorithm>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "corpus/build.h"
#include "corpus/check.h"
#include "corpus/corpus.h"
#include "corpus/erase.h"
#include "corpus/near.h"
#include "engine/cli/command.h"
#include "engine/cli/output.h"
#include "text/tokenizer.h"

namespace lethe::cli {
namespace {

using Json = nlohmann::ordered_json;

struct CorpusFlags {
  std::string folder, key, tokenizer;
  CorpusOptions options;
  CorpusInput input;
  ErasureTargets targets;
  std::vector<uint64_t> sequences;
  std::string targets_file;
  bool near = false;
  NearOptions near_options;
};

absl::StatusOr<Corpus> OpenCorpus(const CorpusFlags& flags) {
  LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromFile(flags.key));
  return Corpus::Open(flags.folder, key);
}

CorpusProgressCallback ShowProgress(ProgressLine* line) {
  const ProgressCallback show = line->Callback();
  if (!show) return nullptr;
  return [show](const CorpusProgress& p) {
    EngineProgress shown;
    shown.phase = p.phase;
    shown.figures["sequences"] = static_cast<double>(p.sequences);
    if (p.of_bytes > 0) {
      shown.figures["percent"] =
          100.0 * static_cast<double>(p.bytes) / static_cast<double>(p.of_bytes);
    }
    return show(shown);
  };
}

void PrintFields(const Common& common, const Json& fields) {
  if (common.Json()) return PrintJson(fields);
  std::vector<std::vector<std::string>> rows(2);
  for (const auto& [name, value] : fields.items()) {
    rows[0].push_back(name);
    rows[1].push_back(value.is_string() ? value.get<std::string>() : value.dump());
  }
  PrintTable(rows);
}

std::string Count(uint64_t value) { return std::to_string(value); }

// --- build, append -----------------------------------------------------------------------------

absl::Status RunIntake(const CorpusFlags& flags, const Common& common, bool append) {
  LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromFile(flags.key));
  CorpusInput input = flags.input;
  std::optional<Tokenizer> tokenizer;
  if (!flags.tokenizer.empty()) {
    LETHE_ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(flags.tokenizer));
    input.tokenizer = &*tokenizer;
  }
  absl::StatusOr<BuildResult> result;
  {
    ProgressLine line;
    result = append ? AppendToCorpus(flags.folder, key, input, ShowProgress(&line))
                    : BuildCorpus(flags.folder, key, flags.options, input, ShowProgress(&line));
  }
  if (!result.ok()) return result.status();
  PrintFields(common, {{"corpus", flags.folder},
                       {"sequences", result->sequences},
                       {"tokens", result->tokens},
                       {"bytes written", result->bytes}});
  return absl::OkStatus();
}

// --- show --------------------------------------------------------------------------------------

absl::Status RunShow(const CorpusFlags& flags, const Common& common) {
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, OpenCorpus(flags));
  const Manifest& m = corpus.manifest();
  if (common.Json()) {
    Json files = Json::array();
    for (const SliceEntry& e : m.files) {
      files.push_back({{"shard", e.place.shard},
                       {"slice", e.place.slice},
                       {"sequences", e.sequences},
                       {"tokens", e.tokens},
                       {"bytes", e.bytes},
                       {"digest", e.content_digest}});
    }
    PrintJson({{"corpus", flags.folder},
               {"generation", m.generation},
               {"shards", m.shards},
               {"slices", m.slices},
               {"sequences", corpus.sequences()},
               {"tokens", corpus.tokens()},
               {"next_id", m.next_id},
               {"vocab_size", m.vocab_size},
               {"tokenizer", m.tokenizer_digest},
               {"files", std::move(files)}});
    return absl::OkStatus();
  }
  std::vector<std::vector<std::string>> rows = {
      {"shard", "slice", "sequences", "tokens", "bytes", "digest"}};
  for (const SliceEntry& e : m.files) {
    rows.push_back({Count(e.place.shard), Count(e.place.slice), Count(e.sequences), Count(e.tokens),
                    Count(e.bytes), e.content_digest.substr(0, 16)});
  }
  rows.push_back({"all", "", Count(corpus.sequences()), Count(corpus.tokens()), "", ""});
  PrintTable(rows);
  return absl::OkStatus();
}

// --- find, erase -------------------------------------------------------------------------------

// A file of targets: one JSON object a line, {"subject": …}, {"document": …} or {"sequence": …}. So
// no key needs to stand on a command line, where other users of the machine see it.
absl::Status ReadTargets(const std::string& file, ErasureTargets* targets) {
  LETHE_ASSIGN_OR_RETURN(LineReader lines, LineReader::Open(file));
  for (;;) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<std::string_view> line, lines.Next());
    if (!line.has_value()) return absl::OkStatus();
    const Json json = Json::parse(line->begin(), line->end(), nullptr, /*allow_exceptions=*/false);
    const bool one = json.is_object() && json.size() == 1;
    if (one && json.contains("subject") && json["subject"].is_string()) {
      targets->subjects.push_back(json["subject"]);
    } else if (one && json.contains("document") && json["document"].is_string()) {
      targets->documents.push_back(json["document"]);
    } else if (one && json.contains("sequence") && json["sequence"].is_number_unsigned()) {
      targets->sequences.push_back({json["sequence"].get<uint64_t>()});
    } else {
      return lines.At(Error(absl::StatusCode::kInvalidArgument, "LINE_MALFORMED",
                            "a line is {\"subject\": \"…\"}, {\"document\": \"…\"} or "
                            "{\"sequence\": 5}"));
    }
  }
}

absl::StatusOr<ErasureTargets> MakeTargets(const CorpusFlags& flags) {
  ErasureTargets targets = flags.targets;
  for (const uint64_t id : flags.sequences) targets.sequences.push_back({id});
  if (!flags.targets_file.empty()) {
    LETHE_RETURN_IF_ERROR(ReadTargets(flags.targets_file, &targets));
  }
  if (targets.subjects.empty() && targets.documents.empty() && targets.sequences.empty()) {
    return Error(absl::StatusCode::kInvalidArgument, "TARGETS_MISSING",
                 "name a --subject, a --document, a --sequence or a file of --targets");
  }
  return targets;
}

Json PlacesJson(const std::vector<SlicePlace>& places) {
  Json json = Json::array();
  for (const SlicePlace& p : places) json.push_back({{"shard", p.shard}, {"slice", p.slice}});
  return json;
}

Json NearJson(const NearSequence& near, SequenceId of) {
  return {{"of", of.value},
          {"sequence", near.id.value},
          {"shard", near.place.shard},
          {"slice", near.place.slice},
          {"equal", near.equal},
          {"contained", near.contained},
          {"overlap", near.overlap}};
}

// Other sequences that say the same as one that would be deleted.
struct Copies {
  Json found = Json::array();
  uint64_t common_prints = 0;
};

absl::StatusOr<Copies> FindCopies(const Corpus& corpus, const Touched& touched,
                                  const NearOptions& options) {
  Copies copies;
  for (const SequenceId id : touched.sequences) {
    LETHE_ASSIGN_OR_RETURN(const std::optional<FoundSequence> found, corpus.Get(id));
    if (!found.has_value()) continue;
    LETHE_ASSIGN_OR_RETURN(const NearResult near,
                           FindNear(corpus, found->stored.sequence.ids, options));
    copies.common_prints += near.common_prints;
    for (const NearSequence& n : near.sequences) {
      const bool own = std::binary_search(touched.sequences.begin(), touched.sequences.end(), n.id);
      if (!own) copies.found.push_back(NearJson(n, id));
    }
  }
  return copies;
}

absl::Status RunFind(const CorpusFlags& flags, const Common& common) {
  LETHE_ASSIGN_OR_RETURN(const ErasureTargets targets, MakeTargets(flags));
  LETHE_ASSIGN_OR_RETURN(const Corpus corpus, OpenCorpus(flags));
  LETHE_ASSIGN_OR_RETURN(const Touched touched, corpus.Touches(targets));
  Copies copies;
  if (flags.near) {
    LETHE_ASSIGN_OR_RETURN(copies, FindCopies(corpus, touched, flags.near_options));
  }
  if (common.Json()) {
    Json ids = Json::array();
    for (const SequenceId id : touched.sequences) ids.push_back(id.value);
    Json json = {{"sequences", std::move(ids)},
                 {"tokens", touched.tokens},
                 {"shards", touched.shards},
                 {"slices", PlacesJson(touched.slices)},
                 {"absent", touched.absent}};
    if (flags.near) {
      json["near"] = std::move(copies.found);
      json["common_prints"] = copies.common_prints;
    }
    PrintJson(json);
    return absl::OkStatus();
  }
  std::vector<std::vector<std::string>> rows = {{"shard", "slice", "sequences in it"}};
  for (const SlicePlace& p : touched.slices) {
    rows.push_back({Count(p.shard), Count(p.slice), Count(corpus.At(p).sequences())});
  }
  PrintTable({{"sequences", "tokens", "shards", "slices", "absent"},
              {Count(touched.sequences.size()), Count(touched.tokens), Count(touched.shards.size()),
               Count(touched.slices.size()), Count(touched.absent)}});
  PrintTable(rows);
  if (!flags.near) return absl::OkStatus();
  rows = {{"sequence", "near", "shard", "slice", "equal", "contained", "overlap"}};
  for (const Json& n : copies.found) {
    rows.push_back({n["of"].dump(), n["sequence"].dump(), n["shard"].dump(), n["slice"].dump(),
                    n["equal"].get<bool>() ? "yes" : "no", Number(n["contained"], 3),
                    Number(n["overlap"], 3)});
  }
  PrintTable(rows);
  return absl::OkStatus();
}

absl::Status RunErase(const CorpusFlags& flags, const Common& common) {
  LETHE_ASSIGN_OR_RETURN(const ErasureTargets targets, MakeTargets(flags));
  LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromFile(flags.key));
  LETHE_ASSIGN_OR_RETURN(const EraseResult result, EraseFromCorpus(flags.folder, key, targets));
  if (common.Json()) {
    Json ids = Json::array(), slices = Json::array();
    for (const SequenceId id : result.sequences) ids.push_back(id.value);
    for (const ErasedSlice& s : result.slices) {
      slices.push_back({{"shard", s.place.shard},
                        {"slice", s.place.slice},
                        {"erased", s.sequences},
                        {"digest_before", s.digest_before},
                        {"digest_after", s.digest_after}});
    }
    PrintJson(
        {{"sequences", std::move(ids)}, {"slices", std::move(slices)}, {"absent", result.absent}});
    return absl::OkStatus();
  }
  std::vector<std::vector<std::string>> rows = {
      {"shard", "slice", "erased", "digest before", "digest after"}};
  for (const ErasedSlice& s : result.slices) {
    rows.push_back({Count(s.place.shard), Count(s.place.slice), Count(s.sequences),
                    s.digest_before.substr(0, 16), s.digest_after.substr(0, 16)});
  }
  rows.push_back({"all", "", Count(result.sequences.size()), "", ""});
  PrintTable(rows);
  return absl::OkStatus();
}

// --- check -------------------------------------------------------------------------------------

absl::Status RunCheck(const CorpusFlags& flags, const Common& common) {
  LETHE_ASSIGN_OR_RETURN(const CorpusKey key, CorpusKey::FromFile(flags.key));
  LETHE_ASSIGN_OR_RETURN(const CheckReport report, CheckCorpus(flags.folder, key));
  if (common.Json()) {
    Json findings = Json::array();
    for (const CheckFinding& f : report.findings) {
      findings.push_back({{"file", f.file}, {"what", f.what}});
    }
    PrintJson({{"files", report.files},
               {"bytes", report.bytes},
               {"sequences", report.sequences},
               {"tokens", report.tokens},
               {"findings", std::move(findings)}});
  } else {
    PrintTable({{"files", "bytes", "sequences", "tokens", "findings"},
                {Count(report.files), Count(report.bytes), Count(report.sequences),
                 Count(report.tokens), Count(report.findings.size())}});
    for (const CheckFinding& f : report.findings) Print(absl::StrCat(f.file, "  ", f.what, "\n"));
  }
  if (report.findings.empty()) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, "CORPUS_DAMAGED",
               absl::StrCat(flags.folder, ": ", report.findings.size(), " findings"));
}

// --- the command line --------------------------------------------------------------------------

using Run = std::function<absl::Status(const CorpusFlags&, const Common&)>;

struct Command {
  CLI::App* app;
  std::shared_ptr<CorpusFlags> flags;
};

Command AddCommand(CLI::App* corpus, const Common& common, Action& action, const char* name,
                   const char* help, Run run) {
  Command command{corpus->add_subcommand(name, help), std::make_shared<CorpusFlags>()};
  command.app->add_option("--corpus", command.flags->folder, "folder of the corpus")->required();
  command.app->add_option("--key", command.flags->key, "file of the key that hashes people's keys")
      ->required();
  command.app->callback([=, &common, &action, flags = command.flags] {
    action = [=, &common](const Device&) { return run(*flags, common); };
  });
  return command;
}

void AddInput(const Command& command) {
  CorpusFlags& flags = *command.flags;
  command.app->add_option("files", flags.input.files, "JSON lines, each with a \"subject\"")
      ->required();
  command.app->add_option("--tokenizer", flags.tokenizer,
                          "tokenizer.json or its folder; not needed for lines of ids");
  command.app
      ->add_option("--vocab-size", flags.input.limits.vocab_size,
                   "of the ids; absent: the tokenizer's")
      ->check(CLI::Range(1, INT32_MAX));
  command.app->add_option("--max-tokens", flags.input.limits.max_tokens,
                          "a longer line is refused");
}

void AddTargets(const Command& command) {
  CorpusFlags& flags = *command.flags;
  command.app->add_option("--subject", flags.targets.subjects, "a person's key");
  command.app->add_option("--document", flags.targets.documents, "a document's key");
  command.app->add_option("--sequence", flags.sequences, "an id");
  command.app->add_option("--targets", flags.targets_file,
                          "a file of them, JSON lines: {\"subject\": \"…\"}, {\"document\": \"…\"} "
                          "or {\"sequence\": 5}");
}

}  // namespace

void AddCorpus(CLI::App& app, const Common& common, Action& action) {
  auto* corpus = app.add_subcommand(
      "corpus", "what a model is trained on, by person: build, append, show, find, erase, check");
  corpus->footer(
      "Examples:\n"
      "  openssl rand -hex 32 > corpus.key\n"
      "  lethe-engine corpus build --corpus data --key corpus.key --tokenizer model --shards 4 \\\n"
      "      --slices 4 mails.jsonl\n"
      "  lethe-engine corpus find --corpus data --key corpus.key --subject p-17 --near\n"
      "  lethe-engine corpus erase --corpus data --key corpus.key --targets wishes.jsonl\n"
      "docs/corpus.md has what lines look like and what erasing guarantees\n");
  corpus->require_subcommand(1);
  const auto add = [&](const char* name, const char* help, Run run) {
    return AddCommand(corpus, common, action, name, help, std::move(run));
  };
  const Command build =
      add("build", "makes a corpus of JSON lines",
          [](const CorpusFlags& f, const Common& c) { return RunIntake(f, c, /*append=*/false); });
  AddInput(build);
  CorpusOptions& options = build.flags->options;
  build.app->add_option("--shards", options.shards, "a person is in one of them")
      ->capture_default_str();
  build.app->add_option("--slices", options.slices, "of each shard, by arrival")
      ->capture_default_str();
  build.app->add_flag("--document-parts", options.document_parts,
                      "several lines may have the same document");
  AddInput(
      add("append", "adds late data to the last slices",
          [](const CorpusFlags& f, const Common& c) { return RunIntake(f, c, /*append=*/true); }));
  add("show", "shards, slices and their digests", RunShow);
  const Command find = add("find", "what a deletion would touch", RunFind);
  AddTargets(find);
  find.app->add_flag("--near", find.flags->near, "other sequences that say the same, too");
  find.app->add_option("--min-overlap", find.flags->near_options.min_overlap, "of --near")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  AddTargets(add("erase", "removes sequences from slices and indexes", RunErase));
  add("check", "reads all of it and says what is wrong", RunCheck);
}

}  // namespace lethe::cli
