/* metrics.h - scores of generated text against references: pure functions on words (eval/units.h cuts them).
 *
 * METEOR exists twice because the field uses both: NLTK's (Lavie and Agarwal 2007 with a greedy matcher), which is this program's headline
 * figure, and version 1.5 (Denkowski and Lavie 2014), which COCO's evaluation calls. Each definition follows its tool to the last bits.
 */
#ifndef NC_EVAL_METRICS_H
#define NC_EVAL_METRICS_H
#include "base/map.h"
#include "eval/units.h"

typedef struct nc_segment { nc_words hypothesis; const nc_words *references; int count; } nc_segment;   /* count: references, at least 1 */

/* Synonyms of NLTK's third stage: related(context, hypothesis word, reference word). */
typedef bool nc_synonym_fn(void *context, nc_str word, nc_str other);

typedef struct nc_meteor_nltk_options {
    double alpha, beta, gamma;                 /* 0.9, 3, 0.5 */
    nc_synonym_fn *related;                    /* NULL: exact and stem only */
    void *context;
} nc_meteor_nltk_options;
/* Best score over the references: F = PR / (alpha P + (1 - alpha) R), times 1 - gamma (chunks / matches)^beta. options NULL: defaults.
 * Words are lowercased here. The project's figure for a set is the mean of its segments. */
double nc_meteor_nltk(const nc_segment *s, const nc_meteor_nltk_options *options);

/* METEOR 1.5. Data files are optional: without them the modules stem and exact remain. */
typedef struct nc_meteor_data nc_meteor_data;
/* folder holds some of english.words, english.prefixes, paraphrase-en.txt (three lines an entry) or paraphrase-en.gz unpacked, and
 * english.synsets, english.exceptions (there or in synonym/). NULL: no data. Freed by nc_meteor_data_free. */
int nc_meteor_data_load(const char *folder, nc_meteor_data **out, nc_error *e);
void nc_meteor_data_free(nc_meteor_data *d);

enum { NC_METEOR_EXACT = 1, NC_METEOR_STEM = 2, NC_METEOR_SYNONYM = 4, NC_METEOR_PARAPHRASE = 8 };
typedef struct nc_meteor15_options {
    bool english;                              /* false: "other", exact matches only, no normalization */
    unsigned modules;                          /* NC_METEOR_* bits */
    double weight[4];                          /* of the modules that are on, in the order exact, stem, synonym, paraphrase */
    double alpha, beta, gamma, delta;
    bool normalize, keep_punctuation, lower, characters;   /* -norm, not -noPunct, -lower, -ch */
    const nc_meteor_data *data;                /* may be NULL */
} nc_meteor15_options;
/* task: rank, adq, hter, li (English), other; fills the published parameters with every module the data allows. */
int nc_meteor15_defaults(const char *task, const nc_meteor_data *data, nc_meteor15_options *out, nc_error *e);
typedef struct nc_meteor15_stats { double length[2], function[2], content[4][2], functional[4][2], chunks, words[2], score; } nc_meteor15_stats;  /* [0] test, [1] reference */
/* Statistics and score against the best-scoring reference. */
void nc_meteor15(nc_str hypothesis, const nc_str *references, int count, const nc_meteor15_options *o, nc_meteor15_stats *out);
/* Adds segment statistics to a total that started as zeros, and the score of a total. */
void nc_meteor15_add(nc_meteor15_stats *total, const nc_meteor15_stats *s);
double nc_meteor15_score(nc_meteor15_stats *total, const nc_meteor15_options *o);

/* BLEU of coco-caption: orders 1 to 4, corpus[4] and optionally segments[4 n] (row-wise by order). */
typedef enum nc_bleu_length { NC_BLEU_CLOSEST, NC_BLEU_SHORTEST, NC_BLEU_AVERAGE } nc_bleu_length;
void nc_bleu_coco(const nc_segment *s, int n, nc_bleu_length length, double corpus[4], double *segments);

/* sacreBLEU (Post 2018): 13a, intl, char, zh or none; scores are 0 to 100. */
typedef enum nc_sacrebleu_tokenizer { NC_SACREBLEU_NONE, NC_SACREBLEU_13A, NC_SACREBLEU_INTL, NC_SACREBLEU_CHAR, NC_SACREBLEU_ZH } nc_sacrebleu_tokenizer;
typedef enum nc_bleu_smooth { NC_SMOOTH_NONE, NC_SMOOTH_FLOOR, NC_SMOOTH_ADD_K, NC_SMOOTH_EXP } nc_bleu_smooth;
#define NC_BLEU_MAX 8
typedef struct nc_sacrebleu_options { nc_sacrebleu_tokenizer tokenizer; bool lowercase, effective_order; nc_bleu_smooth smooth; double smooth_value; int order; } nc_sacrebleu_options;
typedef struct nc_sacrebleu { double score, precision[NC_BLEU_MAX], brevity; int64_t correct[NC_BLEU_MAX], total[NC_BLEU_MAX], hypothesis_length, reference_length; } nc_sacrebleu;
nc_str nc_sacrebleu_tokenize(nc_arena *a, nc_str line, nc_sacrebleu_tokenizer t);
typedef struct nc_line { nc_str hypothesis; const nc_str *references; int count; } nc_line;
void nc_sacrebleu_score(const nc_line *lines, int n, const nc_sacrebleu_options *o, nc_sacrebleu *out);   /* order 1..NC_BLEU_MAX; smooth_value < 0: default */

/* NLTK's BLEU with weights 1/order and smoothing method 0 to 7 (Chen and Cherry 2014); n segments as one corpus. *out is 0 where nothing matches.
 * NC_EINVAL where NLTK raises (method 6 without a trigram match's prior). */
int nc_bleu_nltk(const nc_segment *s, int n, int order, int method, double *out, nc_error *e);

/* ROUGE-L of coco-caption: beta 1.2, best precision and best recall over the references; words split on single spaces. */
double nc_rouge_l_coco(const nc_segment *s);
/* rouge_score: n 1..9 for ROUGE-n, 0 for ROUGE-L. nc_rouge_words is its tokenizer (a-z and 0-9 only; stem: Porter for words over 3 letters). */
typedef struct nc_rouge { double precision, recall, f1; } nc_rouge;
nc_words nc_rouge_words(nc_arena *a, nc_str text, bool stem);
nc_rouge nc_rouge_n(nc_words reference, nc_words hypothesis, int n);
nc_rouge nc_rouge_l(nc_words reference, nc_words hypothesis);
nc_rouge nc_rouge_lsum(const nc_words *reference, int references, const nc_words *hypothesis, int hypotheses);   /* one nc_words a sentence */

/* CIDEr-D of coco-caption (clipped, Gaussian of the difference in bigrams with sigma 6), times 10; plain: no clipping, no penalty. Document frequencies
 * come from the references of the set. Returns the mean; segments[n] may be NULL. Source: Vedantam et al. 2015. */
double nc_cider(const nc_segment *s, int n, bool plain, double *segments);

/* Edit distance over units and the rates made of it; reference first. */
typedef struct nc_edits { int64_t hits, substitutions, deletions, insertions; } nc_edits;
nc_edits nc_edit_counts(nc_words reference, nc_words hypothesis);
double nc_error_rate(nc_edits e);              /* (S + D + I) / (H + S + D): WER over words, CER over characters */
nc_words nc_characters(nc_arena *a, nc_str text);                           /* every character, white space too */
#endif
