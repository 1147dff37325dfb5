// Below an output stream: a file descriptor whose failure can be told. std::cout says only that it
// has failed, and a report that a full disk cut short needs the reason.
//
//   DescriptorBuffer buffer(STDOUT_FILENO, /*by_line=*/isatty(STDOUT_FILENO) != 0);
//   std::ostream out(&buffer);
//
// Errors     the first one lasts: each later sync fails with it in errno and writes nothing.
// Lifetime   the descriptor is not closed; what waits is sent when the buffer goes.
// Threads    one.
#ifndef LETHE_CLI_DESCRIPTOR_BUFFER_H_
#define LETHE_CLI_DESCRIPTOR_BUFFER_H_

#include <unistd.h>

#include <cerrno>
#include <streambuf>
#include <string>
#include <string_view>

namespace lethe {

class DescriptorBuffer : public std::streambuf {
 public:
  DescriptorBuffer(int descriptor, bool by_line) : descriptor_(descriptor), by_line_(by_line) {}
  ~DescriptorBuffer() override { DescriptorBuffer::sync(); }
  DescriptorBuffer(const DescriptorBuffer&) = delete;
  DescriptorBuffer& operator=(const DescriptorBuffer&) = delete;

 protected:
  int_type overflow(int_type c) override {
    if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
    const char one = traits_type::to_char_type(c);
    return DescriptorBuffer::xsputn(&one, 1) == 1 ? c : traits_type::eof();
  }

  std::streamsize xsputn(const char* text, std::streamsize size) override {
    const std::string_view more(text, static_cast<size_t>(size));
    waiting_ += more;
    const bool now =
        waiting_.size() >= kMost || (by_line_ && more.find('\n') != std::string_view::npos);
    return now && sync() != 0 ? 0 : size;
  }

  int sync() override {
    std::string_view rest = waiting_;
    while (error_ == 0 && !rest.empty()) {
      const ssize_t written = write(descriptor_, rest.data(), rest.size());
      if (written >= 0) {
        rest.remove_prefix(static_cast<size_t>(written));
      } else if (errno != EINTR) {
        error_ = errno;
      }
    }
    waiting_.clear();
    errno = error_;
    return error_ == 0 ? 0 : -1;
  }

 private:
  static constexpr size_t kMost = 1 << 16;
  const int descriptor_;
  const bool by_line_;
  std::string waiting_;
  int error_ = 0;
};

}  // namespace lethe

#endif  // LETHE_CLI_DESCRIPTOR_BUFFER_H_
