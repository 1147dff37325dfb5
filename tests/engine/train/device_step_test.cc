// The step that a device repeats by itself: equal to the step that the host tells; nothing in it
// waits for the device or comes from the host; what buckets add counts for nothing.
#include "engine/train/device_step.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/dot.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/scalar_tensor.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/library.h>

#include <cmath>
#include <limits>

#include "engine/loss/sequence_loss.h"
#include "engine/train/loop.h"
#include "engine/train/rounded_adam.h"
#include "tests/engine/random_families.h"
#include "tests/engine/random_models.h"
#include "tests/engine/tensor_ops.h"

namespace lethe {
namespace {

// What LibTorch knows of some operations in Python only: the shapes that they give.
TORCH_LIBRARY_IMPL(aten, Meta, shapes) {
  shapes.impl("embedding",
              [](const at::Tensor& table, const at::Tensor& ids, c10::SymInt, bool, bool) {
                return table.new_empty({ids.numel(), table.size(1)});
              });
  shapes.impl("embedding_dense_backward",
              [](const at::Tensor& grad, const at::Tensor&, c10::SymInt rows, c10::SymInt, bool) {
                return grad.new_empty({rows.expect_int(), grad.size(1)});
              });
  shapes.impl("index_select", [](const at::Tensor& x, int64_t dim, const at::Tensor& index) {
    return x.narrow(dim, 0, 1).expand({index.numel(), x.size(1)}).contiguous();
  });
  shapes.impl("native_layer_norm",
              [](const at::Tensor& x, at::SymIntArrayRef, const std::optional<at::Tensor>&,
                 const std::optional<at::Tensor>&, double) {
                const at::Tensor of_row = x.new_empty({x.size(0), 1});
                return std::tuple(at::empty_like(x), of_row, of_row);
              });
  shapes.impl(
      "native_layer_norm_backward",
      [](const at::Tensor& grad, const at::Tensor&, at::SymIntArrayRef, const at::Tensor&,
         const at::Tensor&, const std::optional<at::Tensor>&, const std::optional<at::Tensor>&,
         std::array<bool, 3>) { return std::tuple(at::empty_like(grad), grad[0], grad[0]); });
  shapes.impl("relu", [](const at::Tensor& x) { return at::empty_like(x); });
  shapes.impl("abs.out", [](const at::Tensor& x, at::Tensor& out) -> at::Tensor& {
    out.resize_(x.sizes());
    return out;
  });
  shapes.impl("random_.from",
              [](at::Tensor& x, int64_t, std::optional<int64_t>,
                 std::optional<at::Generator>) -> at::Tensor& { return x; });
  shapes.impl("where.self", [](const at::Tensor& where, const at::Tensor& a, const at::Tensor& b) {
    return (a + b) * where;
  });
  shapes.impl("where.self_out",
              [](const at::Tensor&, const at::Tensor&, const at::Tensor&,
                 at::Tensor& out) -> at::Tensor& { return out; });
  shapes.impl("_fused_adam_.tensor_lr",
              [](at::TensorList, at::TensorList, at::TensorList, at::TensorList, at::TensorList,
                 at::TensorList, const at::Tensor&, double, double, double, double, bool, bool,
                 const std::optional<at::Tensor>&, const std::optional<at::Tensor>&) {});
}

std::vector<Sequence> Texts(int64_t vocab) {
  std::mt19937_64 random(7);
  std::vector<Sequence> texts;
  for (const int64_t tokens : {20, 33, 40, 17, 40})
    texts.push_back({.ids = RandomIds(random, tokens, vocab)});
  return texts;
}

// Descent on all texts, in as many parts as batches of so many tokens make.
std::vector<StepPart> PartsOf(const Decoder& model, bool in_buckets, int64_t max_tokens = 100) {
  const std::vector<Sequence> texts = Texts(model.config().vocab_size);
  const auto batches = MakeBatches(
      model, texts, {.max_tokens = max_tokens, .in_buckets = in_buckets, .on_host = true});
  const auto labelled = static_cast<double>(LabelledTokens(texts));
  std::vector<StepPart> parts;
  for (const LossBatch& batch : batches.value()) {
    StepPart part{.kind = "train", .inputs = batch.Tensors()};
    part.loss = [&model, batch, labelled](std::span<const at::Tensor> inputs) {
      const at::Tensor nll = ComputeTokenLosses(model, batch.With(inputs)).nll;
      const at::Tensor loss = nll.sum() / labelled;
      return PartLoss{.slope_of = loss, .value = loss};
    };
    parts.push_back(std::move(part));
  }
  return parts;
}

// A device of LibTorch that has shapes and no numbers: whoever waits for a number there fails, and
// so does who mixes in a tensor of the host's.
TEST(DeviceStep, AsksNothingOfTheHost) {
  for (const FamilyCase& c : FamilyCases(50)) {
    SCOPED_TRACE(c.name);
    for (const Precision precision : {Precision::kFp32, Precision::kBf16, Precision::kBf16Pure}) {
      Decoder model = Decoder::Init(c.config, 1, Device{.name = "meta"}).value();
      const bool recompute = precision != Precision::kBf16;
      const Decoder training = ForTraining(model, precision, recompute);
      for (const StepPart& part : PartsOf(training, true)) {
        std::vector<at::Tensor> inputs;
        for (const at::Tensor& input : part.inputs) inputs.push_back(input.to(at::kMeta));
        part.loss(inputs).slope_of.backward();
      }
      if (precision == Precision::kBf16Pure) continue;  // no random numbers there; see below
      Adam adam(training.Leaves(), {});
      const at::Tensor rate = at::scalar_tensor(1e-3, at::kFloat).to(at::kMeta);
      adam.StepOnDevice(adam.NormOnDevice(), 1, rate);
    }
  }
}

TEST(DeviceStep, RoundsWithoutTheHost) {
  const at::Tensor x = at::empty({64, 32}, at::TensorOptions(at::kBFloat16).device(at::kMeta));
  const at::Tensor number = at::empty({}, at::TensorOptions(at::kFloat).device(at::kMeta));
  StepRoundedLeafOnDevice({x, x, x, x}, {}, {number, number, number, number}, at::Generator());
}

double Cosine(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor x = a.reshape({-1}).to(at::kDouble), y = b.reshape({-1}).to(at::kDouble);
  return (at::dot(x, y) / (x.norm() * y.norm())).item<double>();
}

// What a GPU computes with beside our own loops, in the types that it trains in.
TEST(DeviceStep, TensorOpsGiveTheLoopsSlopes) {
  for (const FamilyCase& c : FamilyCases(50, {{"initializer_range", 0.1}, {"init_std", 0.1}})) {
    SCOPED_TRACE(c.name);
    for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
      const Decoder model = RandomDecoder(c.config, 5), training = model.In(precision);
      const auto slopes = [&] {
        model.ZeroGradients();
        const std::vector<StepPart> parts = PartsOf(training, true);
        const PartLoss loss = parts[0].loss(parts[0].inputs);
        loss.slope_of.backward();
        return loss.value.item<double>();
      };
      const double loss = slopes();
      std::vector<at::Tensor> wanted;
      for (const at::Tensor& leaf : model.Leaves()) wanted.push_back(leaf.grad());
      const TensorOps as_on_a_gpu;
      const bool exact = precision == Precision::kFp32;
      EXPECT_NEAR(slopes(), loss, (exact ? 1e-5 : 1e-2) * loss);
      for (size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i].abs().max().item<double>() < 1e-6) continue;  // nothing but rounding
        EXPECT_GE(Cosine(model.Leaves()[i].grad(), wanted[i]), exact ? 1 - 1e-6 : 0.98) << i;
      }
    }
  }
}

// Does the work each time on the CPU, and gives the numbers when they are asked for.
class EachTime : public StepGraphs {
 public:
  std::shared_ptr<LateNumbers> Run(const std::string& name, std::span<const at::Tensor> inputs,
                                   const Work& work) override {
    names.push_back(name);
    if (fail_at == static_cast<int>(names.size())) throw std::bad_alloc();
    return std::make_shared<There>(work(inputs));
  }
  void Use(const at::Generator&) override {}
  void Forget() override { ++forgotten; }
  const std::string& Refusal() const override { return refusal; }

  std::vector<std::string> names;
  int fail_at = 0, forgotten = 0;
  std::string refusal;

 private:
  struct There : LateNumbers {
    explicit There(const at::Tensor& made) : numbers(made) {}
    std::vector<double> Read() override {
      const auto* begin = numbers.const_data_ptr<double>();
      return {begin, begin + numbers.numel()};
    }
    const at::Tensor numbers;
  };
};

struct Trained {
  std::vector<double> losses, norms;
  std::vector<at::Tensor> weights;
};

Trained Train(Precision precision, StepGraphs* graphs, bool in_buckets, bool notes_only = false,
              MicroBatch* micro_batch = nullptr) {
  Decoder model = RandomModel({.vocab = 50, .tied = true, .biases = true}, 1);
  const Decoder training = ForTraining(model, precision, false);
  Trained trained;
  const LoopHooks hooks{.parts = [&](int64_t) -> absl::StatusOr<std::vector<StepPart>> {
                          const int64_t cut = micro_batch ? micro_batch->tokens() : 100;
                          return PartsOf(training, in_buckets, cut);
                        },
                        .judge = [&](const StepReport& step) -> absl::StatusOr<Judgement> {
                          trained.losses.push_back(step.loss);
                          trained.norms.push_back(step.grad_norm);
                          return Judgement{};
                        },
                        .notes_only = notes_only};
  const auto result =
      RunLoop(training, hooks,
              {.max_steps = 12,
               .learning_rate = [](int64_t step) { return 0.0004 * static_cast<double>(step); },
               .max_grad_norm = 0.5,
               .micro_batch = micro_batch,
               .graphs = graphs});
  EXPECT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result.ok() ? result->steps : 0, 12);
  trained.weights = model.Snapshot();
  return trained;
}

void ExpectNear(const Trained& one, const Trained& other, double tolerance) {
  ASSERT_EQ(one.losses.size(), 12u);
  ASSERT_EQ(other.losses.size(), 12u);
  for (size_t i = 0; i < 12; ++i) {
    EXPECT_NEAR(one.losses[i], other.losses[i], tolerance * one.losses[i]) << i;
    EXPECT_NEAR(one.norms[i], other.norms[i], 10 * tolerance * one.norms[i]) << i;
  }
}

// Clipping divides here and multiplies there; twelve steps carry the rounding on.
TEST(DeviceStep, IsTheStepOfTheLoop) {
  const Trained told = Train(Precision::kFp32, nullptr, false);
  EXPECT_LT(told.losses.back(), 0.9 * told.losses.front());
  EXPECT_GT(told.norms.front(), 0.5);  // or nothing was clipped
  EachTime each;
  ExpectNear(told, Train(Precision::kFp32, &each, false), 1e-5);
  ExpectNear(told, Train(Precision::kFp32, &each, false, /*notes_only=*/true), 1e-5);
  EachTime bf16;
  ExpectNear(Train(Precision::kBf16, nullptr, false), Train(Precision::kBf16, &bf16, false), 1e-2);
}

// Adam in bf16 draws other numbers here than there, so only the course is the same.
TEST(DeviceStep, TrainsRoundedLeaves) {
  const Trained told = Train(Precision::kBf16Pure, nullptr, false);
  EachTime each;
  const Trained done = Train(Precision::kBf16Pure, &each, false);
  EXPECT_NEAR(done.losses.front(), told.losses.front(), 1e-6);
  EXPECT_NEAR(done.losses.back(), told.losses.back(), 0.1 * told.losses.back());
  EXPECT_LT(done.losses.back(), 0.9 * done.losses.front());
  const Trained again = Train(Precision::kBf16Pure, &each, false);
  for (size_t i = 0; i < done.weights.size(); ++i) {
    EXPECT_TRUE(at::equal(done.weights[i], again.weights[i])) << i;
  }
}

TEST(DeviceStep, BucketsChangeNothingButTheShape) {
  EXPECT_EQ(Bucket(13), 13);
  EXPECT_EQ(Bucket(17), 18);
  EXPECT_EQ(Bucket(200), 208);
  EXPECT_EQ(Bucket(208), 208);
  for (int64_t size = 1; size < 3000; ++size) {
    EXPECT_GE(Bucket(size), size);
    EXPECT_LE(Bucket(size) - size, size / 8);
    EXPECT_EQ(Bucket(Bucket(size)), Bucket(size));
  }
  EachTime each;
  ExpectNear(Train(Precision::kFp32, nullptr, false), Train(Precision::kFp32, &each, true), 1e-5);
  EXPECT_THAT(each.names, testing::Each(each.names.front()));  // one shape: recorded once
}

TEST(DeviceStep, BucketsKeepToTheContext) {
  const Decoder model = RandomModel({.vocab = 50, .context = 33}, 1);
  std::mt19937_64 random(3);
  const std::vector<Sequence> text = {{.ids = RandomIds(random, 33, 50)}};
  const auto batches = MakeBatches(model, text, {.in_buckets = true}).value();
  EXPECT_EQ(batches[0].ids.size(1), 33);
  const auto plain = MakeBatches(model, text).value();
  EXPECT_NEAR(ComputeTokenLosses(model, batches[0]).nll.sum().item<double>(),
              ComputeTokenLosses(model, plain[0]).nll.sum().item<double>(), 1e-4);
}

// Means a row do not see what was added either, nor do rows of pads give a number that is none.
TEST(DeviceStep, RowsOfPadsHaveAMean) {
  const Decoder model = RandomModel({.vocab = 50}, 1);
  std::vector<Sequence> texts;
  std::mt19937_64 random(5);
  for (int i = 0; i < 17; ++i) texts.push_back({.ids = RandomIds(random, 9 + i % 3, 50)});
  const LossBatch plain = MakeBatches(model, texts).value()[0];
  const LossBatch wide = MakeBatches(model, texts, {.in_buckets = true}).value()[0];
  ASSERT_EQ(wide.ids.size(0), 18);
  const at::Tensor exact = MeanByRow(plain, ComputeTokenLosses(model, plain).nll);
  const at::Tensor means = MeanByRow(wide, ComputeTokenLosses(model, wide).nll);
  EXPECT_LE((means.narrow(0, 0, 17) - exact).abs().max().item<double>(), 1e-5);
  EXPECT_EQ(means[17].item<double>(), 0);
}

TEST(DeviceStep, AStepThatDoesNotFitIsCutSmaller) {
  MicroBatch micro_batch(200, 40);
  EachTime each;
  each.fail_at = 3;
  const Trained cut = Train(Precision::kFp32, &each, false, false, &micro_batch);
  EXPECT_EQ(micro_batch.tokens(), 100);
  EXPECT_EQ(each.forgotten, 1);
  EXPECT_NE(each.names.front(), each.names.back());
  ExpectNear(Train(Precision::kFp32, nullptr, false), cut, 1e-5);
}

TEST(DeviceStep, ARecordingThatFailsIsSaid) {
  const Decoder model = RandomModel({.vocab = 50}, 1);
  EachTime each;
  each.refusal = "operation not permitted when stream is capturing";
  double figure = 0;
  const auto result =
      RunLoop(model, {.parts = [&](int64_t) -> absl::StatusOr<std::vector<StepPart>> {
                return PartsOf(model, true);
              }},
              {.max_steps = 2, .learning_rate = [](int64_t) { return 1e-3; }, .graphs = &each},
              [&](const EngineProgress& progress) {
                figure = progress.figures.at("steps_not_recorded");
                return true;
              });
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->not_recorded, each.refusal);
  EXPECT_EQ(figure, 1);
}

TEST(DeviceStep, ANormThatIsNotFiniteChangesNothing) {
  for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
    const at::Tensor leaf = at::ones({8, 4}, type).requires_grad_(true);
    Adam adam({leaf}, {});
    const auto step = [&](double gradient) {
      leaf.mutable_grad() = at::full({8, 4}, gradient, at::TensorOptions(type));
      adam.StepOnDevice(adam.NormOnDevice(), 1, at::scalar_tensor(0.5, at::kFloat));
    };
    step(std::numeric_limits<double>::quiet_NaN());
    EXPECT_TRUE(at::equal(leaf.detach(), at::ones({8, 4}, type)));
    for (const at::Tensor& moment : adam.Save().moments) {
      EXPECT_EQ(moment.abs().sum().item<double>(), 0);
    }
    step(0.25);  // the first step that counts: by the whole rate
    EXPECT_NEAR(leaf.detach().to(at::kFloat).mean().item<double>(), 0.5, 1e-2);
  }
}

}  // namespace
}  // namespace lethe
