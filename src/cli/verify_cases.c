/* verify_cases.c - the decoding cases of golden.json (generate_cases), and beam.<case>.sequences, through the engine: greedy search with every processor, beams, lengths, ends. */
#include <math.h>
#include <pthread.h>
#include <stdlib.h>

#include "cli/verify.h"
#include "infer/decoding.h"

enum { MOST_TOKENS = 512 };

/* What a job answers: its texts, filled up with the pad. */
struct answers {
    pthread_mutex_t lock;
    pthread_cond_t ended;
    int32_t *ids;                    /* [choices][MOST_TOKENS] */
    int *count;
    double *score;
    int choices, open, failed;
    nc_error error;
};

static bool on_token(void *context, int choice, const nc_token *t)
{
    struct answers *x = context;
    if (x->count[choice] < MOST_TOKENS)
        x->ids[choice * MOST_TOKENS + x->count[choice]++] = t->id;
    return true;
}

static void on_score(void *context, int choice, double score) { ((struct answers *)context)->score[choice] = score; }

static void on_done(void *context, int choice, nc_finish finish, const nc_error *e)
{
    struct answers *x = context;
    (void)choice;
    pthread_mutex_lock(&x->lock);
    if (finish == NC_FINISH_ERROR) {
        x->failed = e->code;
        x->error = *e;
    }
    x->open--;
    pthread_cond_signal(&x->ended);
    pthread_mutex_unlock(&x->lock);
}

static int run_job(nc_verify *v, nc_engine *g, nc_job *job, struct answers *x, nc_error *e)
{
    uint64_t id;
    int n = job->choices;
    *x = (struct answers){ .ids = NC_NEW_ARRAY(v->arena, int32_t, n * MOST_TOKENS), .count = NC_NEW_ARRAY(v->arena, int, n), .score = NC_NEW_ARRAY(v->arena, double, n), .choices = n, .open = n };
    job->token = on_token;
    job->done = on_done;
    job->score = on_score;
    job->context = x;
    job->keep_stop = true;
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->ended, NULL);
    int status = nc_engine_submit(g, job, &id, e);
    pthread_mutex_lock(&x->lock);
    while (status == 0 && x->open > 0)
        pthread_cond_wait(&x->ended, &x->lock);
    pthread_mutex_unlock(&x->lock);
    pthread_cond_destroy(&x->ended);
    pthread_mutex_destroy(&x->lock);
    if (status == 0 && x->failed < 0) {
        *e = x->error;
        status = x->failed;
    }
    return status;
}

/* Row `choice` of the expected ids against prompt (where it is part of them) and text, then the pad. */
static int64_t wrong_ids(const nc_json *row, const int32_t *prompt, int prompt_count, const struct answers *x, int choice, int32_t pad)
{
    int64_t wrong = 0;
    int i = 0, have = prompt_count + x->count[choice];
    NC_JSON_EACH(item, row) {
        int32_t ours = i < prompt_count ? prompt[i] : i < have ? x->ids[choice * MOST_TOKENS + i - prompt_count] : pad;
        wrong += nc_json_int(item, -1) != ours;
        i++;
    }
    return wrong + (have > i ? have - i : 0);
}

static void compare(nc_verify *v, const char *name, const nc_json *want, const nc_json *scores, const int32_t *prompt, int prompt_count, const struct answers *x, int32_t pad)
{
    int64_t wrong = want->count == x->choices ? 0 : want->count;
    double worst = 0;
    for (int c = 0; c < x->choices && !wrong; c++)
        wrong += wrong_ids(nc_json_at(want, c), prompt, prompt_count, x, c, pad);
    nc_verify_add(v, name, (double)wrong, (double)wrong, 0, "ids that differ");
    for (int c = 0; scores && c < x->choices; c++)
        worst = nc_worse(worst, fabs(nc_json_double(nc_json_at(scores, c), NAN) - x->score[c]) / fmax(1, fabs(x->score[c])));
    if (scores)
        nc_verify_add(v, nc_arena_printf(v->arena, "%s scores", name), worst, worst, 2e-5, "relative where above 1");
}

struct how { nc_engine *engine; const nc_seq *from; bool with_prompt; };

static int check_case(nc_verify *v, const struct how *how, const nc_json *c, nc_error *e)
{
    const char *name = nc_arena_printf(v->arena, "generate.case %s", nc_json_string(nc_json_get(c, "name"), ""));
    const nc_json *options = nc_json_get(c, "options");
    nc_decoding d;
    struct answers x;
    nc_decoding_init(&d);
    if (nc_json_get(c, "defaults"))
        NC_TRY(nc_decoding_read(&d, v->arena, v->f32->generation, "generation_config.json", e));
    NC_TRY(nc_decoding_read(&d, v->arena, options, "golden.json", e));
    int32_t start = d.decoder_start;
    bool encodes = v->f32->model->family->encoder != NULL;
    nc_job job = { .prompt = encodes ? &start : how->from->ids, .prompt_count = encodes ? 1 : how->from->count, .source = how->from->source, .source_count = how->from->source_count };
    nc_decoding_apply(&d, &job);
    job.stop_ids = d.process.eos.p;
    job.stop_id_count = d.process.eos.n;
    NC_TRY(run_job(v, how->engine, &job, &x, e));
    compare(v, name, nc_json_get(c, "ids"), nc_json_get(c, "scores"), job.prompt, how->with_prompt ? job.prompt_count : 0, &x, (int32_t)nc_json_int(nc_json_get(v->f32->generation, "pad_token_id"), 0));
    return 0;
}

/* beam.<case>.sequences and .scores, with the case's arguments under golden.json's "beam". */
static int check_beam(nc_verify *v, const struct how *how, const nc_json *c, nc_pictures *picture, nc_error *e)
{
    const nc_stored *want = nc_verify_tensor(v, "beam.%s.sequences", c->key.p), *scores = nc_verify_tensor(v, "beam.%s.scores", c->key.p);
    nc_decoding d;
    struct answers x;
    nc_decoding_init(&d);
    NC_TRY(nc_decoding_read(&d, v->arena, c, "golden.json", e));
    nc_job job = { .prompt = how->from->ids, .prompt_count = how->from->count, .source = how->from->source, .source_count = how->from->source_count, .pictures = &picture,
                   .picture_count = picture != NULL };
    nc_decoding_apply(&d, &job);
    job.stop_ids = d.process.eos.p;
    job.stop_id_count = d.process.eos.n;
    if (!want || want->shape.rank != 2 || want->shape.dim[0] != job.choices)
        return nc_fail(e, NC_EFORMAT, "%s: beam.%s.sequences is no table of %d rows", v->folder, c->key.p, job.choices);
    NC_TRY(run_job(v, how->engine, &job, &x, e));
    int width = (int)want->shape.dim[1], n = job.choices;
    int32_t *ids = NC_NEW_ARRAY(v->arena, int32_t, n * width);
    float *ours = NC_NEW_ARRAY(v->arena, float, n);
    for (int i = 0; i < n * width; i++) {
        int row = i / width, at = i % width - job.prompt_count;
        ids[i] = at < 0 ? job.prompt[i % width] : at < x.count[row] ? x.ids[row * MOST_TOKENS + at] : d.pad;
        ours[row] = (float)x.score[row];
    }
    nc_verify_ids(v, want->name, want, ids, n * width);
    if (scores)
        nc_verify_compare(v, scores->name, scores, ours, n, 2e-5, NULL, 1);
    return 0;
}

/* Tensors that repeat a case of the same name. */
static void mark_repeated(nc_verify *v)
{
    static const char *const names[][2] = { { "generate.beam4_ids", "beam4" }, { "generate.rep_ids", "repetition_penalty" }, { "generate.ngram_ids", "no_repeat_ngram" } };
    for (int i = 0; i < NC_COUNT(names); i++) {
        const nc_stored *t = nc_verify_has(v, names[i][0]) ? nc_verify_tensor(v, "%s", names[i][0]) : NULL;
        const nc_json *row = NULL;
        NC_JSON_EACH(c, nc_json_get(v->golden, "generate_cases"))
            if (nc_str_eqz(nc_json_get(c, "name")->text, names[i][1]))
                row = nc_json_at(nc_json_get(c, "ids"), 0);
        if (!t || !row)
            continue;
        int n = (int)nc_shape_count(&t->shape);
        int32_t *ids = NC_NEW_ARRAY(v->arena, int32_t, row->count + 1);
        for (int k = 0; k < row->count; k++)
            ids[k] = (int32_t)nc_json_int(nc_json_at(row, k), -1);
        nc_verify_ids(v, t->name, t, ids, row->count < n ? row->count : n);
    }
}

int nc_verify_cases(nc_verify *v, const nc_seq *from, nc_pictures *picture, nc_error *e)
{
    const nc_json *cases = nc_json_get(v->golden, "generate_cases"), *beams = nc_json_get(v->golden, "beam");
    if (!cases && !beams)
        return 0;
    struct how how = { .from = from, .with_prompt = v->f32->model->family->encoder != NULL };
    nc_engine_options o = { .sequences = 8, .pool = v->pool };
    NC_TRY(nc_engine_new(v->f32, &o, &how.engine, e));
    int status = 0;
    NC_JSON_EACH(c, cases)
        status = status < 0 ? status : check_case(v, &how, c, e);
    NC_JSON_EACH(c, beams)
        status = status < 0 ? status : check_beam(v, &how, c, picture, e);
    nc_engine_free(how.engine);
    mark_repeated(v);
    return status;
}
