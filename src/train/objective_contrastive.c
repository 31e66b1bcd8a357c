/* objective_contrastive.c - pictures and their texts, each pair against the others of its micro-batch: the family's own loss (CLIP's softmax, SigLIP's sigmoid). */
#include "train/objective.h"
#include "train/run.h"

static nc_value *pair_loss(nc_train_run *r, nc_build *b)
{
    nc_model *m = r->l->model;
    nc_build_capacity(b, "tokens", r->most_tokens);
    m->family->capacity(m->self, b, r->s->per_device_train_batch_size);
    nc_value *loss = m->family->outputs(m, m->self, b);
    return b->training && r->s->gradient_accumulation_steps > 1 ? nc_affine(b->g, loss, 1.0 / (double)r->s->gradient_accumulation_steps, 0) : loss;
}

static int check(const nc_train_run *r, nc_error *e)
{
    const nc_family *f = r->l->model->family;
    if (!f->outputs || f->reads_text)
        return nc_fail(e, NC_EUNSUPPORTED, "stage: contrastive needs a pair of towers (clip, siglip), not %s", f->name);
    return r->l->tokenizer ? 0 : nc_fail(e, NC_ENOTFOUND, "%s holds no tokenizer", r->front);
}

static void examples(const nc_train_run *r, nc_example_options *o)
{
    (void)r;
    o->kind = NC_EXAMPLE_PAIR;
}

const nc_objective nc_objective_contrastive = { .stage = "contrastive", .records = NC_RECORDS_CHAT, .exact = true, .one_frame = true, .check = check, .examples = examples, .loss = pair_loss };
