/* tokenizer.h - text to token ids and back, driven by a Hugging Face tokenizer.json.
 *
 *   text -> added tokens cut out -> normalizer -> pre-tokenizer -> model -> post-processor -> ids
 *   ids  -> token strings -> decoder -> text
 *
 * Source of truth: the tokenizers library, whose results (ids, offsets, decoded text) are reproduced exactly. A tokenizer is immutable
 * after loading and may be used by any number of threads; scratch memory is lent from a list inside it. The caller frees what it is given.
 */
#ifndef NC_TEXT_TOKENIZER_H
#define NC_TEXT_TOKENIZER_H
#include "base/json.h"

typedef struct nc_tokenizer nc_tokenizer;

/* A list of ids that grows; start from {0}. */
typedef struct nc_ids { int32_t *p; size_t n, capacity; } nc_ids;
void nc_ids_add(nc_ids *ids, int32_t id);
void nc_ids_free(nc_ids *ids);

/* Reads tokenizer.json (the file itself, or the one in a folder) and, beside it, tokenizer_config.json, special_tokens_map.json, chat_template.jinja,
 * chat_template.json where they exist. Without a tokenizer.json: sentencepiece's tokenizer.model, spiece.model ..., tiktoken ranks, vocab.json and merges.txt, vocab.txt. */
int nc_tokenizer_load(const char *folder_or_file, nc_tokenizer **out, nc_error *e);
/* The same with config in place of tokenizer_config.json (NULL: that file); for ranks it may hold "pat_str" and "special_tokens". */
int nc_tokenizer_load_as(const char *folder_or_file, const nc_json *config, nc_tokenizer **out, nc_error *e);
/* The same from a parsed tokenizer.json tree; config and file may be NULL. The trees need not outlive the call. */
int nc_tokenizer_from_json(const nc_json *tree, const nc_json *config, const char *file, nc_tokenizer **out, nc_error *e);
/* A folder's tokenizer as a tree like tokenizer.json's, whatever file it is in (parts that the library has no word for are text/spm.h's); NULL when it has none. */
int nc_tokenizer_tree(nc_arena *a, const char *folder, nc_json **tree, nc_error *e);
void nc_tokenizer_free(nc_tokenizer *t);                            /* NULL is allowed */

enum {
    NC_ENCODE_SPECIAL = 1,   /* add the special tokens of the post-processor (bos, eos, [CLS] ...) */
    NC_ENCODE_PLAIN = 2,     /* special tokens spelled out in the text are plain text (what untrusted users wrote) */
    NC_ENCODE_OFFSETS = 4,   /* fill begin and end (characters of the text), nc_tokenizer_encode_full only */
    NC_ENCODE_BYTES = 8,     /* with NC_ENCODE_OFFSETS: bytes instead of characters */
};

/* Appends the ids of text to ids. Fails for invalid UTF-8 (the message says at which byte) and for texts above 1 GiB. */
int nc_tokenizer_encode(const nc_tokenizer *t, nc_str text, unsigned flags, nc_ids *ids, nc_error *e);

/* Everything the tokenizers library's Encoding holds; arrays of n entries. begin and end are NULL unless asked for.
 * sequence: 0 first text, 1 second text, -1 special token. */
typedef struct nc_encoding {
    size_t n, capacity;
    int32_t *ids;
    uint32_t *begin, *end;
    int8_t *sequence;
    uint8_t *type, *special;
} nc_encoding;
int nc_tokenizer_encode_full(const nc_tokenizer *t, nc_str text, const nc_str *pair, unsigned flags, nc_encoding *out, nc_error *e);
void nc_encoding_free(nc_encoding *x);

/* Appends the text of ids to out; always valid UTF-8 (broken bytes become U+FFFD). Ids outside the vocabulary add nothing. */
void nc_tokenizer_decode(const nc_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, nc_buf *out);

/* A stream of ids to a stream of text. A piece is held back while the text so far ends inside a character. */
typedef struct nc_detok nc_detok;
nc_detok *nc_detok_new(const nc_tokenizer *t, bool skip_special);   /* borrows t */
void nc_detok_free(nc_detok *d);
/* Appends what id makes certain to out (perhaps nothing); true when something was added. */
bool nc_detok_add(nc_detok *d, int32_t id, nc_buf *out);
bool nc_detok_flush(nc_detok *d, nc_buf *out);                      /* what was held back, with U+FFFD for broken bytes; starts anew */

/* Lookups. Strings belong to the tokenizer and are NUL-terminated. */
int32_t nc_tokenizer_vocab_size(const nc_tokenizer *t);             /* largest id + 1, added tokens included */
int32_t nc_tokenizer_id(const nc_tokenizer *t, nc_str token);       /* -1 when absent */
nc_str nc_tokenizer_token(const nc_tokenizer *t, int32_t id);       /* spelling as in tokenizer.json; p is NULL when id is none */
/* The bytes a token stands for in running text when they do not depend on its neighbours (byte-level and byte-fallback vocabularies). */
nc_str nc_tokenizer_bytes(const nc_tokenizer *t, int32_t id);
bool nc_tokenizer_is_special(const nc_tokenizer *t, int32_t id);
bool nc_tokenizer_is_added(const nc_tokenizer *t, int32_t id);
/* what: "bos", "eos", "pad", "unk", "sep", "cls", "mask", or any key ending in _token of tokenizer_config.json. -1 when there is none. */
int32_t nc_tokenizer_special_id(const nc_tokenizer *t, const char *what);
/* The same token's spelling, NULL when there is none. */
const char *nc_tokenizer_special(const nc_tokenizer *t, const char *what);
/* The chat template found beside the tokenizer; name NULL means "default" (or the only one). NULL when there is none. */
const char *nc_tokenizer_chat_template(const nc_tokenizer *t, const char *name);
int64_t nc_tokenizer_model_max_length(const nc_tokenizer *t);       /* 0 when not stated or not a sane number */
size_t nc_tokenizer_memory(const nc_tokenizer *t);                  /* bytes held */
#endif
