/* tokenizer.c - builds a tokenizer from its JSON and answers lookups. Source: the tokenizers library's file format, version 1.0. */
#include "text/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"

static void defer(nc_build *b, void (*call)(void *), void *object)
{
    struct release *r = NC_NEW(b->arena, struct release);
    *r = (struct release){ b->tokenizer->releases, call, object };
    b->tokenizer->releases = r;
}

static nc_str keep(nc_arena *a, nc_str s)
{
    return (nc_str){ nc_arena_strndup(a, s.p ? s.p : "", s.n), s.n };
}

/* True when the last pre-tokenizer maps bytes to GPT-2's alphabet, so that a BPE model can work on the bytes themselves. */
static bool ends_in_byte_level(const nc_json *v)
{
    const char *type = nc_json_string(nc_json_get(v, "type"), "");
    if (!strcmp(type, "ByteLevel"))
        return true;
    if (strcmp(type, "Sequence"))
        return false;
    const nc_json *last = NULL;
    NC_JSON_EACH(item, nc_json_get(v, "pretokenizers"))
        last = item;
    return last && !strcmp(nc_json_string(nc_json_get(last, "type"), ""), "ByteLevel");
}

static int by_id(const void *a, const void *b)
{
    const nc_added *x = a, *y = b;
    return (x->id > y->id) - (x->id < y->id);
}

static int add_token(nc_tokenizer *t, const nc_json *v, int64_t id, nc_error *e)
{
    const nc_json *content = nc_json_get(v, "content");
    if (!nc_json_is(content, NC_JSON_STRING) || id < 0 || id >= NC_VOCAB_LIMIT)
        return nc_fail(e, NC_EFORMAT, "added token (line %d) needs a string \"content\" and an \"id\" between 0 and %d", v->line, NC_VOCAB_LIMIT - 1);
    bool special = nc_json_bool(nc_json_get(v, "special"), false);
    t->added[t->added_count++] = (nc_added){ (int32_t)id, keep(t->arena, content->text), nc_json_bool(nc_json_get(v, "single_word"), false),
        nc_json_bool(nc_json_get(v, "lstrip"), false), nc_json_bool(nc_json_get(v, "rstrip"), false),
        nc_json_bool(nc_json_get(v, "normalized"), !special), special };
    return NC_OK;
}

/* tokenizer.json's added_tokens, then those only tokenizer_config.json's added_tokens_decoder knows, as transformers does. */
static int read_added(nc_tokenizer *t, const nc_json *tree, const nc_json *config, nc_error *e)
{
    const nc_json *list = nc_json_get(tree, "added_tokens"), *more = nc_json_get(config, "added_tokens_decoder");
    size_t most = (size_t)(list ? list->count : 0) + (size_t)(more ? more->count : 0);
    t->added = NC_NEW_ARRAY(t->arena, nc_added, most + 1);
    nc_map *seen = nc_map_new(most);
    int status = NC_OK;
    NC_JSON_EACH(item, list) {
        int64_t id = -1;
        nc_json_int_exact(nc_json_get(item, "id"), &id);
        if ((status = add_token(t, item, id, e)) < 0)
            break;
        nc_map_set(seen, t->added[t->added_count - 1].content, id);
    }
    NC_JSON_EACH(item, status < 0 ? NULL : more) {
        int64_t id = -1;
        const nc_json *content = nc_json_get(item, "content");
        if (!nc_parse_int(item->key.p, &id) || !nc_json_is(content, NC_JSON_STRING) || nc_map_get(seen, content->text, NULL))
            continue;
        if ((status = add_token(t, item, id, e)) < 0)
            break;
        nc_map_set(seen, content->text, id);
    }
    nc_map_free(seen);
    NC_TRY(status);
    qsort(t->added, (size_t)t->added_count, sizeof *t->added, by_id);
    t->added_ids = nc_map_new((size_t)t->added_count);
    for (int i = 0; i < t->added_count; i++)
        nc_map_set(t->added_ids, t->added[i].content, i);
    return NC_OK;
}

/* Special tokens come first, so that of equal spellings theirs is found. A normalized token is looked for in normalized text, by its normalized spelling. */
static void build_tries(nc_tokenizer *t)
{
    nc_scratch *s = nc_scratch_lend(t);
    nc_trie_init(&t->plain);
    nc_trie_init(&t->normalized);
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < t->added_count; i++) {
            const nc_added *a = &t->added[i];
            if (a->special != (pass == 0) || !a->content.n)
                continue;
            if (!a->normalized) {
                nc_trie_add(&t->plain, a->content, i);
                t->has_plain = true;
                continue;
            }
            nc_aligned_set(&s->text, a->content, 0, false);
            if (t->normalizer && nc_utf8_valid(a->content))
                t->normalizer->run(t->normalizer, s);
            nc_trie_add(&t->normalized, nc_aligned_str(&s->text), i);
            t->has_normalized |= s->text.n > 0;
        }
    }
    nc_scratch_return(t, s);
}

/* Bytes each token stands for: the byte alphabet undone, or <0xNN>; other spellings as they are. */
static void build_bytes(nc_tokenizer *t)
{
    t->byte_at = nc_xmalloc(((size_t)t->size + 1) * sizeof *t->byte_at);
    nc_buf_reserve(&t->bytes, (size_t)t->size * 8);
    for (int32_t id = 0; id < t->size; id++) {
        nc_str token = nc_tokenizer_token(t, id);
        t->byte_at[id] = (uint32_t)t->bytes.n;
        unsigned byte;
        if (t->decodes_bytes) {
            if (!nc_bytelevel_decode(token, &t->bytes))
                nc_buf_add(&t->bytes, token.p, token.n);
        } else if (token.n == 6 && sscanf(token.p, "<0x%2X>", &byte) == 1 && token.p[5] == '>') {
            nc_buf_addc(&t->bytes, (char)byte);
        } else {
            nc_buf_add(&t->bytes, token.p ? token.p : "", token.n);
        }
    }
    t->byte_at[t->size] = (uint32_t)t->bytes.n;
}

static void keep_special(nc_tokenizer *t, const nc_json *config)
{
    NC_JSON_EACH(item, config) {
        const nc_json *text = nc_json_is(item, NC_JSON_OBJECT) ? nc_json_get(item, "content") : item;
        if (!nc_ends_with(item->key.p, "_token") || !nc_json_is(text, NC_JSON_STRING) || nc_json_get(t->special, item->key.p))
            continue;
        nc_json_set(t->arena, t->special, nc_arena_strdup(t->arena, item->key.p), nc_json_new_string(t->arena, keep(t->arena, text->text)));
    }
}

void nc_tokenizer_keep_template(nc_tokenizer *t, const char *name, nc_str text)
{
    nc_json_set(t->arena, t->templates, nc_arena_strdup(t->arena, name), nc_json_new_string(t->arena, keep(t->arena, text)));
}

static void keep_templates(nc_tokenizer *t, const nc_json *v)
{
    if (nc_json_is(v, NC_JSON_STRING))
        nc_tokenizer_keep_template(t, "default", v->text);
    NC_JSON_EACH(item, nc_json_is(v, NC_JSON_ARRAY) ? v : NULL) {
        const nc_json *text = nc_json_get(item, "template");
        if (nc_json_is(text, NC_JSON_STRING))
            nc_tokenizer_keep_template(t, nc_json_string(nc_json_get(item, "name"), "default"), text->text);
    }
    NC_JSON_EACH(item, nc_json_is(v, NC_JSON_OBJECT) ? v : NULL)
        if (nc_json_is(item, NC_JSON_STRING))
            nc_tokenizer_keep_template(t, item->key.p, item->text);
}

void nc_tokenizer_read_config(nc_tokenizer *t, const nc_json *config)
{
    keep_special(t, config);
    keep_templates(t, nc_json_get(config, "chat_template"));
    int64_t length;
    if (nc_json_int_exact(nc_json_get(config, "model_max_length"), &length) && length > 0 && length < (int64_t)1 << 40)
        t->max_length = length;
}

static int build(nc_tokenizer *t, const nc_json *tree, const nc_json *config, const char *file, nc_error *e)
{
    nc_build b = { .arena = t->arena, .file = file, .defer = defer, .tokenizer = t };
    if (!nc_json_is(tree, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "no JSON object");
    const nc_json *model = nc_json_get(tree, "model"), *decoder = nc_json_get(tree, "decoder");
    const char *type = nc_json_string(nc_json_get(model, "type"), nc_json_get(model, "merges") ? "BPE" : "");
    b.raw_bytes = !strcmp(type, "BPE") && !nc_json_bool(nc_json_get(model, "byte_fallback"), false) && ends_in_byte_level(nc_json_get(tree, "pre_tokenizer"));
    t->words_are_bytes = b.raw_bytes;
    NC_TRY(nc_normalizer_create(&b, nc_json_get(tree, "normalizer"), &t->normalizer, e));
    NC_TRY(nc_pretokenizer_create(&b, nc_json_get(tree, "pre_tokenizer"), &t->pretokenizer, e));
    NC_TRY(nc_model_create(&b, model, &t->model, e));
    NC_TRY(nc_post_create(&b, nc_json_get(tree, "post_processor"), &t->post, e));
    NC_TRY(nc_decoder_create(&b, decoder, &t->decoder, e));
    t->decodes_bytes = !strcmp(nc_json_string(nc_json_get(decoder, "type"), ""), "ByteLevel");
    NC_TRY(read_added(t, tree, config, e));
    t->size = nc_vocab_size(t->model->vocab);
    if (t->added_count && t->added[t->added_count - 1].id >= t->size)
        t->size = t->added[t->added_count - 1].id + 1;
    build_tries(t);
    build_bytes(t);
    nc_tokenizer_read_config(t, config);
    return NC_OK;
}

int nc_tokenizer_from_json(const nc_json *tree, const nc_json *config, const char *file, nc_tokenizer **out, nc_error *e)
{
    nc_arena *arena = nc_arena_new();
    nc_tokenizer *t = NC_NEW(arena, nc_tokenizer);
    t->arena = arena;
    t->special = nc_json_new(arena, NC_JSON_OBJECT);
    t->templates = nc_json_new(arena, NC_JSON_OBJECT);
    pthread_mutex_init(&t->lock, NULL);
    int status = build(t, tree, config, file, e);
    if (status < 0) {
        nc_tokenizer_free(t);
        return file ? nc_fail_in(e, "%s", file) : status;
    }
    *out = t;
    return NC_OK;
}

void nc_tokenizer_free(nc_tokenizer *t)
{
    if (!t)
        return;
    if (t->model)
        t->model->release(t->model);
    for (struct release *r = t->releases; r; r = r->next)
        r->call(r->object);
    while (t->idle) {
        nc_scratch *next = t->idle->next;
        nc_scratch_free(t->idle);
        t->idle = next;
    }
    nc_map_free(t->added_ids);
    free(t->plain.p);
    free(t->normalized.p);
    nc_buf_free(&t->bytes);
    free(t->byte_at);
    pthread_mutex_destroy(&t->lock);
    nc_arena_free(t->arena);
}

const nc_added *nc_tokenizer_added(const nc_tokenizer *t, int32_t id)
{
    int low = 0, high = t->added_count;
    while (low < high) {
        int middle = (low + high) / 2;
        if (t->added[middle].id < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low < t->added_count && t->added[low].id == id ? &t->added[low] : NULL;
}

int32_t nc_tokenizer_vocab_size(const nc_tokenizer *t)
{
    return t->size;
}

int32_t nc_tokenizer_id(const nc_tokenizer *t, nc_str token)
{
    int64_t index;
    if (nc_map_get(t->added_ids, token, &index))
        return t->added[index].id;
    return nc_vocab_id(t->model->vocab, token);
}

nc_str nc_tokenizer_token(const nc_tokenizer *t, int32_t id)
{
    const nc_added *a = nc_tokenizer_added(t, id);
    return a ? a->content : nc_vocab_token(t->model->vocab, id);
}

nc_str nc_tokenizer_bytes(const nc_tokenizer *t, int32_t id)
{
    if (id < 0 || id >= t->size)
        return (nc_str){ NULL, 0 };
    return (nc_str){ t->bytes.p + t->byte_at[id], t->byte_at[id + 1] - t->byte_at[id] };
}

bool nc_tokenizer_is_special(const nc_tokenizer *t, int32_t id)
{
    const nc_added *a = nc_tokenizer_added(t, id);
    return a && a->special;
}

bool nc_tokenizer_is_added(const nc_tokenizer *t, int32_t id)
{
    return nc_tokenizer_added(t, id) != NULL;
}

const char *nc_tokenizer_special(const nc_tokenizer *t, const char *what)
{
    char key[64];
    snprintf(key, sizeof key, "%s%s", what, nc_ends_with(what, "_token") ? "" : "_token");
    return nc_json_string(nc_json_get(t->special, key), NULL);
}

int32_t nc_tokenizer_special_id(const nc_tokenizer *t, const char *what)
{
    const char *text = nc_tokenizer_special(t, what);
    return text ? nc_tokenizer_id(t, nc_str_of(text)) : -1;
}

const char *nc_tokenizer_chat_template(const nc_tokenizer *t, const char *name)
{
    const nc_json *v = nc_json_get(t->templates, name ? name : "default");
    if (!v && !name && t->templates->count == 1)
        v = t->templates->first;
    return nc_json_string(v, NULL);
}

int64_t nc_tokenizer_model_max_length(const nc_tokenizer *t)
{
    return t->max_length;
}

size_t nc_tokenizer_memory(const nc_tokenizer *t)
{
    return nc_arena_bytes(t->arena) + t->model->memory(t->model) + t->bytes.capacity + ((size_t)t->size + 1) * sizeof *t->byte_at;
}
