/* vit.c - ViT (Dosovitskiy et al. 2021) and DeiT (Touvron et al. 2021).
 *
 *   rows = layernorm(blocks([class; (DeiT) distillation; patches] + positions));  pooled = tanh(dense(class row)) in the bare models
 *   ViT's logits = classifier(class row); DeiT: the same, or the mean of a head on the class row and one on the distillation row
 *   loss of the latter: half the cross entropy of the first head with the labels, half that of the second with the teacher's
 *
 * Easy to get wrong: classes with a head put "vit." before every name and have no pooler; layer_norm_eps is 1e-12.
 */
#include "models/vit.h"

static const nc_vit_names names = {
    .layer = "encoder.layer.", .norm1 = "layernorm_before", .q = "attention.attention.query", .k = "attention.attention.key", .v = "attention.attention.value",
    .o = "attention.output.dense", .norm2 = "layernorm_after", .fc1 = "intermediate.dense", .fc2 = "output.dense",
    .patch = "embeddings.patch_embeddings.projection", .norm = "layernorm",
};

typedef struct vit { nc_vit vit; nc_unary pooler_activation; int pooler_width; } vit;

static bool is_bare(const nc_vit *c) { return !*c->class || nc_ends_with(c->class, "Model"); }

static void config(nc_model *m, void *self, nc_config *r)
{
    vit *c = self;
    nc_vit_config(m, &c->vit, r, 1e-12, 16);
    c->vit.names = &names;
    c->vit.inner = (int)nc_config_int(r, "intermediate_size", 3072);
    c->vit.q_bias = c->vit.k_bias = c->vit.v_bias = nc_config_bool(r, "qkv_bias", true);
    c->vit.has_position = true;
    c->pooler_width = (int)nc_config_int(r, "pooler_output_size", c->vit.width);
    c->pooler_activation = (nc_unary)nc_config_activation(r, "pooler_act", "tanh");
    if (!is_bare(&c->vit))
        nc_config_labels(m, r);
}

static void deit_config(nc_model *m, void *self, nc_config *r)
{
    config(m, self, r);
    ((vit *)self)->vit.info.class_rows = 2;
}

static void family_weights(nc_model *m, vit *c, const char *family)
{
    const char *prefix = is_bare(&c->vit) ? "" : family;
    const int D = c->vit.width, L = m->labels.count;
    nc_vit_embedding_weights(m, &c->vit, prefix);
    nc_vit_block_weights(m, &c->vit, prefix);
    if (is_bare(&c->vit)) {
        c->vit.pooler = nc_weight_dense(m, "pooler.dense", c->pooler_width, D, true);
        c->vit.pooler.w->flags |= NC_SITE_OPTIONAL;
        c->vit.pooler.b->flags |= NC_SITE_OPTIONAL;
        return;
    }
    nc_weight_scope(m, "%s", "");
    if (nc_ends_with(c->vit.class, "WithTeacher")) {
        c->vit.head = nc_weight_dense(m, "cls_classifier", L, D, true);
        c->vit.head2 = nc_weight_dense(m, "distillation_classifier", L, D, true);
    } else
        c->vit.head = nc_weight_dense(m, "classifier", L, D, true);
}

static void weights(nc_model *m, void *self) { family_weights(m, self, "vit."); }
static void deit_weights(nc_model *m, void *self) { family_weights(m, self, "deit."); }

static nc_value *vision(const nc_model *m, const void *self, nc_build *b, int layer, const char *prefix)
{
    (void)m;
    return nc_vit_vision(&((const vit *)self)->vit, b, layer, NULL, prefix);
}

struct heads { nc_value *first, *second; };

static struct heads encoded(const nc_model *m, const vit *v, nc_build *b, nc_encoded *out)
{
    const nc_vit *c = &v->vit;
    struct heads h = { 0 };
    nc_value *x = vision(m, v, b, -1, "hidden");
    out->rows = nc_probe(b, nc_ln(b, x, c->norm.w, c->norm.b, c->eps), "out.last_hidden_state");
    out->pooled = nc_first_row(b, out->rows);
    if (c->head.w) {
        h.first = nc_dense_apply(b, out->pooled, c->head);
        if (c->head2.w)
            h.second = nc_dense_apply(b, nc_gather_rows(b->g, out->rows, nc_in(b, "second.rows", NC_I32, "pictures", 0)), c->head2);
        out->logits = h.second ? nc_affine(b->g, nc_add(b->g, nc_probe(b, h.first, "out.cls_logits"), nc_probe(b, h.second, "out.distillation_logits")), 0.5, 0) : h.first;
        nc_probe(b, out->logits, "out.logits");
    } else if (nc_site_is_there(c->pooler.w))
        out->pooled = nc_probe(b, nc_unary_op(b->g, v->pooler_activation, nc_dense_apply(b, out->pooled, c->pooler)), "out.pooled");
    return h;
}

static void encode(const nc_model *m, const void *self, nc_build *b, nc_modality what, nc_encoded *out)
{
    (void)what;
    encoded(m, self, b, out);
}

static nc_value *half_loss(nc_build *b, nc_value *logits, const char *labels, const char *weights)
{
    return nc_affine(b->g, nc_class_loss(b, logits, nc_in(b, labels, NC_I32, "pictures", 1), nc_in(b, weights, NC_F32, "pictures", 0)), 0.5, 0);
}

/* Hard distillation where the class has both heads. */
static nc_value *deit_outputs(const nc_model *m, const void *self, nc_build *b)
{
    nc_encoded x = { 0 };
    struct heads h = encoded(m, self, b, &x);
    if (!h.second)
        return x.logits ? nc_labels_loss(b, &m->labels, x.logits, "pictures") : NULL;
    return nc_add(b->g, half_loss(b, h.first, "labels", "label.weights"), half_loss(b, h.second, "teacher.labels", "teacher.weights"));
}

static int deit_prepare(const nc_model *m, const void *self, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    NC_TRY(nc_vit_prepare(m, self, batch, seqs, count, e));
    int32_t *second = nc_batch_i32(batch, "second.rows", count, 1), *first = nc_batch_find(batch, "first.rows")->data;
    for (int i = 0; i < count; i++)
        second[i] = first[i] + 1;
    return 0;
}

static const char *const vit_renames[] = { "", "vit.", "vit.", "", NULL };
static const char *const deit_renames[] = { "", "deit.", "deit.", "", NULL };

const nc_family nc_family_vit = {
    .name = "vit", .architectures = "ViTForImageClassification ViTModel", .size = sizeof(vit), .config = config, .weights = weights, .renames = vit_renames,
    .prepare = nc_vit_prepare, .vision = vision, .vision_info = nc_vit_info, .encode = encode, .capacity = nc_vit_capacity,
};
const nc_family nc_family_deit = {
    .name = "deit", .architectures = "DeiTForImageClassification DeiTForImageClassificationWithTeacher DeiTModel", .size = sizeof(vit), .config = deit_config,
    .weights = deit_weights, .renames = deit_renames, .prepare = deit_prepare, .vision = vision, .vision_info = nc_vit_info, .encode = encode, .outputs = deit_outputs,
    .capacity = nc_vit_capacity,
};
