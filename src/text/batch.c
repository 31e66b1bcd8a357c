/* batch.c - truncation and padding. Lengths and the order of the overflowing pieces follow utils/truncation.rs, utils/padding.rs and Encoding::truncate of tokenizers:
 * a text of n tokens cut to m with stride s gives ranges that begin every m - s tokens until the end is reached; a pair gives every combination.
 */
#include "text/batch.h"

#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"

#define PIECES_LIMIT ((size_t)1 << 20)

struct range { size_t begin, end; };
struct ranges { struct range *p; size_t n; };

/* The ranges a text of n tokens falls into. With max 0 the first is empty and the second everything. */
static int cut(size_t n, size_t max, const nc_truncation *how, struct ranges *out, nc_error *e)
{
    size_t step = max > how->stride ? max - how->stride : 1, count = max >= n ? 1 : max ? (n + step - 1) / step : 2;
    out->p = nc_xcalloc(count, sizeof *out->p);
    out->n = 0;
    if (max >= n) {
        out->p[out->n++] = (struct range){ 0, n };
        return NC_OK;
    }
    if (!max) {
        out->p[0] = (struct range){ 0, 0 };
        out->p[1] = (struct range){ 0, n };
        out->n = 2;
        return NC_OK;
    }
    if (how->stride >= max)
        return nc_fail(e, NC_EINVAL, "stride %zu is not below the %zu tokens that the special tokens leave of max_length; make it smaller", how->stride, max);
    for (size_t i = 0; i < count; i++) {
        size_t at = i * step;
        struct range r = { at, at + max < n ? at + max : n };
        if (how->left)
            r = (struct range){ n - at > max ? n - at - max : 0, n - at };
        out->p[out->n++] = r;
        if (how->left ? r.begin == 0 : r.end == n)
            break;
    }
    return NC_OK;
}

/* What lengths the two texts keep; b is 0 without a pair. */
static int lengths(const nc_truncation *how, size_t max, bool pair, size_t *a, size_t *b, nc_error *e)
{
    size_t total = *a + *b;
    if (!max) {
        *a = *b = 0;
        return NC_OK;
    }
    if (total <= max)
        return NC_OK;
    if (how->what != NC_LONGEST_FIRST) {
        size_t *target = how->what == NC_ONLY_FIRST ? a : b;
        if (how->what == NC_ONLY_SECOND && !pair)
            return nc_fail(e, NC_EINVAL, "only_second cuts the second text, but there is none; use longest_first");
        if (*target <= total - max)
            return nc_fail(e, NC_EINVAL, "the text to cut has %zu tokens, %zu are too many; use longest_first or a larger max_length", *target, total - max);
        *target -= total - max;
        return NC_OK;
    }
    if (!pair) {
        *a = max;
        return NC_OK;
    }
    size_t n1 = *a < *b ? *a : *b, n2;
    bool swapped = *a > *b;
    n2 = n1 > max ? n1 : n1 > max - n1 ? n1 : max - n1;
    if (n1 + n2 > max) {
        n1 = max / 2;
        n2 = n1 + max % 2;
    }
    *a = swapped ? n2 : n1;
    *b = swapped ? n1 : n2;
    return NC_OK;
}

static void add(nc_encoding *x, int32_t id, uint32_t begin, uint32_t end, int8_t sequence, uint8_t type, bool special)
{
    if (x->n == x->capacity) {
        size_t c = x->capacity = x->capacity ? x->capacity * 2 : 16;
        x->ids = nc_xrealloc(x->ids, c * sizeof *x->ids);
        x->begin = nc_xrealloc(x->begin, c * sizeof *x->begin);
        x->end = nc_xrealloc(x->end, c * sizeof *x->end);
        x->sequence = nc_xrealloc(x->sequence, c);
        x->type = nc_xrealloc(x->type, c);
        x->special = nc_xrealloc(x->special, c);
    }
    x->ids[x->n] = id;
    x->begin[x->n] = begin;
    x->end[x->n] = end;
    x->sequence[x->n] = sequence;
    x->type[x->n] = type;
    x->special[x->n++] = special;
}

struct plan { const nc_post_item *items; int count; size_t specials; };

static struct plan plan_of(const nc_tokenizer *t, bool pair, unsigned flags)
{
    static const nc_post_item bare[] = { { 0, 0, 0 }, { 1, 1, 0 } };
    struct plan p = { t->post ? pair ? t->post->pair : t->post->single : bare, t->post ? pair ? t->post->pairs : t->post->singles : pair ? 2 : 1, 0 };
    for (int i = 0; i < p.count && flags & NC_ENCODE_SPECIAL; i++)
        p.specials += p.items[i].sequence < 0;
    return p;
}

/* Special tokens around the ranges a and b of the plain encoding x, whose second text begins at entry second. */
static nc_encoding compose(const struct plan *p, const nc_encoding *x, size_t second, struct range a, struct range b, unsigned flags)
{
    nc_encoding y = { 0 };
    for (int i = 0; i < p->count; i++) {
        const nc_post_item *item = &p->items[i];
        if (item->sequence < 0) {
            if (flags & NC_ENCODE_SPECIAL)
                add(&y, item->id, 0, 0, -1, item->type, true);
            continue;
        }
        size_t base = item->sequence ? second : 0;
        struct range r = item->sequence ? b : a;
        for (size_t k = base + r.begin; k < base + r.end; k++)
            add(&y, x->ids[k], x->begin ? x->begin[k] : 0, x->end ? x->end[k] : 0, item->sequence, item->type, x->special[k]);
    }
    return y;
}

/* All combinations of both texts' ranges: the first of both, then the first text's others with each of the second's, then the first with the second's others. */
static int combine(const struct plan *p, const nc_encoding *x, size_t second, const struct ranges *a, const struct ranges *b, unsigned flags, nc_encoding_row *row, nc_error *e)
{
    if (a->n > PIECES_LIMIT / b->n)
        return nc_fail(e, NC_ELIMIT, "%zu x %zu pieces of a pair, the limit is %zu; use a larger max_length", a->n, b->n, PIECES_LIMIT);
    row->encodings = nc_xcalloc(a->n * b->n, sizeof *row->encodings);
    row->real = nc_xcalloc(a->n * b->n, sizeof *row->real);
    for (size_t step = 0; step < a->n * b->n; step++) {
        size_t i = step == 0 ? 0 : (step - 1) / b->n + 1, k = step == 0 ? 0 : (step - 1) % b->n;
        if (i >= a->n) {
            i = 0;
            k++;
        }
        row->encodings[row->n] = compose(p, x, second, a->p[i], b->p[k], flags);
        row->real[row->n] = row->encodings[row->n].n;
        row->n++;
    }
    return NC_OK;
}

static int encode_row(const nc_tokenizer *t, nc_str text, const nc_str *pair, unsigned flags, const nc_truncation *how, nc_encoding_row *row, nc_error *e)
{
    static const nc_truncation none = { 0 };
    nc_encoding x = { 0 };
    struct ranges a = { 0 }, b = { 0 };
    struct plan p = plan_of(t, pair != NULL, flags);
    int status = nc_tokenizer_encode_full(t, text, pair, flags & ~(unsigned)NC_ENCODE_SPECIAL, &x, e);
    size_t second = 0;
    while (second < x.n && x.sequence[second] == 0)
        second++;
    size_t n1 = second, n2 = x.n - second, keep1 = n1, keep2 = n2;
    if (status >= 0 && how && how->max_length)
        status = lengths(how, how->max_length > p.specials ? how->max_length - p.specials : 0, pair != NULL, &keep1, &keep2, e);
    if (status >= 0)
        status = cut(n1, keep1, how ? how : &none, &a, e);
    if (status >= 0)
        status = cut(n2, keep2, how ? how : &none, &b, e);
    if (status >= 0)
        status = combine(&p, &x, second, &a, &b, flags, row, e);
    free(a.p);
    free(b.p);
    nc_encoding_free(&x);
    return status;
}

static void move(void *p, size_t size, size_t n, size_t by)
{
    memmove((char *)p + by * size, p, n * size);
}

static void fill(nc_encoding *x, size_t length, const nc_padding *how)
{
    size_t n = x->n, more = length > n ? length - n : 0;
    for (size_t i = 0; i < more; i++)
        add(x, how->id, 0, 0, -1, how->type, true);
    if (!how->left || !more)
        return;
    move(x->ids, sizeof *x->ids, n, more);
    move(x->begin, sizeof *x->begin, n, more);
    move(x->end, sizeof *x->end, n, more);
    move(x->sequence, 1, n, more);
    move(x->type, 1, n, more);
    move(x->special, 1, n, more);
    for (size_t i = 0; i < more; i++) {
        x->ids[i] = how->id;
        x->begin[i] = x->end[i] = 0;
        x->sequence[i] = -1;
        x->type[i] = how->type;
        x->special[i] = 1;
    }
}

int nc_tokenizer_encode_batch(const nc_tokenizer *t, const nc_str *texts, const nc_str *pairs, size_t n, unsigned flags, const nc_truncation *truncation,
                              const nc_padding *padding, nc_encoding_batch *out, nc_error *e)
{
    *out = (nc_encoding_batch){ nc_xcalloc(n ? n : 1, sizeof *out->rows), n };
    size_t length = padding ? padding->length : 0;
    for (size_t i = 0; i < n; i++) {
        const nc_str *pair = pairs && pairs[i].p ? &pairs[i] : NULL;
        if (encode_row(t, texts[i], pair, flags, truncation, &out->rows[i], e) < 0)
            return nc_fail_in(e, "text %zu", i);
        if (padding && !padding->length && out->rows[i].encodings[0].n > length)
            length = out->rows[i].encodings[0].n;
    }
    if (padding && padding->multiple > 1 && length % padding->multiple)
        length += padding->multiple - length % padding->multiple;
    for (size_t i = 0; padding && i < n; i++)
        for (size_t k = 0; k < out->rows[i].n; k++)
            fill(&out->rows[i].encodings[k], length, padding);
    return NC_OK;
}

void nc_encoding_batch_free(nc_encoding_batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        for (size_t k = 0; k < b->rows[i].n; k++)
            nc_encoding_free(&b->rows[i].encodings[k]);
        free(b->rows[i].encodings);
        free(b->rows[i].real);
    }
    free(b->rows);
    *b = (nc_encoding_batch){ 0 };
}
