/* demo_summary.c - the figures of a demo run, for programs (summary.json) and for people. */
#include <math.h>

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/demo.h"

static const struct { const char *key, *name, *note; } slots[nc_scene_slot_count] = {
    { "place", "  place", "바다, 산, 논 ..." }, { "time", "  time", "새벽, 아침, 낮, 저녁, 밤" }, { "weather", "  weather", "맑음, 비, 눈, 안개, 노을" },
    { "objects", "  moving things", "all of them and no others" }, { "camera", "  camera", "고정, 좌우 이동, 확대" },
};

int nc_demo_summary(const nc_demo *d, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_json *o = nc_json_new(a, NC_JSON_OBJECT);
    const struct { const char *key; double v; } figures[] = {
        { "meteor", d->trained.meteor }, { "meteor_untrained", d->before.meteor }, { "meteor_ceiling", d->trained.meteor_ceiling }, { "slot_accuracy", d->trained.slot_accuracy },
        { "meteor_q8_0", d->small.meteor }, { "slot_accuracy_q8_0", d->small.slot_accuracy }, { "bleu4", d->trained.bleu4 }, { "cider", d->trained.cider }, { "rouge_l", d->trained.rouge_l },
        { "data_seconds", d->data_seconds }, { "train_seconds", d->train_seconds }, { "tokens_per_second", d->tokens_per_second }, { "served_seconds", d->served_seconds }, { "seconds", d->seconds },
    };
    for (int i = 0; i < NC_COUNT(figures); i++)
        nc_json_set(a, o, figures[i].key, nc_json_new_double(a, figures[i].v));
    const struct { const char *key; int64_t v; } counts[] = {
        { "peak_bytes", d->peak_bytes }, { "planned_bytes", d->planned_bytes }, { "model_bytes", d->model_bytes }, { "model_bytes_q8_0", d->small_bytes }, { "clips", d->clips }, { "test_clips", d->trained.samples },
    };
    for (int i = 0; i < NC_COUNT(counts); i++)
        nc_json_set(a, o, counts[i].key, nc_json_new_int(a, counts[i].v));
    const struct { const char *key, *v; } words[] = {
        { "served_caption", d->served }, { "served_clip", d->clip }, { "contact_sheet", d->sheet }, { "data", d->data }, { "model", d->model }, { "model_q8_0", d->quantized },
    };
    for (int i = 0; i < NC_COUNT(words); i++)
        nc_json_set(a, o, words[i].key, nc_json_new_string(a, nc_str_of(words[i].v)));
    nc_json *by_slot = nc_json_new(a, NC_JSON_OBJECT);
    for (int i = 0; i < nc_scene_slot_count; i++)
        nc_json_set(a, by_slot, slots[i].key, nc_json_new_double(a, d->trained.slot[i]));
    nc_json_set(a, o, "slots", by_slot);
    nc_json *references = nc_json_new(a, NC_JSON_ARRAY);
    for (int i = 0; i < d->references; i++)
        nc_json_append(references, nc_json_new_string(a, d->reference[i]));
    nc_json_set(a, o, "references", references);
    nc_buf b = { 0 };
    nc_json_write(&b, o, 1);
    nc_buf_addc(&b, '\n');
    int status = nc_file_write(nc_path_join(a, d->out, "summary.json"), b.p, b.n, e);
    nc_buf_free(&b);
    nc_arena_free(a);
    return status;
}

/* A bar of twenty cells, v of 1. */
static void bar(nc_buf *out, double v)
{
    int full = (int)(20 * (v < 0 || isnan(v) ? 0 : v > 1 ? 1 : v) + 0.5);
    for (int i = 0; i < 20; i++)
        nc_buf_adds(out, i < full ? "█" : "░");
}

static void score(nc_buf *out, const char *name, double v, const char *note)
{
    nc_buf_adds(out, "  ");
    nc_cli_pad(out, name, 22);
    nc_buf_printf(out, "%6.3f  ", v);
    bar(out, v);
    nc_buf_printf(out, "  %s\n", note);
}

void nc_demo_tell(const nc_demo *d, nc_buf *out)
{
    const char *bold = nc_term_is_rich() ? "\033[1m" : "", *plain = *bold ? "\033[0m" : "";
    char a[32], b[32], c[32];
    nc_buf_printf(out, "\n%sA Korean video captioner, made from nothing in %s%s\n\n", bold, nc_human_time(d->seconds, a), plain);
    nc_buf_printf(out, "  What it says of a clip it has never seen (%s, asked over HTTP, %.2f s):\n\n    %s%s%s\n\n", nc_path_base(d->clip), d->served_seconds, bold, d->served, plain);
    for (int i = 0; i < d->references; i++)
        nc_buf_printf(out, "    %s %.*s\n", i ? "         " : "people say", (int)d->reference[i].n, d->reference[i].p);
    nc_buf_printf(out, "\n  Frames beside it: %s\n\n", d->sheet);
    nc_buf_printf(out, "%sOn %d held-out clips%s, combinations never seen in training\n", bold, d->trained.samples, plain);
    score(out, "METEOR", d->trained.meteor, "NLTK's definition, eojeol, three references");
    score(out, "  untrained", d->before.meteor, "the same model before training");
    score(out, "  ceiling", d->trained.meteor_ceiling, "a fresh caption by the generator itself");
    score(out, "  q8_0", d->small.meteor, "after quantization");
    score(out, "slots named rightly", d->trained.slot_accuracy, "the mean of these five");
    for (int i = 0; i < nc_scene_slot_count; i++)
        score(out, slots[i].name, d->trained.slot[i], slots[i].note);
    score(out, "BLEU-4", d->trained.bleu4, "");
    score(out, "ROUGE-L", d->trained.rouge_l, "");
    nc_buf_printf(out, "  CIDEr-D               %6.3f\n\n", d->trained.cider);
    nc_buf_printf(out, "%sCost%s\n  training %s at %s tokens/s; memory %s at the peak", bold, plain, nc_human_time(d->train_seconds, a), nc_human_count(d->tokens_per_second, b),
                  nc_human_bytes((double)d->peak_bytes, c));
    nc_buf_printf(out, ", %s planned\n  model %s", nc_human_bytes((double)d->planned_bytes, a), nc_human_bytes((double)d->model_bytes, b));
    nc_buf_printf(out, ", in q8_0 %s\n\n", nc_human_bytes((double)d->small_bytes, a));
    nc_buf_printf(out, "%sAll of it lies in %s%s\n  data/           the clips, captions and references\n  train/          recipe's stages, curves, train/model\n  eval/           report.html, predictions.jsonl\n"
                  "  model-q8_0/     what the server served\n  summary.json    these figures\n\n", bold, d->out, plain);
    nc_buf_printf(out, "Go on with\n  nunchi caption %s %s\n  nunchi chat %s\n  nunchi serve %s --port 8080\n", d->quantized, d->clip, d->quantized, d->quantized);
}
