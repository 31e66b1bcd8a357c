/* meteor15.h - shared by the files of METEOR 1.5 only: its data and its aligner. */
#ifndef NC_EVAL_METEOR15_H
#define NC_EVAL_METEOR15_H
#include "eval/metrics.h"

struct nc_meteor_data {
    nc_arena *arena;
    nc_map *functions;                         /* function words */
    nc_map *prefixes;                          /* abbreviation -> 1 any, 2 before numbers only */
    nc_map *synsets, *bases;                   /* word -> list of synsets; irregular form -> list of base forms */
    struct nc_meteor_list { const void *items; int n; } *lists;
    int list_count, list_capacity;
    nc_map *vocabulary, *phrases;              /* of the paraphrase table: word -> id; phrase (ids) -> first entry */
    struct nc_meteor_phrase { const int32_t *ids; int n; int64_t next; } *phrase;     /* what the entry's key may be replaced by */
    int64_t *last;                             /* of the chain starting at entry i */
    int64_t phrase_count, phrase_capacity;
    int longest;                               /* words of the longest phrase */
};

/* One way to match reference words [start, start + length) with test words [test, test + test_length). */
typedef struct nc_meteor_match { int start, length, test, test_length, module; } nc_meteor_match;

/* Aligns; chosen[j] is the index of the match that starts at reference word j, -1 for none. The result lies in a. */
void nc_meteor_align(nc_arena *a, nc_words test, nc_words reference, const nc_meteor15_options *o,
                     nc_meteor_match **matches, int **chosen);

/* Version 1.5's tokenizer for English, lowercased. */
nc_str nc_meteor_normalize(nc_arena *a, nc_str line, const nc_meteor_data *data, bool keep_punctuation);

/* All synsets of a word, of its base forms as WordNet's morphology finds them; sorted or not, with repeats. */
int nc_meteor_synsets(nc_arena *a, const nc_meteor_data *d, nc_str word, const int32_t **out);
#endif
