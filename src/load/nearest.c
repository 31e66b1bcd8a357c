/* nearest.c - known families ranked by how much of a folder they would understand: the keys of its config.json, and the names and shapes of its tensors.
 *
 *     keys     known / (known + unknown + missing + mistakes)
 *     tensors  (alike + misshapen / 2) / (alike + misshapen + unknown + missing), layers counted once
 *     score    3/4 tensors + 1/4 keys, or 1/4 keys where tensors cannot be compared though there are some
 * A config of the same family with another word for model_type scores 1. Equal scores are decided by the spelling of the names, then by the list's order.
 */
#include "load/nearest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "load/checkpoint.h"

/* Families that are compared by tensors: the best by keys. */
enum { COMPARED = 16 };

struct entry { const char *name, *shape, *expected; int tensors; };
struct entries { nc_map *at; struct entry *p; int count, capacity; };
struct candidate { const nc_family *family; nc_config_notes notes; double keys, score; int spelling; bool compared; struct entries alike, unknown, missing, shapes; };

/* "model.layers.12.mlp" becomes "model.layers.*.mlp". */
static const char *collapse(nc_arena *a, const char *name)
{
    char *out = nc_arena_strdup(a, name), *to = out;
    for (const char *p = name; *p;) {
        const size_t n = strcspn(p, "."), digits = strspn(p, "0123456789");
        if (n && digits == n)
            *to++ = '*';
        else
            for (size_t i = 0; i < n; i++)
                *to++ = p[i];
        p += n;
        if (*p)
            *to++ = *p++;
    }
    *to = 0;
    return out;
}

static const char *shape_text(nc_arena *a, const nc_shape *s)
{
    nc_buf b = { 0 };
    nc_buf_addc(&b, '[');
    for (int i = 0; i < s->rank; i++)
        nc_buf_printf(&b, "%s%lld", i ? ", " : "", (long long)s->dim[i]);
    nc_buf_addc(&b, ']');
    const char *text = nc_arena_strdup(a, b.p);
    nc_buf_free(&b);
    return text;
}

/* The same name and shapes in another layer are counted. */
static void add(nc_arena *a, struct entries *l, const char *name, const nc_shape *shape, const nc_shape *expected)
{
    struct entry x = { collapse(a, name), shape ? shape_text(a, shape) : NULL, expected ? shape_text(a, expected) : NULL, 1 };
    const char *key = nc_arena_printf(a, "%s %s %s", x.name, x.shape ? x.shape : "", x.expected ? x.expected : "");
    int64_t at;
    if (!l->at)
        l->at = nc_map_new(64);
    if (nc_map_get(l->at, nc_str_of(key), &at)) {
        l->p[at].tensors++;
        return;
    }
    if (l->count == l->capacity) {
        l->capacity = l->capacity ? 2 * l->capacity : 64;
        l->p = nc_xrealloc(l->p, sizeof *l->p * (size_t)l->capacity);
    }
    nc_map_set(l->at, nc_str_of(key), l->count);
    l->p[l->count++] = x;
}

static void release(struct entries *l)
{
    nc_map_free(l->at);
    free(l->p);
}

static size_t common_end(const char *a, size_t n, const char *b, size_t m)
{
    size_t k = 0;
    while (k < n && k < m && a[n - 1 - k] == b[m - 1 - k])
        k++;
    return k;
}

/* The family's class that ends like the folder's: MymodelForCausalLM, LlamaForCausalLM. */
static nc_str class_like(const nc_family *f, const char *theirs)
{
    nc_str best = { f->architectures, strcspn(f->architectures, " ") };
    size_t most = 4;
    for (const char *p = f->architectures; *p;) {
        const size_t n = strcspn(p, " "), same = common_end(p, n, theirs, strlen(theirs));
        if (same > most) {
            most = same;
            best = (nc_str){ p, n };
        }
        p += n + (p[n] == ' ');
    }
    return best;
}

/* Letters that two names begin or end with, where they are more than a chance. */
static int alike(const char *name, const char *type)
{
    enum { CHANCE = 3 };
    const int end = (int)common_end(name, strlen(name), type, strlen(type));
    int begin = 0;
    while (name[begin] && name[begin] == type[begin])
        begin++;
    return (begin > CHANCE ? begin : 0) + (end > CHANCE ? end : 0);
}

/* A part of an unknown kind is read as the family's own part of that place (text_config of clip: clip_text_model), where there is one. */
static void name_parts(nc_arena *a, nc_json *c, const nc_family *f)
{
    static const struct { const char *key, *ending; } places[] = { { "text_config", "text_model" }, { "text_config", "text" }, { "vision_config", "vision_model" }, { "vision_config", "vision" } };
    for (int i = 0; i < NC_COUNT(places); i++) {
        const nc_json *part = nc_json_get(c, places[i].key);
        const char *name = nc_arena_printf(a, "%s_%s", f->name, places[i].ending);
        if (!nc_json_is(part, NC_JSON_OBJECT) || nc_family_find(nc_json_string(nc_json_get(part, "model_type"), "")) || !nc_family_find(name))
            continue;
        nc_json *named = nc_json_clone(a, part);
        nc_json_set(a, named, "model_type", nc_json_new_string(a, nc_str_of(name)));
        nc_json_set(a, c, places[i].key, named);
    }
}

static nc_json *as_family(nc_arena *a, const nc_json *config, const nc_family *f)
{
    nc_json *c = nc_json_clone(a, config), *list = nc_json_new(a, NC_JSON_ARRAY);
    const char *theirs = nc_json_string(nc_json_at(nc_json_get(config, "architectures"), 0), NULL);
    nc_json_set(a, c, "model_type", nc_json_new_string(a, nc_str_of(f->name)));
    name_parts(a, c, f);
    if (theirs) {
        nc_json_append(list, nc_json_new_string(a, class_like(f, theirs)));
        nc_json_set(a, c, "architectures", list);
    }
    return c;
}

static const char **copy(nc_arena *a, const char **list, int count)
{
    const char **out = NC_NEW_ARRAY(a, const char *, count + 1);
    for (int i = 0; i < count; i++)
        out[i] = nc_arena_strdup(a, list[i]);
    return out;
}

static void try_keys(nc_arena *a, const nc_json *config, const char *type, struct candidate *c)
{
    nc_config_notes n;
    nc_arena *scratch = nc_arena_new();
    const char *name = c->family->name;
    nc_model *m = nc_model_trial(as_family(scratch, config, c->family), c->family, false, &n);
    c->notes = n;
    c->notes.unread = copy(a, n.unread, n.unread_count);
    c->notes.missing = copy(a, n.missing, n.missing_count);
    c->notes.mistakes = copy(a, n.mistakes, n.mistake_count);
    nc_model_free(m);
    nc_arena_free(scratch);
    const int all = n.known + n.unread_count + n.missing_count + n.mistake_count;
    c->keys = all ? (double)n.known / all : 0;
    c->spelling = alike(name, type);
    c->score = c->keys / 4;
}

static bool is_ignored(const nc_family *f, const char *name)
{
    for (const char *const *p = f->ignored; p && *p; p++)
        if (nc_glob(*p, name))
            return true;
    return false;
}

static void try_tensors(nc_arena *a, const nc_json *config, nc_safetensors *s, struct candidate *c)
{
    nc_config_notes n;
    nc_arena *scratch = nc_arena_new();
    nc_model *m = nc_model_trial(as_family(scratch, config, c->family), c->family, true, &n);
    nc_checkpoint *files = nc_checkpoint_borrow(s);
    nc_map *taken = nc_map_new((size_t)nc_safetensors_count(s));
    for (int i = 0; i < m->site_count; i++) {
        const nc_site *site = m->sites[i];
        nc_source source;
        nc_error e = { 0 };
        const int status = nc_checkpoint_find(files, m, site, &source, &e);
        const nc_stored *stored = status == NC_ESHAPE ? nc_checkpoint_named(files, m, site) : NULL;
        if (status == 0 && source.name) {
            nc_map_set(taken, nc_str_of(source.name), 1);
            add(a, &c->alike, site->name, NULL, NULL);
        } else if (stored) {
            nc_map_set(taken, nc_str_of(stored->name), 1);
            add(a, &c->shapes, stored->name, &stored->shape, &site->file_shape);
        } else if (status < 0)
            add(a, &c->missing, site->name, NULL, &site->file_shape);
    }
    for (int i = 0; i < nc_safetensors_count(s); i++) {
        const nc_stored *t = nc_safetensors_at(s, i);
        if (!nc_map_get(taken, nc_str_of(t->name), NULL) && !is_ignored(c->family, t->name))
            add(a, &c->unknown, t->name, &t->shape, NULL);
    }
    const int all = c->alike.count + c->shapes.count + c->unknown.count + c->missing.count;
    c->compared = m->site_count > 0;
    if (c->compared)
        c->score += 0.75 * (c->alike.count + 0.5 * c->shapes.count) / (all ? all : 1);
    nc_map_free(taken);
    nc_checkpoint_close(files);
    nc_model_free(m);
    nc_arena_free(scratch);
}

static int by_score(const void *a, const void *b)
{
    const struct candidate *const *x = a, *const *y = b;
    if ((*x)->score != (*y)->score)
        return (*x)->score > (*y)->score ? -1 : 1;
    if ((*x)->spelling != (*y)->spelling)
        return (*x)->spelling > (*y)->spelling ? -1 : 1;
    return *x < *y ? -1 : 1;
}

static nc_json *names(nc_arena *a, const char **list, int count)
{
    nc_json *out = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < count; i++)
        nc_json_append(out, nc_json_new_string(a, nc_str_of(list[i])));
    return out;
}

static nc_json *listed(nc_arena *a, const struct entries *l)
{
    nc_json *out = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < l->count; i++) {
        nc_json *x = nc_json_new(a, NC_JSON_OBJECT);
        nc_json_set(a, x, "name", nc_json_new_string(a, nc_str_of(l->p[i].name)));
        nc_json_set(a, x, "tensors", nc_json_new_int(a, l->p[i].tensors));
        if (l->p[i].shape)
            nc_json_set(a, x, "shape", nc_json_new_string(a, nc_str_of(l->p[i].shape)));
        if (l->p[i].expected)
            nc_json_set(a, x, "expected", nc_json_new_string(a, nc_str_of(l->p[i].expected)));
        nc_json_append(out, x);
    }
    return out;
}

static nc_json *as_json(nc_arena *a, const struct candidate *c)
{
    nc_json *o = nc_json_new(a, NC_JSON_OBJECT), *keys = nc_json_new(a, NC_JSON_OBJECT), *tensors = nc_json_new(a, c->compared ? NC_JSON_OBJECT : NC_JSON_NULL);
    int alike = 0;
    nc_json_set(a, o, "family", nc_json_new_string(a, nc_str_of(c->family->name)));
    nc_json_set(a, o, "score", nc_json_new_double(a, (double)(int)(c->score * 1000 + 0.5) / 1000));
    nc_json_set(a, keys, "known", nc_json_new_int(a, c->notes.known));
    nc_json_set(a, keys, "unknown", names(a, c->notes.unread, c->notes.unread_count));
    nc_json_set(a, keys, "missing", names(a, c->notes.missing, c->notes.missing_count));
    nc_json_set(a, keys, "mistakes", names(a, c->notes.mistakes, c->notes.mistake_count));
    nc_json_set(a, o, "keys", keys);
    for (int i = 0; i < c->alike.count; i++)
        alike += c->alike.p[i].tensors;
    if (c->compared) {
        nc_json_set(a, tensors, "alike", nc_json_new_int(a, alike));
        nc_json_set(a, tensors, "unknown", listed(a, &c->unknown));
        nc_json_set(a, tensors, "missing", listed(a, &c->missing));
        nc_json_set(a, tensors, "shapes", listed(a, &c->shapes));
    }
    nc_json_set(a, o, "tensors", tensors);
    return o;
}

nc_json *nc_nearest_families(nc_arena *a, const nc_json *config, nc_safetensors *s)
{
    int count;
    const nc_family *const *families = nc_families(&count);
    const char *type = nc_json_string(nc_json_get(config, "model_type"), "");
    struct candidate *all = nc_xcalloc((size_t)count, sizeof *all), **order = nc_xcalloc((size_t)count, sizeof *order);
    nc_json *out = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < count; i++) {
        all[i].family = families[i];
        order[i] = &all[i];
        try_keys(a, config, type, &all[i]);
    }
    qsort(order, (size_t)count, sizeof *order, by_score);
    for (int i = 0; s && i < count && i < COMPARED; i++)
        if (!order[i]->notes.broken)
            try_tensors(a, config, s, order[i]);
    qsort(order, (size_t)count, sizeof *order, by_score);
    for (int i = 0; i < count && i < NC_NEAREST; i++)
        nc_json_append(out, as_json(a, order[i]));
    for (int i = 0; i < count; i++) {
        release(&all[i].alike);
        release(&all[i].unknown);
        release(&all[i].missing);
        release(&all[i].shapes);
    }
    free(order);
    free(all);
    return out;
}
