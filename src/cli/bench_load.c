/* bench_load.c - from the start of a process to the first logits of a one-token prompt, tokenizer included: a child is timed from before it exists to its answer. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/bench_models.h"
#include "cli/bench_words.h"

extern char **environ;

int nc_bench_load_once(const char *folder, nc_dtype dtype, nc_error *e)
{
    nc_pool *pool = nc_pool_new(0);
    nc_loaded *l = NULL;
    nc_load_options o = { .weights = { dtype == NC_F32 ? NC_F32 : NC_BF16, true, pool, nc_kernels_best() } };
    int status = nc_load(folder, &o, &l, e);
    nc_program *p = NULL;
    nc_batch *batch = nc_batch_new();
    const int32_t id = 0;
    if (status == 0) {
        nc_model *m = l->model;
        nc_head head;
        nc_seq seq = { .ids = &id, .count = 1, .slot = -1, .want_logits = true };
        p = nc_program_new(&(nc_program_options){ .compute = o.weights.compute });
        nc_build *b = nc_program_build(p);
        nc_build_capacity(b, "tokens", 1);
        nc_build_capacity(b, "scored", 1);
        m->family->head(m->self, &head);
        nc_value *h = nc_gather_rows(b->g, nc_model_decoder(m, b, NULL), nc_in(b, "score.rows", NC_I32, "scored", 0));
        nc_build_keep(b, nc_model_logits(b, &head, h), "logits");
        status = nc_program_finish(p, NULL, nc_pool_threads(pool), e);
        if (status == 0)
            status = nc_program_allocate(p, NULL, e);
        if (status == 0)
            status = nc_model_prepare(m, batch, &seq, 1, e);
        if (status == 0)
            status = nc_program_run(p, batch, &(nc_run_options){ .pool = pool, .kernels = o.weights.kernels }, e);
        if (status == 0) {
            const float *logits = nc_program_value(p, "logits")->data;
            int best = 0;
            for (int i = 1; i < m->vocab_size; i++)
                best = logits[i] > logits[best] ? i : best;
            printf("%d\n", best);
            fflush(stdout);
        }
    }
    nc_program_free(p);
    nc_batch_free(batch);
    nc_loaded_free(l);
    nc_pool_free(pool);
    return status;
}

/* Seconds from before the child exists until its first byte. */
static int time_child(const char *folder, nc_dtype dtype, double *seconds, nc_error *e)
{
    int ends[2], code = 0;
    pid_t child;
    char byte, path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0 || pipe2(ends, O_CLOEXEC))
        return nc_fail(e, NC_EIO, "bench load: the program cannot be started again");
    path[length] = 0;
    char *const args[] = { path, "bench", "load", (char *)(uintptr_t)folder, "--once", "--dtype", dtype == NC_F32 ? "f32" : "bf16", NULL };
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    double begin = nc_now();
    int failed = posix_spawn(&child, path, &actions, NULL, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    ssize_t got = failed ? -1 : read(ends[0], &byte, 1);
    *seconds = nc_now() - begin;
    close(ends[0]);
    if (!failed)
        waitpid(child, &code, 0);
    return got == 1 && code == 0 ? 0 : nc_fail(e, NC_EIO, "bench load: loading %s failed", folder);
}

/* A bf16 checkpoint of the config with random weights, and a tokenizer. */
static int write_checkpoint(nc_arena *a, const nc_bench_options *o, const char *folder, nc_error *e)
{
    nc_json *config = NULL;
    nc_model *m = NULL;
    nc_pool *pool = nc_pool_new(o->threads);
    nc_weights_options w = { .compute = NC_BF16, .pool = pool, .kernels = nc_kernels_best() };
    int status = nc_json_load(a, o->config, &config, e);
    if (status == 0)
        status = nc_model_new(config, &m, e);
    if (status == 0)
        status = nc_weights_allocate(m, &w, e);
    if (status == 0)
        status = nc_weights_init(m, 1, &w, e);
    if (status == 0)
        status = nc_model_save(m, folder, NC_BF16, 0, e);
    if (status == 0)
        status = nc_bench_write_tokenizer(a, folder, m->vocab_size, e);
    nc_model_free(m);
    nc_pool_free(pool);
    return status;
}

static uint64_t bytes_of(const char *folder)
{
    nc_safetensors *s = NULL;
    nc_error none = { 0 };
    uint64_t bytes = nc_safetensors_open(folder, &s, &none) == 0 ? nc_safetensors_bytes(s) : 0;
    nc_safetensors_close(s);
    return bytes;
}

int nc_bench_load(const char *program, const char *folder, const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    char made[] = "/tmp/nunchi-bench-XXXXXX";
    const char *at = folder;
    double *seconds = NC_NEW_ARRAY(a, double, o->steps + 1);
    int status = 0;
    (void)program;
    if (!folder) {
        if (!mkdtemp(made))
            status = nc_fail(e, NC_EIO, "bench load: no folder can be made in /tmp");
        at = made;
        if (status == 0)
            status = write_checkpoint(a, o, made, e);
    }
    for (int i = 0; i <= o->steps && status == 0; i++)             /* the first one warms the page cache */
        status = time_child(at, o->dtype, &seconds[i], e);
    if (status == 0) {
        char size[32];
        const double middle = nc_bench_median(seconds + 1, o->steps);
        uint64_t bytes = bytes_of(at);
        nc_buf_printf(json, "{\"folder\": \"%s\", \"seconds\": %.4f, \"bytes\": %llu}\n", at, middle, (unsigned long long)bytes);
        nc_buf_printf(table, "load     %9.3f s  %s, %.1f GB/s, from the start of the process to the first logits\n", middle, nc_human_bytes((double)bytes, size), (double)bytes / middle / 1e9);
    }
    if (!folder && at == made)
        nc_remove_tree(made, NULL);
    nc_arena_free(a);
    return status;
}
