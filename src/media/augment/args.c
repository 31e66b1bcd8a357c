/* args.c - reads an operation's parameters from its entry of the recipe. The first mistake is kept, naming the operation and the key. */
#include "media/augment/raster.h"

#include <math.h>
#include <string.h>
#include <strings.h>

void nc_arg_mistake(nc_args *a, const char *format, ...)
{
    va_list args;
    if (a->status < 0)
        return;
    va_start(args, format);
    a->status = nc_failv(a->e, NC_EINVAL, format, args);
    va_end(args);
    nc_fail_in(a->e, "%s", a->name);
}

static const nc_json *get(nc_args *a, const char *key)
{
    bool known = false;
    for (int i = 0; i < a->count; i++)
        known |= !strcmp(a->asked[i], key);
    if (!known && a->count < NC_COUNT(a->asked))
        a->asked[a->count++] = key;
    const nc_json *v = nc_json_get(a->map, key);
    return nc_json_is(v, NC_JSON_NULL) ? NULL : v;
}

const nc_json *nc_arg_list(nc_args *a, const char *key)
{
    const nc_json *v = get(a, key);
    if (v && v->type != NC_JSON_ARRAY)
        nc_arg_mistake(a, "%s must be a list", key);
    return v && v->type == NC_JSON_ARRAY ? v : NULL;
}

bool nc_arg_given(const nc_args *a, const char *key)
{
    const nc_json *v = nc_json_get(a->map, key);
    return v && v->type != NC_JSON_NULL;
}

void nc_arg_need(nc_args *a, const char *key)
{
    if (!nc_arg_given(a, key))
        nc_arg_mistake(a, "%s is missing", key);
}

double nc_arg_number_in(nc_args *a, const char *key, double fallback, double least, double most)
{
    const nc_json *v = get(a, key);
    if (!v)
        return fallback;
    const double d = v->type == NC_JSON_BOOL ? v->boolean : nc_json_double(v, NAN);
    if ((v->type != NC_JSON_NUMBER && v->type != NC_JSON_BOOL) || !(d >= least && d <= most)) {
        if (isinf(least) || isinf(most))
            nc_arg_mistake(a, isinf(least) ? "%s must be a number" : "%s must be a number, at least %g", key, least);
        else
            nc_arg_mistake(a, "%s must be a number from %g to %g", key, least, most);
        return fallback;
    }
    return d;
}

double nc_arg_number(nc_args *a, const char *key, double fallback) { return nc_arg_number_in(a, key, fallback, -1e300, 1e300); }

int nc_arg_int(nc_args *a, const char *key, int fallback, int least, int most)
{
    const double d = nc_arg_number_in(a, key, fallback, least, most);
    if (d != floor(d)) {
        nc_arg_mistake(a, "%s must be a whole number", key);
        return fallback;
    }
    return (int)d;
}

bool nc_arg_bool(nc_args *a, const char *key, bool fallback)
{
    const nc_json *v = get(a, key);
    if (!v)
        return fallback;
    if (v->type != NC_JSON_BOOL && v->type != NC_JSON_NUMBER)
        nc_arg_mistake(a, "%s must be true or false", key);
    return v->type == NC_JSON_NUMBER ? nc_json_double(v, 0) != 0 : nc_json_bool(v, fallback);
}

const char *nc_arg_word(nc_args *a, const char *key, const char *fallback)
{
    const nc_json *v = get(a, key);
    if (v && v->type != NC_JSON_STRING)
        nc_arg_mistake(a, "%s must be a word", key);
    return nc_json_string(v, fallback);
}

int nc_arg_word_of(nc_args *a, const char *key, const char *const *words, int count, int fallback)
{
    const char *word = nc_arg_word(a, key, NULL);
    for (int i = 0; word && i < count; i++)
        if (!strcasecmp(word, words[i]))
            return i;
    if (word) {
        nc_buf all = { 0 };
        for (int i = 0; i < count; i++)
            nc_buf_printf(&all, "%s%s", i ? ", " : "", words[i]);
        nc_arg_mistake(a, "%s: \"%.40s\" is none of %s", key, word, all.p);
        nc_buf_free(&all);
    }
    return fallback;
}

int nc_arg_numbers(nc_args *a, const char *key, double *out, int least, int most)
{
    const nc_json *v = get(a, key);
    int n = 0;
    if (!v)
        return 0;
    if (v->type == NC_JSON_NUMBER && least <= 1) {
        out[0] = nc_json_double(v, 0);
        return 1;
    }
    bool right = v->type == NC_JSON_ARRAY && v->count >= least && v->count <= most;
    for (const nc_json *i = right ? v->first : NULL; i; i = i->next) {
        right &= i->type == NC_JSON_NUMBER && isfinite(nc_json_double(i, NAN));
        out[n++] = nc_json_double(i, 0);
    }
    if (right)
        return n;
    if (least == most)
        nc_arg_mistake(a, "%s must be a list of %d numbers", key, least);
    else
        nc_arg_mistake(a, "%s must be %sa list of %d to %d numbers", key, least <= 1 ? "a number or " : "", least, most);
    return 0;
}

nc_fill nc_arg_fill(nc_args *a, const char *key, bool pillow)
{
    nc_fill f = { .packed = pillow };
    f.count = nc_arg_numbers(a, key, f.v, 1, 4);
    if (pillow && f.count == 1 && nc_json_is(nc_json_get(a->map, key), NC_JSON_ARRAY))
        f.packed = false;
    for (int i = 0; i < f.count; i++)
        if (!(fabs(f.v[i]) < 1e9))
            nc_arg_mistake(a, "%s is out of range", key);
    return f;
}

nc_filter nc_arg_filter(nc_args *a, const char *key, nc_filter fallback)
{
    static const char *const words[] = { "nearest", "lanczos", "bilinear", "bicubic", "box", "hamming" };
    const nc_json *v = get(a, key);
    if (v && v->type == NC_JSON_NUMBER)
        return (nc_filter)nc_arg_int(a, key, (int)fallback, 0, NC_COUNT(words) - 1);
    return (nc_filter)nc_arg_word_of(a, key, words, NC_COUNT(words), (int)fallback);
}
