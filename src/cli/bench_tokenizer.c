/* bench_tokenizer.c - a tokenizer on one core: seconds to load, megabytes and tokens a second over a text, as one document and line by line.
 *
 * The best of five counts, so that pages and caches are warm; the first one is given too. Without --text the text is made: a third each of Korean, English and
 * code, 10 MB, from a fixed seed. bench/peers/hf_tokenizers.py times the tokenizers library over the same files; --keep FILE leaves the made text for it.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/rng.h"
#include "cli/bench_models.h"
#include "text/tokenizer.h"

#define ROUNDS 5
#define MADE_BYTES 10000000
#define BLOCK 4096

static int below(nc_rng *r, int n)
{
    return (int)(nc_rng_uniform(r) * n);
}

/* Words of a language are drawn by rank r with weight 1 / r (Zipf), their letters from the rank alone. */
static uint64_t zipf_word(nc_rng *r)
{
    double u = nc_rng_uniform(r);
    return (uint64_t)(u * u * u * u * 40000) * 0x9e3779b97f4a7c15u >> 16;
}

static void korean_word(nc_buf *b, nc_rng *r)
{
    static const char *const particles[] = { "은", "는", "이", "가", "을", "를", "에", "에서", "으로", "하고", "했다.", "한다", "이다.", "였습니다.", "" };
    uint64_t w = zipf_word(r);
    for (int i = 0, n = 1 + (int)(w % 3); i < n; i++, w = w * 0x9e3779b97f4a7c15u >> 8) {
        char text[4];
        uint32_t c = 0xac00 + (uint32_t)(w % 19 * 588 + w / 19 % 21 * 28 + (w / 399 % 2 ? w / 798 % 28 : 0));
        nc_buf_add(b, text, (size_t)nc_utf8_encode(c, text));
    }
    nc_buf_adds(b, particles[below(r, NC_COUNT(particles))]);
}

static void english_word(nc_buf *b, nc_rng *r, bool name)
{
    static const char *const syllables[] = { "ter", "con", "in", "ver", "a", "re", "pro", "tion", "men", "t", "al", "ing", "er", "the", "of", "st", "ly", "and", "ed", "com", "per", "i", "gr", "own", "fl", "ight" };
    uint64_t w = zipf_word(r);
    for (int i = 0, n = 1 + (int)(w % 3); i < n; i++, w = w * 0x9e3779b97f4a7c15u >> 8) {
        if (name && i)
            nc_buf_addc(b, '_');
        nc_buf_adds(b, syllables[w % NC_COUNT(syllables)]);
    }
}

static void code_line(nc_buf *b, nc_rng *r)
{
    static const char *const heads[] = { "    if (", "    return ", "        for (int i = 0; i < ", "    const float ", "}\n\nstatic int ", "        ", "    assert " };
    static const char *const joins[] = { "(", "->", " = ", " + ", "[i] * ", ", ", " == ", ".", " && !" };
    nc_buf_adds(b, heads[below(r, NC_COUNT(heads))]);
    for (int i = 0, n = 2 + below(r, 4); i < n; i++) {
        if (i)
            nc_buf_adds(b, joins[below(r, NC_COUNT(joins))]);
        if (below(r, 5) == 0)
            nc_buf_printf(b, "%d", below(r, 1000));
        else
            english_word(b, r, true);
    }
    nc_buf_adds(b, below(r, 3) ? ");\n" : ") {\n");
}

static void make_text(nc_buf *b)
{
    nc_rng r = nc_rng_new(1, 0);
    for (int language = 0; b->n < MADE_BYTES; language = (language + 1) % 3)
        for (size_t end = b->n + BLOCK; b->n < end;) {
            if (language == 2) {
                code_line(b, &r);
                continue;
            }
            for (int i = 0, n = 6 + below(&r, 12); i < n; i++) {
                nc_buf_adds(b, i ? " " : "");
                if (language)
                    english_word(b, &r, false);
                else
                    korean_word(b, &r);
            }
            nc_buf_adds(b, language ? ".\n" : "\n");
        }
}

/* Seconds to encode the text, whole or line by line. */
static int encode(const nc_tokenizer *t, nc_str text, bool lines, nc_ids *ids, double *seconds, nc_error *e)
{
    double start = nc_now();
    ids->n = 0;
    for (size_t at = 0; at < text.n;) {
        const char *stop = lines ? memchr(text.p + at, '\n', text.n - at) : NULL;
        size_t end = stop ? (size_t)(stop - text.p) + 1 : text.n;
        NC_TRY(nc_tokenizer_encode(t, (nc_str){ text.p + at, end - at }, 0, ids, e));
        at = end;
    }
    *seconds = nc_now() - start;
    return 0;
}

struct figures { double first, best; size_t tokens; };

static int measure(const nc_tokenizer *t, nc_str text, bool lines, struct figures *f, nc_ids *ids, nc_error *e)
{
    for (int i = 0; i < ROUNDS; i++) {
        double seconds;
        NC_TRY(encode(t, text, lines, ids, &seconds, e));
        f->first = i ? f->first : seconds;
        f->best = i && f->best < seconds ? f->best : seconds;
    }
    f->tokens = ids->n;
    return 0;
}

static int load(const char *where, nc_tokenizer **t, struct figures *f, nc_error *e)
{
    for (int i = 0; i < ROUNDS; i++) {
        nc_tokenizer_free(*t);
        double start = nc_now();
        NC_TRY(nc_tokenizer_load(where, t, e));
        double seconds = nc_now() - start;
        f->first = i ? f->first : seconds;
        f->best = i && f->best < seconds ? f->best : seconds;
    }
    return 0;
}

static int run(const nc_bench_options *o, const char *where, nc_tokenizer **t, nc_buf *text, nc_ids *ids, nc_buf *table, nc_buf *json, nc_error *e)
{
    struct figures loaded = { 0 }, whole = { 0 }, lines = { 0 };
    if (o->text)
        NC_TRY(nc_file_read(o->text, (size_t)1 << 30, text, e));
    else
        make_text(text);
    if (o->keep)
        NC_TRY(nc_file_write(o->keep, text->p, text->n, e));
    nc_str all = { text->p, text->n };
    NC_TRY(load(where, t, &loaded, e));
    NC_TRY(measure(*t, all, true, &lines, ids, e));
    NC_TRY(measure(*t, all, false, &whole, ids, e));
    nc_buf back = { 0 };
    double start = nc_now();
    nc_tokenizer_decode(*t, ids->p, ids->n, false, &back);
    double decode = nc_now() - start, size = (double)all.n, memory = (double)nc_tokenizer_memory(*t);
    nc_buf_free(&back);
    nc_buf_printf(json, "{\"tokenizer\": \"%s\", \"bytes\": %zu, \"load_seconds\": %.5f, \"load_first_seconds\": %.5f, \"held_bytes\": %.0f, \"mb_per_second\": %.3f, \"tokens_per_second\": %.0f, "
                        "\"tokens\": %zu, \"first_mb_per_second\": %.3f, \"lines_mb_per_second\": %.3f, \"lines_tokens\": %zu, \"decode_mb_per_second\": %.3f}\n",
                  where, all.n, loaded.best, loaded.first, memory, size / whole.best / 1e6, (double)whole.tokens / whole.best, whole.tokens, size / whole.first / 1e6,
                  size / lines.best / 1e6, lines.tokens, size / decode / 1e6);
    nc_buf_printf(table, "load     %9.4f s      %.4f s the first time, %.1f MB held\n", loaded.best, loaded.first, memory / 1e6);
    nc_buf_printf(table, "encode   %9.2f MB/s   %.1f million tokens/s, one document of %.1f MB; line by line %.2f MB/s; one core\n", size / whole.best / 1e6,
                  (double)whole.tokens / whole.best / 1e6, size / 1e6, size / lines.best / 1e6);
    nc_buf_printf(table, "decode   %9.2f MB/s\n", size / decode / 1e6);
    return 0;
}

int nc_bench_tokenizer(const char *where, const nc_bench_options *o, nc_buf *table, nc_buf *json, nc_error *e)
{
    nc_tokenizer *t = NULL;
    nc_buf text = { 0 };
    nc_ids ids = { 0 };
    int status = run(o, where, &t, &text, &ids, table, json, e);
    nc_ids_free(&ids);
    nc_buf_free(&text);
    nc_tokenizer_free(t);
    return status;
}
