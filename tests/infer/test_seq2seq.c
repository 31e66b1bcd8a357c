/* test_seq2seq.c - encoder-decoder models and beams in the engine: the same text alone and among others, whatever a step holds; the encoder's pages are given back; what cannot run is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "infer/engine.h"

enum { TEXTS = 4, TOKENS = 24, JOBS = 6 };

struct answer { pthread_mutex_t lock; pthread_cond_t ended; int32_t ids[TEXTS][TOKENS]; float logprob[TEXTS][TOKENS]; nc_token first; int count[TEXTS], open, failed; double score[TEXTS]; char message[1024]; };

static bool on_token(void *context, int choice, const nc_token *t)
{
    struct answer *x = context;
    assert_true(x->count[choice] < TOKENS);
    x->first = x->count[choice] ? x->first : *t;
    x->logprob[choice][x->count[choice]] = t->logprob;
    x->ids[choice][x->count[choice]++] = t->id;
    return true;
}

static void on_score(void *context, int choice, double score) { ((struct answer *)context)->score[choice] = score; }

static void on_done(void *context, int choice, nc_finish finish, const nc_error *e)
{
    struct answer *x = context;
    (void)choice;
    pthread_mutex_lock(&x->lock);
    if (finish == NC_FINISH_ERROR) {
        x->failed = 1;
        snprintf(x->message, sizeof x->message, "%s", e->message);
    }
    x->open--;
    pthread_cond_signal(&x->ended);
    pthread_mutex_unlock(&x->lock);
}

static void begin(nc_engine *g, nc_job job, struct answer *x)
{
    uint64_t id;
    nc_error e = { 0 };
    memset(x, 0, sizeof *x);
    pthread_mutex_init(&x->lock, NULL);
    pthread_cond_init(&x->ended, NULL);
    x->open = job.choices;
    job.token = on_token;
    job.done = on_done;
    job.score = on_score;
    job.context = x;
    if (nc_engine_submit(g, &job, &id, &e) < 0)
        fail_msg("%s", e.message);
}

static void wait_for(struct answer *x)
{
    pthread_mutex_lock(&x->lock);
    while (x->open)
        pthread_cond_wait(&x->ended, &x->lock);
    pthread_mutex_unlock(&x->lock);
    if (x->failed)
        fail_msg("%s", x->message);
}

/* In the repository, else among the reference data; NULL where it is in neither. */
static nc_loaded *load(const char *name, nc_dtype compute)
{
    char folder[512];
    const char *shared = getenv("NUNCHI_SHARED");
    nc_loaded *l = NULL;
    nc_error e = { 0 };
    nc_load_options o = { .weights = { compute, true, NULL, nc_kernels_best() }, .no_front = true };
    snprintf(folder, sizeof folder, "tests/golden/models/%s", name);
    if (!nc_is_dir(folder))
        snprintf(folder, sizeof folder, "%s/golden/models/%s", shared ? shared : "../shared", name);
    if (!nc_is_dir(folder)) {
        printf("skipped: %s (NUNCHI_SHARED names the folder of reference data)\n", name);
        return NULL;
    }
    if (nc_load(folder, &o, &l, &e) < 0)
        fail_msg("%s", e.message);
    return l;
}

static nc_engine *engine(nc_loaded *l, int sequences, int step_tokens, int threads)
{
    nc_engine *g = NULL;
    nc_error e = { 0 };
    if (nc_engine_new(l, &(nc_engine_options){ .sequences = sequences, .step_tokens = step_tokens, .threads = threads, .max_length = 64 }, &g, &e) < 0)
        fail_msg("%s", e.message);
    return g;
}

static int32_t prompt[TEXTS + 4], source[JOBS][60];
static nc_pictures *shown[JOBS];

/* A picture of its own for each job, those of jobs 1 and 4 the same; of two sizes, as a processor that keeps a picture's shape would give them,
 * but where the tower takes one. */
static void show(const nc_loaded *l, nc_job *job, int k)
{
    const int one = (int)nc_json_int(nc_json_path(l->config, "vision_config.image_size"), 0), height = one ? one : 64, width = one ? one : k % 4 == 3 ? 48 : 64, seed = k == 4 ? 1 : k;
    float *pixels = malloc(sizeof *pixels * 3 * (size_t)(height * width));
    for (int i = 0; i < 3 * height * width; i++)
        pixels[i] = (float)((i * 37 + seed * 101) % 255) / 128 - 1;
    nc_pictures_free(shown[k]);
    shown[k] = nc_pictures_new(&(nc_visual){ .frames = 1, .channels = 3, .height = height, .width = width, .pixels = pixels });
    free(pixels);
    const int rows = l->model->family->media_rows(l->model, l->model->self, nc_pictures_media(shown[k]));
    memmove(source[k] + rows, source[k], sizeof *source[k] * (size_t)job->source_count);
    for (int i = 0; i < rows; i++)
        source[k][i] = l->model->image_token_id;
    job->source_count += rows;
    job->pictures = &shown[k];
    job->picture_count = 1;
}

/* Job k of a model: its own source (or prompt) and way of decoding. */
static nc_job job_of(const nc_loaded *l, int k)
{
    const int vocabulary = l->model->vocab_size, n = 3 + 5 * k;
    nc_job job = { .prompt = prompt, .prompt_count = l->model->family->encoder ? 1 : 4, .choices = 1, .max_tokens = 8 + k, .length_penalty = 1, .stop_ids = prompt, .stop_id_count = 1 };
    prompt[0] = 7;
    for (int i = 1; i < 4; i++)
        prompt[i] = (11 * i + k) % vocabulary;
    for (int i = 0; i < n; i++)
        source[k][i] = (17 * i * i + 31 * k + 3) % vocabulary;
    nc_sample_defaults(&job.sample);
    if (l->model->family->encoder) {
        job.source = source[k];
        job.source_count = n;
        if (l->model->family->tower && k)
            show(l, &job, k);
    }
    if (k % 3 == 1) {
        job.beams = 4;
        job.choices = 3;
    }
    if (k % 3 == 2) {
        job.beams = 3;
        job.early_stopping = k % 2 ? NC_EARLY_TRUE : NC_EARLY_NEVER;
        job.length_penalty = k % 2 ? 2 : 0.5;
        job.sample.repetition_penalty = 1.3;
    }
    job.sample.logprobs = job.keep_stop = k == 4;
    if (k == 5) {                            /* drawn beams */
        job.sample.temperature = 0.9;
        job.sample.top_k = 20;
        job.sample.seed = 3;
    }
    return job;
}

static void assert_same(const struct answer *x, const struct answer *y, const char *name, int k)
{
    for (int c = 0; c < TEXTS; c++)
        if (x->count[c] != y->count[c] || memcmp(x->ids[c], y->ids[c], sizeof x->ids[c]) || memcmp(x->logprob[c], y->logprob[c], sizeof x->logprob[c]) || memcmp(&x->score[c], &y->score[c], sizeof x->score[c]))
            fail_msg("%s: job %d text %d differs from the one alone", name, k, c);
}

static void same_alone_and_among_others(const char *name, nc_dtype compute)
{
    static const struct { int sequences, step_tokens, threads; } how[] = { { 16, 512, 2 }, { 5, 16, 3 }, { 4, 64, 1 } };
    static struct answer alone[JOBS], among[JOBS];
    nc_loaded *l = load(name, compute);
    if (!l)
        return;
    nc_engine *g = engine(l, 4, 256, 1);
    for (int k = 0; k < JOBS; k++) {
        begin(g, job_of(l, k), &alone[k]);
        wait_for(&alone[k]);
        for (int c = 1; c < job_of(l, k).choices; c++)
            assert_true(alone[k].score[c] <= alone[k].score[c - 1]);
    }
    nc_engine_free(g);
    for (int i = 0; i < NC_COUNT(how); i++) {
        g = engine(l, how[i].sequences, how[i].step_tokens, how[i].threads);
        for (int k = 0; k < JOBS; k++)
            begin(g, job_of(l, k), &among[k]);
        for (int k = 0; k < JOBS; k++) {
            wait_for(&among[k]);
            assert_same(&alone[k], &among[k], name, k);
        }
        nc_engine_stats s = { .pages_used = 1 };
        for (int tries = 0; tries < 400 && s.pages_used; tries++) {     /* the last step's figures come a moment later */
            usleep(5000);
            nc_engine_get_stats(g, &s);
        }
        assert_int_equal(s.pages_used, 0);
        nc_engine_free(g);
    }
    nc_loaded_free(l);
}

static void texts_are_the_same_alone_and_among_others(void **state)
{
    (void)state;
    same_alone_and_among_others("bart", NC_F32);
    same_alone_and_among_others("t5", NC_F32);
    same_alone_and_among_others("t5", NC_BF16);
    same_alone_and_among_others("florence2", NC_F32);        /* pictures in the source */
    same_alone_and_among_others("florence2", NC_BF16);
    same_alone_and_among_others("blip2_t5", NC_F32);
    same_alone_and_among_others("llama", NC_F32);
    same_alone_and_among_others("mamba2", NC_F32);           /* states are forked too */
    same_alone_and_among_others("qwen3_next", NC_F32);
}

/* A beam of one text that is the best from the start finds what greedy search finds. */
static void one_beam_is_greedy_search(void **state)
{
    static struct answer greedy, beam;
    (void)state;
    nc_loaded *l = load("bart", NC_F32);
    nc_engine *g = engine(l, 4, 64, 2);
    nc_job job = job_of(l, 0);
    begin(g, job, &greedy);
    wait_for(&greedy);
    job.beams = 1;
    begin(g, job, &beam);
    wait_for(&beam);
    assert_int_equal(greedy.count[0], beam.count[0]);
    assert_memory_equal(greedy.ids[0], beam.ids[0], sizeof greedy.ids[0]);
    nc_engine_free(g);
    nc_loaded_free(l);
}

/* A text's score is the mean of what is told of its tokens. */
static void beams_tell_log_probabilities(void **state)
{
    static struct answer x;
    (void)state;
    nc_loaded *l = load("llama", NC_F32);
    nc_engine *g = engine(l, 4, 64, 2);
    nc_job job = job_of(l, 4);
    job.sample.top_logprobs = 3;
    begin(g, job, &x);
    wait_for(&x);
    for (int c = 0; c < job.choices; c++) {
        double sum = 0;
        for (int i = 0; i < x.count[c]; i++)
            sum += (double)x.logprob[c][i];
        assert_true(x.count[c] > 0 && fabs(sum / x.count[c] - x.score[c]) < 1e-5);
    }
    assert_int_equal(x.first.top_count, 3);
    assert_true(x.first.top[0].logprob >= x.first.logprob && x.first.top[1].logprob >= x.first.top[2].logprob);
    nc_engine_free(g);
    nc_loaded_free(l);
}

enum { KINDS = 6, DRAWS = 4, ROUNDS = 600 };

/* P(the best of DRAWS ids drawn without replacement is id k, ids sorted best first), by walking through every order. */
static void walk(const double *p, double left, double chance, int taken, int best, int depth, double *out)
{
    if (depth == DRAWS) {
        out[best] += chance;
        return;
    }
    for (int i = 0; i < KINDS; i++)
        if (!(taken >> i & 1))
            walk(p, left - p[i], chance * p[i] / left, taken | 1 << i, i < best ? i : best, depth + 1, out);
}

/* One token by two drawn beams: the best of the four continuations drawn. The same seed draws the same; over seeds the shares are the law's, within five deviations. */
static void drawn_beams_follow_their_law(void **state)
{
    static struct answer x;
    (void)state;
    nc_loaded *l = load("llama", NC_F32);
    nc_engine *g = engine(l, 4, 64, 2);
    nc_job job = job_of(l, 0);
    double p[KINDS], total = 0, law[KINDS] = { 0 };
    int times[KINDS] = { 0 };
    job.max_tokens = 1;
    job.stop_id_count = 0;
    job.sample.logprobs = true;
    job.sample.top_logprobs = KINDS;
    begin(g, job, &x);
    wait_for(&x);
    const nc_token usual = x.first;
    for (int i = 0; i < KINDS; i++)
        total += p[i] = exp((double)usual.top[i].logprob / 0.5);
    for (int i = 0; i < KINDS; i++)
        p[i] /= total;
    walk(p, 1, 1, 0, KINDS, 0, law);
    job.beams = 2;
    job.sample.temperature = 0.5;
    job.sample.top_k = KINDS;
    for (int round = 0; round < ROUNDS; round++) {
        int32_t id[2];
        for (int again = 0; again < (round ? 1 : 2); again++) {
            job.sample.seed = (uint64_t)round;
            begin(g, job, &x);
            wait_for(&x);
            assert_int_equal(x.count[0], 1);
            id[again] = x.ids[0][0];
        }
        assert_true(round || id[0] == id[1]);
        int k = 0;
        while (k < KINDS && usual.top[k].id != id[0])
            k++;
        assert_true(k < KINDS);
        times[k]++;
    }
    for (int i = 0; i < KINDS; i++)
        if (fabs(times[i] - law[i] * ROUNDS) > 5 * sqrt(law[i] * (1 - law[i]) * ROUNDS) + 1e-9)
            fail_msg("token %d was the best %d times of %d, %.1f expected", i, times[i], ROUNDS, law[i] * ROUNDS);
    nc_engine_free(g);
    nc_loaded_free(l);
}

static void refused(nc_engine *g, nc_job job, const char *text)
{
    uint64_t id;
    nc_error e = { 0 };
    static struct answer x;
    job.token = on_token;
    job.done = on_done;
    job.context = &x;
    assert_true(nc_engine_submit(g, &job, &id, &e) < 0);
    if (!strstr(e.message, text))
        fail_msg("\"%s\" does not say \"%s\"", e.message, text);
}

static void what_cannot_run_is_refused(void **state)
{
    (void)state;
    nc_loaded *l = load("bart", NC_F32);
    nc_engine *g = engine(l, 4, 64, 2);
    int32_t wrong = l->model->vocab_size, longest[64] = { 0 };
    nc_job job = job_of(l, 0);
    job.source_count = 0;
    refused(g, job, "a source text");
    job.source = &wrong;
    job.source_count = 1;
    refused(g, job, "token 0 of the source");
    job.source = longest;
    job.source_count = 49;
    refused(g, job, "at most 48");
    job = job_of(l, 1);
    job.beams = 5;
    refused(g, job, "num_beams is 5");
    job.beams = 2;
    refused(g, job, "num_return_sequences");
    nc_engine_free(g);
    nc_loaded_free(l);
}

/* A picture that was shown before is not seen again; its rows must have their places in the source. */
static void pictures_in_a_source_are_seen_once(void **state)
{
    static struct answer first, again;
    nc_engine_stats s;
    (void)state;
    nc_loaded *l = load("florence2", NC_F32);
    if (!l)
        return;
    nc_engine *g = engine(l, 4, 64, 2);
    begin(g, job_of(l, 1), &first);
    wait_for(&first);
    begin(g, job_of(l, 1), &again);
    wait_for(&again);
    assert_same(&first, &again, "florence2", 1);
    nc_engine_get_stats(g, &s);
    assert_int_equal(s.media_computed, 1);
    assert_int_equal(s.media_reused, 1);
    nc_job job = job_of(l, 2);
    job.source++;
    job.source_count--;
    refused(g, job, "4 places");
    nc_engine_free(g);
    nc_loaded_free(l);
    for (int k = 0; k < JOBS; k++)
        nc_pictures_free(shown[k]);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(texts_are_the_same_alone_and_among_others), cmocka_unit_test(one_beam_is_greedy_search),
                                        cmocka_unit_test(beams_tell_log_probabilities), cmocka_unit_test(drawn_beams_follow_their_law),
                                        cmocka_unit_test(pictures_in_a_source_are_seen_once), cmocka_unit_test(what_cannot_run_is_refused) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
