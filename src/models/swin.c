/* swin.c - Swin Transformer (Liu et al. 2021) with a classifier, or bare; the tower is swin_tower.c.
 *
 *   rows = layernorm(tower(picture));  pooled = mean of a picture's rows;  logits = classifier(pooled)
 *
 * Easy to get wrong: a stage no larger than the window is one window of its shorter side, not moved; files carry relative_position_index buffers. Golden: swin.
 */
#include "models/swin.h"

#include <stdio.h>
#include <stdlib.h>

void nc_swin_net_config(nc_model *m, nc_swin_net *c, nc_config *r)
{
    const char *class = nc_config_class(m, r);
    nc_swin_config(&c->swin, r);
    c->is_bare = m->parent || !*class || nc_ends_with(class, "Model");
    if (!c->is_bare)
        nc_config_labels(m, r);
    m->hidden_size = nc_swin_width(&c->swin);
}

void nc_swin_net_weights(nc_model *m, nc_swin_net *c, const char *family)
{
    const char *prefix = c->is_bare ? "" : family;
    nc_swin_weights(m, &c->swin, prefix);
    nc_weight_scope(m, "%s", prefix);
    c->norm = nc_weight_layer_norm(m, "layernorm", nc_swin_width(&c->swin));
    nc_weight_scope(m, "%s", "");
    if (!c->is_bare)
        c->classifier = nc_weight_dense(m, "classifier", m->labels.count, nc_swin_width(&c->swin), true);
}

static const char *last_count(const nc_swin *c, char name[32])
{
    snprintf(name, 32, "swin.%d", c->stages - 1);
    return name;
}

/* Tables "swin.mean.rows" (the picture of each row), "swin.mean.share"; "swin.first" counts the pictures. */
static nc_value *mean_of_rows(const nc_swin *c, nc_build *b, nc_value *x)
{
    char count[32];
    last_count(c, count);
    nc_value *share = nc_cast(b->g, nc_in(b, "swin.mean.share", NC_F32, count, 1), x->dtype), *first = nc_in(b, "swin.first", NC_I32, "pictures", 0);
    return nc_scatter_add_rows(b->g, nc_mul(b->g, x, share), nc_in(b, "swin.mean.rows", NC_I32, count, 0), first->shape.dim[0], first->count);
}

void nc_swin_net_encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    const nc_swin_net *c = self;
    (void)m, (void)what;
    nc_value *x = nc_swin_blocks(&c->swin, b, "hidden");
    out->rows = nc_probe(b, nc_ln(b, x, c->norm.w, c->norm.b, c->swin.eps), "out.last_hidden_state");
    out->pooled = nc_probe(b, mean_of_rows(&c->swin, b, out->rows), "out.pooled");
    if (c->classifier.w)
        out->logits = nc_probe(b, nc_dense_apply(b, out->pooled, c->classifier), "out.logits");
}

int nc_swin_net_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    const nc_swin *c = &((const nc_swin_net *)self)->swin;
    nc_pixels *pictures = nc_xcalloc((size_t)count + 1, sizeof *pictures);
    int status = 0;
    (void)m;
    for (int i = 0; i < count && status == 0; i++) {
        if (seqs[i].media_count != 1 || seqs[i].media[0].count != 1)
            status = nc_fail(e, NC_EINVAL, "sample %d has no picture or several", i);
        else
            pictures[i] = seqs[i].media[0].frames[0];
    }
    if (status == 0)
        status = nc_swin_prepare(c, batch, pictures, count, e);
    if (status == 0) {
        char name[32];
        const int64_t rows = nc_batch_count(batch, last_count(c, name));
        int32_t *of = nc_batch_i32(batch, "swin.mean.rows", rows, 1), *first = nc_batch_i32(batch, "swin.first", count, 1), row = 0;
        float *share = nc_batch_f32(batch, "swin.mean.share", rows, 1);
        nc_batch_set_count(batch, "pictures", count);
        for (int i = 0; i < count; i++) {
            const int own = nc_swin_rows(c, pictures[i].height, pictures[i].width);
            first[i] = row;
            for (int j = 0; j < own; j++, row++) {
                of[row] = i;
                share[row] = 1.0f / (float)own;
            }
        }
    }
    free(pictures);
    return status;
}

void nc_swin_net_capacity(const void *self, nc_build *b, int64_t pictures)
{
    nc_swin_capacity(&((const nc_swin_net *)self)->swin, b, pictures);
    nc_build_capacity(b, "pictures", pictures);
}

static void config(nc_model *m, void *self, nc_config *r) { nc_swin_net_config(m, self, r); }
static void weights(nc_model *m, void *self) { nc_swin_net_weights(m, self, "swin."); }

static const char *const ignored[] = { "*relative_position_index", "*attn_mask", NULL };
static const char *const renames[] = { "", "swin.", "swin.", "", NULL };

const nc_family nc_family_swin = {
    .name = "swin", .architectures = "SwinForImageClassification SwinModel", .size = sizeof(nc_swin_net), .config = config, .weights = weights, .ignored = ignored,
    .renames = renames, .prepare = nc_swin_net_prepare, .encode = nc_swin_net_encode, .capacity = nc_swin_net_capacity,
};
