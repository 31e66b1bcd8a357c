/* objective_mlm.c - masked words (Devlin et al. 2019): BERT, RoBERTa, XLM-RoBERTa, DistilBERT, and ELECTRA's generator, as ...ForMaskedLM.
 *
 *   every word that is no special token is taken with probability mlm_probability (0.15); of those 8 in 10 become the mask, 1 in 10 another word, 1 in 10 stay
 *   loss = -sum_i w log p(word_i) over those taken, w = 1 / (how many all micro-batches of the step have)
 *
 * What is taken is drawn by Philox from (seed; epoch, sample): another choice in each epoch, the same in a resumed run; an evaluation's is always the same.
 */
#include <string.h>

#include "base/file.h"
#include "train/objective.h"
#include "train/run.h"

static int settle(nc_train_run *r, nc_error *e) { return nc_train_settle(r, "ForMaskedLM", "masked words", NULL, e); }

/* ELECTRA's other half learns which words its generator replaced. */
static int check_generator(const nc_train_run *r, nc_error *e)
{
    nc_json *config = NULL;
    NC_TRY(nc_json_load(r->arena, nc_path_join(r->arena, r->source, "config.json"), &config, e));
    const char *class = nc_json_string(nc_json_at(nc_json_get(config, "architectures"), 0), "no class");
    return nc_ends_with(class, "ForMaskedLM") ? 0
               : nc_fail(e, NC_EUNSUPPORTED, "%s is ELECTRA's discriminator (%s), which learns from the words that a generator replaced; stage: mlm trains the generator (ElectraForMaskedLM)",
                         r->source, class);
}

static int check(const nc_train_run *r, nc_error *e)
{
    const nc_tokenizer *t = r->l->tokenizer;
    if (r->source && !strcmp(r->l->model->family->name, "electra"))
        NC_TRY(check_generator(r, e));
    if (!t)
        return nc_fail(e, NC_ENOTFOUND, "%s holds no tokenizer", r->front);
    return nc_tokenizer_special_id(t, "mask") >= 0 ? 0 : nc_fail(e, NC_EINVAL, "%s: the tokenizer has no mask_token, which stage: mlm puts over words", r->front);
}

static void examples(const nc_train_run *r, nc_example_options *o)
{
    (void)r;
    o->kind = NC_EXAMPLE_PIECES;
}

static nc_value *loss(nc_train_run *r, nc_build *b)
{
    nc_build_capacity(b, "tokens", r->most_tokens);
    nc_build_capacity(b, "scored", r->most_scored > 0 ? r->most_scored : 1);
    nc_build_capacity(b, "sequences", r->most_samples);
    return nc_model_loss(r->l->model, b);
}

static int draw(const nc_train_run *r, const nc_examples *x, int64_t index, uint64_t epoch, int32_t *ids, int32_t *targets)
{
    const nc_tokenizer *t = r->l->tokenizer;
    const nc_example *one = &x->item[index];
    const int32_t mask = nc_tokenizer_special_id(t, "mask");
    const int32_t vocab = nc_tokenizer_vocab_size(t) < r->l->model->vocab_size ? nc_tokenizer_vocab_size(t) : r->l->model->vocab_size;
    nc_rng rng = nc_rng_new((uint64_t)r->s->seed, nc_rng_stream(0x6d6c6d, epoch, (uint64_t)index, x == r->eval));
    int taken = 0;
    for (int i = 0; i < one->count; i++) {
        const bool word = one->targets[i] >= 0;
        const double chance = word ? nc_rng_uniform(&rng) : 1, fate = chance < r->s->mlm_probability ? nc_rng_uniform(&rng) : 1;
        const bool is_taken = word && chance < r->s->mlm_probability;
        const int32_t other = is_taken && fate >= 0.8 && fate < 0.9 ? (int32_t)nc_rng_below(&rng, (uint64_t)vocab) : one->ids[i];
        taken += is_taken;
        if (!ids)
            continue;
        targets[i] = is_taken ? one->ids[i] : -1;
        ids[i] = is_taken && fate < 0.8 ? mask : other;
    }
    return taken;
}

static const char *task_type(const nc_train_run *r)
{
    (void)r;
    return "";
}

const nc_objective nc_objective_mlm = {
    .stage = "mlm", .records = NC_RECORDS_TEXT, .settle = settle, .check = check, .examples = examples, .loss = loss, .draw = draw, .task_type = task_type,
};
