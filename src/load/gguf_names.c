/* gguf_names.c - canonical names to llama.cpp's: the rules of the family's architecture (gguf_arch.h), and for LLaVA's tower and projector the names that clip.cpp
 * reads (mm.0 and mm.2 are the two products of the projector). */
#include "load/gguf_names.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "load/gguf_arch.h"

const char *const nc_gguf_files[NC_GGUF_FILES] = { "model.gguf", "mmproj.gguf", "extra.gguf" };

struct pair { const char *from, *to; };

static const struct pair media_names[] = {
    { "vision_model.embeddings.class_embedding", "v.class_embd" }, { "vision_model.embeddings.patch_embedding.", "v.patch_embd." },
    { "vision_model.embeddings.position_embedding.", "v.position_embd." }, { "vision_model.pre_layrnorm.", "v.pre_ln." }, { "vision_model.post_layernorm.", "v.post_ln." },
    { "multi_modal_projector.linear_1.", "mm.0." }, { "multi_modal_projector.linear_2.", "mm.2." }, { "image_newline", "model.image_newline" },
};
static const struct pair media_blocks[] = {
    { "self_attn.q_proj.", "attn_q." }, { "self_attn.k_proj.", "attn_k." }, { "self_attn.v_proj.", "attn_v." }, { "self_attn.out_proj.", "attn_out." },
    { "layer_norm1.", "ln1." }, { "layer_norm2.", "ln2." }, { "mlp.fc1.", "ffn_up." }, { "mlp.fc2.", "ffn_down." },
};

/* "prefix" + rest with the first matching pair; false when none matches. */
static bool renamed(const char *name, const struct pair *pairs, int count, const char *prefix, char out[64])
{
    for (int i = 0; i < count; i++)
        if (nc_starts_with(name, pairs[i].from))
            return snprintf(out, 64, "%s%s%s", prefix, pairs[i].to, name + strlen(pairs[i].from)) < 64;
    return false;
}

static bool media_name(const char *name, char out[64])
{
    static const char head[] = "vision_model.encoder.layers.";
    char prefix[32], *rest;
    if (nc_starts_with(name, "vision_tower."))
        name += strlen("vision_tower.");
    if (!nc_starts_with(name, head))
        return renamed(name, media_names, NC_COUNT(media_names), "", out);
    snprintf(prefix, sizeof prefix, "v.blk.%ld.", strtol(name + strlen(head), &rest, 10));
    return *rest == '.' && renamed(rest + 1, media_blocks, NC_COUNT(media_blocks), prefix, out);
}

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

static bool by_rules(const nc_gguf_arch *arch, const char *name, nc_gguf_ask *ask, nc_gguf_home *out)
{
    const char *rest;
    if (arch->prefix && nc_starts_with(name, arch->prefix))
        name += strlen(arch->prefix);
    for (int t = 0; t < NC_COUNT(arch->rules) && arch->rules[t]; t++)
        for (const nc_gguf_rule *r = arch->rules[t]; r->site; r++)
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
    static const char inner[] = "model.text_model.";
    if (nc_starts_with(name, "language_model."))
        return name + strlen("language_model.");
    return nc_starts_with(name, inner) && snprintf(room, 256, "model.%s", name + strlen(inner)) < 256 ? room : name;
}

int nc_gguf_home_of(const nc_model *m, const nc_site *s, nc_gguf_home *out, nc_error *e)
{
    const char *name = s->name;
    const bool is_text = !m->family->tower || nc_model_part(m, s) == NC_PART_LANGUAGE;
    const nc_gguf_arch *arch = nc_gguf_arch_of(m);
    const int64_t n = nc_site_count(s);
    nc_gguf_ask ask = { m, nc_gguf_text_config(m), s, 0, 0 };
    if (!arch)
        return unknown_family(m, e);
    *out = (nc_gguf_home){ .file = is_text ? NC_GGUF_MODEL : NC_GGUF_MMPROJ, .count = 1 };
    out->part[0] = (nc_gguf_part){ .shape = s->flags & NC_SITE_TRANSPOSED ? s->shape : s->file_shape, .dim = { 1, 1, 1, n }, .stride = { n, n, n, 1 } };
    char decoder[256];
    if (is_text && m->family->tower)
        name = decoder_name(name, decoder);
    if (is_text ? by_rules(arch, name, &ask, out) : media_name(name, out->part[0].name))
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
