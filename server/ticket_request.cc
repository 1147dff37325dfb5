#include "server/ticket_request.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/convert.h"
#include "server/errors.h"
#include "server/policy/deadline.h"
#include "text/sequence.h"
#include "text/sequence_lines.h"

namespace lethe {
namespace {

using v1::CreateTicketRequest;
using v1::Target;

std::string TargetField(int index) { return absl::StrCat("targets[", index, "]"); }

absl::Status CheckTextBytes(const std::string& text, const std::string& field,
                            const ServerConfig& config) {
  if (static_cast<int64_t>(text.size()) <= config.max_text_bytes) return absl::OkStatus();
  return FieldError(
      "TEXT_TOO_LARGE", field,
      absl::StrCat("at most ", config.max_text_bytes, " bytes; split the text"),
      {{"limit", absl::StrCat(config.max_text_bytes)}, {"bytes", absl::StrCat(text.size())}});
}

// A subject or document of a corpus.
absl::Status CheckKey(const Target& target, const std::string& field) {
  const std::string& key = target.has_subject() ? target.subject() : target.document();
  if (key.empty()) return FieldError("TARGET_EMPTY", field, "the key is empty");
  if (key.size() > kMaxKeyBytes) {
    return FieldError("TEXT_TOO_LARGE", field,
                      absl::StrCat("a key has at most ", kMaxKeyBytes, " bytes"),
                      {{"limit", absl::StrCat(kMaxKeyBytes)}, {"bytes", absl::StrCat(key.size())}});
  }
  if (!target.sensitive_spans().empty()) {
    return FieldError("SPAN_OUT_OF_RANGE", field + ".sensitive_spans",
                      "the corpus has the spans of what it holds: name none here");
  }
  return absl::OkStatus();
}

absl::Status CheckTarget(const Target& target, int index, const ServerConfig& config) {
  const std::string field = TargetField(index);
  switch (target.content_case()) {
    case Target::kText:
      if (target.text().empty()) return FieldError("TARGET_EMPTY", field, "the text is empty");
      return CheckTextBytes(target.text(), field + ".text", config);
    case Target::kIds:
      if (target.ids().ids().empty()) return FieldError("TARGET_EMPTY", field, "there are no ids");
      return absl::OkStatus();
    case Target::kPromptAnswer: {
      const v1::PromptAnswer& pair = target.prompt_answer();
      if (pair.prompt().empty() && pair.answer().empty()) {
        return FieldError("TARGET_EMPTY", field, "prompt and answer are empty");
      }
      if (pair.answer().empty()) {
        return FieldError("PROMPT_WITHOUT_ANSWER", field + ".prompt_answer.answer",
                          "a prompt is only context: name the answer that is to be forgotten");
      }
      if (pair.prompt().empty()) {
        return FieldError("ANSWER_WITHOUT_PROMPT", field + ".prompt_answer.prompt",
                          "name the prompt; without one give the answer as text");
      }
      FieldViolations wrong;
      wrong.Add(CheckTextBytes(pair.prompt(), field + ".prompt_answer.prompt", config));
      wrong.Add(CheckTextBytes(pair.answer(), field + ".prompt_answer.answer", config));
      return wrong.status();
    }
    case Target::kSubject:
    case Target::kDocument:
      return CheckKey(target, field);
    case Target::CONTENT_NOT_SET:
      break;
  }
  return FieldError("TARGET_EMPTY", field,
                    "name a text, ids, a prompt with its answer, or a subject or document of the "
                    "model's corpus");
}

// An error of text/ with the field it is about; its messages hold no content.
absl::Status AboutTarget(const absl::Status& status, int index) {
  if (status.code() != absl::StatusCode::kInvalidArgument) return status;
  ErrorMetadata metadata = ErrorDetails(status);
  metadata["field"] = TargetField(index);
  return Error(status.code(), ErrorReason(status),
               std::string_view(status.message().data(), status.message().size()), metadata);
}

absl::StatusOr<Sequence> ToSequence(const Target& target, const Tokenizer* tokenizer,
                                    const SequenceLimits& limits) {
  std::vector<Span> spans;
  for (const v1::Span& span : target.sensitive_spans()) spans.push_back({span.begin(), span.end()});
  switch (target.content_case()) {
    case Target::kText:
      return SequenceFromText(*tokenizer, target.text(), spans, limits);
    case Target::kPromptAnswer:
      return SequenceFromPrompt(*tokenizer, target.prompt_answer().prompt(),
                                target.prompt_answer().answer(), spans, limits);
    default:
      break;
  }
  Sequence sequence;
  sequence.ids.assign(target.ids().ids().begin(), target.ids().ids().end());
  sequence.sensitive = std::move(spans);
  LETHE_RETURN_IF_ERROR(CheckSequence(sequence, limits));
  return sequence;
}

// One, or all that the corpus has of a person or document.
absl::StatusOr<std::vector<Sequence>> ToSequences(const Target& target,
                                                  const TargetSources& sources,
                                                  const SequenceLimits& limits,
                                                  int64_t max_ticket_tokens, CorpusFinds* finds) {
  if (target.has_subject() || target.has_document()) {
    if (sources.corpus == nullptr) {
      return Error(absl::StatusCode::kFailedPrecondition, "NO_CORPUS",
                   "the model has no corpus: register one with RegisterCorpus, or name the text");
    }
    // They were held to the model's context when they were read.
    return FindKeyed(*sources.corpus, target, max_ticket_tokens, finds);
  }
  LETHE_ASSIGN_OR_RETURN(Sequence sequence, ToSequence(target, sources.tokenizer, limits));
  if (sources.corpus != nullptr) {
    LETHE_RETURN_IF_ERROR(FindText(*sources.corpus, sequence, finds));
  }
  return std::vector<Sequence>{std::move(sequence)};
}

}  // namespace

bool IsPlainName(const std::string& text, std::string_view more) {
  if (text.empty() || text.size() > 64) return false;
  return std::all_of(text.begin(), text.end(), [&](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-' || more.find(c) != std::string_view::npos;
  });
}

absl::Status CheckForm(const CreateTicketRequest& request, const ServerConfig& config) {
  FieldViolations wrong;
  if (!IsPlainName(request.request_id(), ":")) {
    wrong.Add(FieldError("REQUEST_ID_MALFORMED", "request_id",
                         "1 to 64 of [A-Za-z0-9._:-], a UUID for example"));
  }
  if (!IsModelName(request.model_id())) {
    wrong.Add(FieldError("MODEL_ID_MALFORMED", "model_id",
                         "1 to 63 of [a-z0-9-], beginning with a letter"));
  }
  if (!request.external_reference().empty() && !IsPlainName(request.external_reference(), ":/")) {
    wrong.Add(FieldError("EXTERNAL_REFERENCE_MALFORMED", "external_reference",
                         "at most 64 of [A-Za-z0-9._:/-]; it must not identify a person"));
  }
  CheckTargets(request.targets(), config, &wrong);
  return wrong.status();
}

void CheckTargets(const Targets& targets, const ServerConfig& config, FieldViolations* wrong) {
  if (targets.empty()) {
    wrong->Add(FieldError("NO_TARGETS", "targets", "name at least one thing to forget"));
  }
  if (targets.size() > config.max_targets_per_ticket) {
    wrong->Add(
        FieldError("TOO_MANY_TARGETS", "targets",
                   absl::StrCat("at most ", config.max_targets_per_ticket, " targets a ticket"),
                   {{"limit", absl::StrCat(config.max_targets_per_ticket)}}));
    return;
  }
  for (int i = 0; i < targets.size() && !wrong->Enough(); ++i) {
    wrong->Add(CheckTarget(targets[i], i, config));
  }
}

absl::StatusOr<TicketTimes> ResolveTimes(const CreateTicketRequest& request,
                                         const ServerConfig& config, absl::Time now) {
  TicketTimes times{.regulation = request.regulation(), .asked = now};
  FieldViolations wrong;
  if (times.regulation == v1::REGULATION_UNSPECIFIED) {
    times.regulation =
        config.default_regulation == "CCPA" ? v1::REGULATION_CCPA : v1::REGULATION_GDPR;
  }
  if (request.has_request_time()) {
    const std::optional<absl::Time> asked = FromTimestamp(request.request_time());
    // Before any of these laws a date is a mistake, and the arithmetic of deadlines stays in range.
    const absl::Time first = absl::FromCivil(absl::CivilDay(2000, 1, 1), absl::UTCTimeZone());
    if (!asked.has_value() || *asked > now || *asked < first) {
      wrong.Add(FieldError("REQUEST_TIME_INVALID", "request_time",
                           "when the person asked: after 1999 and not in the future"));
    } else {
      times.asked = *asked;
    }
  }
  std::optional<absl::Time> custom;
  if (request.has_due_time()) {
    custom = FromTimestamp(request.due_time());
    if (!custom.has_value()) {
      wrong.Add(FieldError("DUE_TIME_INVALID", "due_time", "no time that the calendar knows"));
      return wrong.status();
    }
  }
  const absl::StatusOr<absl::Time> due = DueTime(times.regulation, times.asked, custom, now);
  wrong.Add(due.status());
  LETHE_RETURN_IF_ERROR(wrong.status());
  times.due = *due;
  return times;
}

bool NeedsTokenizer(const Targets& targets) {
  return std::any_of(targets.begin(), targets.end(), [](const Target& target) {
    return target.has_text() || target.has_prompt_answer();
  });
}

bool NamesCorpus(const Targets& targets) {
  return std::any_of(targets.begin(), targets.end(), [](const Target& target) {
    return target.has_subject() || target.has_document();
  });
}

namespace {

void AddTo(v1::TicketPayload* payload, const Sequence& sequence) {
  v1::TokenSequence* out = payload->add_sequences();
  out->mutable_ids()->Add(sequence.ids.begin(), sequence.ids.end());
  out->set_prompt_tokens(sequence.prompt_tokens);
  for (const Span& span : sequence.sensitive) {
    v1::Span* added = out->add_sensitive();
    added->set_begin(span.begin);
    added->set_end(span.end);
  }
}

}  // namespace

absl::StatusOr<CheckedTicket> Resolve(const Targets& targets, const v1::Model& model,
                                      const TargetSources& sources, const ServerConfig& config) {
  SequenceLimits limits;
  limits.vocab_size = model.facts().vocab_size();
  limits.max_tokens = static_cast<int32_t>(std::min<int64_t>(config.max_target_tokens, 1 << 20));
  if (model.facts().context_length() > 0) {
    limits.max_tokens = std::min(limits.max_tokens, model.facts().context_length());
  }
  CheckedTicket ticket;
  FieldViolations wrong;
  for (int i = 0; i < targets.size() && !wrong.Enough(); ++i) {
    const absl::StatusOr<std::vector<Sequence>> sequences =
        ToSequences(targets[i], sources, limits, config.max_ticket_tokens, &ticket.corpus);
    if (!sequences.ok()) {
      wrong.Add(AboutTarget(sequences.status(), i));
      continue;
    }
    int64_t tokens = 0;
    for (const Sequence& sequence : *sequences) {
      tokens += static_cast<int64_t>(sequence.ids.size());
      AddTo(&ticket.payload, sequence);
    }
    ticket.tokens += tokens;
    ticket.target_tokens.push_back(static_cast<int32_t>(tokens));
    if (ticket.tokens > config.max_ticket_tokens) {
      wrong.Add(FieldError("TICKET_TOO_LARGE", "targets",
                           absl::StrCat("at most ", config.max_ticket_tokens, " tokens a ticket"),
                           {{"limit", absl::StrCat(config.max_ticket_tokens)}}));
      break;
    }
  }
  LETHE_RETURN_IF_ERROR(wrong.status());
  for (const auto& [id, place] : ticket.corpus.sequences) {
    ticket.payload.add_corpus_sequences(id.value);
  }
  return ticket;
}

}  // namespace lethe
