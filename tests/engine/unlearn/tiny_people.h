// A tiny world for unlearning tests: "people" of ten tokens whose secret is four random ones, and a
// model that has memorised some of them. Trained in a second or two, once for all tests of a
// process.
#ifndef LETHE_TESTS_ENGINE_UNLEARN_TINY_PEOPLE_H_
#define LETHE_TESTS_ENGINE_UNLEARN_TINY_PEOPLE_H_

#include <filesystem>
#include <vector>

#include "engine/prepare.h"
#include "engine/seeded_generator.h"
#include "engine/train.h"
#include "tests/support/test_folders.h"

namespace lethe {

struct TinyPeople {
  std::filesystem::path model;
  std::vector<Sequence> forget, retain, holdout;
  ModelThresholds thresholds;
};

// 3, NAME NAME, 4, 5, SECRET x 6, 6, 7: names are 10..25, secrets 26..57.
inline Sequence TinyPerson(SeededGenerator& random) {
  const auto one = [&](int first, int count) {
    return static_cast<int32_t>(first + static_cast<int>(random.Below(count)));
  };
  Sequence s;
  s.ids = {3, one(10, 16), one(10, 16), one(10, 16), 4, 5};
  for (int i = 0; i < 6; ++i) s.ids.push_back(one(26, 32));
  s.ids.insert(s.ids.end(), {6, 7});
  s.sensitive = {{6, 12}};
  return s;
}

inline const TinyPeople& Tiny() {
  static const TinyPeople* const people = [] {
    auto* p = new TinyPeople;
    SeededGenerator random(11);
    const auto make = [&](int count) {
      std::vector<Sequence> list;
      for (int i = 0; i < count; ++i) list.push_back(TinyPerson(random));
      return list;
    };
    p->forget = make(3);
    p->retain = make(400);
    p->holdout = make(40);
    TrainRequest request{.config_json = SmallLlamaConfig(64, 32, 64, 2),
                         .sequences = p->retain,
                         .steps = 160,
                         .batch_tokens = 512,
                         .learning_rate = 3e-3,
                         .seed = 5,
                         .device = {.threads = 1}};
    for (int i = 0; i < 40; ++i) {
      request.sequences.insert(request.sequences.end(), p->forget.begin(), p->forget.end());
    }
    request.out_folder = ProcessFolder("tiny-people") / "model";
    const auto trained = Train(request);
    if (!trained.ok()) throw std::runtime_error(std::string(trained.status().message()));
    p->model = request.out_folder;
    const auto prepared = PrepareModel(
        {.model_folder = p->model, .holdout = p->holdout, .el_n = {3, 5}, .measure_costs = false});
    if (!prepared.ok()) throw std::runtime_error(std::string(prepared.status().message()));
    p->thresholds = prepared->thresholds;
    return p;
  }();
  return *people;
}

}  // namespace lethe

#endif  // LETHE_TESTS_ENGINE_UNLEARN_TINY_PEOPLE_H_
