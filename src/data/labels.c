/* labels.c - see labels.h. */
#include "data/labels.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"

enum { MOST_LABELS = 1 << 20 };

/* A number that is written as one of a continuum: 3.5, 4.0. */
static bool is_fraction(const nc_json *v) { return nc_json_is(v, NC_JSON_NUMBER) && strpbrk(v->text.p, ".eEnN"); }

static bool is_list(const nc_json *v) { return nc_json_is(v, NC_JSON_ARRAY); }

/* [0.0, 1.0, 1.0]: 1 for each label that the sample has. */
static bool is_flags(const nc_json *v)
{
    NC_JSON_EACH(one, is_list(v) ? v : NULL)
        if (!is_fraction(one) || (nc_json_double(one, -1) != 0 && nc_json_double(one, -1) != 1))
            return false;
    return is_list(v) && v->count > 1;
}

/* Of all samples together. */
static nc_label_kind kind_of(const nc_dataset *const *d, int n)
{
    nc_label_kind kind = NC_LABELS_ONE;
    for (int k = 0; k < n; k++)
        for (int i = 0; i < d[k]->count; i++) {
            const nc_sample *s = &d[k]->samples[i];
            if (is_fraction(s->label) || (is_list(s->label) && is_fraction(s->label->first) && !is_flags(s->label)))
                return NC_LABELS_NUMBERS;
            if (is_list(s->label) && !s->words)
                kind = NC_LABELS_SOME;
        }
    return kind;
}

struct found { nc_str text; bool is_number; double value; };

static int by_name(const void *x, const void *y)
{
    const struct found *a = x, *b = y;
    size_t n = a->text.n < b->text.n ? a->text.n : b->text.n;
    if (a->is_number && b->is_number)
        return a->value < b->value ? -1 : a->value > b->value;
    int c = n ? memcmp(a->text.p, b->text.p, n) : 0;
    return c ? c : a->text.n < b->text.n ? -1 : a->text.n > b->text.n;
}

static nc_str spelled(const nc_json *label)
{
    if (nc_json_is(label, NC_JSON_BOOL))
        return label->boolean ? NC_STR("1") : NC_STR("0");
    return nc_json_is(label, NC_JSON_STRING) || nc_json_is(label, NC_JSON_NUMBER) ? label->text : (nc_str){ 0 };
}

static int collect(nc_map *all, const nc_sample *s, const nc_json *label, nc_error *e)
{
    nc_str name = spelled(label);
    int64_t number;
    bool is_number = !nc_json_is(label, NC_JSON_STRING);
    if (!name.p || (nc_json_is(label, NC_JSON_NUMBER) && !nc_json_int_exact(label, &number)))
        return nc_fail(e, NC_EFORMAT, "%s:%d: a label must be a name or a whole number", s->file, s->line);
    if (nc_json_is(label, NC_JSON_NUMBER) && number < 0)         /* -100, -1: not counted */
        return 0;
    nc_map_set(all, name, is_number);
    return nc_map_count(all) < MOST_LABELS ? 0 : nc_fail(e, NC_ELIMIT, "%s:%d: more than %d different labels; are these numbers to be predicted (problem_type: regression)?", s->file, s->line, MOST_LABELS);
}

static int collect_all(nc_map *all, const nc_dataset *const *d, int n, nc_error *e)
{
    for (int k = 0; k < n; k++)
        for (int i = 0; i < d[k]->count; i++) {
            const nc_sample *s = &d[k]->samples[i];
            if (!s->label)
                return nc_fail(e, NC_EFORMAT, "%s:%d: the record has no label; dataset_info.json's columns name its key", s->file, s->line);
            if (!is_list(s->label))
                NC_TRY(collect(all, s, s->label, e));
            NC_JSON_EACH(one, is_list(s->label) ? s->label : NULL)
                NC_TRY(collect(all, s, one, e));
        }
    return 0;
}

static void take_numbers(nc_arena *a, int count, nc_label_set *out)
{
    out->name = NC_NEW_ARRAY(a, nc_str, count + 1);
    out->count = count;
    out->numbered = true;
    for (int i = 0; i < count; i++)
        out->name[i] = nc_str_of(nc_arena_printf(a, "LABEL_%d", i));
}

static void take_names(nc_arena *a, const nc_map *all, nc_label_set *out)
{
    int n = (int)nc_map_count(all);
    struct found *f = NC_NEW_ARRAY(a, struct found, n + 1);
    bool plain = true;
    for (int i = 0; i < n; i++) {
        nc_str key = nc_map_key(all, (size_t)i);
        f[i] = (struct found){ { nc_arena_strndup(a, key.p, key.n), key.n }, nc_map_value(all, (size_t)i), 0 };
        f[i].value = strtod(f[i].text.p, NULL);
    }
    qsort(f, (size_t)n, sizeof *f, by_name);
    for (int i = 0; i < n; i++)
        plain &= f[i].is_number && f[i].value == i;
    if (plain) {
        take_numbers(a, n, out);
        return;
    }
    out->name = NC_NEW_ARRAY(a, nc_str, n + 1);
    out->count = n;
    for (int i = 0; i < n; i++)
        out->name[i] = f[i].text;
}

static int take_declared(nc_arena *a, const nc_json *names, nc_label_set *out, nc_error *e)
{
    out->name = NC_NEW_ARRAY(a, nc_str, names->count + 1);
    out->numbered = true;
    NC_JSON_EACH(name, names) {
        if (!nc_json_is(name, NC_JSON_STRING))
            return nc_fail(e, NC_EFORMAT, "dataset_info.json: label_names must be a list of strings");
        out->name[out->count++] = (nc_str){ nc_arena_strndup(a, name->text.p, name->text.n), name->text.n };
    }
    return 0;
}

/* Numbers of one sample, the same of all. */
static int count_numbers(const nc_dataset *const *d, int n, nc_label_set *out, nc_error *e)
{
    for (int k = 0; k < n; k++)
        for (int i = 0; i < d[k]->count; i++) {
            const nc_sample *s = &d[k]->samples[i];
            int have = is_list(s->label) ? s->label->count : nc_json_is(s->label, NC_JSON_NUMBER);
            out->count = out->count ? out->count : have;
            if (!have || have != out->count)
                return nc_fail(e, NC_EFORMAT, "%s:%d: the label must be %d number%s", s->file, s->line, out->count ? out->count : 1, out->count > 1 ? "s" : "");
        }
    return 0;
}

int nc_labels_find(nc_arena *a, const nc_dataset *const *d, int n, nc_label_kind kind, nc_label_set *out, nc_error *e)
{
    *out = (nc_label_set){ .kind = kind ? kind : kind_of(d, n) };
    if (out->kind == NC_LABELS_NUMBERS)
        return count_numbers(d, n, out, e);
    const nc_json *declared = NULL;
    for (int k = 0; k < n && !declared; k++)
        declared = d[k]->label_names;
    if (is_list(declared))
        return take_declared(a, declared, out, e);
    if (out->kind == NC_LABELS_SOME && d[0]->count && is_flags(d[0]->samples[0].label)) {
        take_numbers(a, d[0]->samples[0].label->count, out);
        return 0;
    }
    nc_map *all = nc_map_new(64);
    int status = collect_all(all, d, n, e);
    if (status == 0)
        take_names(a, all, out);
    nc_map_free(all);
    return status;
}

void nc_labels_of_config(nc_arena *a, const nc_json *config, nc_label_kind kind, int count, nc_label_set *out)
{
    const nc_json *names = nc_json_get(config, "id2label");
    bool all_numbers = true;
    *out = (nc_label_set){ .kind = kind, .count = count };
    if (kind == NC_LABELS_NUMBERS)
        return;
    out->name = NC_NEW_ARRAY(a, nc_str, count + 1);
    for (int i = 0; i < count; i++) {
        char *key = nc_arena_printf(a, "%d", i);
        const char *name = nc_json_string(nc_json_get(names, key), nc_arena_printf(a, "LABEL_%d", i));
        int64_t number;
        out->name[i] = nc_str_of(name);
        all_numbers &= nc_parse_int(name, &number);
    }
    out->numbered = !all_numbers;
}

int nc_label_id(const nc_label_set *s, const nc_json *label)
{
    nc_str name = spelled(label);
    int64_t number;
    for (int i = 0; name.p && s->name && i < s->count; i++)
        if (s->name[i].n == name.n && !memcmp(s->name[i].p, name.p, name.n))
            return i;
    if (!name.p || !s->numbered || nc_json_is(label, NC_JSON_STRING))
        return -1;
    number = nc_json_is(label, NC_JSON_BOOL) ? label->boolean : nc_json_int(label, -1);
    return number >= 0 && number < s->count ? (int)number : -1;
}

int nc_label_unknown(const nc_label_set *s, const nc_json *label, nc_error *e)
{
    nc_buf known = { 0 };
    nc_str name = spelled(label);
    for (int i = 0; s->name && i < s->count && i < 12; i++)
        nc_buf_printf(&known, "%s%.*s", i ? ", " : "", (int)s->name[i].n, s->name[i].p);
    nc_fail(e, NC_ENOTFOUND, "the label %.*s is none of the model's %d: %s%s", name.p ? (int)name.n : 1, name.p ? name.p : "?", s->count, known.p ? known.p : "", s->count > 12 ? " ..." : "");
    nc_buf_free(&known);
    return NC_ENOTFOUND;
}

static int numbers_of(const nc_label_set *s, const nc_json *label, float *out, nc_error *e)
{
    const nc_json *one = is_list(label) ? label->first : label;
    int have = is_list(label) ? label->count : 1;
    for (int i = 0; i < s->count && have == s->count; i++, one = one->next) {
        out[i] = (float)nc_json_double(one, NAN);
        if (!isfinite(out[i]))
            have = -1;
    }
    return have == s->count ? 0 : nc_fail(e, NC_EFORMAT, "the label must be %d number%s", s->count, s->count == 1 ? "" : "s");
}

int nc_label_values(const nc_label_set *s, const nc_json *label, float *out, nc_error *e)
{
    if (s->kind == NC_LABELS_NUMBERS)
        return numbers_of(s, label, out, e);
    memset(out, 0, sizeof *out * (size_t)s->count);
    if (is_flags(label))
        return numbers_of(s, label, out, e);
    NC_JSON_EACH(one, is_list(label) ? label : NULL) {
        int id = nc_label_id(s, one);
        if (id < 0)
            return nc_label_unknown(s, one, e);
        out[id] = 1;
    }
    if (!is_list(label)) {
        int id = nc_label_id(s, label);
        if (id < 0)
            return nc_label_unknown(s, label, e);
        out[id] = 1;
    }
    return 0;
}
