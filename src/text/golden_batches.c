/* golden_batches.c - truncation and padding over golden/tokenizers/truncation-padding: every combination on one batch, with what was cut off. */
#include <string.h>

#include "text/batch.h"
#include "text/golden_lines.h"
#include "text/golden_training.h"

static bool same(const nc_json *want, const nc_encoding *x, size_t real, bool left)
{
    const nc_json *ids = nc_json_get(want, "ids"), *mask = nc_json_get(want, "attention_mask"), *special = nc_json_get(want, "special_tokens_mask");
    const nc_json *types = nc_json_get(want, "type_ids"), *offsets = nc_json_get(want, "offsets");
    bool ok = ids && (size_t)ids->count == x->n;
    for (size_t i = 0; ok && i < x->n; i++) {
        bool attended = left ? i >= x->n - real : i < real;
        ok = nc_json_int(nc_json_at(ids, (int)i), -1) == x->ids[i] && (!types || nc_json_int(nc_json_at(types, (int)i), -1) == x->type[i]) &&
             (!mask || nc_json_int(nc_json_at(mask, (int)i), -1) == attended) && (!special || nc_json_int(nc_json_at(special, (int)i), -1) == x->special[i]) &&
             (!offsets || (nc_json_int(nc_json_at(nc_json_at(offsets, (int)i), 0), -1) == x->begin[i] &&
                           nc_json_int(nc_json_at(nc_json_at(offsets, (int)i), 1), -1) == x->end[i]));
    }
    return ok;
}

static void check_row(nc_golden_file *f, const nc_json *want, const nc_encoding_row *row, bool left, int index)
{
    const nc_json *rest = nc_json_get(want, "overflowing");
    size_t k = 1;
    nc_golden_count(f, same(want, &row->encodings[0], row->real[0], left), "text %d", index);
    nc_golden_count(f, rest && (size_t)rest->count + 1 == row->n, "text %d: %zu pieces", index, row->n);
    NC_JSON_EACH(item, rest) {
        nc_json bare = { .type = NC_JSON_OBJECT };
        nc_json ids = *item;
        if (item->type == NC_JSON_ARRAY) {
            ids.key = NC_STR("ids");
            ids.next = NULL;
            bare.first = &ids;
            bare.count = 1;
        }
        if (k < row->n)
            nc_golden_count(f, same(item->type == NC_JSON_ARRAY ? &bare : item, &row->encodings[k], row->real[k], left), "text %d, piece %zu", index, k);
        k++;
    }
}

static void run_line(nc_golden_file *f, const nc_tokenizer *t, const nc_json *v)
{
    const nc_json *cut = nc_json_get(v, "truncation"), *pad = nc_json_get(v, "padding"), *batch = nc_json_get(v, "batch");
    const char *what = nc_json_string(nc_json_get(cut, "strategy"), "longest_first");
    nc_truncation how = { (size_t)nc_json_int(nc_json_get(cut, "max_length"), 0), (size_t)nc_json_int(nc_json_get(cut, "stride"), 0),
        !strcmp(what, "only_first") ? NC_ONLY_FIRST : !strcmp(what, "only_second") ? NC_ONLY_SECOND : NC_LONGEST_FIRST,
        !strcmp(nc_json_string(nc_json_get(cut, "direction"), "right"), "left") };
    nc_padding fill = { (size_t)nc_json_int(nc_json_get(pad, "length"), 0), (size_t)nc_json_int(nc_json_get(pad, "pad_to_multiple_of"), 0),
        (int32_t)nc_json_int(nc_json_get(pad, "pad_id"), 0), (uint8_t)nc_json_int(nc_json_get(pad, "pad_type_id"), 0),
        !strcmp(nc_json_string(nc_json_get(pad, "direction"), "right"), "left") };
    size_t n = 0, count = batch ? (size_t)batch->count : 0;
    nc_str *texts = NC_NEW_ARRAY(f->arena, nc_str, count + 1), *pairs = NC_NEW_ARRAY(f->arena, nc_str, count + 1);
    NC_JSON_EACH(item, batch) {
        bool pair = nc_json_is(item, NC_JSON_ARRAY);
        texts[n] = pair ? nc_json_at(item, 0)->text : item->text;
        pairs[n++] = pair ? nc_json_at(item, 1)->text : (nc_str){ NULL, 0 };
    }
    nc_encoding_batch out;
    nc_error e = { 0 };
    int status = nc_tokenizer_encode_batch(t, texts, pairs, n, NC_ENCODE_SPECIAL | NC_ENCODE_OFFSETS, nc_json_is(cut, NC_JSON_OBJECT) ? &how : NULL,
                                           nc_json_is(pad, NC_JSON_OBJECT) ? &fill : NULL, &out, &e);
    bool refused = nc_json_is(nc_json_get(v, "error"), NC_JSON_STRING);
    nc_golden_count(f, (status < 0) == refused, "%s", status < 0 ? e.message : "was not refused");
    int index = 0;
    NC_JSON_EACH(item, status < 0 || refused ? NULL : nc_json_get(v, "out")) {
        if ((size_t)index < n)
            check_row(f, item, &out.rows[index], fill.left, index);
        index++;
    }
    nc_encoding_batch_free(&out);
}

int nc_golden_batches(const char *folder, nc_golden_fn *report, void *context, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_tokenizer *t = NULL;
    nc_golden_file f;
    nc_json *v;
    int status = nc_tokenizer_load(folder, &t, e);
    if (status >= 0)
        status = nc_golden_open(&f, nc_path_join(a, folder, "cases.jsonl"), e);
    if (status >= 0) {
        while ((status = nc_golden_next(&f, &v, e)) > 0)
            run_line(&f, t, v);
        nc_golden_close(&f, "cases.jsonl", report, context);
    }
    nc_tokenizer_free(t);
    nc_arena_free(a);
    return status;
}
