/* log.c - log lines, and the one place that writes to stderr: a bar that is being drawn is wiped before a line and drawn again after it.
 *
 * For people a line is "warning: text"; for programs {"time": ..., "level": "warn", "message": "text"}. A line is one write(2).
 */
#include "base/log.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/progress.h"
#include "base/term.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static nc_buf drawn;                    /* the bar on the screen */
static nc_log_level least_level = NC_LOG_INFO;
static int as_json = -1;                /* -1: NUNCHI_LOG has not been asked yet */

static void write_all(nc_str s)
{
    while (s.n) {
        ssize_t put = write(STDERR_FILENO, s.p, s.n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0)
            return;                     /* nobody to tell */
        s.p += put;
        s.n -= (size_t)put;
    }
}

static const char wipe[] = "\r\x1b[K";

void nc_term_lines(nc_str lines)
{
    pthread_mutex_lock(&lock);
    if (drawn.n == 0) {
        write_all(lines);
    } else {
        nc_buf b = { 0 };
        nc_buf_adds(&b, wipe);
        nc_buf_add(&b, lines.p, lines.n);
        nc_buf_add(&b, drawn.p, drawn.n);
        write_all((nc_str){ b.p, b.n });
        nc_buf_free(&b);
    }
    pthread_mutex_unlock(&lock);
}

void nc_term_bar(nc_str bar)
{
    pthread_mutex_lock(&lock);
    if (bar.n || drawn.n) {
        nc_buf b = { 0 };
        nc_buf_adds(&b, wipe);
        nc_buf_add(&b, bar.p, bar.n);
        write_all((nc_str){ b.p, b.n });
        nc_buf_free(&b);
    }
    nc_buf_clear(&drawn);
    if (bar.n)
        nc_buf_add(&drawn, bar.p, bar.n);
    else
        nc_buf_free(&drawn);
    pthread_mutex_unlock(&lock);
}

static bool env_json(void)
{
    const char *s = getenv("NUNCHI_LOG");
    return s && !strcmp(s, "json");
}

void nc_log_setup(nc_log_level least, bool json)
{
    pthread_mutex_lock(&lock);
    least_level = least;
    as_json = json || env_json();
    pthread_mutex_unlock(&lock);
}

void nc_log(nc_log_level level, const char *format, ...)
{
    static const char *const name[] = { "debug", "info", "warn", "error" };
    pthread_mutex_lock(&lock);
    if (as_json < 0)
        as_json = env_json();
    const bool wanted = level >= least_level && level < NC_LOG_SILENT, json = as_json > 0;
    pthread_mutex_unlock(&lock);
    if (!wanted)
        return;

    nc_buf text = { 0 }, line = { 0 };
    va_list args;
    va_start(args, format);
    char first[1024];
    int n = vsnprintf(first, sizeof first, format, args);
    va_end(args);
    if (n >= (int)sizeof first) {
        va_start(args, format);
        nc_buf_reserve(&text, (size_t)n + 1);
        vsnprintf(text.p, (size_t)n + 1, format, args);
        text.n = (size_t)n;
        va_end(args);
    } else {
        nc_buf_add(&text, first, n < 0 ? 0 : (size_t)n);
    }
    if (json) {
        char iso[32];
        nc_buf_printf(&line, "{\"time\": \"%s\", \"level\": \"%s\", \"message\": ", nc_wall_iso(nc_wall_time(), iso), name[level]);
        nc_buf_json_string(&line, (nc_str){ text.p, text.n });
        nc_buf_adds(&line, "}\n");
    } else {
        const char *colour = !nc_term_is_rich() ? "" : level == NC_LOG_ERROR ? "\x1b[1;31m" : level == NC_LOG_WARN ? "\x1b[33m" : "";
        const char *head = level == NC_LOG_ERROR ? "error: " : level == NC_LOG_WARN ? "warning: " : level == NC_LOG_DEBUG ? "debug: " : "";
        nc_buf_printf(&line, "%s%s%s%s\n", colour, head, *colour ? "\x1b[0m" : "", text.p);
    }
    nc_term_lines((nc_str){ line.p, line.n });
    nc_buf_free(&text);
    nc_buf_free(&line);
}
