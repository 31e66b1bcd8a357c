/* charsmap.c - sentencepiece's replacement table, and the "Precompiled" normalizer of tokenizer.json that applies it.
 *
 * A unit of the double array: bits 0-7 label, bit 8 has a leaf, bit 9 the offset is in units of 256, bits 10-30 offset; bit 31 marks a value.
 * From node p the child for byte c is p ^ offset ^ c, and is one when its label is c. Every index is checked: the table comes from a file.
 * The normalizer follows the tokenizers library: a grapheme cluster of fewer than 6 bytes is replaced whole by what its shortest known prefix becomes, else
 * its characters are looked up one by one.
 */
#include "text/charsmap.h"

#include <string.h>
#include <utf8proc.h>

#include "text/parts.h"

int nc_charsmap_read(nc_arena *a, nc_str bytes, nc_charsmap *out, nc_error *e)
{
    *out = (nc_charsmap){ 0 };
    if (!bytes.n)
        return NC_OK;
    uint32_t size = 0;
    if (bytes.n >= 4)
        memcpy(&size, bytes.p, 4);
    if (bytes.n < 4 || size > bytes.n - 4 || size % 4 || !size)
        return nc_fail(e, NC_EFORMAT, "precompiled_charsmap of %zu bytes says its trie has %u bytes", bytes.n, size);
    out->units = nc_arena_copy(a, bytes.p + 4, size);
    out->count = size / 4;
    out->texts.n = bytes.n - 4 - size;
    out->texts.p = nc_arena_strndup(a, bytes.p + 4 + size, out->texts.n);
    return NC_OK;
}

static size_t offset_of(uint32_t unit)
{
    return (size_t)(unit >> 10) << ((unit & 1u << 9) >> 6);
}

size_t nc_charsmap_find(const nc_charsmap *m, nc_str text, bool longest, nc_str *replacement)
{
    size_t found = 0, value = 0;
    if (!m->count)
        return 0;
    size_t node = offset_of(m->units[0]);
    for (size_t i = 0; i < text.n && text.p[i]; i++) {
        node ^= (unsigned char)text.p[i];
        if (node >= m->count)
            break;
        uint32_t unit = m->units[node];
        if ((unit & 0x800000ffu) != (unsigned char)text.p[i])
            break;
        node ^= offset_of(unit);
        if (node >= m->count)
            break;
        if (unit >> 8 & 1) {
            found = i + 1;
            value = m->units[node] & 0x7fffffffu;
            if (!longest)
                break;
        }
    }
    if (!found || value > m->texts.n)
        return 0;
    *replacement = nc_str_of(m->texts.p + value);
    return nc_utf8_valid(*replacement) ? found : 0;
}

struct precompiled {
    nc_normalizer part;
    nc_charsmap map;
};

/* A character to write and how many of the source's it stands for, as nc_edit_put counts. */
struct change { uint32_t c; int32_t change; };

static size_t replace(struct change *list, size_t n, nc_str old, nc_str new)
{
    int before = 0, after = 0;
    uint32_t c;
    for (size_t i = 0; i < old.n; i++)
        before += ((unsigned char)old.p[i] & 0xc0) != 0x80;
    for (size_t i = 0; i < new.n; after++) {
        i += (size_t)nc_utf8_decode(new.p + i, new.n - i, &c);
        list[n++] = (struct change){ c, after >= before };
    }
    if (after < before && n)
        list[n - 1].change += after - before;
    return n;
}

static size_t cluster_end(nc_str text, size_t at)
{
    utf8proc_int32_t state = 0;
    uint32_t last, next;
    at += (size_t)nc_utf8_decode(text.p + at, text.n - at, &last);
    while (at < text.n) {
        int length = nc_utf8_decode(text.p + at, text.n - at, &next);
        if (utf8proc_grapheme_break_stateful((utf8proc_int32_t)last, (utf8proc_int32_t)next, &state))
            break;
        at += (size_t)length;
        last = next;
    }
    return at;
}

/* Room for the changes of one more replacement; a text can be longer than what it replaces. */
static struct change *room(nc_buf *b, size_t n, size_t more)
{
    b->n = n * sizeof(struct change);
    nc_buf_reserve(b, more * sizeof(struct change));
    return (struct change *)b->p;
}

static void precompiled_run(const nc_normalizer *self, nc_scratch *s)
{
    const struct precompiled *p = (const struct precompiled *)self;
    nc_str text = nc_aligned_str(&s->text), new;
    nc_buf changes = { 0 };
    size_t n = 0;
    bool any = false;
    for (size_t at = 0; at < text.n;) {
        size_t end = cluster_end(text, at);
        nc_str cluster = { text.p + at, end - at };
        if (cluster.n < 6 && nc_charsmap_find(&p->map, cluster, false, &new)) {
            n = replace(room(&changes, n, new.n + 1), n, cluster, new);
            any = true;
            at = end;
        }
        while (at < end) {
            uint32_t c;
            nc_str one = { text.p + at, (size_t)nc_utf8_decode(text.p + at, end - at, &c) };
            if (nc_charsmap_find(&p->map, one, false, &new)) {
                n = replace(room(&changes, n, new.n + 1), n, one, new);
                any = true;
            } else {
                room(&changes, n, 1)[n] = (struct change){ c, 0 };
                n++;
            }
            at += one.n;
        }
    }
    if (any) {
        const struct change *list = (const struct change *)changes.p;
        nc_edit edit = nc_edit_begin(&s->text, &s->other);
        for (size_t i = 0; i < n; i++)
            nc_edit_put(&edit, list[i].c, list[i].change);
        nc_aligned_swap(&s->text, &s->other);
    }
    nc_buf_free(&changes);
}

int nc_normalizer_precompiled(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    const nc_json *text = nc_json_get(v, "precompiled_charsmap");
    struct precompiled *p = NC_NEW(b->arena, struct precompiled);
    p->part.run = precompiled_run;
    *out = &p->part;
    if (!text || text->type == NC_JSON_NULL)
        return NC_OK;
    if (text->type != NC_JSON_STRING)
        return nc_fail(e, NC_EFORMAT, "precompiled_charsmap is no base64 string");
    nc_buf bytes = { 0 };
    int status = nc_base64_decode(text->text, &bytes, e);
    if (status >= 0)
        status = nc_charsmap_read(b->arena, (nc_str){ bytes.p ? bytes.p : "", bytes.n }, &p->map, e);
    nc_buf_free(&bytes);
    return status;
}
