/* number.c - the shortest decimal that reads back as the same double, in Python's spelling.
 *
 * A decimal of at most 15 digits survives the trip through a double, so %.15g without trailing zeros is the shortest when it reads back equal;
 * else 16 digits, else 17, which always do. Subnormals carry fewer digits and are tried from one digit up.
 */
#include "base/number.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static locale_t c_locale;
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

/* v as digits d1 d2 ... and the exponent of d1.d2..., with trailing zeros removed. */
static int shortest_digits(double v, char digits[24], int *exponent)
{
    char text[40];
    const int first = fabs(v) < DBL_MIN ? 1 : 15;
    for (int precision = first; precision <= 17; precision++) {
        snprintf(text, sizeof text, "%.*e", precision - 1, v);
        if (strtod_l(text, NULL, c_locale) == v)
            break;
    }
    int n = 0;
    const char *p = text;
    for (; *p != 'e'; p++)
        if (*p >= '0' && *p <= '9')
            digits[n++] = *p;
    *exponent = atoi(p + 1);
    while (n > 1 && digits[n - 1] == '0')
        n--;
    return n;
}

char *nc_format_double(double v, char out[32])
{
    if (isnan(v))
        return strcpy(out, "NaN");
    if (isinf(v))
        return strcpy(out, v > 0 ? "Infinity" : "-Infinity");
    pthread_once(&c_locale_once, make_c_locale);
    locale_t before = uselocale(c_locale);
    char digits[24], *p = out;
    int exponent, n = shortest_digits(v, digits, &exponent);
    uselocale(before);

    if (signbit(v))
        *p++ = '-';
    if (exponent < -4 || exponent >= 16) {
        *p++ = digits[0];
        if (n > 1) {
            *p++ = '.';
            memcpy(p, digits + 1, (size_t)n - 1);
            p += n - 1;
        }
        snprintf(p, (size_t)(out + 32 - p), "e%c%02d", exponent < 0 ? '-' : '+', abs(exponent));
        return out;
    }
    if (exponent < 0) {
        *p++ = '0';
        *p++ = '.';
        for (int i = -1; i > exponent; i--)
            *p++ = '0';
        memcpy(p, digits, (size_t)n);
        p += n;
    } else {
        for (int i = 0; i <= exponent; i++)
            *p++ = i < n ? digits[i] : '0';
        *p++ = '.';
        for (int i = exponent + 1; i < n; i++)
            *p++ = digits[i];
        if (n <= exponent + 1)
            *p++ = '0';
    }
    *p = 0;
    return out;
}
