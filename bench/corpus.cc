// How fast a corpus is built, how large it is, how fast it answers and forgets, and in what memory.
//
//   bench_corpus                            a million sequences of 30 tokens
//   bench_corpus --sequences 10000000 --shards 16 --slices 8 --folder /mnt/ssd
//
// Each part runs in a process of its own, whose peak memory is the kernel's figure. The limit, in the
// same run: writing as many bytes as the part has left on the disk to one file of the same folder,
// in blocks of 1 MiB, and syncing it once.
#include "corpus/corpus.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <functional>
#include <random>

#include "base/file.h"
#include "base/status.h"
#include "bench/disk.h"
#include "corpus/build.h"
#include "corpus/check.h"
#include "corpus/erase.h"
#include "corpus/near.h"

namespace lethe {
namespace {

namespace fs = std::filesystem;

constexpr int kVocabSize = 50257;

struct Setup {
  uint64_t sequences = 1'000'000;
  int tokens = 30;        // the mean; lengths are 20 to 40
  int per_person = 20;    // sequences, the mean
  double copied = 0.001;  // share of sequences that another person has too
  CorpusOptions options;
  fs::path folder;
  fs::path Corpus() const { return folder / "corpus"; }
  fs::path Lines() const { return folder / "lines.jsonl"; }
};

CorpusKey BenchKey() { return *CorpusKey::FromBytes(std::string(32, 'b')); }

double Seconds(const std::function<void()>& run) {
  const auto begin = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void OrDie(const absl::Status& status) {
  if (status.ok()) return;
  std::fprintf(stderr, "bench_corpus: %s\n", std::string(status.message()).c_str());
  _exit(1);
}

std::string PersonOf(std::mt19937_64& random, const Setup& setup) {
  const uint64_t people = std::max<uint64_t>(setup.sequences / setup.per_person, 1);
  return "person-" + std::to_string(random() % people);
}

// Ids are drawn with a density of 1 / rank, as words are.
int32_t DrawId(std::mt19937_64& random) {
  const double u = static_cast<double>(random() >> 11) * 0x1p-53;
  return static_cast<int32_t>(std::pow(kVocabSize, u)) - 1;
}

void WriteLines(const Setup& setup) {
  std::mt19937_64 random(7);
  std::ofstream out(setup.Lines(), std::ios::binary);
  std::string ids;
  for (uint64_t i = 0; i < setup.sequences; ++i) {
    if (static_cast<double>(random() % 1'000'000) >= setup.copied * 1e6 || i == 0) {
      ids.clear();
      const int count =
          setup.tokens * 2 / 3 + static_cast<int>(random() % (setup.tokens * 2 / 3 + 1));
      for (int k = 0; k < count; ++k) ids += (k ? "," : "") + std::to_string(DrawId(random));
    }
    out << "{\"ids\":[" << ids << "],\"subject\":\"" << PersonOf(random, setup)
        << "\",\"document\":\"document-" << i << "\"}\n";
  }
}

struct Cost {
  double seconds = 0, cpu_seconds = 0;
  double peak_mb = 0;
};

// Of `run`, in a process of its own.
Cost InChild(const std::function<void()>& run) {
  Cost cost;
  std::fflush(nullptr);
  cost.seconds = Seconds([&] {
    const pid_t child = fork();
    if (child == 0) {
      run();
      std::fflush(nullptr);
      _exit(0);
    }
    int status = 0;
    struct rusage usage;
    wait4(child, &status, 0, &usage);
    if (status != 0) _exit(1);
    cost.peak_mb = static_cast<double>(usage.ru_maxrss) / 1024;
    for (const timeval& t : {usage.ru_utime, usage.ru_stime}) {
      cost.cpu_seconds += static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
    }
  });
  return cost;
}

// The least of three: what the disk can do.
double RawWriteSeconds(const Setup& setup, uint64_t bytes) {
  const fs::path path = setup.folder / "raw.bin";
  const std::string block(1 << 20, 'x');
  double least = 1e9;
  for (int i = 0; i < 3; ++i) {
    least = std::min(
        least, Seconds([&] {
          const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
          for (uint64_t left = bytes; left > 0;) {
            const ssize_t written = write(fd, block.data(), std::min<uint64_t>(left, block.size()));
            if (written <= 0) OrDie(SystemError("cannot write", path, errno));
            left -= static_cast<uint64_t>(written);
          }
          if (fsync(fd) != 0) OrDie(SystemError("cannot sync", path, errno));
          close(fd);
        }));
    unlink(path.c_str());
  }
  return least;
}

uint64_t BytesOf(const Corpus& corpus) {
  uint64_t sum = 0;
  for (const SliceEntry& entry : corpus.manifest().files) sum += entry.bytes;
  return sum;
}

void PrintCost(const char* what, const Cost& cost, uint64_t sequences, double raw) {
  std::printf(
      "%-22s %8.2f s (%.2f s of a core)  %9.0f sequences/s  %.0f MB peak  raw write %.2f s\n", what,
      cost.seconds, cost.cpu_seconds, static_cast<double>(sequences) / cost.seconds, cost.peak_mb,
      raw);
}

void BenchBuild(Setup setup, uint64_t sequences) {
  setup.sequences = sequences;
  fs::remove_all(setup.Corpus());
  WriteLines(setup);
  CorpusInput input{.files = {setup.Lines()}};
  input.limits.vocab_size = kVocabSize;
  const Cost cost = InChild(
      [&] { OrDie(BuildCorpus(setup.Corpus(), BenchKey(), setup.options, input).status()); });
  const auto corpus = Corpus::Open(setup.Corpus(), BenchKey());
  OrDie(corpus.status());
  if (corpus->sequences() != sequences) OrDie(absl::InternalError("sequences are missing"));
  const double raw = RawWriteSeconds(setup, BytesOf(*corpus));
  PrintCost(("build " + std::to_string(sequences)).c_str(), cost, sequences, raw);
}

void PrintSizes(const Setup& setup) {
  const Corpus corpus = *Corpus::Open(setup.Corpus(), BenchKey());
  uint64_t records = 0, places = 0, subjects = 0, documents = 0, grams = 0, prints = 0;
  for (const SliceEntry& entry : corpus.manifest().files) {
    const SliceFooter& f = corpus.At(entry.place).footer();
    records += f.record_bytes;
    places += TableBytes(kPlaceBytes, f.sequences);
    subjects += TableBytes(kKeyEntryBytes, f.subject_entries);
    documents += TableBytes(kKeyEntryBytes, f.document_entries);
    grams += TableBytes(kGramEntryBytes, f.gram_entries);
    prints += f.gram_entries;
  }
  const auto n = static_cast<double>(corpus.sequences());
  std::printf(
      "bytes a sequence       all %.1f: records %.1f, places %.1f, subjects %.1f, documents "
      "%.1f, near %.1f (%.1f prints); %.1f tokens; input %.1f\n",
      BytesOf(corpus) / n, records / n, places / n, subjects / n, documents / n, grams / n,
      prints / n, corpus.tokens() / n, fs::file_size(setup.Lines()) / n);
}

// Microseconds of single calls on a warm page cache: half and 99 of 100 are below.
void PrintLookup(const char* what, int calls, const std::function<uint64_t()>& call) {
  std::vector<double> micros;
  uint64_t found = 0;
  for (int i = 0; i < calls; ++i) micros.push_back(1e6 * Seconds([&] { found += call(); }));
  std::printf("%-22s %8.0f us, 99 of 100 below %.0f us; %.2f sequences found a call\n", what,
              Percentile(micros, 0.5), Percentile(micros, 0.99),
              static_cast<double>(found) / calls);
}

void BenchLookups(const Setup& setup) {
  const Corpus corpus = *Corpus::Open(setup.Corpus(), BenchKey());
  std::mt19937_64 random(8);
  PrintLookup("find subject", 2000,
              [&] { return corpus.FindSubject(PersonOf(random, setup))->size(); });
  PrintLookup("find document", 2000, [&] {
    return corpus.FindDocument("document-" + std::to_string(random() % setup.sequences))->size();
  });
  PrintLookup("get by id", 2000,
              [&] { return corpus.Get({random() % setup.sequences})->has_value() ? 1u : 0u; });
  PrintLookup("find near", 500, [&] {
    const auto stored = corpus.Get({random() % setup.sequences});
    return FindNear(corpus, (*stored)->stored.sequence.ids)->sequences.size();
  });
}

void BenchErase(const Setup& setup) {
  std::mt19937_64 random(9);
  std::vector<double> seconds, cpu_seconds, raw_seconds;
  uint64_t slices = 0, sequences = 0, bytes = 0;
  double peak = 0;
  constexpr int kPeople = 5;
  for (int i = 0; i < kPeople; ++i) {
    const ErasureTargets targets{.subjects = {PersonOf(random, setup)}};
    const Touched touched = *Corpus::Open(setup.Corpus(), BenchKey())->Touches(targets);
    const Cost cost =
        InChild([&] { OrDie(EraseFromCorpus(setup.Corpus(), BenchKey(), targets).status()); });
    const Corpus after = *Corpus::Open(setup.Corpus(), BenchKey());
    if (!after.FindSubject(targets.subjects[0])->empty()) OrDie(absl::InternalError("still there"));
    uint64_t written = 0;
    for (const SlicePlace place : touched.slices) written += after.manifest().At(place).bytes;
    const double raw = written == 0 ? 0 : RawWriteSeconds(setup, written);
    seconds.push_back(cost.seconds);
    cpu_seconds.push_back(cost.cpu_seconds);
    raw_seconds.push_back(raw);
    peak = std::max(peak, cost.peak_mb);
    slices += touched.slices.size();
    sequences += touched.sequences.size();
    bytes += written;
  }
  std::printf(
      "%-22s %8.2f s (%.2f s of a core; %.1f slices, %.1f sequences, %.1f MB written in the mean)  "
      "%.0f MB peak  raw write %.2f s\n",
      "erase a person", Percentile(seconds, 0.5), Percentile(cpu_seconds, 0.5),
      1.0 * slices / kPeople, 1.0 * sequences / kPeople, 1e-6 * bytes / kPeople, peak,
      Percentile(raw_seconds, 0.5));
}

void BenchRead(const Setup& setup) {
  uint64_t tokens = 0, sequences = 0;
  const Corpus corpus = *Corpus::Open(setup.Corpus(), BenchKey());
  const double seconds = Seconds([&] {
    for (const SliceEntry& entry : corpus.manifest().files) {
      OrDie(corpus.ForEach(entry.place, [&](const StoredSequence& stored) {
        tokens += stored.sequence.ids.size();
        ++sequences;
        return absl::OkStatus();
      }));
    }
  });
  if (tokens != corpus.tokens()) OrDie(absl::InternalError("tokens are missing"));
  std::printf("%-22s %8.2f s  %9.0f sequences/s\n", "read all", seconds,
              static_cast<double>(sequences) / seconds);
}

void BenchCheck(const Setup& setup) {
  const Cost cost = InChild([&] {
    const auto report = CheckCorpus(setup.Corpus(), BenchKey());
    OrDie(report.status());
    if (!report->findings.empty()) OrDie(absl::InternalError(report->findings[0].what));
  });
  std::printf("%-22s %8.2f s (%.2f s of a core)  %.0f MB peak, mapped files included\n", "check",
              cost.seconds, cost.cpu_seconds, cost.peak_mb);
}

}  // namespace
}  // namespace lethe

int main(int argc, char** argv) {
  using namespace lethe;
  CLI::App app{"Builds, searches and erases a generated corpus."};
  Setup setup;
  std::string folder = fs::temp_directory_path();
  app.add_option("--sequences", setup.sequences)->check(CLI::Range(1000, 100000000));
  app.add_option("--shards", setup.options.shards);
  app.add_option("--slices", setup.options.slices);
  app.add_option("--folder", folder, "on the disk to measure");
  CLI11_PARSE(app, argc, argv);
  std::string name = folder + "/lethe-bench-corpus-XXXXXX";
  if (mkdtemp(name.data()) == nullptr) {
    std::perror(name.c_str());
    return 1;
  }
  setup.folder = name;
  std::printf("%u shards of %u slices, ids of %d tokens; %s\n", setup.options.shards,
              setup.options.slices, kVocabSize, folder.c_str());
  BenchBuild(setup, setup.sequences / 10);  // memory must not grow with this
  BenchBuild(setup, setup.sequences);
  PrintSizes(setup);
  BenchRead(setup);
  BenchLookups(setup);
  BenchErase(setup);
  BenchCheck(setup);
  fs::remove_all(setup.folder);
  return 0;
}
