/* processors.h - what a text's scores go through before a token is chosen, beyond the sampler's own few: the reference library's logits processors, in its order.
 *
 *   sequence bias, encoder repetition penalty, repetition penalty (and presence, frequency), no repeated n-grams, none of the encoder's n-grams, bad words, least length,
 *   least new tokens, forced first and last token, decaying length penalty, suppressed tokens, those suppressed at the beginning;
 *   when sampling also temperature, top-h, top-k, top-p, min-p, typical, epsilon, eta; renormalization last.
 *
 * Greedy search and sampling process logits, beam search log-probabilities.
 */
#ifndef NC_INFER_PROCESSORS_H
#define NC_INFER_PROCESSORS_H
#include "base/arena.h"
#include "base/status.h"

typedef struct nc_id_list { const int32_t *p; int n; } nc_id_list;
typedef struct nc_sequence_bias { nc_id_list ids; float bias; } nc_sequence_bias;   /* added to the last id where the others stand before it */

typedef struct nc_processors {       /* all zero but where noted: nc_processors_init */
    const nc_sequence_bias *bias;
    int biases;
    double encoder_repetition_penalty;               /* 1: none */
    int no_repeat_ngram_size, encoder_no_repeat_ngram_size;
    const nc_id_list *bad_words;
    int bad_word_count;
    int min_length, min_new_tokens;                  /* of prompt and text; of the text */
    int forced_bos;                                  /* -1: none */
    nc_id_list forced_eos, suppress, begin_suppress, eos;   /* eos: ids that end a text, for the lengths */
    bool decays;
    int decay_start;
    double decay_factor;
    double typical_p, epsilon_cutoff, eta_cutoff, top_h;    /* 1, 0, 0, 0: none */
    int min_tokens_to_keep;                          /* 1 */
    bool renormalize;
} nc_processors;
void nc_processors_init(nc_processors *p);
bool nc_processors_idle(const nc_processors *p);     /* nothing to do */
/* Everything copied into the arena. */
nc_processors *nc_processors_copy(nc_arena *a, const nc_processors *p);

/* Where a text stands. */
typedef struct nc_text_state {
    const int32_t *ids;
    int count, prompt_count;                         /* ids: prompt (of the decoder) and text */
    int max_length;                                  /* of both; 0: unknown */
    const int32_t *source;                           /* what the encoder read */
    int source_count;
} nc_text_state;

/* Steps before and after the repetition penalty, which is the caller's; those that truncate a distribution (after temperature); removed tokens become -infinity. */
void nc_process_first(const nc_processors *p, const nc_text_state *t, float *scores, int n);
void nc_process_rest(const nc_processors *p, const nc_text_state *t, float *scores, int n);
void nc_process_top_h(const nc_processors *p, float *scores, int n);
void nc_process_truncate(const nc_processors *p, float *scores, int n);          /* typical, epsilon, eta */
void nc_process_renormalize(float *scores, int n);
/* x / penalty or x * penalty, once for each token that is among ids. */
void nc_process_repetition(double penalty, const int32_t *ids, int count, float *scores, int n);
#endif
