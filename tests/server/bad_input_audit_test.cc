// AuditCheckpoint refuses every kind of bad input with a code and a reason, in the order in which a
// caller can mend it, and the store is the same afterwards.
#include <gtest/gtest.h>

#include <functional>

#include "tests/server/bad_input.h"

namespace lethe {
namespace {

using grpc::StatusCode;

// AuditCheckpoint with one thing changed.
Case Audit(const std::string& name, StatusCode code, const std::string& reason,
           const std::string& field, std::function<void(v1::AuditCheckpointRequest&)> change) {
  return {name,
          [change](Harness& h, grpc::ClientContext* context) {
            v1::AuditCheckpointRequest request;
            request.set_model_id("m");
            v1::TokenIds* ids = request.add_targets()->mutable_ids();
            for (int id : {1, 2, 3}) ids->add_ids(id);
            change(request);
            const auto stream = h.verifier->AuditCheckpoint(context, request);
            v1::AuditCheckpointResponse response;
            EXPECT_FALSE(stream->Read(&response)) << response.DebugString();
            return stream->Finish();
          },
          code, reason, field};
}

TEST_F(BadInput, AuditCheckpoint) {
  const auto target = [](auto change) {
    return [change](v1::AuditCheckpointRequest& r) {
      r.clear_targets();
      change(*r.add_targets());
    };
  };
  const std::string nowhere = "c-" + std::string(32, '0');
  Check({
      Audit("no model", kInvalid, "MODEL_ID_MALFORMED", "model_id",
            [](auto& r) { r.clear_model_id(); }),
      Audit("odd model", kInvalid, "MODEL_ID_MALFORMED", "model_id",
            [](auto& r) { r.set_model_id("../m"); }),
      Audit("unknown model", StatusCode::NOT_FOUND, "MODEL_NOT_FOUND", "",
            [](auto& r) { r.set_model_id("other"); }),
      Audit("model not ready", StatusCode::FAILED_PRECONDITION, "MODEL_NOT_READY", "",
            [](auto& r) { r.set_model_id("preparing"); }),
      Audit("unknown checkpoint", StatusCode::NOT_FOUND, "CHECKPOINT_NOT_FOUND", "",
            [&](auto& r) { r.set_checkpoint_id(nowhere); }),
      Audit("odd checkpoint", StatusCode::NOT_FOUND, "CHECKPOINT_NOT_FOUND", "",
            [](auto& r) { r.set_checkpoint_id("Jane Doe"); }),
      Audit("unknown base", StatusCode::NOT_FOUND, "CHECKPOINT_NOT_FOUND", "",
            [&](auto& r) { r.set_base_checkpoint_id(nowhere); }),
      Audit("no targets", kInvalid, "NO_TARGETS", "targets", [](auto& r) { r.clear_targets(); }),
      Audit("too many targets", kInvalid, "TOO_MANY_TARGETS", "targets",
            [](auto& r) {
              for (int i = 0; i < 4; ++i) r.add_targets()->set_text("again and again");
            }),
      Audit("empty target", kInvalid, "TARGET_EMPTY", "targets[0]", target([](v1::Target&) {})),
      Audit("text too large", kInvalid, "TEXT_TOO_LARGE", "targets[0].text",
            target([](v1::Target& t) { t.set_text(std::string(2'001, 'a')); })),
      Audit("prompt without answer", kInvalid, "PROMPT_WITHOUT_ANSWER",
            "targets[0].prompt_answer.answer",
            target([](v1::Target& t) { t.mutable_prompt_answer()->set_prompt("who?"); })),
      Audit("one token of text", kInvalid, "TARGET_TOO_SHORT", "targets[0]",
            target([](v1::Target& t) { t.set_text("x"); })),
      Audit("text of too many tokens", kInvalid, "TARGET_TOO_LONG", "targets[0]",
            target([](v1::Target& t) { t.set_text(std::string(1'500, 'q')); })),
      Audit("id past the vocabulary", kInvalid, "TOKEN_OUT_OF_VOCABULARY", "targets[0]",
            target([](v1::Target& t) {
              t.mutable_ids()->add_ids(1);
              t.mutable_ids()->add_ids(kVocabulary);
            })),
      Audit("span past the end", kInvalid, "SPAN_OUT_OF_RANGE", "targets[0]",
            [](auto& r) { r.mutable_targets(0)->add_sensitive_spans()->set_end(9); }),
      Audit("unknown plan", kInvalid, "POLICY_INVALID", "attack_plan",
            [](auto& r) { r.set_attack_plan("none"); }),
      Audit("unknown attack", kInvalid, "POLICY_INVALID", "attacks[0].attack",
            [](auto& r) { r.add_attacks()->set_attack("none"); }),
      Audit("unknown parameter", kInvalid, "POLICY_INVALID", "attacks[0].parameters",
            [](auto& r) {
              r.add_attacks()->set_attack("greedy_extraction");
              (*r.mutable_attacks(0)->mutable_parameters())["none"] = 1;
            }),
      Audit("unknown condition", kInvalid, "POLICY_INVALID", "attacks[1].condition",
            [](auto& r) {
              r.add_attacks()->set_attack("greedy_extraction");
              r.add_attacks()->set_attack("greedy_extraction");
              r.mutable_attacks(1)->set_condition("int3");
            }),
      Audit("negative budget", kInvalid, "MAX_FORWARD_TOKENS_INVALID", "max_forward_tokens",
            [](auto& r) { r.set_max_forward_tokens(-1); }),
  });
  EXPECT_EQ(h.Metric("lethe_audits_waiting"), "0");
}

// All that is wrong in one answer.
TEST_F(BadInput, AuditCheckpointTellsEveryField) {
  v1::AuditCheckpointRequest request;
  request.set_attack_plan("none");
  request.set_max_forward_tokens(-1);
  grpc::ClientContext context;
  Harness::Prepare(context);
  const CallError error = ErrorOf(h.verifier->AuditCheckpoint(&context, request)->Finish());
  EXPECT_EQ(error.fields,
            (std::vector<std::string>{"model_id", "targets", "attack_plan", "max_forward_tokens"}));
}

}  // namespace
}  // namespace lethe
