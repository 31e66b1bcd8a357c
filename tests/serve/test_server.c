/* The server end to end over loopback: texts, streams, pictures, refusals, clients that vanish, many at once, the stop. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "serve/http.h"

#define TEXT_MODEL "tests/golden/models/llama3"
#define MEDIA_MODEL "tests/golden/models/llava"

static bool have(const char *folder)
{
    if (!nc_is_dir(folder))
        printf("skipped: %s is not there\n", folder);
    return nc_is_dir(folder);
}

static struct served text_server(void)
{
    return (struct served){ .o = { .folder = TEXT_MODEL, .model_name = "tiny", .grace_seconds = 5,
                                   .session = { .threads = 2, .engine = { .sequences = 4 } }, .limits = { .body_bytes = 100000 } } };
}

static const char *content_of(const nc_json *j, int choice)
{
    return nc_json_string(nc_json_path(nc_json_at(nc_json_get(j, "choices"), choice), "message.content"), "(none)");
}

/* A random text may hold NUL, so it is the bytes that are taken. */
static void add_text(nc_buf *out, const nc_json *v)
{
    if (nc_json_is(v, NC_JSON_STRING))
        nc_buf_add(out, v->text.p, v->text.n);
}

/* What the events' deltas make together for one choice. */
static void joined(nc_arena *a, const nc_buf *events, int choice, nc_buf *out, const nc_json **usage, int *done)
{
    *usage = NULL;
    *done = 0;
    for (char *at = events->p; at && *at;) {
        char *end = strstr(at, "\n\n");
        assert_non_null(end);
        if (!strncmp(at, "data: [DONE]", 12))
            ++*done;
        else if (!strncmp(at, "data: ", 6)) {
            nc_buf one = { at + 6, (size_t)(end - at - 6), 0 };
            nc_json *j = json_of(a, &one);
            NC_JSON_EACH(c, nc_json_get(j, "choices"))
                if (nc_json_int(nc_json_get(c, "index"), -1) == choice)
                    add_text(out, nc_json_path(c, "delta.content") ? nc_json_path(c, "delta.content") : nc_json_get(c, "text"));
            if (nc_json_is(nc_json_get(j, "usage"), NC_JSON_OBJECT))
                *usage = nc_json_get(j, "usage");
        }
        at = end + 2;
    }
    nc_buf_add(out, "", 0);
}

static void test_texts(void **state)
{
    (void)state;
    if (!have(TEXT_MODEL))
        return;
    struct served s = text_server();
    nc_arena *a = nc_arena_new();
    nc_buf b = { 0 }, t = { 0 };
    const nc_json *usage;
    int done;
    start_server(&s);
    assert_int_equal(ask(&s, "GET", "/health", NULL, &b), 200);
    assert_int_equal(ask(&s, "GET", "/v1/models", NULL, &b), 200);
    assert_string_equal(nc_json_string(nc_json_path(nc_json_at(nc_json_get(json_of(a, &b), "data"), 0), "id"), ""), "tiny");
    assert_int_equal(ask(&s, "POST", "/v1/chat/completions", "{\"model\": \"tiny\", \"messages\": [{\"role\": \"user\", \"content\": \"안녕\"}], \"max_tokens\": 12,"
                         "\"temperature\": 0, \"logprobs\": true, \"top_logprobs\": 2, \"n\": 2}", &b), 200);
    nc_json *j = json_of(a, &b);
    char *whole = nc_arena_strdup(a, content_of(j, 0));
    assert_string_equal(nc_json_string(nc_json_get(j, "object"), ""), "chat.completion");
    assert_string_equal(content_of(j, 1), whole);
    assert_int_equal(nc_json_int(nc_json_path(j, "usage.completion_tokens"), 0) <= 24, 1);
    const nc_json *entries = nc_json_path(nc_json_at(nc_json_get(j, "choices"), 0), "logprobs.content");
    assert_true(entries && entries->count > 0);
    assert_int_equal(nc_json_get(entries->first, "top_logprobs")->count, 2);
    assert_true(nc_json_double(nc_json_get(entries->first, "logprob"), 1) <= 0);
    assert_int_equal(ask(&s, "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"안녕\"}]}],"
                         "\"max_completion_tokens\": 12, \"temperature\": 0, \"stream\": true, \"stream_options\": {\"include_usage\": true}}", &b), 200);
    joined(a, &b, 0, &t, &usage, &done);
    assert_string_equal(t.p, whole);
    assert_int_equal(done, 1);
    assert_true(nc_json_int(nc_json_get(usage, "total_tokens"), 0) > 0);
    nc_buf_clear(&t);
    assert_int_equal(ask(&s, "POST", "/v1/completions", "{\"prompt\": \"바다\", \"max_tokens\": 20, \"temperature\": 1, \"seed\": 3, \"logprobs\": 1, \"echo\": false}", &b), 200);
    j = json_of(a, &b);
    const nc_json *choice = nc_json_at(nc_json_get(j, "choices"), 0);
    char *drawn = nc_arena_strdup(a, nc_json_string(nc_json_get(choice, "text"), ""));
    assert_int_equal(nc_json_path(choice, "logprobs.tokens")->count, nc_json_path(choice, "logprobs.top_logprobs")->count);
    assert_int_equal(ask(&s, "POST", "/v1/completions", "{\"prompt\": [\"바다\"], \"max_tokens\": 20, \"temperature\": 1, \"seed\": 3, \"stream\": true}", &b), 200);
    joined(a, &b, 0, &t, &usage, &done);
    assert_string_equal(t.p, drawn);
    assert_null(usage);
    assert_true(metric(&s, "nunchi_generated_tokens_total") > 0);
    assert_true(metric(&s, "nunchi_cache_pages_used") == 0);
    stop_server(&s);
    nc_buf_free(&b);
    nc_buf_free(&t);
    nc_arena_free(a);
}

struct bad { const char *method, *path, *body; int status; const char *says; };

static void test_refusals(void **state)
{
    (void)state;
    static const struct bad cases[] = {
        { "GET", "/nothing", NULL, 404, "/v1/chat/completions" },
        { "GET", "/v1/chat/completions", NULL, 405, "POST" },
        { "POST", "/health", "{}", 405, "GET" },
        { "POST", "/v1/chat/completions", "", 400, "request body" },
        { "POST", "/v1/chat/completions", "{\"messages\": [", 400, "request body:1" },
        { "POST", "/v1/chat/completions", "[1]", 400, "object" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"\xff\"}]}", 400, "UTF-8" },
        { "POST", "/v1/chat/completions", "{\"messages\": []}", 400, "messages" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"king\", \"content\": \"x\"}]}", 400, "role" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"temperature\": 9}", 400, "temperature" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"n\": 0}", 400, "\\\"n\\\"" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"max_tokns\": 3}", 400, "max_tokens" },
        { "POST", "/v1/chat/completions", "{\"model\": \"other\", \"messages\": [{\"role\": \"user\", \"content\": \"x\"}]}", 404, "tiny" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": \"http://x/y.png\"}}]}]}", 400, "data:" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/png;base64,AAAA\"}}]}]}", 400, "text only" },
        { "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}], \"stream_options\": {\"include_usage\": true}}", 400, "stream" },
        { "POST", "/v1/completions", "{\"prompt\": [1, -5]}", 400, "prompt" },
        { "POST", "/v1/completions", "{\"prompt\": [99999999]}", 400, "vocabulary" },
        { "POST", "/v1/completions", "{\"prompt\": \"x\", \"seed\": 1.5}", 400, "seed" },
    };
    if (!have(TEXT_MODEL))
        return;
    struct served s = text_server();
    nc_buf b = { 0 }, long_prompt = { 0 };
    nc_arena *a = nc_arena_new();
    start_server(&s);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int status = ask(&s, cases[i].method, cases[i].path, cases[i].body, &b);
        if (status != cases[i].status || !strstr(b.p, cases[i].says))
            fail_msg("case %zu: status %d, body %s", i, status, b.p);
        assert_non_null(nc_json_path(json_of(a, &b), "error.message"));
    }
    nc_buf_adds(&long_prompt, "{\"prompt\": \"");
    for (int i = 0; i < 9000; i++)
        nc_buf_adds(&long_prompt, "word ");
    nc_buf_adds(&long_prompt, "\"}");
    assert_int_equal(ask(&s, "POST", "/v1/completions", long_prompt.p, &b), 400);
    assert_non_null(strstr(b.p, "tokens"));
    for (int i = 0; i < 20000; i++)
        nc_buf_adds(&long_prompt, "     ");
    assert_int_equal(ask(&s, "POST", "/v1/completions", long_prompt.p, &b), 413);
    int fd = dial(&s);                           /* not HTTP at all, then silence, then half a request: none of them disturbs */
    const char *nonsense = "\x16\x03\x01 nonsense\r\n\r\n", *begun = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"pro";
    say(fd, nonsense, strlen(nonsense));
    int half = dial(&s);
    say(half, begun, strlen(begun));
    int silent = dial(&s);
    assert_int_equal(ask(&s, "GET", "/health", NULL, &b), 200);
    close(fd);
    close(half);
    close(silent);
    const char *chunked = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
                          "1a\r\n{\"prompt\": \"a\", \"max_token\r\n6\r\ns\": 2}\r\n0\r\n\r\n";
    nc_buf all = { 0 };
    fd = dial(&s);
    say(fd, chunked, strlen(chunked));
    hear(fd, &all);
    close(fd);
    assert_non_null(strstr(all.p, " 200 "));
    stop_server(&s);
    nc_buf_free(&all);
    nc_buf_free(&b);
    nc_buf_free(&long_prompt);
    nc_arena_free(a);
}

static void test_key(void **state)
{
    (void)state;
    static const char *const paths[] = { "/health", "/metrics", "/v1/models" };
    if (!have(TEXT_MODEL))
        return;
    struct served s = text_server();
    nc_buf b = { 0 };
    s.o.api_key = "secret";
    start_server(&s);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(ask(&s, "GET", paths[i], NULL, &b), 401);
        assert_int_equal(ask_n(&s, "GET", paths[i], "Authorization: Bearer secre\r\n", NULL, 0, &b), 401);
        assert_int_equal(ask_n(&s, "GET", paths[i], "Authorization: Bearer secret\r\n", NULL, 0, &b), 200);
    }
    assert_int_equal(ask(&s, "POST", "/v1/completions", "{\"prompt\": \"x\"}", &b), 401);
    stop_server(&s);
    nc_buf_free(&b);
}

struct client { const struct served *s; pthread_t thread; int number, status; nc_buf answer; };

static void *one_client(void *context)
{
    struct client *c = context;
    char body[256];
    snprintf(body, sizeof body, "{\"prompt\": \"%d 바다\", \"max_tokens\": 24, \"temperature\": 1, \"seed\": %d, \"stream\": %s}", c->number % 4, c->number % 4, c->number & 8 ? "true" : "false");
    c->status = ask(c->s, "POST", "/v1/completions", body, &c->answer);
    return NULL;
}

/* Sixteen at once: equal requests get equal texts, whole or streamed, whatever shares their steps. */
static void test_many(void **state)
{
    (void)state;
    if (!have(TEXT_MODEL))
        return;
    struct served s = text_server();
    struct client c[16] = { 0 };
    nc_arena *a = nc_arena_new();
    nc_buf text[16] = { 0 };
    start_server(&s);
    for (int i = 0; i < 16; i++) {
        c[i] = (struct client){ .s = &s, .number = i };
        assert_int_equal(pthread_create(&c[i].thread, NULL, one_client, &c[i]), 0);
    }
    for (int i = 0; i < 16; i++) {
        const nc_json *usage;
        int done;
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].status, 200);
        if (i & 8)
            joined(a, &c[i].answer, 0, &text[i], &usage, &done);
        else
            add_text(&text[i], nc_json_get(nc_json_at(nc_json_get(json_of(a, &c[i].answer), "choices"), 0), "text"));
        assert_int_equal(text[i].n, text[i % 4].n);
        assert_memory_equal(text[i].p, text[i % 4].p, text[i].n);
    }
    stop_server(&s);
    for (int i = 0; i < 16; i++) {
        nc_buf_free(&c[i].answer);
        nc_buf_free(&text[i]);
    }
    nc_arena_free(a);
}

/* Clients that vanish while they wait or stream: their jobs are cancelled, their pages come back. A full queue says 429. */
static void test_vanishing(void **state)
{
    (void)state;
    if (!have(TEXT_MODEL))
        return;
    struct served s = text_server();
    nc_buf request = { 0 }, b = { 0 };
    const char *body = "{\"prompt\": \"x\", \"max_tokens\": 480, \"ignore_eos\": true, \"n\": 4, \"stream\": %s}";
    int fd[6], refused = 0;
    s.o.session.engine.max_waiting = 3;
    start_server(&s);
    for (int i = 0; i < 6; i++) {
        char text[256];
        snprintf(text, sizeof text, body, i & 1 ? "true" : "false");
        nc_buf_clear(&request);
        request_text(&request, "POST", "/v1/completions", NULL, text, strlen(text));
        fd[i] = dial(&s);
        say(fd[i], request.p, request.n);
        pause_ms(10);
    }
    for (int i = 0; i < 6; i++) {
        char start[16] = { 0 };
        pause_ms(5);
        if (recv(fd[i], start, 12, MSG_DONTWAIT) == 12)
            refused += !strncmp(start + 9, "429", 3);
        close(fd[i]);
    }
    for (int i = 0; i < 400 && (metric(&s, "nunchi_sequences_running") > 0 || metric(&s, "nunchi_requests_waiting") > 0 || metric(&s, "nunchi_cache_pages_used") > 0); i++)
        pause_ms(10);
    assert_true(metric(&s, "nunchi_sequences_running") == 0);
    assert_true(metric(&s, "nunchi_cache_pages_used") == 0);
    assert_true(metric(&s, "nunchi_cancelled_total") + refused > 0);
    assert_int_equal(ask(&s, "POST", "/v1/completions", "{\"prompt\": \"x\", \"max_tokens\": 2}", &b), 200);
    stop_server(&s);
    nc_buf_free(&request);
    nc_buf_free(&b);
}

/* The stop: what is under way is finished, the port is free again, a second server on a used port is refused in one line. */
static void test_stop(void **state)
{
    (void)state;
    if (!have(TEXT_MODEL))
        return;
    struct served s = text_server(), second = text_server();
    struct client c = { .s = &s, .number = 0 };
    nc_error e = { 0 };
    start_server(&s);
    second.o.port = atomic_load(&s.port);
    assert_int_equal(nc_serve(&second.o, &e), NC_EIO);
    assert_non_null(strstr(e.message, "in use"));
    stop_server(&s);
    s.o.port = atomic_load(&s.port);
    atomic_store(&s.port, 0);
    start_server(&s);
    assert_int_equal(pthread_create(&c.thread, NULL, one_client, &c), 0);
    for (int i = 0; i < 100 && metric(&s, "nunchi_connections") < 2 && metric(&s, "nunchi_generated_tokens_total") < 1; i++)
        pause_ms(2);
    stop_server(&s);
    pthread_join(c.thread, NULL);
    assert_int_equal(c.status, 200);
    nc_buf_free(&c.answer);
}

static void *patient_client(void *context)
{
    struct client *c = context;
    c->status = ask(c->s, "POST", "/v1/completions", c->number & 1 ? "{\"prompt\": \"x\", \"max_tokens\": 480, \"ignore_eos\": true, \"stream\": true}"
                                                                   : "{\"prompt\": \"x\", \"max_tokens\": 480, \"ignore_eos\": true}", &c->answer);
    return NULL;
}

/* As many clients as make the last of them wait for more than a second; ThreadSanitizer makes eight wait longer than that. */
#ifdef __SANITIZE_THREAD__
enum { PATIENT = 8 };
#else
enum { PATIENT = 100 };
#endif

/* Who sends nothing for idle_seconds is cut off; who waits longer than that for an answer is not. One connection carries several requests. */
static void test_patience(void **state)
{
    (void)state;
    if (!have(TEXT_MODEL))
        return;
    struct served s = text_server();
    static struct client c[PATIENT];                /* not on the stack: the clients outlive a failed assertion */
    nc_buf all = { 0 };
    const char *begun = "POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{\"pro", *health = "GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
               *last = "GET /v1/models HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    s.o.idle_seconds = 1;
    s.o.session.engine.sequences = 1;
    start_server(&s);
    int slow = dial(&s), kept = dial(&s);
    say(slow, begun, strlen(begun));
    for (int i = 0; i < PATIENT; i++) {
        c[i] = (struct client){ .s = &s, .number = i };
        assert_int_equal(pthread_create(&c[i].thread, NULL, patient_client, &c[i]), 0);
    }
    say(kept, health, strlen(health));
    pause_ms(100);
    say(kept, last, strlen(last));
    hear(kept, &all);
    assert_non_null(strstr(all.p, "ok"));
    assert_non_null(strstr(all.p, "tiny"));
    char byte;
    assert_true(recv(slow, &byte, 1, 0) <= 0 && errno != EAGAIN);
    for (int i = 0; i < PATIENT; i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].status, 200);
        assert_non_null(strstr(c[i].answer.p, c[i].number & 1 ? "[DONE]" : "usage"));
        nc_buf_free(&c[i].answer);
    }
    close(slow);
    close(kept);
    stop_server(&s);
    nc_buf_free(&all);
}

/* A picture as a data: URI, to the reference's text. */
static void test_picture(void **state)
{
    (void)state;
    if (!have(MEDIA_MODEL))
        return;
    struct served s = { .o = { .folder = MEDIA_MODEL, .session = { .threads = 2, .engine = { .sequences = 2 } } } };
    nc_buf file = { 0 }, body = { 0 }, b = { 0 };
    nc_error e = { 0 };
    nc_arena *a = nc_arena_new();
    nc_answer want = { 0 };
    nc_session *session = NULL;
    nc_attachment at = { .name = MEDIA_MODEL "/image.png" };
    nc_generation_options o = { .max_tokens = 10 };
    nc_sample_defaults(&o.sample);
    assert_int_equal(nc_session_open(MEDIA_MODEL, &s.o.session, &session, &e), 0);
    assert_int_equal(nc_session_caption(session, "뭐? What?", &at, 1, &o, NULL, NULL, &want, &e), 0);
    nc_session_close(session);
    start_server(&s);
    assert_int_equal(nc_file_read(at.name, 1 << 20, &file, &e), 0);
    nc_buf_adds(&body, "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"image_url\", \"image_url\": {\"url\": \"data:image/png;base64,");
    nc_buf_base64(&body, file.p, file.n);
    nc_buf_adds(&body, "\"}}, {\"type\": \"text\", \"text\": \"뭐? What?\"}]}], \"max_tokens\": 10, \"temperature\": 0}");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ask(&s, "POST", "/v1/chat/completions", body.p, &b), 200);
        nc_json *j = json_of(a, &b);
        assert_string_equal(content_of(j, 0), want.text.p);
        assert_int_equal(nc_json_int(nc_json_path(j, "usage.prompt_tokens"), 0), 44);
    }
    assert_true(metric(&s, "nunchi_media_reused_total") == 1);
    body.p[body.n - 200] = '!';
    assert_int_equal(ask(&s, "POST", "/v1/chat/completions", body.p, &b), 400);
    assert_int_equal(ask(&s, "POST", "/v1/chat/completions", "{\"messages\": [{\"role\": \"user\", \"content\": [{\"type\": \"video_url\", \"video_url\":"
                         "{\"url\": \"data:video/mp4;base64,AAAAIGZ0eXBpc29t\"}}]}]}", &b), 400);
    stop_server(&s);
    nc_buf_free(&want.text);
    nc_buf_free(&file);
    nc_buf_free(&body);
    nc_buf_free(&b);
    nc_arena_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_texts), cmocka_unit_test(test_refusals), cmocka_unit_test(test_key), cmocka_unit_test(test_many),
                                        cmocka_unit_test(test_vanishing), cmocka_unit_test(test_stop), cmocka_unit_test(test_patience),
                                        cmocka_unit_test(test_picture) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
