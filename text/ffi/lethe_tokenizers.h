// The C ABI of the crate beside this file: Hugging Face `tokenizers` for C++. Callers use
// text/tokenizer.h instead.
//
// Codes      LETHE_TOK_OK; LETHE_TOK_NOT_UTF8 a text is not UTF-8; LETHE_TOK_FAILED the library
//            refused; LETHE_TOK_PANICKED the library panicked, which was caught at the border. On
//            any code but OK the outputs are untouched and *error (when `error` is not null) is a
//            message to free with lethe_error_free. A message says what and where, and never quotes
//            the text to tokenise.
// Memory     what a call gives out belongs to the caller, who hands it back once to the matching
//            free function, with the count it came with: lethe_tokenizer_free, lethe_tokens_free,
//            lethe_bytes_free, lethe_error_free. They take null. Inputs are only read during the
//            call. Nothing is NUL-terminated but messages.
// Threads    a tokenizer never changes: any number of threads may use one at a time; free it after
//            the last. lethe_train_byte_bpe uses its own threads (RAYON_NUM_THREADS) and gives the
//            same result for any number.
#ifndef LETHE_TEXT_FFI_LETHE_TOKENIZERS_H_
#define LETHE_TEXT_FFI_LETHE_TOKENIZERS_H_

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { LETHE_TOK_OK = 0, LETHE_TOK_NOT_UTF8 = 1, LETHE_TOK_FAILED = 2, LETHE_TOK_PANICKED = 3 };

typedef struct LetheTokenizer LetheTokenizer;

typedef struct {
  const uint8_t* data;
  size_t size;
} LetheText;

// A token and the bytes [begin, end) of the text that it stands for; special tokens that were added
// have (0, 0).
typedef struct {
  uint32_t id;
  uint32_t begin;
  uint32_t end;
} LetheToken;

// Reads the bytes of a tokenizer.json. Its `truncation` and `padding` are set aside: a text is
// always tokenised whole.
int lethe_tokenizer_from_bytes(const uint8_t* json, size_t size, LetheTokenizer** out,
                               char** error);
void lethe_tokenizer_free(LetheTokenizer* tokenizer);

// One more than the largest id that the tokenizer knows (there may be holes below).
uint32_t lethe_tokenizer_id_limit(const LetheTokenizer* tokenizer);

int lethe_tokenizer_encode(const LetheTokenizer* tokenizer, const uint8_t* text, size_t size,
                           int add_special, LetheToken** out, size_t* count, char** error);
void lethe_tokens_free(LetheToken* tokens, size_t count);

// Ids that the tokenizer does not know decode to nothing.
int lethe_tokenizer_decode(const LetheTokenizer* tokenizer, const uint32_t* ids, size_t ids_count,
                           int skip_special, uint8_t** out, size_t* size, char** error);

// `*found` is 0 or 1; where it is 0, the other outputs are 0 and empty.
int lethe_tokenizer_token_to_id(const LetheTokenizer* tokenizer, const uint8_t* token, size_t size,
                                int* found, uint32_t* id, char** error);
int lethe_tokenizer_id_to_token(const LetheTokenizer* tokenizer, uint32_t id, int* found,
                                uint8_t** out, size_t* size, char** error);
void lethe_bytes_free(uint8_t* data, size_t size);

// Trains a byte-level BPE and gives its tokenizer.json. The special tokens get the ids 0, 1, … in
// their order. `bos`, when not empty, is one of them and is put before a text that is encoded with
// special tokens.
int lethe_train_byte_bpe(const LetheText* corpus, size_t corpus_count, size_t vocab_size,
                         const LetheText* special, size_t special_count, LetheText bos,
                         uint8_t** out, size_t* size, char** error);

void lethe_error_free(char* error);

#ifdef __cplusplus
}
#endif

#endif  // LETHE_TEXT_FFI_LETHE_TOKENIZERS_H_
