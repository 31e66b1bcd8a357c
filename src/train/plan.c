/* plan.c - what a stage's run takes, by part, before its first step; refused when the machine has less. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "train/run.h"

/* The libraries' own data and the allocator's slack, as measured with an empty model; decoding media makes FFmpeg's. Their code comes on top. */
enum { text_reserve = 11 << 20, media_reserve = 27 << 20 };

static size_t status_kilobytes(const char *path, const char *key)
{
    char line[256];
    unsigned long long kb = 0;
    FILE *f = fopen(path, "r");
    if (!f)
        return 0;
    while (fgets(line, sizeof line, f))
        if (!strncmp(line, key, strlen(key)))
            sscanf(line + strlen(key), "%llu", &kb);
    fclose(f);
    return (size_t)kb * 1024;
}

size_t nc_process_peak(void) { return status_kilobytes("/proc/self/status", "VmHWM:"); }

/* A control group may hold less than the machine. */
static size_t memory_limit(const nc_train_run *r)
{
    size_t have = status_kilobytes("/proc/meminfo", "MemAvailable:");
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "r");
    unsigned long long most;
    if (f) {
        if (fscanf(f, "%llu", &most) == 1 && most < have)
            have = (size_t)most;
        fclose(f);
    }
    size_t stated = (size_t)(r->s->memory_limit_gb * 1e9);
    return stated && (stated < have || !have) ? stated : have;
}

static void row(nc_train_run *r, const char *what, size_t bytes)
{
    if (r->row_count < NC_MEMORY_ROWS)
        r->rows[r->row_count++] = (nc_memory_row){ what, bytes };
    r->planned += bytes;
}

static size_t examples_bytes(const nc_examples *x) { return x ? nc_arena_bytes(x->arena) + (size_t)x->count * sizeof *x->item : 0; }

static size_t staging_bytes(const nc_train_run *r)
{
    size_t frame = 0, vision;
    for (int i = 0; i < nc_media_store_count(r->store); i++) {
        const nc_visual *v = nc_media_store_shape(r->store, i);
        size_t n = nc_visual_unit(v);
        frame = n > frame ? n : frame;
    }
    vision = (size_t)r->most_pictures * frame * sizeof(float);
    return 2 * vision + (size_t)r->most_tokens * 32;     /* the pixels and the tower's patches; ids, positions, targets */
}

static int refuse(const nc_train_run *r, size_t have, nc_error *e)
{
    char need[32], free_bytes[32];
    nc_human_bytes((double)r->planned, need);
    nc_human_bytes((double)have, free_bytes);
    bool full = !strcmp(r->s->finetuning_type, "full");
    return nc_fail(e, NC_ELIMIT, "the stage needs %s and the machine has %s free; what would help:%s%s%s%s", need, free_bytes,
                   r->s->gradient_checkpointing ? "" : " gradient_checkpointing: true,", r->s->per_device_train_batch_size > 1 ? " a smaller per_device_train_batch_size with more "
                   "gradient_accumulation_steps," : " a smaller cutoff_len,", r->s->bf16 ? "" : " bf16: true,", full ? " finetuning_type: lora" : " a smaller media_memory_gb");
}

int nc_train_memory(nc_train_run *r, nc_error *e)
{
    nc_weights_plan w = nc_weights_bytes(r->l->model, &r->weights, NC_DTYPES);
    size_t judge = r->judge ? nc_program_bytes(r->judge) : 0, program = nc_program_bytes(r->program), tower = r->frozen ? nc_program_bytes(nc_frozen_program(r->frozen)) : 0;
    r->row_count = 0;
    r->planned = 0;
    r->memory_bytes = program > judge ? program : judge;
    r->memory_bytes = tower > r->memory_bytes ? tower : r->memory_bytes;
    row(r, "weights", w.values);
    row(r, "master weights (f32)", w.masters);
    row(r, "gradients (f32)", w.gradients);
    if (r->lora)
        row(r, "adapters", nc_lora_bytes(r->lora, r->weights.compute, true));
    row(r, "optimizer", nc_optim_bytes(r->optim, nc_pool_threads(r->pool)));
    row(r, "activations", r->memory_bytes);
    row(r, "media, kept", nc_media_store_bytes(r->store));
    if (r->frozen)
        row(r, "frozen tower's rows, kept", nc_frozen_kept(r->frozen));
    row(r, "media and batch, staging", staging_bytes(r) + (r->frozen ? nc_frozen_staging(r->frozen, r->most_pictures) : 0));
    row(r, "samples", examples_bytes(r->train) + examples_bytes(r->eval) + nc_arena_bytes(r->data->arena) + (r->eval_data ? nc_arena_bytes(r->eval_data->arena) : 0));
    row(r, "tokenizer", r->l->tokenizer ? nc_tokenizer_memory(r->l->tokenizer) : 0);
    row(r, "reserve for libraries", (nc_media_store_count(r->store) ? media_reserve : text_reserve) + status_kilobytes("/proc/self/status", "RssFile:"));
    if (r->learned > r->planned)
        row(r, "learning the tokenizer, over", r->learned - r->planned);
    size_t have = memory_limit(r), held = nc_media_store_bytes(r->store);
    return have && r->planned > have + held ? refuse(r, have, e) : 0;
}

static bool has_patches(const nc_train_run *r)
{
    for (int i = 0; i < nc_media_store_count(r->store); i++)
        if (nc_media_store_shape(r->store, i)->grid_height)
            return true;
    return false;
}

void nc_train_table(const nc_train_run *r, nc_buf *out)
{
    char a[32], b[32], c[32];
    int64_t trained = 0;
    for (int i = 0; i < r->trained_count; i++)
        trained += nc_site_count(r->trained[i]);
    nc_buf_printf(out, "stage %d%s%s: %s %s, %s, %s parameters, %s trained\n", r->index, r->s->name ? " " : "", r->s->name ? r->s->name : "", r->s->stage, r->s->finetuning_type,
                  r->weights.compute == NC_BF16 ? "bf16" : "f32", nc_human_count((double)nc_model_parameters(r->l->model), a), nc_human_count((double)trained, b));
    for (int i = 0; i < r->row_count; i++)
        nc_buf_printf(out, "  %-28s %12s\n", r->rows[i].what, nc_human_bytes((double)r->rows[i].bytes, a));
    nc_buf_printf(out, "  %-28s %12s\n", "planned", nc_human_bytes((double)r->planned, a));
    nc_buf_printf(out, "  %lld samples, %lld steps of %lld x %lld micro-batches, at most %lld tokens and %lld %s in one\n", (long long)r->train->count, (long long)r->total_steps,
                  (long long)r->s->gradient_accumulation_steps, (long long)r->s->per_device_train_batch_size, (long long)r->most_tokens, (long long)r->most_pictures,
                  has_patches(r) ? "patches" : "pictures");
    nc_buf_printf(out, "  %sFLOP a micro-batch, %sFLOP in all\n", nc_human_count(r->flops, b),
                  nc_human_count(r->flops * (double)r->total_steps * (double)r->s->gradient_accumulation_steps, c));
}
