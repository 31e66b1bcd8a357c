/* progress.c - one bar: title, share done, figures, time left. Rich terminals get a line drawn over itself; everything else gets plain
 * lines, one every few seconds and one at the end. */
#include "base/progress.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/term.h"

#define DRAW_NS 100000000ull
#define PLAIN_NS 5000000000ull

struct nc_progress {
    char *title;
    double total, done;
    bool rich;
    uint64_t started, drawn;
    char note[256];
    pthread_mutex_t lock;
};

bool nc_term_is_rich(void)
{
    const char *term = getenv("TERM"), *no_color = getenv("NO_COLOR"), *ci = getenv("CI");
    return isatty(STDERR_FILENO) && term && *term && strcmp(term, "dumb") && !(no_color && *no_color) && !(ci && *ci);
}

/* Columns a character takes on a terminal: 2 for the East Asian wide blocks, 0 for combining marks, else 1. */
static int columns_of(uint32_t c)
{
    if ((c >= 0x300 && c <= 0x36f) || (c >= 0x1160 && c <= 0x11ff) || (c >= 0x200b && c <= 0x200f) || (c >= 0xfe00 && c <= 0xfe0f))
        return 0;
    bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf && c != 0x303f) || (c >= 0xa960 && c <= 0xa97c)
             || (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f)
             || (c >= 0xff00 && c <= 0xff60) || (c >= 0xffe0 && c <= 0xffe6) || (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
    return wide ? 2 : 1;
}

/* Adds s as far as it fits in the columns left; control and invalid bytes are dropped. Returns the columns used. */
static int add_fitting(nc_buf *b, const char *s, int room)
{
    int used = 0;
    for (size_t i = 0, n = strlen(s); i < n;) {
        uint32_t c;
        int bytes = nc_utf8_decode(s + i, n - i, &c);
        if (bytes > 0 && c >= 0x20 && c != 0x7f) {
            if (used + columns_of(c) > room)
                break;
            used += columns_of(c);
            nc_buf_add(b, s + i, (size_t)bytes);
        }
        i += bytes > 0 ? (size_t)bytes : 1;
    }
    return used;
}

static double fraction(const nc_progress *p)
{
    double f = p->total > 0 ? p->done / p->total : 0;
    return f < 0 ? 0 : f > 1 ? 1 : f;
}

/* "43%  12/28  loss 1.23  1m 20s left": the figures both forms show. */
static void figures(const nc_progress *p, nc_buf *b, bool last)
{
    const double seconds = (double)(nc_now_ns() - p->started) * 1e-9, f = fraction(p);
    char time[32], done[32], total[32];
    if (p->total > 0) {
        const bool whole = p->total < 100000;
        nc_buf_printf(b, "%3.0f%%  ", 100 * f);
        if (whole)
            nc_buf_printf(b, "%.0f/%.0f", p->done, p->total);
        else
            nc_buf_printf(b, "%s/%s", nc_human_count(p->done, done), nc_human_count(p->total, total));
    } else {
        nc_buf_adds(b, p->done < 100000 ? (snprintf(done, sizeof done, "%.0f", p->done), done) : nc_human_count(p->done, done));
    }
    if (*p->note)
        nc_buf_printf(b, "  %s", p->note);
    if (last || p->total <= 0)
        nc_buf_printf(b, "  %s", nc_human_time(seconds, time));
    else if (f > 0 && seconds > 0.5)
        nc_buf_printf(b, "  %s left", nc_human_time(seconds * (1 - f) / f, time));
}

static int terminal_columns(void)
{
    struct winsize w;
    return ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
}

static void draw_rich(const nc_progress *p, bool last)
{
    static const char *const eighth[] = { "", "\u258f", "\u258e", "\u258d", "\u258c", "\u258b", "\u258a", "\u2589" };
    enum { BAR = 24 };
    nc_buf b = { 0 }, text = { 0 };
    int room = terminal_columns() - 1;
    nc_buf_adds(&b, last ? "\x1b[32m\u2714\x1b[0m " : "  ");
    room -= 2;
    int used = add_fitting(&b, p->title, room);
    for (; used < 18 && used < room; used++)
        nc_buf_addc(&b, ' ');
    room -= used;
    if (!last && p->total > 0 && room > BAR + 30) {
        int filled = (int)(fraction(p) * BAR * 8), cells = 0;
        nc_buf_adds(&b, " \x1b[36m");
        for (; cells < filled / 8; cells++)
            nc_buf_adds(&b, "\u2588");
        if (filled % 8 && cells++ < BAR)
            nc_buf_adds(&b, eighth[filled % 8]);
        nc_buf_adds(&b, "\x1b[90m");
        for (; cells < BAR; cells++)
            nc_buf_adds(&b, "\u00b7");
        nc_buf_adds(&b, "\x1b[0m");
        room -= BAR + 1;
    }
    if (room > 2) {
        nc_buf_addc(&b, ' ');
        figures(p, &text, last);
        add_fitting(&b, text.p, room - 1);
    }
    if (last) {
        nc_term_bar((nc_str){ NULL, 0 });
        nc_buf_addc(&b, '\n');
        nc_term_lines((nc_str){ b.p, b.n });
    } else {
        nc_term_bar((nc_str){ b.p, b.n });
    }
    nc_buf_free(&b);
    nc_buf_free(&text);
}

static void draw_plain(const nc_progress *p, bool last)
{
    nc_buf b = { 0 };
    nc_buf_printf(&b, "%s: ", p->title);
    figures(p, &b, last);
    nc_buf_adds(&b, last ? "  done\n" : "\n");
    nc_term_lines((nc_str){ b.p, b.n });
    nc_buf_free(&b);
}

nc_progress *nc_progress_new(const char *title, double total)
{
    nc_progress *p = nc_xcalloc(1, sizeof *p);
    p->title = nc_xstrdup(title);
    p->total = total;
    p->rich = nc_term_is_rich();
    p->started = p->drawn = nc_now_ns();
    pthread_mutex_init(&p->lock, NULL);
    if (p->rich)
        draw_rich(p, false);
    return p;
}

static void set_note(nc_progress *p, const char *format, va_list args)
{
    p->note[0] = 0;
    if (format)
        vsnprintf(p->note, sizeof p->note, format, args);
}

void nc_progress_set(nc_progress *p, double done, const char *note_format, ...)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->done = done;
    uint64_t now = nc_now_ns();
    if (now - p->drawn >= (p->rich ? DRAW_NS : PLAIN_NS)) {
        va_list args;
        va_start(args, note_format);
        set_note(p, note_format, args);
        va_end(args);
        p->drawn = now;
        if (p->rich)
            draw_rich(p, false);
        else
            draw_plain(p, false);
    }
    pthread_mutex_unlock(&p->lock);
}

void nc_progress_done(nc_progress *p, const char *note_format, ...)
{
    if (!p)
        return;
    va_list args;
    va_start(args, note_format);
    set_note(p, note_format, args);
    va_end(args);
    if (p->rich)
        draw_rich(p, true);
    else
        draw_plain(p, true);
    pthread_mutex_destroy(&p->lock);
    free(p->title);
    free(p);
}
