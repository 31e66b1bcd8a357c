/* text_ids.c - see text_ids.h. */
#include "front/text_ids.h"

/* How many ids of each text stay so that both fit into `room` (tokenizers' LongestFirst). */
static void shorten(int *first, int *second, int room)
{
    if (*first + *second <= room)
        return;
    int *shorter = *first > *second ? second : first, *longer = shorter == first ? second : first;
    *longer = *shorter > room ? *shorter : *shorter > room - *shorter ? *shorter : room - *shorter;
    if (*shorter + *longer > room) {
        *shorter = room / 2;
        *longer = room / 2 + room % 2;
    }
}

int nc_text_ids_of(const nc_tokenizer *t, nc_arena *a, nc_str text, const nc_str *pair, int most, nc_text_ids *out, nc_error *e)
{
    nc_encoding x = { 0 };
    int have[2] = { 0 }, keep[2], special = 0, n = 0;
    NC_TRY(nc_tokenizer_encode_full(t, text, pair, NC_ENCODE_SPECIAL, &x, e));
    for (size_t i = 0; i < x.n; i++)
        *(x.sequence[i] < 0 ? &special : &have[x.sequence[i] != 0]) += 1;
    int room = most > special ? most - special : 0;
    keep[0] = have[0];
    keep[1] = have[1];
    if (pair)
        shorten(&keep[0], &keep[1], room);
    else
        keep[0] = have[0] < room ? have[0] : room;
    *out = (nc_text_ids){ .ids = NC_NEW_ARRAY(a, int32_t, x.n + 1), .types = NC_NEW_ARRAY(a, int32_t, x.n + 1), .cut = keep[0] < have[0] || keep[1] < have[1] };
    for (size_t i = 0; i < x.n; i++) {
        if (x.sequence[i] >= 0 && keep[x.sequence[i] != 0]-- <= 0)
            continue;
        out->ids[n] = x.ids[i];
        out->types[n++] = x.type[i];
    }
    out->count = n;
    nc_encoding_free(&x);
    return 0;
}

/* What stands before and behind a text. */
static int frame_of(const nc_tokenizer *t, nc_ids *before, nc_ids *behind, nc_error *e)
{
    nc_encoding x = { 0 };
    NC_TRY(nc_tokenizer_encode_full(t, NC_STR("a"), NULL, NC_ENCODE_SPECIAL, &x, e));
    bool seen = false;
    for (size_t i = 0; i < x.n; i++) {
        seen |= x.sequence[i] >= 0;
        if (x.sequence[i] < 0)
            nc_ids_add(seen ? behind : before, x.ids[i]);
    }
    nc_encoding_free(&x);
    return 0;
}

static int pieces_of(const nc_tokenizer *t, nc_str word, nc_ids *out, nc_error *e)
{
    nc_buf b = { 0 };
    nc_buf_addc(&b, ' ');
    nc_buf_add(&b, word.p, word.n);
    int status = nc_tokenizer_encode(t, (nc_str){ b.p, b.n }, 0, out, e);
    nc_buf_free(&b);
    return status;
}

int nc_text_ids_of_words(const nc_tokenizer *t, nc_arena *a, const nc_str *words, int count, int most, nc_text_ids *out, nc_error *e)
{
    nc_ids all = { 0 }, behind = { 0 };
    int *begins = NC_NEW_ARRAY(a, int, count + 1), status = frame_of(t, &all, &behind, e), n;
    int first = (int)all.n;
    for (int i = 0; i < count && status == 0; i++) {
        begins[i] = (int)all.n;
        status = pieces_of(t, words[i], &all, e);
    }
    begins[count] = n = (int)all.n;
    int room = most - (int)behind.n > first ? most - (int)behind.n : first, kept = n < room ? n : room, total = kept + (int)behind.n;
    *out = (nc_text_ids){ .ids = NC_NEW_ARRAY(a, int32_t, total + 1), .types = NC_NEW_ARRAY(a, int32_t, total + 1), .word = NC_NEW_ARRAY(a, int, total + 1), .count = total, .cut = kept < n };
    for (int i = 0; i < total; i++) {
        out->ids[i] = i < kept ? all.p[i] : behind.p[i - kept];
        out->types[i] = 0;
        out->word[i] = -1;
    }
    for (int i = 0; i < count && status == 0; i++)
        if (begins[i] < kept && begins[i + 1] > begins[i])
            out->word[begins[i]] = i;
    nc_ids_free(&all);
    nc_ids_free(&behind);
    return status;
}
