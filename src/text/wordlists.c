/* wordlists.c - trees of tokenizer.json from the older files: tiktoken ranks, vocab.json with merges.txt, vocab.txt.
 *
 * Ranks: a token's rank is its id, and two neighbours join when their bytes together have a rank, the lowest first: a BPE model whose merges are all splits of every token.
 * merges.txt alone gives the vocabulary too: the 256 bytes in the order of GPT-2's alphabet, then what each merge makes.
 * Sources: openai/tiktoken; transformers' convert_slow_tokenizer for what each class puts around the model.
 */
#include "text/wordlists.h"

#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "text/parts.h"

#define CL100K "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define QWEN "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define O200K_END "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
#define O200K "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]+" O200K_END \
    "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" O200K_END \
    "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CLIP "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+"
#define FILE_LIMIT ((size_t)64 << 20)

/* Published rank files, known by how many ranks they have. */
static const struct known { int ranks; const char *pattern; const char *bos; struct { const char *text; int id; } special[12]; } published[] = {
    { 100256, CL100K, NULL, { { "<|endoftext|>", 100257 }, { "<|fim_prefix|>", 100258 }, { "<|fim_middle|>", 100259 }, { "<|fim_suffix|>", 100260 }, { "<|endofprompt|>", 100276 } } },
    { 199998, O200K, NULL, { { "<|endoftext|>", 199999 }, { "<|endofprompt|>", 200018 } } },
    { 151643, QWEN, NULL, { { "<|endoftext|>", 151643 }, { "<|im_start|>", 151644 }, { "<|im_end|>", 151645 } } },
    { 128000, CL100K, "<|begin_of_text|>", { { "<|begin_of_text|>", 128000 }, { "<|end_of_text|>", 128001 }, { "<|finetune_right_pad_id|>", 128004 },
        { "<|start_header_id|>", 128006 }, { "<|end_header_id|>", 128007 }, { "<|eom_id|>", 128008 }, { "<|eot_id|>", 128009 }, { "<|python_tag|>", 128010 } } },
    { 200000, O200K, "<|begin_of_text|>", { { "<|begin_of_text|>", 200000 }, { "<|end_of_text|>", 200001 }, { "<|header_start|>", 200005 }, { "<|header_end|>", 200006 },
        { "<|eom|>", 200007 }, { "<|eot|>", 200008 } } },
};

static nc_json *typed(nc_arena *a, const char *type)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "type", nc_json_new_string(a, nc_str_of(type)));
    return v;
}

static void set_text(nc_arena *a, nc_json *v, const char *key, const char *text)
{
    nc_json_set(a, v, key, nc_json_new_string(a, nc_str_of(text)));
}

static void set_bool(nc_arena *a, nc_json *v, const char *key, bool value)
{
    nc_json_set(a, v, key, nc_json_new_bool(a, value));
}

/* Appends to an object without looking for the key; *tail is where the next item goes. */
static void add_entry(nc_arena *a, nc_json *object, nc_json **tail, nc_str key, int64_t id)
{
    nc_json *item = nc_json_new_int(a, id);
    item->key = (nc_str){ nc_arena_strndup(a, key.p, key.n), key.n };
    if (*tail)
        (*tail)->next = item;
    else
        object->first = item;
    *tail = item;
    object->count++;
}

static void add_special(nc_arena *a, nc_json *list, const char *text, int64_t id)
{
    nc_json *v = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, v, "id", nc_json_new_int(a, id));
    set_text(a, v, "content", text);
    set_bool(a, v, "special", true);
    set_bool(a, v, "normalized", false);
    nc_json_append(list, v);
}

static nc_json *byte_level(nc_arena *a, bool prefix_space, bool regex)
{
    nc_json *v = typed(a, "ByteLevel");
    set_bool(a, v, "add_prefix_space", prefix_space);
    set_bool(a, v, "trim_offsets", true);
    set_bool(a, v, "use_regex", regex);
    return v;
}

static nc_json *split(nc_arena *a, const char *pattern, const char *behavior, bool invert)
{
    nc_json *v = typed(a, "Split"), *p = nc_json_new(a, NC_JSON_OBJECT);
    set_text(a, p, "Regex", pattern);
    nc_json_set(a, v, "pattern", p);
    set_text(a, v, "behavior", behavior);
    set_bool(a, v, "invert", invert);
    return v;
}

static nc_json *sequence(nc_arena *a, const char *key, nc_json *const *parts, int count)
{
    nc_json *v = typed(a, "Sequence"), *list = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < count; i++)
        nc_json_append(list, parts[i]);
    nc_json_set(a, v, key, list);
    return v;
}

/* first TEXT last, pairs joined by `between` copies of last; first and last may be NULL. */
static nc_json *around(nc_arena *a, const char *first, int64_t first_id, const char *last, int64_t last_id, int between, int second_type)
{
    nc_json *v = typed(a, "TemplateProcessing"), *tokens = nc_json_new(a, NC_JSON_OBJECT);
    const char *names[2] = { first, last };
    int64_t ids[2] = { first_id, last_id };
    for (int i = 0; i < 2; i++) {
        if (!names[i])
            continue;
        nc_json *token = nc_json_new(a, NC_JSON_OBJECT), *list = nc_json_new(a, NC_JSON_ARRAY);
        nc_json_append(list, nc_json_new_int(a, ids[i]));
        set_text(a, token, "id", names[i]);
        nc_json_set(a, token, "ids", list);
        nc_json_set(a, tokens, names[i], token);
    }
    for (int pair = 0; pair < 2; pair++) {
        nc_json *items = nc_json_new(a, NC_JSON_ARRAY);
        char plan[8] = "fAl";
        if (pair)
            snprintf(plan, sizeof plan, between > 1 ? "fAllBl" : "fAlBl");
        for (int i = 0, type = 0; plan[i]; i++) {
            bool text = plan[i] == 'A' || plan[i] == 'B';
            const char *name = plan[i] == 'A' ? "A" : plan[i] == 'B' ? "B" : plan[i] == 'f' ? first : last;
            nc_json *inner = nc_json_new(a, NC_JSON_OBJECT), *item = nc_json_new(a, NC_JSON_OBJECT);
            if (!name)
                continue;
            type = plan[i] == 'B' ? second_type : type;
            set_text(a, inner, "id", name);
            nc_json_set(a, inner, "type_id", nc_json_new_int(a, type));
            nc_json_set(a, item, text ? "Sequence" : "SpecialToken", inner);
            nc_json_append(items, item);
        }
        nc_json_set(a, v, pair ? "pair" : "single", items);
    }
    nc_json_set(a, v, "special_tokens", tokens);
    return v;
}

/* One line of a ranks file: 1 and the token's text and rank, 0 at the end, negative when it is none. */
static int rank_line(nc_str *in, nc_str *token, int64_t *rank)
{
    while (in->n && (*in->p == '\n' || *in->p == '\r'))
        *in = (nc_str){ in->p + 1, in->n - 1 };
    if (!in->n)
        return 0;
    const char *stop = memchr(in->p, '\n', in->n);
    size_t n = stop ? (size_t)(stop - in->p) : in->n;
    const char *blank = memchr(in->p, ' ', n < 4096 ? n : 4096);
    size_t digits = blank ? n - (size_t)(blank - in->p) - 1 : 0;
    char number[24] = "";
    if (digits && in->p[n - 1] == '\r')
        digits--;
    if (!digits || digits >= sizeof number)
        return -1;
    memcpy(number, blank + 1, digits);
    *token = (nc_str){ in->p, (size_t)(blank - in->p) };
    *in = (nc_str){ in->p + n, in->n - n };
    return nc_parse_int(number, rank) && *rank >= 0 && *rank < NC_VOCAB_LIMIT ? 1 : -1;
}

bool nc_ranks_look_like(nc_str text)
{
    nc_str token;
    int64_t rank;
    nc_buf bytes = { 0 };
    nc_error e = { 0 };
    bool yes = rank_line(&text, &token, &rank) > 0 && token.n && nc_base64_decode(token, &bytes, &e) >= 0;
    nc_buf_free(&bytes);
    return yes;
}

static int read_ranks(nc_arena *a, nc_str in, nc_json *vocab, nc_error *e)
{
    nc_buf bytes = { 0 }, spelled = { 0 };
    nc_json *tail = NULL;
    nc_str token;
    int64_t rank;
    int status;
    while ((status = rank_line(&in, &token, &rank)) > 0) {
        nc_buf_clear(&bytes);
        nc_buf_clear(&spelled);
        if ((status = nc_base64_decode(token, &bytes, e)) < 0 || !bytes.n)
            break;
        nc_bytelevel_encode((nc_str){ bytes.p, bytes.n }, &spelled);
        add_entry(a, vocab, &tail, (nc_str){ spelled.p, spelled.n }, rank);
    }
    if (status < 0 || in.n)
        status = nc_fail(e, NC_EFORMAT, "line %d is no base64 token and rank", vocab->count + 1);
    nc_buf_free(&bytes);
    nc_buf_free(&spelled);
    return status;
}

int nc_ranks_parse(nc_arena *a, nc_str text, const char *file, const nc_json *config, nc_json **out, nc_error *e)
{
    nc_json *tree = nc_json_new(a, NC_JSON_OBJECT), *model = typed(a, "BPE"), *vocab = nc_json_new(a, NC_JSON_OBJECT), *added = nc_json_new(a, NC_JSON_ARRAY);
    if (read_ranks(a, text, vocab, e) < 0)
        return nc_fail_in(e, "%s", file);
    const struct known *known = NULL;
    for (int i = 0; i < NC_COUNT(published); i++)
        if (published[i].ranks == vocab->count)
            known = &published[i];
    const char *pattern = nc_json_string(nc_json_get(config, "pat_str"), known ? known->pattern : CL100K);
    const nc_json *special = nc_json_get(config, "special_tokens");
    NC_JSON_EACH(item, nc_json_is(special, NC_JSON_OBJECT) ? special : NULL)
        add_special(a, added, item->key.p, nc_json_int(item, -1));
    bool named = added->count > 0;
    for (int i = 0; known && !named && i < NC_COUNT(known->special) && known->special[i].text; i++)
        add_special(a, added, known->special[i].text, known->special[i].id);
    nc_json_set(a, model, "vocab", vocab);
    set_text(a, model, "merges", "every split");
    set_bool(a, model, "ignore_merges", true);
    nc_json *parts[] = { split(a, pattern, "Isolated", false), byte_level(a, false, false) };
    nc_json_set(a, tree, "added_tokens", added);
    nc_json_set(a, tree, "pre_tokenizer", sequence(a, "pretokenizers", parts, 2));
    nc_json_set(a, tree, "model", model);
    nc_json_set(a, tree, "decoder", byte_level(a, false, false));
    if (known && known->bos)
        nc_json_set(a, tree, "post_processor", around(a, known->bos, known->special[0].id, NULL, 0, 1, 0));
    *out = tree;
    return NC_OK;
}

/* merges.txt: a list of lines, without the "#version" line. */
static int read_merges(nc_arena *a, const char *path, nc_json **out, nc_error *e)
{
    nc_buf b = { 0 };
    nc_json *list = nc_json_new(a, NC_JSON_ARRAY), *tail = NULL;
    int status = nc_file_read(path, FILE_LIMIT, &b, e);
    for (size_t at = 0, line = 0; status >= 0 && at < b.n; line++) {
        const char *stop = memchr(b.p + at, '\n', b.n - at);
        size_t end = stop ? (size_t)(stop - b.p) : b.n, n = end - at;
        n -= n && b.p[at + n - 1] == '\r';
        if (n && !(line == 0 && nc_starts_with(b.p + at, "#version"))) {
            nc_json *item = nc_json_new_string(a, (nc_str){ nc_arena_strndup(a, b.p + at, n), n });
            item->line = (int)line + 1;
            if (tail)
                tail->next = item;
            else
                list->first = item;
            tail = item;
            list->count++;
        }
        at = end + 1;
    }
    nc_buf_free(&b);
    *out = list;
    return status;
}

static nc_json *vocab_of_merges(nc_arena *a, const nc_json *merges)
{
    nc_json *vocab = nc_json_new(a, NC_JSON_OBJECT), *tail = NULL;
    nc_buf b = { 0 };
    int64_t id = 0;
    for (uint32_t c = '!'; c < 0x144; c++) {
        char text[4];
        if (nc_char_byte(c) >= 0)
            add_entry(a, vocab, &tail, (nc_str){ text, (size_t)nc_utf8_encode(c, text) }, id++);
    }
    NC_JSON_EACH(item, merges) {
        nc_buf_clear(&b);
        for (size_t i = 0; i < item->text.n; i++)
            if (item->text.p[i] != ' ')
                nc_buf_addc(&b, item->text.p[i]);
        add_entry(a, vocab, &tail, (nc_str){ b.p ? b.p : "", b.n }, id++);
    }
    nc_buf_free(&b);
    return vocab;
}

/* The name of a file that goes with path: its last part's ending replaced. */
static const char *beside(nc_arena *a, const char *path, const char *ending)
{
    size_t n = strlen(path) - (nc_ends_with(path, "vocab.json") ? 10 : nc_ends_with(path, "merges.txt") ? 10 : 9);
    return nc_arena_printf(a, "%.*s%s", (int)n, path, ending);
}

static int64_t id_of(const nc_json *vocab, const char *token)
{
    return nc_json_int(nc_json_get(vocab, token), -1);
}

/* What CLIP's tokenizer does around its BPE: one blank for a run, lower case, words end in </w>. */
static void clip_parts(nc_arena *a, nc_json *tree, nc_json *model, const nc_json *vocab, nc_json *added)
{
    nc_json *replace = typed(a, "Replace"), *pattern = nc_json_new(a, NC_JSON_OBJECT);
    set_text(a, pattern, "Regex", "\\s+");
    nc_json_set(a, replace, "pattern", pattern);
    set_text(a, replace, "content", " ");
    nc_json *normal[] = { typed(a, "NFC"), replace, typed(a, "Lowercase") };
    nc_json *pre[] = { split(a, CLIP, "Removed", true), byte_level(a, false, true) };
    nc_json_set(a, tree, "normalizer", sequence(a, "normalizers", normal, 3));
    nc_json_set(a, tree, "pre_tokenizer", sequence(a, "pretokenizers", pre, 2));
    set_text(a, model, "end_of_word_suffix", "</w>");
    set_text(a, model, "unk_token", "<|endoftext|>");
    int64_t start = id_of(vocab, "<|startoftext|>"), end = id_of(vocab, "<|endoftext|>");
    add_special(a, added, "<|startoftext|>", start);
    add_special(a, added, "<|endoftext|>", end);
    nc_json_set(a, tree, "post_processor", around(a, "<|startoftext|>", start, "<|endoftext|>", end, 2, 0));
}

static void roberta_parts(nc_arena *a, nc_json *tree, const nc_json *vocab, nc_json *added, bool prefix_space)
{
    static const char *const names[] = { "<s>", "<pad>", "</s>", "<unk>", "<mask>" };
    for (int i = 0; i < NC_COUNT(names); i++)
        if (id_of(vocab, names[i]) >= 0)
            add_special(a, added, names[i], id_of(vocab, names[i]));
    nc_json_set(a, tree, "pre_tokenizer", byte_level(a, prefix_space, true));
    nc_json_set(a, tree, "post_processor", around(a, "<s>", id_of(vocab, "<s>"), "</s>", id_of(vocab, "</s>"), 2, 0));
}

static int load_bpe(nc_arena *a, const char *path, const nc_json *config, nc_json **out, nc_error *e)
{
    nc_json *merges, *vocab, *tree = nc_json_new(a, NC_JSON_OBJECT), *model = typed(a, "BPE"), *added = nc_json_new(a, NC_JSON_ARRAY);
    NC_TRY(read_merges(a, beside(a, path, "merges.txt"), &merges, e));
    const char *words = beside(a, path, "vocab.json");
    if (nc_file_exists(words))
        NC_TRY(nc_json_load(a, words, &vocab, e));
    else
        vocab = vocab_of_merges(a, merges);
    if (!nc_json_is(vocab, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "%s: no object of token: id", words);
    const char *class = nc_json_string(nc_json_get(config, "tokenizer_class"), "");
    bool prefix_space = nc_json_bool(nc_json_get(config, "add_prefix_space"), false);
    nc_json_set(a, model, "vocab", vocab);
    nc_json_set(a, model, "merges", merges);
    if (nc_starts_with(class, "CLIP") || (!*class && id_of(vocab, "<|startoftext|>") >= 0)) {
        clip_parts(a, tree, model, vocab, added);
    } else if (nc_starts_with(class, "Qwen2")) {
        nc_json *pre[] = { split(a, QWEN, "Isolated", false), byte_level(a, false, false) };
        nc_json_set(a, tree, "normalizer", typed(a, "NFC"));
        nc_json_set(a, tree, "pre_tokenizer", sequence(a, "pretokenizers", pre, 2));
    } else if (id_of(vocab, "<s>") >= 0 && id_of(vocab, "</s>") >= 0 && (!*class || nc_starts_with(class, "Roberta") || nc_starts_with(class, "Bart"))) {
        roberta_parts(a, tree, vocab, added, prefix_space);
    } else {
        nc_json_set(a, tree, "pre_tokenizer", byte_level(a, prefix_space, true));
        if (id_of(vocab, "<|endoftext|>") >= 0)
            add_special(a, added, "<|endoftext|>", id_of(vocab, "<|endoftext|>"));
    }
    nc_json_set(a, tree, "added_tokens", added);
    nc_json_set(a, tree, "model", model);
    nc_json_set(a, tree, "decoder", byte_level(a, false, true));
    *out = tree;
    return NC_OK;
}

/* vocab.txt: a token a line, its id the line's number. */
static int load_wordpiece(nc_arena *a, const char *path, const nc_json *config, nc_json **out, nc_error *e)
{
    static const char *const names[] = { "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]" };
    nc_buf b = { 0 };
    nc_json *tree = nc_json_new(a, NC_JSON_OBJECT), *model = typed(a, "WordPiece"), *vocab = nc_json_new(a, NC_JSON_OBJECT), *tail = NULL;
    nc_json *added = nc_json_new(a, NC_JSON_ARRAY), *normal = typed(a, "BertNormalizer");
    NC_TRY(nc_file_read(path, FILE_LIMIT, &b, e));
    for (size_t at = 0, id = 0; at < b.n; id++) {
        const char *stop = memchr(b.p + at, '\n', b.n - at);
        size_t end = stop ? (size_t)(stop - b.p) : b.n, n = end - at;
        n -= n && b.p[at + n - 1] == '\r';
        add_entry(a, vocab, &tail, (nc_str){ b.p + at, n }, (int64_t)id);
        at = end + 1;
    }
    nc_buf_free(&b);
    const nc_json *strip = nc_json_get(config, "strip_accents");
    set_bool(a, normal, "clean_text", true);
    set_bool(a, normal, "handle_chinese_chars", nc_json_bool(nc_json_get(config, "tokenize_chinese_chars"), true));
    set_bool(a, normal, "lowercase", nc_json_bool(nc_json_get(config, "do_lower_case"), true));
    nc_json_set(a, normal, "strip_accents", strip ? nc_json_clone(a, strip) : nc_json_new(a, NC_JSON_NULL));
    for (int i = 0; i < NC_COUNT(names); i++)
        if (id_of(vocab, names[i]) >= 0)
            add_special(a, added, names[i], id_of(vocab, names[i]));
    set_text(a, model, "unk_token", nc_json_string(nc_json_get(config, "unk_token"), "[UNK]"));
    nc_json_set(a, model, "vocab", vocab);
    nc_json_set(a, tree, "added_tokens", added);
    nc_json_set(a, tree, "normalizer", normal);
    nc_json_set(a, tree, "pre_tokenizer", typed(a, "BertPreTokenizer"));
    nc_json_set(a, tree, "model", model);
    nc_json *decoder = typed(a, "WordPiece");
    set_text(a, decoder, "prefix", "##");
    set_bool(a, decoder, "cleanup", true);
    nc_json_set(a, tree, "decoder", decoder);
    if (id_of(vocab, "[CLS]") >= 0 && id_of(vocab, "[SEP]") >= 0)
        nc_json_set(a, tree, "post_processor", around(a, "[CLS]", id_of(vocab, "[CLS]"), "[SEP]", id_of(vocab, "[SEP]"), 1, 1));
    *out = tree;
    return NC_OK;
}

int nc_wordlists_load(nc_arena *a, const char *path, const nc_json *config, nc_json **out, nc_error *e)
{
    return nc_ends_with(path, "vocab.txt") ? load_wordpiece(a, path, config, out, e) : load_bpe(a, path, config, out, e);
}
