/* test_log.c - log lines and bars as they reach stderr: a file (plain lines, JSON lines) and a terminal (drawn, wiped, drawn again). */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/progress.h"

static int saved = -1;

static void redirect(int fd)
{
    fflush(stderr);
    saved = dup(STDERR_FILENO);
    dup2(fd, STDERR_FILENO);
}

static void restore(void)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
}

/* All that lies in fd; a terminal is asked without waiting. */
static char *drain(int fd, char *text, size_t capacity)
{
    size_t n = 0;
    ssize_t got;
    while (n + 1 < capacity && (got = read(fd, text + n, capacity - 1 - n)) > 0)
        n += (size_t)got;
    text[n] = 0;
    return text;
}

static FILE *start_file(void)
{
    FILE *f = tmpfile();
    assert_non_null(f);
    redirect(fileno(f));
    return f;
}

static char *end_file(FILE *f, char *text, size_t capacity)
{
    restore();
    lseek(fileno(f), 0, SEEK_SET);
    drain(fileno(f), text, capacity);
    fclose(f);
    return text;
}

static void test_plain(void **state)
{
    (void)state;
    char text[8192];
    FILE *f = start_file();
    nc_log_setup(NC_LOG_INFO, false);
    nc_debug("hidden");
    nc_info("step %d", 3);
    nc_warn("careful");
    nc_log(NC_LOG_ERROR, "%s", "bad");
    nc_progress *p = nc_progress_new("학습", 28);
    for (int i = 0; i < 28; i++)
        nc_progress_set(p, i, "loss %.2f", 1.0);
    nc_progress_set(p, 28, NULL);
    nc_progress_done(p, "loss %.2f", 0.5);
    nc_log_setup(NC_LOG_SILENT, false);
    nc_log(NC_LOG_ERROR, "silent");
    nc_log_setup(NC_LOG_INFO, false);
    end_file(f, text, sizeof text);
    assert_true(nc_starts_with(text, "step 3\nwarning: careful\nerror: bad\n학습: 100%  28/28  loss 0.50  "));
    assert_true(nc_ends_with(text, "  done\n"));
    assert_null(strchr(text, '\x1b'));
}

static void test_json(void **state)
{
    (void)state;
    static char text[1 << 16];
    char longer[5001];
    memset(longer, 'x', 5000);
    longer[5000] = 0;
    FILE *f = start_file();
    setenv("NUNCHI_LOG", "json", 1);
    nc_log_setup(NC_LOG_DEBUG, false);
    nc_debug("a \"quoted\"\nline");
    nc_warn("%s", longer);
    unsetenv("NUNCHI_LOG");
    nc_log_setup(NC_LOG_INFO, false);
    end_file(f, text, sizeof text);
    nc_arena *a = nc_arena_new();
    nc_json *v;
    char *end = strchr(text, '\n');
    assert_int_equal(nc_json_parse(a, (nc_str){ text, (size_t)(end - text) }, "log", &v, NULL), 0);
    assert_string_equal(nc_json_string(nc_json_get(v, "level"), ""), "debug");
    assert_string_equal(nc_json_string(nc_json_get(v, "message"), ""), "a \"quoted\"\nline");
    assert_int_equal(strlen(nc_json_string(nc_json_get(v, "time"), "")), 20);
    assert_int_equal(nc_json_parse(a, nc_str_of(end + 1), "log", &v, NULL), 0);
    assert_string_equal(nc_json_string(nc_json_get(v, "message"), ""), longer);
    nc_arena_free(a);
}

static void *chat(void *context)
{
    (void)context;
    for (int i = 0; i < 20; i++)
        nc_info("line-%02d-end", i);
    return NULL;
}

static void test_terminal(void **state)
{
    (void)state;
    static char text[1 << 18];
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    if (master < 0 || grantpt(master) || unlockpt(master)) {
        print_message("skipped: this system gives no pseudo-terminal\n");
        return;
    }
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY);
    struct winsize size = { .ws_row = 24, .ws_col = 100 };
    ioctl(slave, TIOCSWINSZ, &size);
    fcntl(master, F_SETFL, O_NONBLOCK);
    setenv("TERM", "xterm", 1);
    unsetenv("NO_COLOR");
    unsetenv("CI");
    redirect(slave);
    bool rich = nc_term_is_rich();
    setenv("NO_COLOR", "1", 1);
    bool plain = !nc_term_is_rich();
    unsetenv("NO_COLOR");
    nc_progress *p = nc_progress_new("stage", 10);
    nc_progress_set(p, 5, "half");
    nc_info("before");
    usleep(120000);
    nc_progress_set(p, 6, "more");
    pthread_t thread;
    pthread_create(&thread, NULL, chat, NULL);
    chat(NULL);
    pthread_join(thread, NULL);
    nc_progress_done(p, "all");
    restore();
    drain(master, text, sizeof text);
    close(slave);
    close(master);
    assert_true(rich && plain);
    /* A line wipes the bar, stands alone, and the bar comes back after it. */
    assert_non_null(strstr(text, "\r\x1b[Kbefore\r\n  stage"));
    assert_non_null(strstr(text, " 60%  6/10  more"));
    assert_true(nc_ends_with(text, "\r\n") && strstr(text, "\u2714"));
    int lines = 0;
    for (const char *at = text; (at = strstr(at, "\x1b[Kline-")); at++)
        lines += !strncmp(at + 3 + 7, "-end\r\n", 6);
    assert_int_equal(lines, 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_plain), cmocka_unit_test(test_json), cmocka_unit_test(test_terminal) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
