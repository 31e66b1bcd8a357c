/* loop.c - the steps of a stage: train, log, judge, save; and the result as a Hugging Face folder. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "train/checkpoint.h"
#include "train/logbook.h"
#include "train/run.h"

static bool epoch_ends(const nc_train_run *r)
{
    for (int64_t k = 1; k <= r->epochs; k++)
        if (r->epoch_steps[k] == r->step)
            return true;
    return false;
}

static bool is_due(const nc_train_run *r, const char *strategy, int64_t every)
{
    return !strcmp(strategy, "steps") ? r->step % every == 0 : !strcmp(strategy, "epoch") && epoch_ends(r);
}

static int judge(nc_train_run *r, nc_logbook *book, nc_error *e)
{
    NC_TRY(nc_train_evaluate(r, &r->eval_loss, e));
    return nc_logbook_eval(book, r, r->eval_loss, e);
}

static int steps(nc_train_run *r, nc_logbook *book, nc_error *e)
{
    double began = nc_now() - r->seconds, loss, norm, rate;
    while (r->step < r->total_steps) {
        NC_TRY(nc_train_step(r, &loss, &norm, &rate, e));
        if (r->step == 1)
            r->first_loss = loss;
        r->last_loss = loss;
        r->seconds = nc_now() - began;
        NC_TRY(nc_logbook_step(book, r, loss, norm, rate, e));
        bool last = r->step == r->total_steps, asked = nc_train_cancelled && !last;
        if (r->eval && strcmp(r->s->eval_strategy, "no") && (last || is_due(r, r->s->eval_strategy, r->s->eval_steps)))
            NC_TRY(judge(r, book, e));
        r->seconds = nc_now() - began;
        if (asked || (!last && is_due(r, r->s->save_strategy, r->s->save_steps)))
            NC_TRY(nc_checkpoint_write(r, e));
        if (asked)
            return nc_fail(e, NC_ECANCELLED, "stopped at step %lld of %lld; the same command goes on from there", (long long)r->step, (long long)r->total_steps);
    }
    return 0;
}

int nc_train_loop(nc_train_run *r, nc_error *e)
{
    nc_logbook *book = NULL;
    nc_error spare = { 0 };
    NC_TRY(nc_logbook_open(r, &book, e));
    int status = steps(r, book, e);
    int closed = nc_logbook_close(book, r, status < 0 ? &spare : e);
    return status < 0 ? status : closed;
}

static int save_adapter(nc_train_run *r, const char *folder, nc_error *e)
{
    const nc_model *m = r->l->model;
    nc_site **whole = NC_NEW_ARRAY(r->arena, nc_site *, m->site_count + 1);
    nc_lora_config c = { .r = (int)r->s->lora_rank, .alpha = (double)r->s->lora_alpha, .dropout = r->s->lora_dropout, .rslora = r->s->use_rslora, .base = r->source, .whole = whole,
                         .task_type = r->s->objective->task_type ? r->s->objective->task_type(r) : m->family->encoder ? "SEQ_2_SEQ_LM" : NULL };
    for (int i = 0; r->own && i < m->site_count; i++)
        if (r->own[i] && nc_site_is_there(m->sites[i]))
            whole[c.whole_count++] = m->sites[i];
    return nc_peft_save(r->lora, &c, folder, e);
}

/* The template that was trained with goes along where the folder had none of its own. */
static int save_front(nc_train_run *r, const char *folder, nc_error *e)
{
    NC_TRY(nc_copy_front_files(r->front, folder, e));
    if (!r->conversation)                    /* encoder-decoder models have none */
        return 0;
    const char *own = nc_tokenizer_chat_template(r->l->tokenizer, NULL), *used = nc_conversation_template(r->conversation);
    if (!r->s->objective->keeps_template || (own && !strcmp(own, used)))
        return 0;
    return nc_file_write(nc_path_join(r->arena, folder, "chat_template.jinja"), used, strlen(used), e);
}

int nc_train_save(nc_train_run *r, nc_error *e)
{
    const char *folder = nc_path_join(r->arena, r->folder, "model"), *partial = nc_path_join(r->arena, r->folder, "model.partial");
    NC_TRY(nc_remove_tree(partial, e));
    NC_TRY(nc_mkdirs(partial, e));
    if (r->lora)
        NC_TRY(save_adapter(r, nc_path_join(r->arena, r->folder, "adapter"), e));
    if (r->lora && !r->s->merge_adapter) {
        NC_TRY(save_adapter(r, partial, e));
    } else {
        if (r->lora)
            NC_TRY(nc_lora_merge(r->lora, r->l->model, &r->weights, e));
        NC_TRY(nc_model_save(r->l->model, partial, r->weights.compute, (uint64_t)5 << 30, e));
    }
    NC_TRY(save_front(r, partial, e));
    NC_TRY(nc_remove_tree(folder, e));
    return nc_rename(partial, folder, e);
}
