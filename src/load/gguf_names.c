/* gguf_names.c - canonical names to llama.cpp's: the rules of the decoder's architecture and of the tower (gguf_arch.h). */
#include "load/gguf_names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load/gguf_arch.h"

const char *const nc_gguf_files[NC_GGUF_FILES] = { "model.gguf", "mmproj.gguf", "extra.gguf" };

/* One number at *p, which moves behind it; -1 when there is none. */
static int number_at(const char **p)
{
    char *end;
    long n = **p >= '0' && **p <= '9' ? strtol(*p, &end, 10) : -1;
    if (n < 0 || n > 1000000)
        return -1;
    *p = end;
    return (int)n;
}

/* Whether a rule's pattern fits; *rest is what a trailing '.' leaves. */
static bool fits(const char *pattern, const char *name, nc_gguf_ask *ask, const char **rest)
{
    const char *p = pattern, *n = name;
    for (; *p; p++) {
        if (*p == '#' || *p == '@') {
            int v = number_at(&n);
            if (v < 0)
                return false;
            *(*p == '#' ? &ask->layer : &ask->entry) = v;
        } else if (*p != *n++)
            return false;
    }
    *rest = n;
    return *n == 0 || (p > pattern && p[-1] == '.');
}

static bool named(const char *file, const nc_gguf_ask *ask, const char *rest, char out[64])
{
    const char *mark = strchr(file, '#');
    return (mark ? snprintf(out, 64, "%.*s%d%s%s", (int)(mark - file), file, ask->layer, mark + 1, rest) : snprintf(out, 64, "%s%s", file, rest)) < 64;
}

static bool by_rules(const nc_gguf_rule *const rules[4], const char *prefix, const char *name, nc_gguf_ask *ask, nc_gguf_home *out)
{
    const char *rest;
    if (prefix && nc_starts_with(name, prefix))
        name += strlen(prefix);
    for (int t = 0; t < 4 && rules[t]; t++)
        for (const nc_gguf_rule *r = rules[t]; r->site; r++)
            if (fits(r->site, name, ask, &rest) && named(r->file, ask, rest, out->part[0].name)) {
                if (r->part)
                    r->part(ask, out);
                return true;
            }
    return false;
}

const nc_json *nc_gguf_text_config(const nc_model *m)
{
    const nc_json *text = nc_json_get(m->config, "text_config");
    return text ? text : m->config;
}

static int unknown_family(const nc_model *m, nc_error *e)
{
    nc_buf known = { 0 };
    int count;
    const nc_gguf_arch *const *archs = nc_gguf_archs(&count);
    for (int i = 0; i < count; i++)
        nc_buf_printf(&known, "%s%s", i ? " " : "", archs[i]->families);
    int status = nc_fail(e, NC_EUNSUPPORTED, "%s models have no GGUF form that llama.cpp knows; these have one, alone or behind a tower: %s",
                         nc_json_string(nc_json_get(nc_gguf_text_config(m), "model_type"), m->family->name), known.p);
    nc_buf_free(&known);
    return status;
}

/* The name a decoder's site has when it is the whole model. */
static const char *decoder_name(const char *name, char room[256])
{
    static const char *const inner[] = { "model.text_model.", "model.language_model." };
    if (nc_starts_with(name, "language_model."))
        return name + strlen("language_model.");
    for (int i = 0; i < NC_COUNT(inner); i++)
        if (nc_starts_with(name, inner[i]) && snprintf(room, 256, "model.%s", name + strlen(inner[i])) < 256)
            return room;
    return name;
}

int nc_gguf_home_of(const nc_model *m, const nc_site *s, nc_gguf_home *out, nc_error *e)
{
    const char *name = s->name;
    const bool is_text = !m->family->tower || nc_model_part(m, s) == NC_PART_LANGUAGE;
    const nc_gguf_arch *arch = nc_gguf_arch_of(m);
    const int64_t n = nc_site_count(s);
    nc_gguf_ask ask = { m, is_text ? nc_gguf_text_config(m) : nc_json_get(m->config, "vision_config"), s, 0, 0 };
    if (!arch)
        return unknown_family(m, e);
    *out = (nc_gguf_home){ .file = is_text ? NC_GGUF_MODEL : NC_GGUF_MMPROJ, .count = 1 };
    out->part[0] = (nc_gguf_part){ .shape = s->flags & NC_SITE_TRANSPOSED ? s->shape : s->file_shape, .dim = { 1, 1, 1, n }, .stride = { n, n, n, 1 } };
    char decoder[256];
    if (is_text && m->family->tower)
        name = decoder_name(name, decoder);
    const char *prefix = arch->prefix;
    const nc_gguf_rule *const *rules = is_text ? arch->rules : nc_gguf_tower_rules(m, &prefix);
    if (by_rules(rules, prefix, name, &ask, out))
        return 0;
    if (is_text)
        out->file = m->family->tower ? NC_GGUF_MMPROJ : NC_GGUF_EXTRA;
    if (strlen(s->name) < sizeof out->part[0].name)
        strcpy(out->part[0].name, name);
    else
        snprintf(out->part[0].name, sizeof out->part[0].name, "nunchi.%d", s->index);
    return 0;
}

bool nc_gguf_is_plain(const nc_gguf_home *p, int64_t count)
{
    return p->count == 1 && p->change == NC_GGUF_SAME && p->part[0].dim[3] == count && p->part[0].stride[3] == 1 && p->part[0].offset == 0;
}

float nc_gguf_changed(nc_gguf_change c, float v) { return c == NC_GGUF_PLUS_ONE ? v + 1 : c == NC_GGUF_MINUS_EXP ? (float)-exp(v) : v; }
float nc_gguf_restored(nc_gguf_change c, float v) { return c == NC_GGUF_PLUS_ONE ? v - 1 : c == NC_GGUF_MINUS_EXP ? (float)log(-v) : v; }
