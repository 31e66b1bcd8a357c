/* gguf_arch.c - the list of architectures, and the orders of values that their rules name. */
#include "load/gguf_arch.h"

#include <stdio.h>
#include <string.h>

#define ARCH(name) extern const nc_gguf_arch nc_gguf_arch_##name;
#include "load/gguf_archs.list"
#undef ARCH

static const nc_gguf_arch *const archs[] = {
#define ARCH(name) &nc_gguf_arch_##name,
#include "load/gguf_archs.list"
#undef ARCH
};

const nc_gguf_arch *const *nc_gguf_archs(int *count)
{
    *count = NC_COUNT(archs);
    return archs;
}

bool nc_gguf_lists(const char *words, const char *word)
{
    const size_t n = strlen(word);
    for (const char *at = strstr(words, word); at && n; at = strstr(at + 1, word))
        if ((at == words || at[-1] == ' ') && (at[n] == 0 || at[n] == ' '))
            return true;
    return false;
}

const nc_gguf_arch *nc_gguf_arch_of(const nc_model *m)
{
    const char *type = nc_json_string(nc_json_get(nc_gguf_text_config(m), "model_type"), m->family->name);
    for (int i = 0; i < NC_COUNT(archs); i++)
        if (nc_gguf_lists(archs[i]->families, type))
            return archs[i];
    return NULL;
}

/* ---- orders ---- */

/* The part as [a, b, inner] of the site's [b, a, inner], `outer` times. */
static void swapped(nc_gguf_part *p, int64_t outer, int64_t a, int64_t b, int64_t inner)
{
    const int64_t dim[4] = { outer, a, b, inner }, stride[4] = { a * b * inner, inner, a * inner, 1 };
    memcpy(p->dim, dim, sizeof dim);
    memcpy(p->stride, stride, sizeof stride);
}

void nc_gguf_as_matrix(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const nc_shape *s = &ask->site->file_shape;
    out->part[0].shape = NC_SHAPE(s->dim[0], nc_shape_count(s) / s->dim[0]);
}

void nc_gguf_expert(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const nc_shape *s = &ask->site->shape;
    const int64_t experts = nc_gguf_config_int(ask->config, "num_local_experts|num_experts|n_routed_experts", 0);
    out->part[0].shape = NC_SHAPE(experts, s->dim[0], s->dim[1]);
    out->part[0].first = ask->entry * nc_site_count(ask->site);
}

void nc_gguf_neighbours(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const bool keys = strstr(ask->site->name, ".k_proj.");
    const int64_t rows = ask->site->shape.dim[0], all = nc_gguf_config_int(ask->config, "num_attention_heads", 0);
    const int64_t heads = keys ? nc_gguf_config_int(ask->config, "num_key_value_heads", all) : all;
    if (heads > 0 && rows % (2 * heads) == 0)
        swapped(&out->part[0], heads, rows / heads / 2, 2, nc_site_count(ask->site) / rows);
}

void nc_gguf_qkv(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    const int64_t heads = nc_gguf_config_int(ask->config, "num_attention_heads|n_head", 1), n = nc_site_count(ask->site);
    if (n % (3 * heads) == 0)
        swapped(&out->part[0], 1, 3, heads, n / 3 / heads);
}

void nc_gguf_plus_one(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    (void)ask;
    out->change = NC_GGUF_PLUS_ONE;
}

void nc_gguf_decay(const nc_gguf_ask *ask, nc_gguf_home *out)
{
    (void)ask;
    out->change = NC_GGUF_MINUS_EXP;
}

void nc_gguf_rows_of_blocks(const nc_gguf_ask *ask, nc_gguf_home *out, const char *name, nc_shape shape, int64_t first, int64_t each, int64_t from, int64_t count, bool turned)
{
    const int64_t rows = ask->site->shape.dim[0], columns = nc_site_count(ask->site) / rows;
    nc_gguf_part *p = &out->part[out->count++];
    *p = (nc_gguf_part){ .shape = shape, .first = first, .offset = from * columns, .dim = { 1, rows / each, 1, count * columns }, .stride = { 0, each * columns, 0, 1 } };
    if (turned) {
        p->dim[2] = columns, p->stride[2] = 1;
        p->dim[3] = count, p->stride[3] = columns;
    }
    snprintf(p->name, sizeof p->name, "blk.%d.%s.weight", ask->layer, name);
}
