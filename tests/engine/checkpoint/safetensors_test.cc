#include "engine/checkpoint/safetensors.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include "base/file.h"
#include "base/status.h"
#include "tests/support/testdata.h"

namespace lethe {
namespace {
namespace fs = std::filesystem;

std::string Length(uint64_t value) {
  std::string bytes(8, '\0');
  for (int i = 0; i < 8; ++i) bytes[i] = static_cast<char>(value >> (8 * i));
  return bytes;
}

absl::StatusOr<SafetensorsFile> OpenBytes(const std::string& bytes) {
  const fs::path file = FreshFolder() / "x.safetensors";
  EXPECT_TRUE(WriteFileAtomically(file, bytes).ok());
  return SafetensorsFile::Open(file);
}

absl::StatusOr<SafetensorsFile> OpenHeader(const std::string& json, size_t data_bytes) {
  return OpenBytes(Length(json.size()) + json + std::string(data_bytes, 'd'));
}

TEST(Safetensors, TheFormatsOwnExample) {
  auto file = OpenHeader(
      R"({"test":{"dtype":"I32","shape":[2,2],"data_offsets":[0,16]}, "__metadata__":{"k":"v"}}   )",
      16);
  ASSERT_TRUE(file.ok()) << file.status();
  ASSERT_EQ(file->tensors().size(), 1u);
  EXPECT_EQ(file->tensors()[0].shape, (std::vector<int64_t>{2, 2}));
  EXPECT_EQ(file->tensors()[0].elements(), 4);
  EXPECT_EQ(file->Bytes(file->tensors()[0]), std::string(16, 'd'));
  EXPECT_EQ(file->metadata(), (SafetensorsMetadata{{"k", "v"}}));
}

TEST(Safetensors, ListsTensorsAsTheirBytesLie) {
  auto file = OpenHeader(R"({"b":{"dtype":"U8","shape":[3],"data_offsets":[2,5]},)"
                         R"("empty":{"dtype":"F64","shape":[4,0],"data_offsets":[2,2]},)"
                         R"("a":{"dtype":"F16","shape":[],"data_offsets":[0,2]}})",
                         5);
  ASSERT_TRUE(file.ok()) << file.status();
  std::vector<std::string> names;
  for (const TensorInfo& tensor : file->tensors()) names.push_back(tensor.name);
  EXPECT_EQ(names, (std::vector<std::string>{"a", "empty", "b"}));
  EXPECT_EQ(file->Find("empty")->elements(), 0);
  EXPECT_EQ(file->Bytes(*file->Find("empty")), "");
}

TEST(Safetensors, NoTensorAtAll) {
  EXPECT_TRUE(OpenHeader("{}", 0).ok());
  EXPECT_TRUE(OpenHeader(R"({"__metadata__":{}})", 0)->tensors().empty());
}

TEST(Safetensors, BytesOutliveTheFirstHandle) {
  std::string_view bytes;
  std::optional<SafetensorsFile> copy;
  {
    auto file = OpenHeader(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})", 3);
    copy = *file;
    bytes = copy->Bytes(*copy->Find("a"));
  }
  fs::remove(copy->path());
  EXPECT_EQ(bytes, "ddd");
}

struct BadHeader {
  const char* json;
  size_t data_bytes;
  const char* reason = "BAD_CHECKPOINT";
};

class BadHeaders : public testing::TestWithParam<BadHeader> {};

TEST_P(BadHeaders, IsRefusedByName) {
  const absl::Status status = OpenHeader(GetParam().json, GetParam().data_bytes).status();
  EXPECT_EQ(ErrorReason(status), GetParam().reason) << GetParam().json << " " << status;
  EXPECT_NE(status.message().find("x.safetensors"), absl::string_view::npos) << status;
}

#define TENSOR(name, dtype, shape, begin, end)                                                   \
  "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" begin "," end \
  "]}"

INSTANTIATE_TEST_SUITE_P(
    All, BadHeaders,
    testing::Values(
        // offsets
        BadHeader{"{" TENSOR("a", "U8", "4", "0", "4") "}", 3},  // behind
        BadHeader{"{" TENSOR("a", "U8", "4", "0", "4") "}", 5},  // rest
        BadHeader{"{" TENSOR("a", "U8", "4", "1", "5") "}", 5},  // hole first
        BadHeader{"{" TENSOR("a", "U8", "2", "0", "2") "," TENSOR("b", "U8", "2", "3", "5") "}", 5},
        BadHeader{"{" TENSOR("a", "U8", "2", "0", "2") "," TENSOR("b", "U8", "2", "1", "3") "}", 3},
        BadHeader{"{" TENSOR("a", "U8", "2", "0", "2") "," TENSOR("b", "U8", "2", "0", "2") "}", 2},
        BadHeader{"{" TENSOR("a", "U8", "4", "4", "0") "}", 4},
        BadHeader{"{" TENSOR("a", "U8", "4", "0", "18446744073709551615") "}", 4},
        BadHeader{"{" TENSOR("a", "U8", "4", "18446744073709551612", "0") "}", 4},
        BadHeader{"{" TENSOR("a", "U8", "4", "0", "18446744073709551616") "}", 4},
        BadHeader{"{" TENSOR("a", "U8", "4", "-4", "0") "}", 4},
        BadHeader{"{" TENSOR("a", "U8", "4", "0", "4.0") "}", 4},
        BadHeader{"{" TENSOR("a", "U8", "4", "0", "4e0") "}", 4},
        BadHeader{"{" TENSOR("a", "U8", "4", "0", "4,4") "}", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[4]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,"4"]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[[0],4]}})", 4},
        // shape
        BadHeader{"{" TENSOR("a", "F32", "2", "0", "4") "}", 4},
        BadHeader{"{" TENSOR("a", "F32", "4294967296,4294967296,4294967296", "0", "0") "}", 0},
        BadHeader{"{" TENSOR("a", "F64", "2305843009213693952", "0", "0") "}", 0},  // 2^61 * 8 = 0
        BadHeader{"{" TENSOR("a", "U8", "9223372036854775808", "0", "0") "}", 0},
        BadHeader{"{" TENSOR("a", "U8", "-1", "0", "0") "}", 0},
        BadHeader{"{" TENSOR("a", "U8", "1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1", "0", "1") "}", 1},
        BadHeader{R"({"a":{"dtype":"U8","shape":4,"data_offsets":[0,4]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":null,"data_offsets":[0,4]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[true],"data_offsets":[0,1]}})", 1},
        // dtype
        BadHeader{"{" TENSOR("a", "F31", "1", "0", "4") "}", 4, "MODEL_UNSUPPORTED"},
        BadHeader{"{" TENSOR("a", "f32", "1", "0", "4") "}", 4, "MODEL_UNSUPPORTED"},
        BadHeader{"{" TENSOR("a", "", "1", "0", "4") "}", 4, "MODEL_UNSUPPORTED"},
        BadHeader{"{" TENSOR("a", "F8_E8M0", "4", "0", "4") "}", 4, "MODEL_UNSUPPORTED"},
        BadHeader{R"({"a":{"dtype":7,"shape":[4],"data_offsets":[0,4]}})", 4},
        // fields that are missing, double or unknown
        BadHeader{R"({"a":{"shape":[4],"data_offsets":[0,4]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","data_offsets":[0,1]}})", 1},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4]}})", 4}, BadHeader{R"({"a":{}})", 0},
        BadHeader{R"({"a":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"shape":[4],"data_offsets":[0,4]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"data_offsets":[0,4]}})",
                  4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"strides":[1]}})", 4},
        BadHeader{R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"x":{}}})", 4},
        // names
        BadHeader{"{" TENSOR("a", "U8", "2", "0", "2") "," TENSOR("a", "U8", "2", "2", "4") "}", 4},
        BadHeader{"{" TENSOR("", "U8", "2", "0", "2") "}", 2},
        // metadata
        BadHeader{R"({"__metadata__":{"a":1}})", 0}, BadHeader{R"({"__metadata__":{"a":{}}})", 0},
        BadHeader{R"({"__metadata__":"x"})", 0},
        BadHeader{R"({"__metadata__":{"a":"1","a":"2"}})", 0},
        BadHeader{R"({"__metadata__":{},"__metadata__":{}})", 0},
        // not such JSON
        BadHeader{"", 0}, BadHeader{"[]", 0}, BadHeader{"null", 0}, BadHeader{" {}", 0},
        BadHeader{"{", 0}, BadHeader{"{}{}", 0}, BadHeader{"{}x", 0}, BadHeader{"{\"a\":1}", 0},
        BadHeader{"{\"a\":[]}", 0}, BadHeader{"{\"a\":\"b\"}", 0}, BadHeader{"{\"\xFF\":{}}", 0}));

TEST(Safetensors, LengthsThatLie) {
  const std::string json = "{}";
  for (const uint64_t length : {uint64_t{3}, uint64_t{100}, uint64_t{1} << 32, uint64_t{1} << 63,
                                ~uint64_t{0}, ~uint64_t{0} - 7, uint64_t{0}, uint64_t{1}}) {
    EXPECT_EQ(ErrorReason(OpenBytes(Length(length) + json).status()), "BAD_CHECKPOINT") << length;
  }
  for (const std::string& bytes : {std::string(), std::string("x"), Length(0), Length(2) + "{"}) {
    EXPECT_EQ(ErrorReason(OpenBytes(bytes).status()), "BAD_CHECKPOINT");
  }
}

TEST(Safetensors, DeepHeadersCostNothing) {
  for (const char* unit : {"[", "{\"a\":", "{\"a\":{\"shape\":["}) {
    std::string json = "{\"x\":";
    while (json.size() < (4u << 20)) json += unit;
    EXPECT_EQ(ErrorReason(OpenHeader(json, 0).status()), "BAD_CHECKPOINT");
  }
}

TEST(Safetensors, OnlyRegularFilesAreOpened) {
  const fs::path folder = FreshFolder();
  EXPECT_EQ(SafetensorsFile::Open(folder / "none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ErrorReason(SafetensorsFile::Open(folder).status()), "BAD_CHECKPOINT");
  ASSERT_EQ(mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_EQ(ErrorReason(SafetensorsFile::Open(folder / "pipe").status()), "BAD_CHECKPOINT");
}

TEST(SafetensorsWriter, ShowsTheFileOnlyWhenItIsWhole) {
  const fs::path folder = FreshFolder();
  const std::vector<TensorInfo> tensors = {{"a", DType::kF32, {2}}, {"b", DType::kU8, {3}}};
  {
    auto writer = SafetensorsWriter::Create(folder / "f", tensors, {});
    ASSERT_TRUE(writer.ok());
    ASSERT_TRUE(writer->Write("0123").ok());
    EXPECT_FALSE(fs::exists(folder / "f"));
    EXPECT_EQ(writer->Finish().code(), absl::StatusCode::kFailedPrecondition);
    ASSERT_TRUE(writer->Write("4567bb").ok());
    EXPECT_EQ(writer->Write("bb").code(), absl::StatusCode::kFailedPrecondition);  // one too many
  }
  EXPECT_TRUE(fs::is_empty(folder));  // the destructor took the rest away
  auto writer = SafetensorsWriter::Create(folder / "f", tensors, {{"format", "pt"}});
  ASSERT_TRUE(writer->Write("01234567").ok());
  ASSERT_TRUE(writer->Write("bbb").ok());
  ASSERT_TRUE(writer->Finish().ok());
  const SafetensorsFile file = *SafetensorsFile::Open(folder / "f");
  EXPECT_EQ(file.Bytes(*file.Find("a")), "01234567");
  EXPECT_EQ(file.Bytes(*file.Find("b")), "bbb");
  EXPECT_EQ(file.header().size() % 8, 0u);
}

TEST(SafetensorsWriter, RefusesWhatNoReaderWouldTake) {
  const fs::path file = FreshFolder() / "f";
  const auto reason = [&](std::vector<TensorInfo> tensors) {
    return ErrorReason(SafetensorsWriter::Create(file, tensors, {}).status());
  };
  EXPECT_EQ(reason({{"a", DType::kU8, {1}}, {"a", DType::kU8, {1}}}), "BAD_CHECKPOINT");
  EXPECT_EQ(reason({{"", DType::kU8, {1}}}), "BAD_CHECKPOINT");
  EXPECT_EQ(reason({{"__metadata__", DType::kU8, {1}}}), "BAD_CHECKPOINT");
  EXPECT_EQ(reason({{"a", DType::kU8, {-1}}}), "BAD_CHECKPOINT");
  EXPECT_EQ(reason({{"a", DType::kF64, {int64_t{1} << 61}}}), "BAD_CHECKPOINT");
}

TEST(SafetensorsWriter, NamesNeedEscaping) {
  const fs::path path = FreshFolder() / "f";
  const std::string name = "quote \" slash \\ line \n é";
  auto writer = SafetensorsWriter::Create(path, std::vector<TensorInfo>{{name, DType::kU8, {1}}},
                                          {{"a\"b", "c\\d"}});
  ASSERT_TRUE(writer.ok() && writer->Write("x").ok() && writer->Finish().ok());
  const SafetensorsFile file = *SafetensorsFile::Open(path);
  EXPECT_NE(file.Find(name), nullptr);
  EXPECT_EQ(file.metadata().at("a\"b"), "c\\d");
}

// A write that fails half-way, by the system's own limit on a file's size.
TEST(SafetensorsWriter, AFailedWriteIsAStatusAndLeavesNothing) {
  const fs::path folder = FreshFolder();
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit = {4096, 4096};
    setrlimit(RLIMIT_FSIZE, &limit);
    absl::Status status;
    {
      auto writer = SafetensorsWriter::Create(
          folder / "f", std::vector<TensorInfo>{{"a", DType::kU8, {100'000}}}, {});
      status = writer.ok() ? writer->Write(std::string(100'000, 'x')) : writer.status();
    }
    _exit(ErrorReason(status) == "FILE_ERROR" && fs::is_empty(folder) ? 0 : 1);
  }
  int code = 0;
  ASSERT_EQ(waitpid(child, &code, 0), child);
  EXPECT_TRUE(WIFEXITED(code));
  EXPECT_EQ(WEXITSTATUS(code), 0);
}

TEST(DTypes, NamesGoThereAndBack) {
  for (const char* name : {"BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "I16", "U16", "F16", "BF16",
                           "I32", "U32", "F32", "I64", "U64", "F64"}) {
    ASSERT_TRUE(ParseDType(name).has_value()) << name;
    EXPECT_EQ(DTypeName(*ParseDType(name)), name);
  }
  EXPECT_EQ(TensorBytes(DType::kF64, std::vector<int64_t>{3, 5}), 120u);
  EXPECT_EQ(TensorBytes(DType::kF64, std::vector<int64_t>{0, int64_t{1} << 62}), 0u);
}

}  // namespace
}  // namespace lethe
