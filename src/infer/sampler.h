/* sampler.h - from a row of logits to a token, and the log-probabilities of what was drawn.
 *
 * Order of the steps, each on what the one before left (Hugging Face's order): repetition penalty (Keskar et al. 2019: positive logits divided, negative
 * multiplied, once for each token of prompt and text), presence and frequency penalties (OpenAI: subtracted for tokens of the text so far), temperature,
 * top-k (ties of the k-th stay), top-p (Holtzman et al. 2020: the smallest set of best tokens with mass above p), min-p (Nguyen et al. 2024: at least p
 * times the best one's probability). Reported log-probabilities are the model's own, log softmax of the logits before any of this,
 * summed in the vocabulary chunks of training (kernels/head.h).
 * The reference's other processors stand among these steps at their places (infer/processors.h).
 * The draw is Philox(seed; choice, position): the same seed gives the same text whatever else is in the batch.
 */
#ifndef NC_INFER_SAMPLER_H
#define NC_INFER_SAMPLER_H
#include "infer/processors.h"
#include "kernels/kernels.h"

enum { NC_TOP_LOGPROBS = 20 };

typedef struct nc_sample_options {
    double temperature;              /* 0: the best token (greedy) */
    int top_k;                       /* 0: all */
    double top_p;                    /* 1: all */
    double min_p;                    /* 0: all */
    double repetition_penalty;       /* 1: none */
    double presence_penalty, frequency_penalty;   /* 0: none */
    uint64_t seed;
    int choice;                      /* which of n texts of one request; part of the draw's key */
    bool logprobs;                   /* report log-probabilities */
    int top_logprobs;                /* and of so many best tokens, 0 .. NC_TOP_LOGPROBS */
    const nc_processors *process;    /* NULL: none; must outlive the sampler */
} nc_sample_options;
void nc_sample_defaults(nc_sample_options *o);      /* greedy, nothing reported */
/* Ranges; the message names the field and the range. */
int nc_sample_check(const nc_sample_options *o, nc_error *e);

typedef struct nc_top_token { int32_t id; float logprob; } nc_top_token;
typedef struct nc_token {
    int32_t id;
    int position;                    /* index in the sequence, prompt included */
    float logprob;                   /* valid when asked for */
    int top_count;
    nc_top_token top[NC_TOP_LOGPROBS];   /* best first */
} nc_token;

typedef struct nc_sampler nc_sampler;
/* prompt counts for the repetition penalty; NULL with 0 is fine. Owned by the caller. */
nc_sampler *nc_sampler_new(const nc_sample_options *o, const nc_kernels *kernels, int vocabulary, const int32_t *prompt, int count);
/* For the processors: what the encoder read, and the most ids prompt and text may have (0: unknown). source is the caller's and stays. */
void nc_sampler_knows(nc_sampler *s, const int32_t *source, int source_count, int max_length);
void nc_sampler_free(nc_sampler *s);                /* NULL is allowed */
/* Draws the token for `position` from logits [vocabulary], which are overwritten. NC_EFORMAT when no logit is a number. Remembers the token. */
int nc_sampler_draw(nc_sampler *s, float *logits, int position, nc_token *out, nc_error *e);
/* A token that came from elsewhere, after the prompt. */
void nc_sampler_saw(nc_sampler *s, int32_t id);
/* Temperature and what truncates a distribution, at least `least` tokens left; the best tokens' log-probabilities of logits with this log-sum-exp (none of its id). */
void nc_sampler_warp(nc_sampler *s, float *scores, int least);
void nc_sampler_report(const nc_sampler *s, const float *logits, double lse, nc_token *out);
/* All steps but the draw: removed tokens become -infinity. */
void nc_sampler_process(nc_sampler *s, float *logits);
#endif
