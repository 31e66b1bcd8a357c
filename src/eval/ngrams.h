/* ngrams.h - words as numbers and counts of their n-grams, for the metrics of this folder. */
#ifndef NC_EVAL_NGRAMS_H
#define NC_EVAL_NGRAMS_H
#include "base/map.h"
#include "eval/units.h"

/* Numbers for the words of w, equal words equal numbers; ids lie in a. */
int32_t *nc_word_ids(nc_arena *a, nc_map *vocabulary, nc_words w);
/* The n-gram at ids as a map key. */
static inline nc_str nc_gram(const int32_t *ids, int n) { return (nc_str){ (const char *)ids, sizeof *ids * (size_t)n }; }
static inline int nc_gram_order(nc_str key) { return (int)(key.n / sizeof(int32_t)); }
/* Adds all n-grams of orders from..to; the caller frees the map. */
nc_map *nc_gram_counts(const int32_t *ids, int count, int from, int to);
int64_t nc_gram_count(const nc_map *m, nc_str key);                         /* 0 when absent */
/* How many n-grams of `order` in hyp are covered when each may be used as often as its largest count in refs. */
int64_t nc_gram_clipped(const nc_map *hyp, nc_map *const *refs, int count, int order);
int64_t nc_lcs(const int32_t *a, int n, const int32_t *b, int m);           /* length of the longest common subsequence */
#endif
