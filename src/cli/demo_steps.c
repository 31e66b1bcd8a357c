/* demo_steps.c - training and serving as processes, the untrained twin, the held-out clip. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/demo.h"
#include "cli/http_client.h"
#include "cli/speak.h"
#include "load/load.h"
#include "media/contact_sheet.h"
#include "media/video.h"

/* This program again, with these words; its stderr to log when given. It ends when we do. */
static int start(char *const *words, const char *log, pid_t *child, nc_error *e)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
    if (n <= 0)
        return nc_fail(e, NC_EIO, "demo: /proc/self/exe: %s", strerror(errno));
    path[n] = 0;
    int fd = log ? open(log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644) : -1;
    if (log && fd < 0)
        return nc_fail(e, NC_EIO, "%s: %s", log, strerror(errno));
    *child = fork();
    if (*child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        if (fd >= 0) {
            dup2(fd, STDERR_FILENO);
            dup2(fd, STDOUT_FILENO);
        }
        execv(path, words);
        _exit(127);
    }
    if (fd >= 0)
        close(fd);
    return *child < 0 ? nc_fail(e, NC_EIO, "demo: a process cannot be started: %s", strerror(errno)) : 0;
}

/* The exit code; 128 + signal for one that was ended. */
static int wait_for(pid_t child)
{
    int code = 0;
    while (waitpid(child, &code, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code);
}

static void ignore(void) { }

int nc_demo_train(nc_demo *d, nc_error *e)
{
    nc_arena *a = d->c->arena;
    char **words = NC_NEW_ARRAY(a, char *, 8 + d->c->pairs);
    int n = 0;
    pid_t child;
    words[n++] = "nunchi";
    words[n++] = "train";
    words[n++] = (char *)(uintptr_t)d->recipe;
    words[n++] = nc_arena_printf(a, "dataset_dir=%s", d->data);
    words[n++] = nc_arena_printf(a, "output_dir=%s", d->run);
    for (int i = 0; i < d->c->pairs; i++)
        words[n++] = d->c->pair[i];
    NC_TRY(start(words, NULL, &child, e));
    nc_cli_interrupt(ignore);                    /* the child hears ^C too, writes its checkpoint and ends */
    int code = wait_for(child);
    nc_cli_interrupt(NULL);
    if (code == 130)
        return nc_fail(e, NC_ECANCELLED, "demo: stopped; the same command goes on from the checkpoint in %s", d->run);
    if (code)
        return nc_fail(e, NC_EIO, "demo: the training ended with exit code %d", code);
    nc_json *r;
    NC_TRY(nc_json_load(a, nc_path_join(a, d->run, "train_results.json"), &r, e));
    d->train_seconds = nc_json_double(nc_json_get(r, "train_seconds"), 0);
    d->tokens_per_second = nc_json_double(nc_json_get(r, "tokens_per_second"), 0);
    d->peak_bytes = nc_json_int(nc_json_get(r, "peak_bytes"), 0);
    d->planned_bytes = nc_json_int(nc_json_get(r, "planned_bytes"), 0);
    return 0;
}

int nc_demo_untrained(nc_demo *d, nc_error *e)
{
    nc_loaded *l = NULL;
    nc_pool *pool = nc_pool_new(0);
    nc_load_options o = { .weights = { NC_F32, false, pool, nc_kernels_best() }, .random = true, .seed = (uint64_t)d->seed, .no_front = true };
    int status = nc_load(d->model, &o, &l, e);
    if (status == 0)
        status = nc_mkdirs(d->untrained, e);
    if (status == 0)
        status = nc_copy_front_files(d->model, d->untrained, e);
    if (status == 0)
        status = nc_model_save(l->model, d->untrained, NC_BF16, 0, e);
    nc_loaded_free(l);
    nc_pool_free(pool);
    return status;
}

/* The first object of a .jsonl whose key is value (value NULL: the first one). */
static int find_line(nc_arena *a, const char *path, const char *key, const char *value, const nc_json **out, nc_error *e)
{
    nc_buf b = { 0 };
    int status = nc_file_read(path, (size_t)1 << 30, &b, e);
    *out = NULL;
    for (size_t at = 0; status == 0 && at < b.n && !*out;) {
        const char *end = memchr(b.p + at, '\n', b.n - at);
        size_t n = end ? (size_t)(end - b.p) - at : b.n - at;
        nc_json *v = NULL;
        if (n && (status = nc_json_parse(a, (nc_str){ nc_arena_strndup(a, b.p + at, n), n }, path, &v, e)) == 0)
            if (!value || !strcmp(nc_json_string(nc_json_get(v, key), ""), value))
                *out = v;
        at += n + 1;
    }
    nc_buf_free(&b);
    return status < 0 ? status : *out ? 0 : nc_fail(e, NC_ENOTFOUND, "%s: no line with %s %s", path, key, value ? value : "");
}

int nc_demo_clip(nc_demo *d, nc_error *e)
{
    nc_arena *a = d->c->arena;
    const nc_json *sample, *references;
    NC_TRY(find_line(a, nc_path_join(a, d->data, "test.jsonl"), "id", NULL, &sample, e));
    NC_TRY(find_line(a, nc_path_join(a, d->data, "references.jsonl"), "id", nc_json_string(nc_json_get(sample, "id"), ""), &references, e));
    d->clip = nc_path_join(a, d->data, nc_json_string(nc_json_get(sample, "video"), ""));
    NC_JSON_EACH(r, nc_json_get(references, "references"))
        if (d->references < NC_COUNT(d->reference))
            d->reference[d->references++] = r->text;
    return 0;
}

int nc_demo_sheet(nc_demo *d, nc_error *e)
{
    nc_image frames[8] = { { 0 } }, sheet = { 0 };
    nc_video *v = NULL;
    nc_buf note = { 0 };
    int taken = 0;
    int status = nc_video_open(d->clip, NULL, &v, e);
    if (status == 0)
        status = nc_video_sample(v, NC_SAMPLE_TIME, NC_COUNT(frames), frames, NULL, &taken, e);
    for (int i = 0; i < d->references; i++)
        nc_buf_printf(&note, "%s%.*s", i ? "\n" : "", (int)d->reference[i].n, d->reference[i].p);
    nc_sheet_row row = { frames, taken, d->served, note.p };
    d->sheet = nc_path_join(d->c->arena, d->out, "contact-sheet.png");
    if (status == 0)
        status = nc_contact_sheet(&row, 1, &(nc_sheet_options){ .title = nc_path_base(d->clip), .columns = 4 }, &sheet, e);
    if (status == 0)
        status = nc_image_save_png(&sheet, d->sheet, e);
    for (int i = 0; i < taken; i++)
        nc_image_free(&frames[i]);
    nc_image_free(&sheet);
    nc_buf_free(&note);
    nc_video_free(v);
    return status;
}

/* The port the server says in its log, once /health answers. */
static int await_server(const char *log, pid_t child, int *port, nc_error *e)
{
    for (double begin = nc_now(); nc_now() - begin < 60;) {
        nc_buf b = { 0 }, body = { 0 };
        nc_error none = { 0 };
        int status = 0, code = 0;
        if (waitpid(child, &code, WNOHANG) == child)
            return nc_fail(e, NC_EIO, "demo: the server ended before it served; see %s", log);
        nc_file_read(log, 1 << 20, &b, &none);
        const char *at = b.p ? strstr(b.p, "http://127.0.0.1:") : NULL;
        *port = at ? atoi(at + strlen("http://127.0.0.1:")) : 0;
        bool up = *port && nc_http_request("127.0.0.1", *port, "/health", NULL, 10, &status, &body, &none) == 0 && status == 200;
        nc_buf_free(&b);
        nc_buf_free(&body);
        if (up)
            return 0;
        nanosleep(&(struct timespec){ .tv_nsec = 20 * 1000 * 1000 }, NULL);
    }
    return nc_fail(e, NC_EIO, "demo: the server did not begin to serve within a minute; see %s", log);
}

static int ask(nc_demo *d, int port, nc_error *e)
{
    nc_buf file = { 0 }, body = { 0 }, answer = { 0 };
    nc_arena *a = d->c->arena;
    nc_json *tree = NULL;
    int code = 0, status = nc_file_read(d->clip, (size_t)64 << 20, &file, e);
    if (status == 0) {
        nc_buf_adds(&body, "{\"model\": \"demo\", \"temperature\": 0, \"max_tokens\": 96, \"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"video_url\", \"video_url\": {\"url\": "
                           "\"data:video/mp4;base64,");
        nc_buf_base64(&body, file.p, file.n);
        nc_buf_adds(&body, "\"}}, {\"type\": \"text\", \"text\": \"" NC_SPEAK_QUESTION "\"}]}]}");
        double begin = nc_now();
        status = nc_http_request("127.0.0.1", port, "/v1/chat/completions", &(nc_str){ body.p, body.n }, 60, &code, &answer, e);
        d->served_seconds = nc_now() - begin;
    }
    if (status == 0 && code != 200)
        status = nc_fail(e, NC_EIO, "demo: the server answered %d: %.300s", code, answer.p ? answer.p : "");
    if (status == 0)
        status = nc_json_parse(a, (nc_str){ nc_arena_strndup(a, answer.p, answer.n), answer.n }, "the server's answer", &tree, e);
    if (status == 0) {
        const nc_json *text = nc_json_path(nc_json_at(nc_json_get(tree, "choices"), 0), "message.content");
        d->served = nc_json_string(text, NULL);
        if (!d->served)
            status = nc_fail(e, NC_EFORMAT, "demo: the server's answer holds no caption: %.300s", answer.p);
    }
    nc_buf_free(&file);
    nc_buf_free(&body);
    nc_buf_free(&answer);
    return status;
}

int nc_demo_serve(nc_demo *d, nc_error *e)
{
    nc_arena *a = d->c->arena;
    const char *log = nc_path_join(a, d->out, "server.log");
    char *words[] = { "nunchi", "serve", (char *)(uintptr_t)d->quantized, "--port", "0", "--name", "demo", NULL };
    pid_t child;
    int port = 0;
    NC_TRY(start(words, log, &child, e));
    int status = await_server(log, child, &port, e);
    if (status == 0)
        status = ask(d, port, e);
    kill(child, SIGTERM);
    int code = wait_for(child);
    if (status == 0 && code)
        status = nc_fail(e, NC_EIO, "demo: the server did not stop cleanly (exit code %d); see %s", code, log);
    return status;
}
