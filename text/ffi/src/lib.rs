//! The Hugging Face `tokenizers` crate behind a small C ABI. `lethe_tokenizers.h` beside this crate
//! is the contract: who frees what, which codes come back, which thread may call.
//!
//! Every entry point goes through `guarded`, so no panic crosses the C border. The panic hook is
//! silenced: the standard one would print slices of the text that was being tokenised to standard
//! error, and that text may be what a person asked to forget.

use std::cell::RefCell;
use std::collections::HashSet;
use std::ffi::{c_char, c_int, CString};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Once;

use tokenizers::models::bpe::{BpeTrainer, BPE};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{AddedToken, Model, Tokenizer};

const OK: c_int = 0;
const NOT_UTF8: c_int = 1;
const FAILED: c_int = 2;
const PANICKED: c_int = 3;

/// What a C caller holds: never changed after it was made, so any number of threads may use it.
pub struct LetheTokenizer {
    inner: Tokenizer,
    id_limit: u32,
}

#[repr(C)]
pub struct LetheText {
    data: *const u8,
    size: usize,
}

/// A token: its id, and the bytes [begin, end) of the text it came from.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct LetheToken {
    id: u32,
    begin: u32,
    end: u32,
}

struct Failure(c_int, String);

impl From<tokenizers::Error> for Failure {
    fn from(error: tokenizers::Error) -> Self {
        Failure(FAILED, error.to_string())
    }
}

thread_local! {
    static PANIC_PLACE: RefCell<String> = const { RefCell::new(String::new()) };
}

fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        std::panic::set_hook(Box::new(|info| {
            let place = match info.location() {
                Some(at) => {
                    let file = at.file().rsplit('/').next().unwrap_or("?");
                    format!("{}:{}", file, at.line())
                }
                None => "an unknown place".to_string(),
            };
            PANIC_PLACE.with(|slot| *slot.borrow_mut() = place);
        }));
    });
}

/// Runs `body`; what goes wrong becomes a code and, when `error` is not null, a message that the
/// caller frees.
fn guarded(error: *mut *mut c_char, body: impl FnOnce() -> Result<(), Failure>) -> c_int {
    silence_panics();
    let Failure(code, message) = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => return OK,
        Ok(Err(failure)) => failure,
        Err(payload) => {
            // Not shown: it may quote the text. Dropping a foreign payload may panic again.
            let _ = catch_unwind(AssertUnwindSafe(|| drop(payload)));
            let place = PANIC_PLACE.with(|slot| slot.borrow().clone());
            Failure(
                PANICKED,
                format!("the tokenizer library panicked at {place}"),
            )
        }
    };
    if !error.is_null() {
        let clean: String = message.chars().filter(|c| *c != '\0').collect();
        unsafe { *error = CString::new(clean).unwrap_or_default().into_raw() };
    }
    code
}

unsafe fn bytes<'a>(data: *const u8, size: usize) -> &'a [u8] {
    if data.is_null() || size == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(data, size)
    }
}

unsafe fn text<'a>(data: *const u8, size: usize) -> Result<&'a str, Failure> {
    std::str::from_utf8(bytes(data, size)).map_err(|e| {
        Failure(
            NOT_UTF8,
            format!("not UTF-8 from byte {} on", e.valid_up_to()),
        )
    })
}

unsafe fn texts<'a>(items: *const LetheText, count: usize) -> Result<Vec<&'a str>, Failure> {
    let items: &[LetheText] = if count == 0 {
        &[]
    } else {
        std::slice::from_raw_parts(items, count)
    };
    items.iter().map(|t| text(t.data, t.size)).collect()
}

/// Hands a buffer to C. Its capacity equals its length, so (pointer, length) is enough to free it.
unsafe fn give<T>(items: Vec<T>, out: *mut *mut T, count: *mut usize) {
    let boxed = items.into_boxed_slice();
    *count = boxed.len();
    *out = Box::into_raw(boxed) as *mut T;
}

unsafe fn take_back<T>(data: *mut T, count: usize) {
    if !data.is_null() {
        drop(Box::from_raw(std::ptr::slice_from_raw_parts_mut(
            data, count,
        )));
    }
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokenizer_from_bytes(
    json: *const u8,
    size: usize,
    out: *mut *mut LetheTokenizer,
    error: *mut *mut c_char,
) -> c_int {
    guarded(error, || {
        let mut inner = Tokenizer::from_bytes(bytes(json, size))?;
        // Leftovers of training: they would cut or lengthen a text behind the caller's back.
        inner.with_truncation(None)?;
        inner.with_padding(None);
        let highest = inner.get_vocab(true).into_values().max();
        let id_limit = highest.map_or(0, |id| id.saturating_add(1));
        *out = Box::into_raw(Box::new(LetheTokenizer { inner, id_limit }));
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokenizer_free(tokenizer: *mut LetheTokenizer) {
    if !tokenizer.is_null() {
        let boxed = Box::from_raw(tokenizer);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(boxed)));
    }
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokenizer_id_limit(tokenizer: *const LetheTokenizer) -> u32 {
    (*tokenizer).id_limit
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokenizer_encode(
    tokenizer: *const LetheTokenizer,
    data: *const u8,
    size: usize,
    add_special: c_int,
    out: *mut *mut LetheToken,
    count: *mut usize,
    error: *mut *mut c_char,
) -> c_int {
    guarded(error, || {
        if size > u32::MAX as usize {
            return Err(Failure(FAILED, "the text is longer than 4 GiB".to_string()));
        }
        let encoding = (*tokenizer)
            .inner
            .encode(text(data, size)?, add_special != 0)?;
        let tokens: Vec<LetheToken> = encoding
            .get_ids()
            .iter()
            .zip(encoding.get_offsets())
            .map(|(id, (begin, end))| LetheToken {
                id: *id,
                begin: *begin as u32,
                end: *end as u32,
            })
            .collect();
        give(tokens, out, count);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokens_free(tokens: *mut LetheToken, count: usize) {
    take_back(tokens, count);
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokenizer_decode(
    tokenizer: *const LetheTokenizer,
    ids: *const u32,
    ids_count: usize,
    skip_special: c_int,
    out: *mut *mut u8,
    size: *mut usize,
    error: *mut *mut c_char,
) -> c_int {
    guarded(error, || {
        let ids: &[u32] = if ids_count == 0 {
            &[]
        } else {
            std::slice::from_raw_parts(ids, ids_count)
        };
        give(
            (*tokenizer)
                .inner
                .decode(ids, skip_special != 0)?
                .into_bytes(),
            out,
            size,
        );
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokenizer_token_to_id(
    tokenizer: *const LetheTokenizer,
    data: *const u8,
    size: usize,
    found: *mut c_int,
    id: *mut u32,
    error: *mut *mut c_char,
) -> c_int {
    guarded(error, || {
        let answer = (*tokenizer).inner.token_to_id(text(data, size)?);
        *found = answer.is_some() as c_int;
        *id = answer.unwrap_or(0);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn lethe_tokenizer_id_to_token(
    tokenizer: *const LetheTokenizer,
    id: u32,
    found: *mut c_int,
    out: *mut *mut u8,
    size: *mut usize,
    error: *mut *mut c_char,
) -> c_int {
    guarded(error, || {
        let answer = (*tokenizer).inner.id_to_token(id);
        *found = answer.is_some() as c_int;
        give(answer.unwrap_or_default().into_bytes(), out, size);
        Ok(())
    })
}

#[no_mangle]
pub unsafe extern "C" fn lethe_bytes_free(data: *mut u8, size: usize) {
    take_back(data, size);
}

#[no_mangle]
pub unsafe extern "C" fn lethe_error_free(error: *mut c_char) {
    if !error.is_null() {
        drop(CString::from_raw(error));
    }
}

/// A byte-level BPE, as GPT-2 has it: no unknown token, every byte string survives the round trip.
fn train(
    corpus: &[&str],
    vocab_size: usize,
    special: &[&str],
    bos: &str,
) -> Result<String, Failure> {
    if vocab_size < 256 + special.len() {
        let least = 256 + special.len();
        let why = format!(
            "256 bytes and the special tokens need a vocabulary of at least {least} entries"
        );
        return Err(Failure(FAILED, why));
    }
    let special_tokens: Vec<AddedToken> =
        special.iter().map(|s| AddedToken::from(*s, true)).collect();
    let trainer = BpeTrainer::builder()
        .vocab_size(vocab_size)
        .min_frequency(2)
        .show_progress(false)
        .special_tokens(special_tokens)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect::<HashSet<char>>())
        .build();
    let mut tokenizer = Tokenizer::new(BPE::default());
    tokenizer.with_pre_tokenizer(Some(ByteLevel::new(false, false, true)));
    tokenizer.with_decoder(Some(ByteLevel::new(false, false, true)));
    let mut wrapped = tokenizers::models::TrainerWrapper::BpeTrainer(trainer);
    tokenizer.train(&mut wrapped, corpus.iter().copied())?;
    if !bos.is_empty() {
        let Some(id) = tokenizer.get_model().token_to_id(bos) else {
            let why = "the token to begin with is not among the special tokens";
            return Err(Failure(FAILED, why.to_string()));
        };
        let template = TemplateProcessing::builder()
            .try_single(format!("{bos} $A"))
            .map_err(|e| Failure(FAILED, e))?
            .special_tokens(vec![(bos, id)])
            .build()
            .map_err(|e| Failure(FAILED, e.to_string()))?;
        tokenizer.with_post_processor(Some(template));
    }
    Ok(tokenizer.to_string(false)?)
}

#[no_mangle]
pub unsafe extern "C" fn lethe_train_byte_bpe(
    corpus: *const LetheText,
    corpus_count: usize,
    vocab_size: usize,
    special: *const LetheText,
    special_count: usize,
    bos: LetheText,
    out: *mut *mut u8,
    size: *mut usize,
    error: *mut *mut c_char,
) -> c_int {
    guarded(error, || {
        let corpus = texts(corpus, corpus_count)?;
        let special = texts(special, special_count)?;
        let json = train(&corpus, vocab_size, &special, text(bos.data, bos.size)?)?;
        give(json.into_bytes(), out, size);
        Ok(())
    })
}
