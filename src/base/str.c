/* str.c - views, growing text, numbers from text, and figures for people. */
#include "base/str.h"

#include <errno.h>
#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool nc_str_eq(nc_str a, nc_str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

bool nc_str_eqz(nc_str a, const char *b)
{
    return b && nc_str_eq(a, nc_str_of(b));
}

bool nc_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool nc_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}

static const char *next_character(const char *s)
{
    for (s++; ((unsigned char)*s & 0xc0) == 0x80; s++)
        ;
    return s;
}

/* On a mismatch only the last star is extended: an earlier one cannot help where the last one does not. O(pattern * text). */
bool nc_glob(const char *pattern, const char *s)
{
    const char *star = NULL, *resume = NULL;
    while (*s) {
        if (*pattern == '*') {
            star = ++pattern;
            resume = s;
        } else if (*pattern == '?') {
            pattern++;
            s = next_character(s);
        } else if (*pattern == *s) {
            pattern++;
            s++;
        } else if (star) {
            pattern = star;
            s = ++resume;
        } else {
            return false;
        }
    }
    while (*pattern == '*')
        pattern++;
    return *pattern == 0;
}

enum { LONGEST_NAME = 100 };

/* Optimal string alignment distance: insertions, deletions, substitutions and swaps of neighbours cost 1 each. */
static int distance(const char *a, int n, const char *b, int m)
{
    int row[3][LONGEST_NAME + 1];
    for (int j = 0; j <= m; j++)
        row[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *now = row[i % 3], *last = row[(i + 2) % 3], *before = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = last[j - 1] + (a[i - 1] != b[j - 1]);
            best = last[j] + 1 < best ? last[j] + 1 : best;
            best = now[j - 1] + 1 < best ? now[j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < best)
                best = before[j - 2] + 1;
            now[j] = best;
        }
    }
    return row[n % 3][m];
}

const char *nc_nearest(const char *s, const char *const *names, int count)
{
    const size_t n = strlen(s);
    if (n > LONGEST_NAME)
        return NULL;
    const char *best = NULL;
    int least = n < 3 ? 1 : n < 6 ? 2 : (int)(n / 3);       /* a third of the letters may be wrong */
    for (int i = 0; i < count; i++) {
        size_t m = strlen(names[i]);
        if (m > LONGEST_NAME)
            continue;
        int d = distance(s, (int)n, names[i], (int)m);
        if (d < least + (best == NULL) && d < (int)m) {
            least = d;
            best = names[i];
        }
    }
    return best;
}

bool nc_parse_int(const char *s, int64_t *out)
{
    if (!s || !(*s == '-' || *s == '+' || (*s >= '0' && *s <= '9')))
        return false;
    char *end;
    errno = 0;
    long long v = strtoll(s, &end, 10);
    if (errno || end == s || *end)
        return false;
    *out = v;
    return true;
}

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* Digits and at most one point, of a value that fits 64 bits without its point, with at most 27 digits behind the point: digits and power of ten are exact in a float of 64 bits, so their
 * quotient is off by half a unit of it, and its rounding to 53 bits is the right one unless it lies next to the middle of two doubles. False: strtod must tell. */
static bool plain_decimal(const char *s, double *out)
{
#if LDBL_MANT_DIG == 64
    const bool minus = *s == '-';
    int behind = 0, point = 0;
    uint64_t digits = 0;
    for (s += minus; *s; s++) {
        if (*s == '.' && !point && s[1]) {
            point = 1;
        } else if (*s < '0' || *s > '9' || digits >= (UINT64_MAX - 9) / 10) {
            return false;
        } else {
            digits = digits * 10 + (uint64_t)(*s - '0');
            behind += point;
        }
    }
    if (behind > 27 || !digits)
        return false;
    long double power = 1, ten = 10;
    for (int i = behind; i; i >>= 1, ten *= ten)
        power *= i & 1 ? ten : 1;
    long double value = (long double)digits / power;
    uint64_t mantissa;
    memcpy(&mantissa, &value, sizeof mantissa);
    if ((mantissa & 2047) >= 1023 && (mantissa & 2047) <= 1025)
        return false;
    *out = minus ? -(double)value : (double)value;
    return true;
#else
    (void)s;
    (void)out;
    return false;
#endif
}

bool nc_parse_double(const char *s, double *out)
{
    if (s && (*s == '-' || (*s >= '0' && *s <= '9')) && plain_decimal(s, out))
        return true;
    if (!s || !*s || *s == ' ' || (*s >= '\t' && *s <= '\r') || strpbrk(s, "xX"))
        return false;
    pthread_once(&c_locale_once, make_c_locale);
    char *end;
    errno = 0;
    double v = strtod_l(s, &end, c_locale);
    if (end == s || *end || (errno == ERANGE && isinf(v)))
        return false;
    *out = v;
    return true;
}

void nc_buf_reserve(nc_buf *b, size_t more)
{
    size_t need;
    if (!nc_add_size(b->n, more, &need) || !nc_add_size(need, 1, &need))
        need = SIZE_MAX;
    if (need <= b->capacity)
        return;
    size_t capacity = b->capacity < 64 ? 64 : b->capacity;
    while (capacity < need)
        capacity = capacity > SIZE_MAX / 2 ? SIZE_MAX : capacity + capacity / 2;
    b->p = nc_xrealloc(b->p, capacity);
    b->capacity = capacity;
    b->p[b->n] = 0;
}

void nc_buf_add(nc_buf *b, const void *bytes, size_t n)
{
    nc_buf_reserve(b, n);
    if (n)
        memcpy(b->p + b->n, bytes, n);
    b->n += n;
    b->p[b->n] = 0;
}

void nc_buf_adds(nc_buf *b, const char *s)
{
    nc_buf_add(b, s, strlen(s));
}

void nc_buf_addc(nc_buf *b, char c)
{
    nc_buf_add(b, &c, 1);
}

void nc_buf_printf(nc_buf *b, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    nc_buf_reserve(b, 64);
    int n = vsnprintf(b->p + b->n, b->capacity - b->n, format, args);
    va_end(args);
    if (n > 0 && (size_t)n >= b->capacity - b->n) {
        nc_buf_reserve(b, (size_t)n);
        vsnprintf(b->p + b->n, b->capacity - b->n, format, again);
    }
    va_end(again);
    if (n > 0)
        b->n += (size_t)n;
    b->p[b->n] = 0;
}

void nc_buf_clear(nc_buf *b)
{
    b->n = 0;
    if (b->p)
        b->p[0] = 0;
}

void nc_buf_free(nc_buf *b)
{
    free(b->p);
    *b = (nc_buf){ 0 };
}

char *nc_human_bytes(double bytes, char buffer[32])
{
    static const char *const unit[] = { "B", "kB", "MB", "GB", "TB", "PB" };
    int u = 0;
    while (fabs(bytes) >= 999.5 && u < NC_COUNT(unit) - 1) {
        bytes /= 1000;
        u++;
    }
    snprintf(buffer, 32, u && fabs(bytes) < 99.95 ? "%.1f %s" : "%.0f %s", bytes, unit[u]);
    return buffer;
}

char *nc_human_count(double count, char buffer[32])
{
    static const char *const unit[] = { "", "k", "M", "G", "T", "P" };
    int u = 0;
    while (fabs(count) >= 999.95 && u < NC_COUNT(unit) - 1) {
        count /= 1000;
        u++;
    }
    snprintf(buffer, 32, u ? "%.1f%s" : "%.0f%s", count, unit[u]);
    return buffer;
}

char *nc_human_time(double seconds, char buffer[32])
{
    double a = fabs(seconds);
    if (!(a < 1e15))
        snprintf(buffer, 32, "?");
    else if (a < 1e-3)
        snprintf(buffer, 32, "%.0f us", seconds * 1e6);
    else if (a < 0.9995)
        snprintf(buffer, 32, "%.0f ms", seconds * 1e3);
    else if (a < 59.95)
        snprintf(buffer, 32, "%.1f s", seconds);
    else {
        long long s = llround(seconds);
        if (a < 3600)
            snprintf(buffer, 32, "%lldm %02llds", s / 60, s % 60);
        else if (a < 86400)
            snprintf(buffer, 32, "%lldh %02lldm", s / 3600, s / 60 % 60);
        else
            snprintf(buffer, 32, "%lldd %02lldh", s / 86400, s / 3600 % 24);
    }
    return buffer;
}
