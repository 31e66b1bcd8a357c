/* decoding.c - see decoding.h. */
#include "infer/decoding.h"

#include <limits.h>
#include <math.h>
#include <string.h>

void nc_decoding_init(nc_decoding *d)
{
    *d = (nc_decoding){ .beams = 1, .returned = 1, .length_penalty = 1, .decoder_start = -1, .pad = -1 };
    nc_sample_defaults(&d->sample);
    d->sample.temperature = 1;
    d->sample.top_k = 50;
    nc_processors_init(&d->process);
}

/* ---- values ---- */
struct reader { nc_decoding *d; nc_arena *a; const nc_json *v; const char *key, *where; nc_error *e; };

static int wrong(const struct reader *r, const char *wanted)
{
    return nc_fail(r->e, NC_EINVAL, "%s: line %d: \"%s\" must be %s", r->where, r->v->line, r->key, wanted);
}

static int whole(const struct reader *r, int64_t least, int *out)
{
    int64_t n;
    if (!nc_json_int_exact(r->v, &n) || n < least || n > INT_MAX)
        return wrong(r, "a whole number that is not negative");
    *out = (int)n;
    return 0;
}

static int number(const struct reader *r, double least, double most, double *out)
{
    double v = nc_json_double(r->v, NAN);
    if (r->v->type != NC_JSON_NUMBER || !(v >= least) || !(v <= most))
        return nc_fail(r->e, NC_EINVAL, "%s: line %d: \"%s\" must be a number from %g to %g", r->where, r->v->line, r->key, least, most);
    *out = v;
    return 0;
}

static int ids_of(const struct reader *r, const nc_json *v, nc_id_list *out)
{
    bool single = !nc_json_is(v, NC_JSON_ARRAY);
    int32_t *ids = NC_NEW_ARRAY(r->a, int32_t, (single ? 1 : v->count) + 1);
    int n = 0;
    for (const nc_json *item = single ? v : v->first; item; item = single ? NULL : item->next) {
        int64_t id;
        if (!nc_json_int_exact(item, &id) || id < 0 || id > INT32_MAX)
            return wrong(r, "ids");
        ids[n++] = (int32_t)id;
    }
    *out = (nc_id_list){ ids, n };
    return 0;
}

static int words(const struct reader *r)
{
    if (!nc_json_is(r->v, NC_JSON_ARRAY))
        return wrong(r, "a list of lists of ids");
    nc_id_list *list = NC_NEW_ARRAY(r->a, nc_id_list, r->v->count + 1);
    int n = 0;
    NC_JSON_EACH(item, r->v) {
        if (!nc_json_is(item, NC_JSON_ARRAY) || !item->count)
            return wrong(r, "a list of lists of ids");
        NC_TRY(ids_of(r, item, &list[n++]));
    }
    r->d->process.bad_words = list;
    r->d->process.bad_word_count = n;
    return 0;
}

static int biases(const struct reader *r)
{
    if (!nc_json_is(r->v, NC_JSON_ARRAY))
        return wrong(r, "a list of [ids, number]");
    nc_sequence_bias *list = NC_NEW_ARRAY(r->a, nc_sequence_bias, r->v->count + 1);
    int n = 0;
    NC_JSON_EACH(item, r->v) {
        const nc_json *ids = nc_json_at(item, 0), *by = nc_json_at(item, 1);
        bool never = by && nc_str_eqz(by->text, "-inf");
        if (!nc_json_is(ids, NC_JSON_ARRAY) || !ids->count || !(never || nc_json_is(by, NC_JSON_NUMBER)))
            return wrong(r, "a list of [ids, number]");
        NC_TRY(ids_of(r, ids, &list[n].ids));
        list[n++].bias = never ? -INFINITY : (float)nc_json_double(by, 0);
    }
    r->d->process.bias = list;
    r->d->process.biases = n;
    return 0;
}

static int early(const struct reader *r)
{
    if (nc_json_is(r->v, NC_JSON_BOOL))
        r->d->early_stopping = nc_json_bool(r->v, false) ? NC_EARLY_TRUE : NC_EARLY_FALSE;
    else if (nc_json_is(r->v, NC_JSON_STRING) && nc_str_eqz(r->v->text, "never"))
        r->d->early_stopping = NC_EARLY_NEVER;
    else
        return wrong(r, "true, false or \"never\"");
    return 0;
}

static int decays(const struct reader *r)
{
    nc_processors *p = &r->d->process;
    const nc_json *start = nc_json_at(r->v, 0), *factor = nc_json_at(r->v, 1);
    int64_t n;
    if (!nc_json_is(r->v, NC_JSON_ARRAY) || !nc_json_int_exact(start, &n) || n < 0 || n > INT_MAX || !nc_json_is(factor, NC_JSON_NUMBER))
        return wrong(r, "[start, factor]");
    p->decays = true;
    p->decay_start = (int)n;
    p->decay_factor = nc_json_double(factor, 1);
    return 0;
}

static int forced_bos(const struct reader *r) { return whole(r, 0, &r->d->process.forced_bos); }
static int forced_eos(const struct reader *r) { return ids_of(r, r->v, &r->d->process.forced_eos); }
static int eos(const struct reader *r) { return ids_of(r, r->v, &r->d->process.eos); }
static int suppress(const struct reader *r) { return ids_of(r, r->v, &r->d->process.suppress); }
static int begin_suppress(const struct reader *r) { return ids_of(r, r->v, &r->d->process.begin_suppress); }

/* ---- keys ---- */
enum { WHOLE, NUMBER, FLAG, OWN };
#define AT(field) offsetof(nc_decoding, field)
#define ONE(field) UNTIL(field, field)
#define UNTIL(first, last) AT(first), AT(last) + sizeof((nc_decoding *)0)->last - AT(first)
static const struct key { const char *name; int kind; size_t at, bytes; double least, most; int (*own)(const struct reader *r); } keys[] = {
    { "max_new_tokens", WHOLE, ONE(max_new_tokens), 1, 0, NULL },
    { "max_length", WHOLE, ONE(max_length), 1, 0, NULL },
    { "min_length", WHOLE, ONE(process.min_length), 0, 0, NULL },
    { "min_new_tokens", WHOLE, ONE(process.min_new_tokens), 0, 0, NULL },
    { "num_beams", WHOLE, ONE(beams), 1, 0, NULL },
    { "num_return_sequences", WHOLE, ONE(returned), 1, 0, NULL },
    { "no_repeat_ngram_size", WHOLE, ONE(process.no_repeat_ngram_size), 0, 0, NULL },
    { "encoder_no_repeat_ngram_size", WHOLE, ONE(process.encoder_no_repeat_ngram_size), 0, 0, NULL },
    { "top_k", WHOLE, ONE(sample.top_k), 0, 0, NULL },
    { "min_tokens_to_keep", WHOLE, ONE(process.min_tokens_to_keep), 1, 0, NULL },
    { "decoder_start_token_id", WHOLE, ONE(decoder_start), 0, 0, NULL },
    { "pad_token_id", WHOLE, ONE(pad), 0, 0, NULL },
    { "temperature", NUMBER, ONE(sample.temperature), 0, 100, NULL },
    { "top_p", NUMBER, ONE(sample.top_p), 0, 1, NULL },
    { "min_p", NUMBER, ONE(sample.min_p), 0, 1, NULL },
    { "typical_p", NUMBER, ONE(process.typical_p), 0, 1, NULL },
    { "epsilon_cutoff", NUMBER, ONE(process.epsilon_cutoff), 0, 1, NULL },
    { "eta_cutoff", NUMBER, ONE(process.eta_cutoff), 0, 1, NULL },
    { "top_h", NUMBER, ONE(process.top_h), 0, 1, NULL },
    { "repetition_penalty", NUMBER, ONE(sample.repetition_penalty), 0.01, 100, NULL },
    { "encoder_repetition_penalty", NUMBER, ONE(process.encoder_repetition_penalty), 0.01, 100, NULL },
    { "length_penalty", NUMBER, ONE(length_penalty), -1000, 1000, NULL },
    { "do_sample", FLAG, ONE(do_sample), 0, 0, NULL },
    { "renormalize_logits", FLAG, ONE(process.renormalize), 0, 0, NULL },
    { "early_stopping", OWN, ONE(early_stopping), 0, 0, early },
    { "bad_words_ids", OWN, UNTIL(process.bad_words, process.bad_word_count), 0, 0, words },
    { "sequence_bias", OWN, UNTIL(process.bias, process.biases), 0, 0, biases },
    { "forced_bos_token_id", OWN, ONE(process.forced_bos), 0, 0, forced_bos },
    { "forced_eos_token_id", OWN, ONE(process.forced_eos), 0, 0, forced_eos },
    { "eos_token_id", OWN, ONE(process.eos), 0, 0, eos },
    { "suppress_tokens", OWN, ONE(process.suppress), 0, 0, suppress },
    { "begin_suppress_tokens", OWN, ONE(process.begin_suppress), 0, 0, begin_suppress },
    { "exponential_decay_length_penalty", OWN, UNTIL(process.decays, process.decay_factor), 0, 0, decays },
};

/* Keys that would change the text in ways not offered here, unless they have this value (or false, or an empty list). */
static const struct { const char *name; double idle; } refused[] = {
    { "guidance_scale", 1 }, { "penalty_alpha", 0 }, { "num_beam_groups", 1 }, { "diversity_penalty", 0 }, { "constraints", NAN }, { "force_words_ids", NAN },
    { "watermarking_config", NAN }, { "dola_layers", NAN }, { "forced_decoder_ids", NAN }, { "token_healing", NAN }, { "stop_strings", NAN }, { "max_time", NAN },
    { "assistant_ensemble_weight", 0 }, { "custom_generate", NAN },
};

/* Keys that change no text: what is returned beside it, who wrote the file, how the reference's caches, drafts and compilers work (a draft only changes the speed). */
static const char *const meaningless[] = {
    "bos_token_id", "use_cache", "output_attentions", "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate", "remove_invalid_values", "transformers_version",
    "_from_model_config", "_commit_hash", "cache_implementation", "cache_config", "max_cache_len", "compile_config", "disable_compile", "continuous_batching_config", "low_memory",
    "prefill_chunk_size", "is_assistant", "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold", "assistant_early_exit", "assistant_lookbehind",
    "target_lookbehind", "prompt_lookup_num_tokens", "max_matching_ngram_size", "speculation_type", "use_mtp", "generation_kwargs", "trust_remote_code", "chat_format", "max_window_size",
};

static int take(const struct reader *r, const struct key *k)
{
    char *at = (char *)r->d + k->at;
    switch (k->kind) {
    case WHOLE:
        return whole(r, (int64_t)k->least, (int *)(void *)at);
    case NUMBER:
        return number(r, k->least, k->most, (double *)(void *)at);
    case FLAG:
        if (!nc_json_is(r->v, NC_JSON_BOOL))
            return wrong(r, "true or false");
        *(bool *)(void *)at = nc_json_bool(r->v, false);
        return 0;
    default:
        return k->own(r);
    }
}

bool nc_decoding_knows(nc_str key)
{
    for (int i = 0; i < NC_COUNT(keys); i++)
        if (nc_str_eqz(key, keys[i].name))
            return true;
    return false;
}

bool nc_decoding_names(nc_str key)
{
    bool known = nc_decoding_knows(key);
    for (int i = 0; i < NC_COUNT(refused) && !known; i++)
        known = nc_str_eqz(key, refused[i].name);
    for (int i = 0; i < NC_COUNT(meaningless) && !known; i++)
        known = nc_str_eqz(key, meaningless[i]);
    return known;
}

static bool is_idle(const nc_json *v, double idle)
{
    double d = nc_json_double(v, NAN);
    if (nc_json_is(v, NC_JSON_BOOL) || nc_json_is(v, NC_JSON_ARRAY))
        return v->type == NC_JSON_ARRAY ? !v->count : !v->boolean;
    return v->type == NC_JSON_NUMBER && !(d > idle) && !(d < idle);
}

static int unset(nc_decoding *d, const struct key *k)
{
    nc_decoding usual;
    nc_decoding_init(&usual);
    memcpy((char *)d + k->at, (const char *)&usual + k->at, k->bytes);
    return 0;
}

int nc_decoding_take(nc_decoding *d, nc_arena *a, const nc_json *item, const char *where, nc_error *e)
{
    struct reader r = { d, a, item, item->key.p, where, e };
    for (int i = 0; i < NC_COUNT(keys); i++)
        if (nc_str_eqz(item->key, keys[i].name))
            return item->type == NC_JSON_NULL ? unset(d, &keys[i]) : take(&r, &keys[i]);
    if (item->type == NC_JSON_NULL)
        return 0;
    for (int i = 0; i < NC_COUNT(refused); i++)
        if (nc_str_eqz(item->key, refused[i].name) && !is_idle(item, refused[i].idle))
            return nc_fail(e, NC_EUNSUPPORTED, "%s: line %d: \"%s\" is not offered here; take it out, or set it to null", where, item->line, refused[i].name);
    return 0;
}

int nc_decoding_read(nc_decoding *d, nc_arena *a, const nc_json *options, const char *where, nc_error *e)
{
    NC_JSON_EACH(item, options)
        NC_TRY(nc_decoding_take(d, a, item, where, e));
    return 0;
}

void nc_decoding_apply(const nc_decoding *d, nc_job *job)
{
    job->sample = d->sample;
    if (!d->do_sample) {
        nc_sample_options o;
        nc_sample_defaults(&o);
        o.repetition_penalty = d->sample.repetition_penalty;
        job->sample = o;
    }
    job->sample.process = &d->process;
    job->beams = d->beams;
    job->choices = d->returned;
    job->early_stopping = d->early_stopping;
    job->length_penalty = d->length_penalty;
    job->max_tokens = d->max_new_tokens ? d->max_new_tokens : d->max_length > job->prompt_count ? d->max_length - job->prompt_count : d->max_length ? 1 : 0;
}
