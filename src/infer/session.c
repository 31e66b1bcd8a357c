/* session.c - see session.h. */
#include "infer/session.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

struct nc_session {
    nc_arena *arena;
    nc_session_options o;
    nc_pool *pool;
    nc_loaded *loaded;
    nc_engine *engine;
    nc_conversation *conversation;   /* NULL without a tokenizer, and for encoder-decoder models */
    nc_decoding decoding;            /* the folder's */
};

static int choose_dtype(const char *folder, const char *wanted, nc_dtype *out, nc_error *e)
{
    nc_loaded *l = NULL;
    nc_dtype stored = NC_F32;
    if (wanted) {
        if (nc_dtype_parse(wanted, out) == 0 && (*out == NC_F32 || *out == NC_BF16))
            return 0;
        return nc_fail(e, NC_EINVAL, "dtype \"%s\" is no dtype to compute in; f32 and bf16 are", wanted);
    }
    nc_load_options look = { .config_only = true, .no_front = true };
    NC_TRY(nc_load(folder, &look, &l, e));
    const char *name = nc_json_string(nc_json_get(l->config, "torch_dtype"), nc_json_string(nc_json_get(l->config, "dtype"), NULL));
    if (!name)
        name = nc_json_string(nc_json_path(l->config, "text_config.torch_dtype"), "float32");
    *out = nc_dtype_parse(name, &stored) == 0 && (stored == NC_BF16 || stored == NC_F16) ? NC_BF16 : NC_F32;
    nc_loaded_free(l);
    return 0;
}

static int open_parts(nc_session *s, const char *folder, nc_error *e)
{
    nc_dtype compute;
    NC_TRY(choose_dtype(folder, s->o.dtype, &compute, e));
    s->pool = nc_pool_new(s->o.threads);
    nc_load_options load = { .weights = { compute, true, s->pool, nc_kernels_best() }, .ignore_keys = s->o.ignore_keys };
    NC_TRY(nc_load(folder, &load, &s->loaded, e));
    nc_loaded *l = s->loaded;
    nc_decoding_init(&s->decoding);
    NC_TRY(nc_decoding_read(&s->decoding, s->arena, l->generation ? l->generation : l->config, l->generation ? "generation_config.json" : "config.json", e));
    NC_JSON_EACH(item, l->generation)
        if (!nc_decoding_names(item->key) && item->type != NC_JSON_NULL)
            nc_warn("generation_config.json: line %d: \"%s\" is not known here and changes nothing", item->line, item->key.p);
    if (l->tokenizer && !l->model->family->encoder) {
        nc_conversation_options c = { .tokenizer = l->tokenizer, .template_name = s->o.template_name, .image_token_id = l->model->image_token_id,
                                      .video_token_id = l->model->video_token_id, .processor = l->processor };
        NC_TRY(nc_conversation_new(&c, &s->conversation, e));
    }
    if (!s->o.visual.frames)
        s->o.visual.frames = nc_visual_frames(s->arena, l->folder);
    nc_engine_options engine = s->o.engine;
    engine.pool = s->pool;
    engine.sequences = engine.sequences > 0 && engine.sequences < s->decoding.beams ? s->decoding.beams : engine.sequences;
    return nc_engine_new(l, &engine, &s->engine, e);
}

int nc_session_open(const char *folder, const nc_session_options *o, nc_session **out, nc_error *e)
{
    nc_session *s = nc_xcalloc(1, sizeof *s);
    s->arena = nc_arena_new();
    s->o = o ? *o : (nc_session_options){ 0 };
    int status = open_parts(s, folder, e);
    if (status < 0) {
        nc_session_close(s);
        return status;
    }
    *out = s;
    return 0;
}

void nc_session_close(nc_session *s)
{
    if (!s)
        return;
    nc_engine_free(s->engine);
    nc_conversation_free(s->conversation);
    nc_loaded_free(s->loaded);
    nc_pool_free(s->pool);
    nc_arena_free(s->arena);
    free(s);
}

nc_engine *nc_session_engine(const nc_session *s) { return s->engine; }
nc_loaded *nc_session_loaded(const nc_session *s) { return s->loaded; }

const nc_decoding *nc_session_decoding(const nc_session *s) { return &s->decoding; }
void nc_session_defaults(const nc_session *s, nc_generation_options *out) { nc_generation_by(&s->decoding, out); }

/* ---- reading ---- */
void nc_reading_free(nc_reading *r)
{
    for (int i = 0; i < r->prompt.picture_count; i++)
        nc_pictures_free(r->pictures[i]);
    nc_arena_free(r->arena);
    *r = (nc_reading){ 0 };
}

/* Decodes one attachment; its feature rows in the text. The pixels' arena dies at once, the pictures keep their own copy. */
static int see(nc_session *s, const nc_attachment *at, int pictures, nc_arena *keep, nc_visual *shape, nc_pictures **out, int *rows, nc_error *e)
{
    const nc_loaded *l = s->loaded;
    const nc_model *m = l->model;
    nc_visual v;
    if (!m->family->media_rows && !m->family->encoder_rows)
        return nc_fail(e, NC_EINVAL, "%s: this model reads text only", at->name);
    nc_arena *a = nc_arena_new();
    int status = at->bytes ? nc_visual_decode(l->image, l->video, a, at->is_video, at->bytes, at->n, at->name, &s->o.visual, &v, e)
                           : nc_visual_load(l->image, l->video, a, at->is_video, at->name, &s->o.visual, &v, e);
    if (status == 0) {
        v.pictures = pictures;
        *out = nc_pictures_new(&v);
        *rows = m->family->media_rows ? m->family->media_rows(m, m->self, nc_pictures_media(*out)) : 0;
        *shape = v;
        shape->pixels = NULL;
        shape->u8 = NULL;
        shape->times = v.times ? nc_arena_copy(keep, v.times, sizeof *v.times * (size_t)v.frames) : NULL;
    }
    nc_arena_free(a);
    return status;
}

static int read_messages(nc_session *s, nc_conversation_request *r, const nc_attachment *at, int count, nc_reading *out, nc_error *e)
{
    int *rows = NC_NEW_ARRAY(out->arena, int, count + 1);
    nc_visual *shapes = NC_NEW_ARRAY(out->arena, nc_visual, count + 1);
    const nc_visual **media = NC_NEW_ARRAY(out->arena, const nc_visual *, count + 1);
    nc_conversation_ids ids = { 0 };
    out->pictures = NC_NEW_ARRAY(out->arena, nc_pictures *, count + 1);
    int pictures = 0;
    for (int i = 0; i < count; i++)
        pictures += !at[i].is_video;
    for (int i = 0; i < count; i++) {
        media[i] = &shapes[i];
        NC_TRY(see(s, &at[i], pictures, out->arena, &shapes[i], &out->pictures[i], &rows[i], e));
        out->prompt.picture_count = i + 1;
    }
    r->media_rows = rows;
    r->media = media;
    r->media_count = count;
    NC_TRY(nc_conversation_encode(s->conversation, out->arena, r, &ids, e));
    out->prompt.ids = ids.ids;
    out->prompt.count = ids.count;
    out->prompt.pictures = out->pictures;
    return 0;
}

static int needs_tokenizer(const nc_session *s, nc_error *e)
{
    return s->loaded->tokenizer ? 0 : nc_fail(e, NC_EUNSUPPORTED, "%s has no tokenizer; it cannot read text", s->loaded->folder);
}

/* ---- encoder-decoder models ---- */
/* A text that begins with an added token is a task's prompt and stands alone; others come after the start token. */
static int decoder_prompt(nc_session *s, nc_str text, nc_reading *out, nc_error *e)
{
    nc_ids ids = { 0 };
    int32_t start;
    NC_TRY(nc_decoder_start(s->loaded, &start, e));
    int status = text.n ? nc_tokenizer_encode(s->loaded->tokenizer, text, 0, &ids, e) : 0;
    bool alone = ids.n && nc_tokenizer_is_added(s->loaded->tokenizer, ids.p[0]);
    int32_t *all = NC_NEW_ARRAY(out->arena, int32_t, ids.n + 1);
    all[0] = start;
    if (ids.n)
        memcpy(all + !alone, ids.p, sizeof *all * ids.n);
    out->prompt.ids = all;
    out->prompt.count = (int)ids.n + !alone;
    nc_ids_free(&ids);
    return status;
}

static int read_source(nc_session *s, nc_str text, const nc_attachment *at, int count, nc_reading *out, nc_error *e)
{
    const nc_loaded *l = s->loaded;
    const bool in_text = nc_reads_source(l->model);
    int *rows = NC_NEW_ARRAY(out->arena, int, count + 1);
    out->pictures = NC_NEW_ARRAY(out->arena, nc_pictures *, count + 1);
    for (int i = 0; i < count; i++) {
        nc_visual shape;
        NC_TRY(see(s, &at[i], 1, out->arena, &shape, &out->pictures[i], &rows[i], e));
        out->prompt.picture_count = i + 1;
        if (in_text && rows[i] < 1)
            return nc_fail(e, NC_EINVAL, "%s: this model reads no %s of %d x %d", at[i].name, at[i].is_video ? "videos" : "pictures", shape.width, shape.height);
    }
    out->prompt.pictures = out->pictures;
    if (!in_text)
        return decoder_prompt(s, text, out, e);
    nc_conversation_ids source = { 0 };
    NC_TRY(nc_source_encode(&(nc_source_request){ .tokenizer = l->tokenizer, .processor = l->processor, .media_token = l->model->image_token_id, .text = text, .media_rows = rows,
                                                  .media_count = count }, out->arena, &source, e));
    out->prompt.source = source.ids;
    out->prompt.source_count = source.count;
    return decoder_prompt(s, (nc_str){ 0 }, out, e);
}

int nc_session_read_source(nc_session *s, nc_str text, const nc_attachment *at, int count, nc_reading *out, nc_error *e)
{
    NC_TRY(needs_tokenizer(s, e));
    *out = (nc_reading){ .arena = nc_arena_new() };
    int status = read_source(s, text, at, count, out, e);
    if (status < 0)
        nc_reading_free(out);
    return status;
}

/* The texts of the last message. */
static nc_str last_text(nc_arena *a, const nc_json *messages)
{
    const nc_json *content = messages && messages->count ? nc_json_get(nc_json_at(messages, messages->count - 1), "content") : NULL;
    nc_buf b = { 0 };
    if (nc_json_is(content, NC_JSON_STRING))
        nc_buf_add(&b, content->text.p, content->text.n);
    if (nc_json_is(content, NC_JSON_ARRAY))
        NC_JSON_EACH(part, content) {
            const nc_json *text = nc_json_get(part, "text");
            if (text)
                nc_buf_add(&b, text->text.p, text->text.n);
        }
    nc_str out = { nc_arena_strndup(a, b.n ? b.p : "", b.n), b.n };
    nc_buf_free(&b);
    return out;
}

/* An encoder reads the last question alone, and of all media those that were shown last: attachments [*first, *first + *count). */
static void last_media(const nc_json *messages, int *first, int *count)
{
    int before = 0, begin = 0, n = 0;
    NC_JSON_EACH(m, messages) {
        const nc_json *content = nc_json_get(m, "content");
        int here = 0;
        NC_JSON_EACH(part, nc_json_is(content, NC_JSON_ARRAY) ? content : NULL) {
            const char *type = nc_json_string(nc_json_get(part, "type"), "");
            here += !strcmp(type, "image") || !strcmp(type, "video");
        }
        begin = here ? before : begin;
        n = here ? here : n;
        before += here;
    }
    if (before == *count) {
        *first = begin;
        *count = n;
    }
}

int nc_session_read(nc_session *s, const nc_json *messages, const nc_json *tools, const nc_json *extra, const nc_attachment *at, int count, nc_reading *out, nc_error *e)
{
    NC_TRY(needs_tokenizer(s, e));
    *out = (nc_reading){ .arena = nc_arena_new() };
    if (s->loaded->model->family->encoder) {
        int first = 0;
        last_media(messages, &first, &count);
        int read = read_source(s, last_text(out->arena, messages), at + first, count, out, e);
        if (read < 0)
            nc_reading_free(out);
        return read;
    }
    nc_conversation_request r = { .messages = messages, .tools = tools, .extra = extra, .generate = true };
    int status = read_messages(s, &r, at, count, out, e);
    if (status < 0)
        nc_reading_free(out);
    return status;
}

int nc_session_read_text(nc_session *s, nc_str text, nc_reading *out, nc_error *e)
{
    nc_conversation_ids ids = { 0 };
    NC_TRY(needs_tokenizer(s, e));
    if (s->loaded->model->family->encoder)
        return nc_session_read_source(s, text, NULL, 0, out, e);
    *out = (nc_reading){ .arena = nc_arena_new() };
    int status = nc_conversation_text(s->conversation, out->arena, text, &ids, e);
    if (status < 0) {
        nc_reading_free(out);
        return status;
    }
    out->prompt = (nc_prompt){ .ids = ids.ids, .count = ids.count };
    return 0;
}

/* ---- asking ---- */
static int write_answer(nc_generation *x, nc_answer_fn *piece, void *context, nc_answer *out, nc_error *e)
{
    double begin = nc_now();
    int status = 0;
    for (nc_piece *p; (p = nc_generation_next(x, -1)); nc_piece_free(p)) {
        if (p->text.n && !out->text.n)
            out->first_seconds = nc_now() - begin;
        if (p->text.n)
            nc_buf_add(&out->text, p->text.p, p->text.n);
        if (p->text.n && piece && !piece(context, (nc_str){ p->text.p, p->text.n }))
            nc_generation_cancel(x);
        out->finish = p->finish;
        if (p->finish == NC_FINISH_ERROR) {
            if (e)
                *e = p->error;
            status = p->error.code;
        }
    }
    out->seconds = nc_now() - begin;
    out->prompt_tokens = nc_generation_prompt_tokens(x);
    out->new_tokens = nc_generation_new_tokens(x);
    return status;
}

int nc_session_ask(nc_session *s, const nc_json *messages, const nc_attachment *at, int count, const nc_generation_options *o, nc_answer_fn *piece, void *context,
                   nc_answer *out, nc_error *e)
{
    nc_reading r;
    nc_generation *x = NULL;
    *out = (nc_answer){ 0 };
    NC_TRY(nc_session_read(s, messages, NULL, NULL, at, count, &r, e));
    nc_generation_options one = *o;
    one.choices = 1;
    int status = nc_generation_start(s->engine, &r.prompt, &one, &x, e);
    nc_reading_free(&r);
    NC_TRY(status);
    status = write_answer(x, piece, context, out, e);
    nc_generation_free(x);
    return status;
}

nc_json *nc_session_message(nc_arena *a, const char *role, const char *text, const nc_attachment *at, int count)
{
    nc_json *message = nc_json_new(a, NC_JSON_OBJECT), *parts = nc_json_new(a, NC_JSON_ARRAY);
    nc_json_set(a, message, "role", nc_json_new_string(a, nc_str_of(role)));
    for (int i = 0; i < count; i++) {
        nc_json *part = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, part, "type", nc_json_new_string(a, nc_str_of(at[i].is_video ? "video" : "image")));
        nc_json_append(parts, part);
    }
    nc_json *part = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, part, "type", nc_json_new_string(a, NC_STR("text")));
    nc_json_set(a, part, "text", nc_json_new_string(a, nc_str_of(text)));
    nc_json_append(parts, part);
    nc_json_set(a, message, "content", count ? parts : nc_json_new_string(a, nc_str_of(text)));
    return message;
}

int nc_session_caption(nc_session *s, const char *text, const nc_attachment *at, int count, const nc_generation_options *o, nc_answer_fn *piece, void *context,
                       nc_answer *out, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_json *messages = nc_json_new(a, NC_JSON_ARRAY);
    nc_json_append(messages, nc_session_message(a, "user", text, at, count));
    int status = nc_session_ask(s, messages, at, count, o, piece, context, out, e);
    nc_arena_free(a);
    return status;
}
