/* scratch.c - memory lent to one encode call at a time, and the trie of added tokens. */
#include <stdlib.h>
#include <string.h>

#include "text/tokenizer_internal.h"

nc_scratch *nc_scratch_lend(const nc_tokenizer *tokenizer)
{
    nc_tokenizer *t = (nc_tokenizer *)tokenizer;    /* the list of idle scratches is the one thing that changes after loading */
    pthread_mutex_lock(&t->lock);
    nc_scratch *s = t->idle;
    if (s)
        t->idle = s->next;
    pthread_mutex_unlock(&t->lock);
    if (!s) {
        s = nc_xcalloc(1, sizeof *s);
        s->regex = nc_regex_scratch_new();
        s->cache = nc_word_cache_new();
    }
    return s;
}

void nc_scratch_return(const nc_tokenizer *tokenizer, nc_scratch *s)
{
    nc_tokenizer *t = (nc_tokenizer *)tokenizer;
    pthread_mutex_lock(&t->lock);
    s->next = t->idle;
    t->idle = s;
    pthread_mutex_unlock(&t->lock);
}

void nc_scratch_free(nc_scratch *s)
{
    nc_regex_scratch_free(s->regex);
    nc_word_cache_free(s->cache);
    nc_aligned_free(&s->text);
    nc_aligned_free(&s->other);
    nc_aligned_free(&s->whole);
    free(s->spans.p);
    free(s->split.p);
    free(s->pieces.p);
    free(s->work);
    free(s);
}

void *nc_scratch_work(nc_scratch *s, size_t bytes)
{
    if (bytes > s->work_bytes) {
        free(s->work);
        s->work = nc_xmalloc(bytes);
        s->work_bytes = bytes;
    }
    return s->work;
}

void nc_pieces_add(nc_pieces *s, int32_t id, uint32_t end)
{
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? s->capacity * 2 : 64;
        s->p = nc_xrealloc(s->p, s->capacity * sizeof *s->p);
    }
    s->p[s->n++] = (nc_piece){ id, end };
}

void nc_trie_init(nc_trie *t)
{
    *t = (nc_trie){ 0 };
    memset(t->root, 0xff, sizeof t->root);
}

static int32_t new_node(nc_trie *t, unsigned char byte, int32_t sibling)
{
    if (t->n == t->capacity) {
        t->capacity = t->capacity ? t->capacity * 2 : 256;
        t->p = nc_xrealloc(t->p, (size_t)t->capacity * sizeof *t->p);
    }
    t->p[t->n] = (nc_trie_node){ -1, sibling, -1, byte };
    return t->n++;
}

void nc_trie_add(nc_trie *t, nc_str key, int32_t token)
{
    if (!key.n)
        return;
    unsigned char first = (unsigned char)key.p[0];
    if (t->root[first] < 0)
        t->root[first] = new_node(t, first, -1);
    int32_t at = t->root[first];
    for (size_t i = 1; i < key.n; i++) {
        int32_t child = t->p[at].child;
        while (child >= 0 && t->p[child].byte != (unsigned char)key.p[i])
            child = t->p[child].sibling;
        if (child < 0) {
            child = new_node(t, (unsigned char)key.p[i], t->p[at].child);
            t->p[at].child = child;
        }
        at = child;
    }
    if (t->p[at].token < 0)
        t->p[at].token = token;
}

int32_t nc_trie_find(const nc_trie *t, nc_str text, size_t from, size_t *begin, size_t *end)
{
    for (size_t i = from; i < text.n; i++) {
        int32_t at = t->root[(unsigned char)text.p[i]], found = -1;
        for (size_t k = i + 1; at >= 0; k++) {
            if (t->p[at].token >= 0) {
                found = t->p[at].token;
                *begin = i;
                *end = k;
            }
            if (k == text.n)
                break;
            at = t->p[at].child;
            while (at >= 0 && t->p[at].byte != (unsigned char)text.p[k])
                at = t->p[at].sibling;
        }
        if (found >= 0)
            return found;
    }
    return -1;
}

size_t nc_trie_prefix(const nc_trie *t, nc_str text)
{
    size_t found = 0;
    int32_t at = text.n ? t->root[(unsigned char)text.p[0]] : -1;
    for (size_t k = 1; at >= 0; k++) {
        if (t->p[at].token >= 0)
            found = k;
        if (k == text.n)
            break;
        at = t->p[at].child;
        while (at >= 0 && t->p[at].byte != (unsigned char)text.p[k])
            at = t->p[at].sibling;
    }
    return found;
}
