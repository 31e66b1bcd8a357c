/* decode.c - ids to text, whole and as a stream.
 *
 * The stream keeps the ids since the last two places where the text was whole; a new id's text is what decoding them all adds to what decoding the known ones
 * gave (the tokenizers library's DecodeStream). So decoders that look at neighbours, blanks at word starts say, come out as in one go.
 */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"
#include "text/unicode.h"

void nc_tokenizer_decode(const nc_tokenizer *t, const int32_t *ids, size_t n, bool skip_special, nc_buf *out)
{
    nc_arena *arena = NULL;
    if (t->decodes_bytes) {
        nc_buf bytes = { 0 };
        for (size_t i = 0; i < n; i++) {
            nc_str b = nc_tokenizer_bytes(t, ids[i]);
            if (b.n && !(skip_special && nc_tokenizer_is_special(t, ids[i])))
                nc_buf_add(&bytes, b.p, b.n);
        }
        nc_utf8_lossy(out, (nc_str){ bytes.p, bytes.n });
        nc_buf_free(&bytes);
        return;
    }
    arena = nc_arena_new();
    nc_tokens tokens = { NC_NEW_ARRAY(arena, nc_str, n + 1), 0, arena };
    for (size_t i = 0; i < n; i++) {
        nc_str token = nc_tokenizer_token(t, ids[i]);
        if (token.p && !(skip_special && nc_tokenizer_is_special(t, ids[i])))
            tokens.p[tokens.n++] = token;
    }
    if (t->decoder)
        t->decoder->run(t->decoder, &tokens);
    for (size_t i = 0; i < tokens.n; i++) {
        if (i > 0 && !t->decoder)
            nc_buf_addc(out, ' ');
        nc_utf8_lossy(out, tokens.p[i]);
    }
    nc_arena_free(arena);
}

struct nc_detok {
    const nc_tokenizer *t;
    bool skip_special;
    nc_ids ids;
    size_t known;           /* ids that `prefix` is the text of */
    nc_buf prefix, text;
};

#define HELD_LIMIT 1024     /* ids held back at most; then what there is goes out */

nc_detok *nc_detok_new(const nc_tokenizer *t, bool skip_special)
{
    nc_detok *d = nc_xcalloc(1, sizeof *d);
    d->t = t;
    d->skip_special = skip_special;
    return d;
}

void nc_detok_free(nc_detok *d)
{
    if (!d)
        return;
    nc_ids_free(&d->ids);
    nc_buf_free(&d->prefix);
    nc_buf_free(&d->text);
    free(d);
}

/* Where the new text begins: behind what both have in common, at a character's start. */
static size_t common(const nc_buf *a, const nc_buf *b)
{
    size_t i = 0;
    while (i < a->n && i < b->n && a->p[i] == b->p[i])
        i++;
    while (i > 0 && i < b->n && ((unsigned char)b->p[i] & 0xc0) == 0x80)
        i--;
    return i;
}

static void decode_into(const nc_detok *d, nc_buf *out)
{
    nc_buf_clear(out);
    nc_tokenizer_decode(d->t, d->ids.p, d->ids.n, d->skip_special, out);
}

static bool is_open(const nc_buf *b)
{
    return b->n >= 3 && !memcmp(b->p + b->n - 3, "\xef\xbf\xbd", 3);
}

bool nc_detok_add(nc_detok *d, int32_t id, nc_buf *out)
{
    nc_ids_add(&d->ids, id);
    decode_into(d, &d->text);
    if ((d->text.n <= d->prefix.n || is_open(&d->text)) && d->ids.n - d->known < HELD_LIMIT)
        return false;
    size_t from = common(&d->prefix, &d->text), fresh = d->ids.n - d->known;
    nc_buf_add(out, d->text.p ? d->text.p + from : "", d->text.n - from);
    bool any = d->text.n > from;
    memmove(d->ids.p, d->ids.p + d->known, fresh * sizeof *d->ids.p);
    d->ids.n = fresh;
    d->known = fresh;
    decode_into(d, &d->prefix);
    return any;
}

bool nc_detok_flush(nc_detok *d, nc_buf *out)
{
    decode_into(d, &d->text);
    size_t from = common(&d->prefix, &d->text);
    bool any = d->ids.n > d->known && d->text.n > from;
    if (any)
        nc_buf_add(out, d->text.p + from, d->text.n - from);
    d->ids.n = d->known = 0;
    nc_buf_clear(&d->prefix);
    return any;
}
