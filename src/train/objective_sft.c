/* objective_sft.c - the next token: of answers by a template (sft; of an encoder-decoder model, of its answers), of running text (pt).
 *
 *   loss = -sum_i w log p(target_i), w = 1 / (targets of all micro-batches of the step)  + coef * routers' balance loss / micro-batches of a step, in training
 */
#include "nn/moe.h"
#include "train/objective.h"
#include "train/run.h"

/* How much of the routers' balance loss is added: what the recipe says, else what transformers makes of the config (output_router_logits, router_aux_loss_coef). */
static double balance_of(const nc_train_run *r)
{
    const nc_json *c = nc_json_get(r->l->model->config, "text_config");
    c = c ? c : r->l->model->config;
    if (r->s->moe_aux_loss_coef >= 0)
        return r->s->moe_aux_loss_coef;
    return nc_json_bool(nc_json_get(c, "output_router_logits"), false) ? nc_json_double(nc_json_get(c, "router_aux_loss_coef"), 0.001) : 0;
}

static nc_value *with_balance(const nc_train_run *r, nc_build *b, nc_value *loss)
{
    nc_value *balance = b->balance ? nc_moe_balance(b) : NULL;
    if (b->balance && !balance)
        nc_graph_mistake(b->g, NC_EINVAL, "moe_aux_loss_coef: a %s has no experts to balance; leave the key out", r->l->model->family->name);
    return balance ? nc_add(b->g, loss, nc_affine(b->g, balance, balance_of(r) / (double)r->s->gradient_accumulation_steps, 0)) : loss;
}

static nc_value *next_token_loss(nc_train_run *r, nc_build *b)
{
    nc_model *m = r->l->model;
    b->balance = b->training && balance_of(r) > 0;
    nc_build_capacity(b, "tokens", r->most_tokens);
    nc_build_capacity(b, "scored", r->most_scored);
    if (r->most_source)
        nc_build_capacity(b, "source", r->most_source);
    bool media = (m->family->tower || m->family->encoder) && r->most_pictures > 0;
    if (m->family->capacity && media)
        m->family->capacity(m->self, b, r->most_pictures);
    nc_head head = { 0 };
    m->family->head(m->self, &head);
    nc_value *h = nc_model_decoder(m, b, nc_model_reads(m, b, media));
    nc_value *rows = nc_gather_rows(b->g, h, nc_in(b, "score.rows", NC_I32, "scored", 0));
    nc_value *loss = nc_model_nll(b, &head, rows);
    return b->training ? with_balance(r, b, loss) : loss;
}

static int check_decoder(const nc_train_run *r, nc_error *e)
{
    const nc_family *f = r->l->model->family;
    if (!f->decoder)
        return nc_fail(e, NC_EUNSUPPORTED, "stage: %s needs a decoder, which %s is not%s", r->s->stage, f->name, f->encode ? "; stage: cls trains labels, mlm masked words" : "");
    return r->l->tokenizer ? 0 : nc_fail(e, NC_ENOTFOUND, "%s holds no tokenizer", r->front);
}

static int check_text(const nc_train_run *r, nc_error *e)
{
    if (r->l->model->family->encoder)
        return nc_fail(e, NC_EUNSUPPORTED, "stage: pt trains running text; %s answers a source: stage: sft", r->l->model->family->name);
    return check_decoder(r, e);
}

static void examples(const nc_train_run *r, nc_example_options *o) { o->kind = r->l->model->family->encoder ? NC_EXAMPLE_SOURCE : NC_EXAMPLE_CHAT; }

static void examples_of_text(const nc_train_run *r, nc_example_options *o)
{
    (void)r;
    o->kind = NC_EXAMPLE_TEXT;
}

const nc_objective nc_objective_sft = { .stage = "sft", .records = NC_RECORDS_CHAT, .keeps_template = true, .check = check_decoder, .examples = examples, .loss = next_token_loss };
const nc_objective nc_objective_pt = { .stage = "pt", .records = NC_RECORDS_TEXT, .packs = true, .check = check_text, .examples = examples_of_text, .loss = next_token_loss };
