/* source.c - what the encoder of an encoder-decoder model reads; see conversation.h. */
#include "front/words.h"

#include <string.h>

int nc_source_encode(const nc_source_request *r, nc_arena *a, nc_conversation_ids *out, nc_error *e)
{
    const nc_wording *w = nc_wording_find(r->processor);
    const bool words = w && w->source;
    nc_buf text = { 0 };
    nc_ids ids = { 0 };
    int status = words ? w->source(r->tokenizer, r->text, &text, e) : (nc_buf_add(&text, r->text.p, r->text.n), 0);
    for (int i = 0; i < r->media_count && status == 0; i++)
        for (int k = 0; k < r->media_rows[i]; k++)
            nc_ids_add(&ids, r->media_token);
    const size_t media = ids.n;
    if (status == 0)
        status = nc_tokenizer_encode(r->tokenizer, (nc_str){ text.p ? text.p : "", text.n }, words ? 0 : NC_ENCODE_SPECIAL, &ids, e);
    if (status == 0) {
        *out = (nc_conversation_ids){ .count = (int)ids.n, .media_end = (int)media };
        out->ids = nc_arena_copy(a, ids.p ? (void *)ids.p : "", sizeof *ids.p * ids.n);
    }
    nc_buf_free(&text);
    nc_ids_free(&ids);
    return status;
}

const char *nc_source_task(const char *processor, nc_task task)
{
    const nc_wording *w = nc_wording_find(processor);
    return w && w->tasks ? w->tasks[task] : NULL;
}
