/* embed.c - see embed.h: texts to ids, ids to rows in one program for any batch up to its capacity, rows to vectors. */
#include "infer/embed.h"

#include <stdlib.h>

#include "text/unicode.h"

enum { TEXTS = 64, LEAST_TOKENS = 1024 };        /* of a run of the program */

struct nc_embedder {
    nc_arena *arena;
    nc_embed_options o;
    nc_embed_modules modules;
    nc_loaded *loaded;
    nc_pool *pool;
    nc_program *program;
    nc_batch *batch;
    bool whole;                                  /* the model gives the vector itself (pairs) */
    int capacity, row_width, width, max_tokens, widest, pad;
    const char *prompt;
    int prompt_tokens;
};

struct text { int32_t *ids; int count; };

static bool is_pair(const nc_model *m) { return m->family->encode && !m->family->reads_text && m->family->outputs; }

/* ---- opening ---- */

static int choose_prompt(nc_embedder *x, nc_error *e)
{
    const char *name = x->o.prompt_name ? x->o.prompt_name : x->modules.default_prompt;
    x->prompt = x->o.prompt ? x->o.prompt : "";
    if (x->o.prompt || !name)
        return 0;
    x->prompt = nc_json_string(nc_json_get(x->modules.prompts, name), NULL);
    return x->prompt ? 0 : nc_fail(e, NC_ENOTFOUND, "%s: config_sentence_transformers.json has no prompt \"%s\"", x->loaded->folder, name);
}

/* The first of: asked for, sentence_bert_config.json, what both tokenizer and model take. */
static int choose_length(nc_embedder *x, nc_error *e)
{
    int64_t of_tokenizer = nc_tokenizer_model_max_length(x->loaded->tokenizer), most = x->loaded->model->max_positions;
    x->max_tokens = x->o.max_tokens ? x->o.max_tokens : x->modules.max_tokens;
    if (!x->max_tokens)
        x->max_tokens = (int)(of_tokenizer > 0 && (of_tokenizer < most || most < 1) ? of_tokenizer : most > 0 ? most : 512);
    if (most > 0 && x->max_tokens > most) {
        if (x->o.max_tokens)
            return nc_fail(e, NC_ELIMIT, "texts of %d tokens are asked for, %s has positions for %lld", x->max_tokens, x->loaded->folder, (long long)most);
        x->max_tokens = (int)most;
    }
    return 0;
}

static int choose_width(nc_embedder *x, nc_error *e)
{
    unsigned pooling = x->modules.pooling ? x->modules.pooling : NC_POOL_MEAN;
    if (x->o.pooling) {
        pooling = 0;
        NC_TRY(nc_embed_pooling(x->o.pooling, &pooling, e));
    }
    x->modules.pooling = pooling;
    x->width = x->whole ? x->row_width : nc_embed_pooled_width(pooling, x->row_width);
    x->widest = x->width;
    for (int i = 0; i < x->modules.steps; i++) {
        const nc_embed_step *s = &x->modules.step[i];
        if (s->is_dense && s->in != x->width)
            return nc_fail(e, NC_ESHAPE, "%s: a dense module takes %d numbers, what comes before it makes %d", x->loaded->folder, s->in, x->width);
        x->width = s->is_dense ? s->out : x->width;
        x->widest = x->width > x->widest ? x->width : x->widest;
    }
    return 0;
}

static nc_value *vectors_or_rows(const nc_model *m, nc_build *b)
{
    nc_encoded out = { 0 };
    if (!m->family->encode)
        return nc_model_decoder(m, b, NULL);
    m->family->encode(m, m->self, b, NC_TEXTS, &out);
    return is_pair(m) ? out.pooled : out.rows;
}

static int make_program(nc_embedder *x, int tokens, nc_error *e)
{
    nc_model *m = x->loaded->model;
    nc_program_free(x->program);
    x->program = nc_program_new(&(nc_program_options){ .compute = x->o.compute });
    nc_build *b = nc_program_build(x->program);
    x->capacity = LEAST_TOKENS;
    while (x->capacity < tokens)
        x->capacity *= 2;
    nc_build_capacity(b, "tokens", x->capacity);
    nc_build_capacity(b, "sequences", TEXTS);
    nc_build_capacity(b, "scored", 1);
    nc_value *y = nc_cast(b->g, vectors_or_rows(m, b), NC_F32);
    x->row_width = (int)nc_shape_last(&y->shape);
    nc_build_keep(b, y, "rows");
    NC_TRY(nc_program_finish(x->program, NULL, nc_pool_threads(x->pool), e));
    return nc_program_allocate(x->program, NULL, e);
}

static int open_parts(nc_embedder *x, const char *name, nc_error *e)
{
    const char *folder;
    NC_TRY(nc_load_resolve(x->arena, name, &folder, e));
    NC_TRY(nc_embed_modules_read(x->arena, folder, &x->modules, e));
    x->pool = nc_pool_new(x->o.threads);
    nc_load_options load = { .weights = { x->o.compute, true, x->pool, nc_kernels_best() } };
    NC_TRY(nc_load(x->modules.transformer, &load, &x->loaded, e));
    nc_model *m = x->loaded->model;
    x->whole = is_pair(m);
    if (m->family->encode ? !m->family->reads_text && !x->whole : !m->family->decoder || m->family->encoder)
        return nc_fail(e, NC_EUNSUPPORTED, "%s: a %s makes no vectors of texts", folder, m->family->name);
    if (!x->loaded->tokenizer)
        return nc_fail(e, NC_ENOTFOUND, "%s: no tokenizer; texts cannot be read without one", folder);
    x->pad = m->pads_text ? nc_tokenizer_special_id(x->loaded->tokenizer, "pad") : -1;
    x->batch = nc_batch_new();
    NC_TRY(choose_prompt(x, e));
    NC_TRY(choose_length(x, e));
    NC_TRY(make_program(x, 0, e));
    return choose_width(x, e);
}

int nc_embedder_open(const char *folder, const nc_embed_options *o, nc_embedder **out, nc_error *e)
{
    nc_embedder *x = nc_xcalloc(1, sizeof *x);
    x->arena = nc_arena_new();
    x->o = *o;
    int status = open_parts(x, folder, e);
    if (status < 0) {
        nc_embedder_free(x);
        return status;
    }
    *out = x;
    return 0;
}

void nc_embedder_free(nc_embedder *x)
{
    if (!x)
        return;
    nc_program_free(x->program);
    nc_batch_free(x->batch);
    nc_loaded_free(x->loaded);
    nc_pool_free(x->pool);
    nc_arena_free(x->arena);
    free(x);
}

nc_loaded *nc_embedder_loaded(const nc_embedder *x) { return x->loaded; }
int nc_embedder_width(const nc_embedder *x) { return x->width; }

/* ---- texts to ids ---- */

static void add_lower(nc_buf *out, nc_str s)
{
    for (size_t at = 0; at < s.n;) {
        uint32_t c, lower[3];
        char bytes[4];
        int n = nc_utf8_decode(s.p + at, s.n - at, &c);
        if (n < 1) {                             /* the tokenizer says what is wrong with it */
            nc_buf_add(out, s.p + at, s.n - at);
            return;
        }
        at += (size_t)n;
        n = nc_char_to_lower(c, lower);
        for (int i = 0; i < n; i++)
            nc_buf_add(out, bytes, (size_t)nc_utf8_encode(lower[i], bytes));
    }
}

/* Ids with the special ones; what is too long loses the end of the text, not the special tokens behind it. */
static int ids_of(const nc_embedder *x, nc_arena *a, nc_str text, struct text *out, nc_error *e)
{
    nc_encoding enc = { 0 };
    nc_buf whole = { 0 };
    nc_buf_adds(&whole, x->prompt);
    if (x->modules.lower_case || x->loaded->model->lowers_text)
        add_lower(&whole, text);
    else
        nc_buf_add(&whole, text.p, text.n);
    int status = nc_tokenizer_encode_full(x->loaded->tokenizer, (nc_str){ whole.p ? whole.p : "", whole.n }, NULL, NC_ENCODE_SPECIAL, &enc, e);
    nc_buf_free(&whole);
    if (status < 0)
        return status;
    int n = (int)enc.n, behind = 0, kept, length = x->pad >= 0 && n < x->max_tokens ? x->max_tokens : 0;
    while (behind < n && enc.sequence[n - 1 - behind] < 0)
        behind++;
    kept = n > x->max_tokens ? x->max_tokens : n;
    behind = behind < kept ? behind : kept;
    length = length ? length : kept;
    *out = (struct text){ NC_NEW_ARRAY(a, int32_t, length + 1), length };
    for (int i = 0; i < length; i++)
        out->ids[i] = i >= kept ? x->pad : enc.ids[i < kept - behind ? i : n - kept + i];
    nc_encoding_free(&enc);
    return 0;
}

/* ---- ids to vectors ---- */

static void vector_of(const nc_embedder *x, const float *rows, int count, int prompt_tokens, float *v, float *room)
{
    if (x->whole)
        memcpy(v, rows, sizeof *v * (size_t)x->row_width);
    else
        nc_embed_pool(x->modules.pooling, rows, count, x->row_width, x->modules.skip_prompt ? prompt_tokens : 0, v);
    nc_embed_steps(&x->modules, v, x->whole ? x->row_width : nc_embed_pooled_width(x->modules.pooling, x->row_width), room);
    if (x->o.normalize)
        nc_embed_unit(v, x->width);
}

static int run_some(nc_embedder *x, const struct text *texts, int count, int tokens, float *out, nc_error *e)
{
    nc_seq seqs[TEXTS];
    for (int i = 0; i < count; i++)
        seqs[i] = (nc_seq){ .ids = texts[i].ids, .count = texts[i].count, .slot = -1 };
    if (tokens > x->capacity)
        NC_TRY(make_program(x, tokens, e));
    NC_TRY(nc_model_prepare(x->loaded->model, x->batch, seqs, count, e));
    nc_batch_set_count(x->batch, "sequences", count);
    NC_TRY(nc_program_run(x->program, x->batch, &(nc_run_options){ .pool = x->pool, .kernels = nc_kernels_best() }, e));
    const float *rows = nc_program_value(x->program, "rows")->data;
    float *v = nc_xmalloc(sizeof *v * 2 * ((size_t)x->widest + 1)), *room = v + x->widest + 1;
    for (int i = 0; i < count; i++, out += x->width) {
        vector_of(x, rows, texts[i].count, x->prompt_tokens, v, room);
        memcpy(out, v, sizeof *out * (size_t)x->width);
        rows += (int64_t)(x->whole ? 1 : texts[i].count) * x->row_width;
    }
    free(v);
    return 0;
}

/* Tokens that the prompt alone makes, the special ones before it included, as sentence-transformers counts them. */
static int count_prompt(nc_embedder *x, nc_arena *a, nc_error *e)
{
    struct text prompt;
    x->prompt_tokens = 0;
    if (!*x->prompt || !x->modules.skip_prompt)
        return 0;
    NC_TRY(ids_of(x, a, (nc_str){ "", 0 }, &prompt, e));
    x->prompt_tokens = prompt.count > 1 && nc_tokenizer_is_special(x->loaded->tokenizer, prompt.ids[prompt.count - 1]) ? prompt.count - 1 : prompt.count;
    return 0;
}

/* A text without a token (the empty one, where the tokenizer adds nothing) has the vector zero and is not run. */
static int run_all(nc_embedder *x, nc_arena *a, const nc_str *texts, int count, float *out, int *tokens, nc_error *e)
{
    struct text *t = NC_NEW_ARRAY(a, struct text, count + 1);
    NC_TRY(count_prompt(x, a, e));
    for (int i = 0; i < count; i++) {
        NC_TRY(ids_of(x, a, texts[i], &t[i], e));
        if (tokens)
            tokens[i] = t[i].count;
    }
    for (int from = 0, to; from < count; from = to) {
        int sum = 0;
        for (to = from; to < count && to - from < TEXTS && t[to].count && (to == from || sum + t[to].count <= x->capacity); to++)
            sum += t[to].count;
        if (to == from)
            memset(out + (int64_t)to++ * x->width, 0, sizeof *out * (size_t)x->width);
        else
            NC_TRY(run_some(x, t + from, to - from, sum, out + (int64_t)from * x->width, e));
    }
    return 0;
}

int nc_embedder_run(nc_embedder *x, const nc_str *texts, int count, float *out, int *tokens, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    int status = run_all(x, a, texts, count, out, tokens, e);
    nc_arena_free(a);
    return status;
}
