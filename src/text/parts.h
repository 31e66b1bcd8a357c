/* parts.h - what the parts of a tokenizer are inside src/text: normalizers, pre-tokenizers, models, post-processors, decoders.
 *
 * A kind is one descriptor, named in parts.list by the "type" it has in tokenizer.json. A part is made once from its JSON (create) in the tokenizer's arena and is immutable;
 * what one call needs lies in the lent nc_scratch.
 */
#ifndef NC_TEXT_PARTS_H
#define NC_TEXT_PARTS_H
#include "base/json.h"
#include "base/map.h"
#include "text/aligned.h"
#include "text/regex.h"
#include "text/tokenizer.h"

typedef struct nc_vocab nc_vocab;
typedef struct nc_word_cache nc_word_cache;

/* A range of the text being split. at_start: its first byte is the first of the whole original text. */
typedef struct nc_span { uint32_t begin, end; bool at_start; } nc_span;
typedef struct nc_spans { nc_span *p; size_t n, capacity; } nc_spans;
void nc_spans_add(nc_spans *s, uint32_t begin, uint32_t end, bool at_start);

/* A model's output: an id and where its part of the word ends (bytes). NC_PIECE_SHARED in end: the piece stands for the same part as the one before. */
#define NC_PIECE_SHARED (1u << 31)
typedef struct nc_piece { int32_t id; uint32_t end; } nc_piece;
typedef struct nc_pieces { nc_piece *p; size_t n, capacity; } nc_pieces;
void nc_pieces_add(nc_pieces *s, int32_t id, uint32_t end);

typedef struct nc_scratch nc_scratch;
struct nc_scratch {
    nc_scratch *next;               /* in the tokenizer's list of free ones */
    nc_regex_scratch *regex;
    nc_aligned text, other;         /* the text of the segment at hand and where an edit writes */
    nc_aligned whole;               /* a normalized segment while its parts between added tokens are at work */
    nc_spans spans, split;
    nc_pieces pieces;
    nc_word_cache *cache;
    void *work;                     /* the model's, grown by nc_scratch_work */
    size_t work_bytes;
};
void nc_scratch_free(nc_scratch *s);
void *nc_scratch_work(nc_scratch *s, size_t bytes);     /* at least this many bytes, contents not kept */

typedef struct nc_build {           /* what create functions see */
    nc_arena *arena;
    const char *file;               /* names errors */
    void (*defer)(struct nc_build *b, void (*release)(void *), void *object);   /* released with the tokenizer */
    struct nc_tokenizer *tokenizer;
    bool raw_bytes;                 /* the pre-tokenizer ends in ByteLevel and the model takes bytes as they are */
} nc_build;

typedef struct nc_normalizer nc_normalizer;
struct nc_normalizer { void (*run)(const nc_normalizer *self, nc_scratch *s); };        /* s->text in place (through s->other) */
typedef struct nc_pretokenizer nc_pretokenizer;
struct nc_pretokenizer { void (*run)(const nc_pretokenizer *self, nc_scratch *s); };    /* s->text and s->spans in place */
typedef struct nc_model nc_model;
struct nc_model {
    /* Appends the pieces of one word to s->pieces. NC_EINVAL when a word has no ids and no unk token stands in. */
    int (*run)(const nc_model *self, nc_scratch *s, nc_str word, nc_error *e);
    /* The first place after from where a word may be cut without changing its pieces, or its end; NULL: words are never cut. */
    size_t (*cut)(const nc_model *self, nc_str word, size_t from);
    nc_vocab *vocab;
    bool cached;                    /* words may be remembered */
    size_t (*memory)(const nc_model *self);
    void (*release)(nc_model *self);
};

/* Token strings of a sequence on their way to text. */
typedef struct nc_tokens { nc_str *p; size_t n; nc_arena *arena; } nc_tokens;
typedef struct nc_decoder nc_decoder;
struct nc_decoder { void (*run)(const nc_decoder *self, nc_tokens *t); };

/* Post-processing as a flat list of what stands around the texts. */
typedef struct nc_post_item { int8_t sequence; uint8_t type; int32_t id; } nc_post_item;   /* sequence 0 or 1; -1: the special token id */
typedef struct nc_post {
    nc_post_item *single, *pair;
    int singles, pairs;
    bool trim_offsets, prefix_space;
} nc_post;

#define NC_PART_CREATE(name, result) int name(nc_build *b, const nc_json *v, const result **out, nc_error *e)
#define NC_NORMALIZER(type, create) NC_PART_CREATE(create, nc_normalizer);
#define NC_PRETOKENIZER(type, create) NC_PART_CREATE(create, nc_pretokenizer);
#define NC_DECODER(type, create) NC_PART_CREATE(create, nc_decoder);
#define NC_MODEL(type, create) int create(nc_build *b, const nc_json *v, nc_model **out, nc_error *e);
#include "text/parts.list"
#undef NC_NORMALIZER
#undef NC_PRETOKENIZER
#undef NC_DECODER
#undef NC_MODEL

/* Each makes the part that v describes by its "type"; null or absent gives NULL. */
int nc_normalizer_create(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e);
int nc_pretokenizer_create(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e);
int nc_decoder_create(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e);
int nc_model_create(nc_build *b, const nc_json *v, nc_model **out, nc_error *e);
int nc_post_create(nc_build *b, const nc_json *v, nc_post **out, nc_error *e);

/* "pattern": {"String": ...} or {"Regex": ...}. */
typedef struct nc_pattern { nc_regex *regex; nc_str literal; } nc_pattern;
int nc_pattern_create(nc_build *b, const nc_json *v, nc_pattern *out, nc_error *e);
bool nc_pattern_find(const nc_pattern *p, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end);

/* Splits every span: cut is called with a part of the text and tells the next match at or after from. */
typedef enum nc_behavior { NC_REMOVED, NC_ISOLATED, NC_MERGED_WITH_PREVIOUS, NC_MERGED_WITH_NEXT, NC_CONTIGUOUS } nc_behavior;
typedef bool nc_find_fn(const void *context, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end);
void nc_split_spans(nc_scratch *s, nc_find_fn *find, const void *context, nc_behavior behavior, bool invert);
int nc_behavior_read(const nc_json *v, nc_behavior fallback, nc_behavior *out, nc_error *e);

/* Vocabulary: ids to spellings and back. */
nc_vocab *nc_vocab_new(nc_arena *arena);
void nc_vocab_free(nc_vocab *v);
void nc_vocab_reserve(nc_vocab *v, size_t count);
int nc_vocab_set(nc_vocab *v, int32_t id, nc_str token);             /* copies; an id seen before is respelled; -1 when id is out of range */
int32_t nc_vocab_id(const nc_vocab *v, nc_str token);                /* -1 when absent */
void nc_vocab_prefetch(const nc_vocab *v, nc_str token);            /* a lookup or set of token comes soon */
nc_str nc_vocab_token(const nc_vocab *v, int32_t id);
int32_t nc_vocab_size(const nc_vocab *v);                            /* largest id + 1 */
size_t nc_vocab_memory(const nc_vocab *v);
#define NC_VOCAB_LIMIT (1 << 24)

/* GPT-2's alphabet: a byte as a printable character, and back (-1 for characters outside it). */
extern const uint16_t nc_byte_char[256];
int nc_char_byte(uint32_t c);
/* Appends the bytes a byte-level token stands for; false (and nothing appended) when it has characters outside the alphabet. */
bool nc_bytelevel_decode(nc_str token, nc_buf *out);
void nc_bytelevel_encode(nc_str bytes, nc_buf *out);

#endif
