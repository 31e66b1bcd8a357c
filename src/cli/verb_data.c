/* verb_data.c - data sets this program makes itself, and tokenizers learned from texts. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "base/progress.h"
#include "cli/cli.h"
#include "data/scenes.h"
#include "text/train.h"

static const nc_cli_option options[] = {
    { "out", "DIR", "the folder to write" },
    { "clips", "N", "make: clips, train, validation and test together; 1200" },
    { "seed", "N", "make: the same seed gives the same bytes; 7" },
    { "size", "PIXELS", "make: side of the clips; 96" },
    { "frames", "N", "make: frames of a clip; 20" },
    { "fps", "N", "make: frames a second; 8" },
    { "captions", "N", "make: training lines of a clip, 1 to 3; 3" },
    { "vocab-size", "N", "tokenizer: tokens, special ones included; 32000" },
    { "min-frequency", "N", "tokenizer: rarer pairs (wordlevel: words) are not taken; 2" },
    { "model", "NAME", "tokenizer: bpe, wordpiece, unigram or wordlevel; bpe" },
    { "pattern", "NAME", "tokenizer, bpe: gpt2, qwen2, llama3 or a regular expression; gpt2" },
    { "special", "LIST", "tokenizer: special tokens, separated by commas; bpe <|endoftext|>, wordpiece [PAD],[UNK],[CLS],[SEP],[MASK], unigram <pad>,</s>,<unk>, wordlevel [UNK]" },
    { NULL, NULL, NULL },
};

static void progress(void *context, int done, int clips)
{
    (void)clips;
    nc_progress_set(context, done, "%s", "");
}

static int make(nc_cli *c, const char *out, nc_error *e)
{
    int64_t clips, seed, size, frames, fps, captions;
    if (c->words < 2 || strcmp(c->word[1], "korean-scenes"))
        return nc_cli_usage(c, e, "data make: %s: no such data set; korean-scenes is", c->words < 2 ? "(none)" : c->word[1]);
    NC_TRY(nc_cli_int(c, "clips", 3, 1000000, 1200, &clips, e));
    NC_TRY(nc_cli_int(c, "seed", 0, INT64_MAX, 7, &seed, e));
    NC_TRY(nc_cli_int(c, "size", 32, 512, 0, &size, e));
    NC_TRY(nc_cli_int(c, "frames", 1, 10000, 0, &frames, e));
    NC_TRY(nc_cli_int(c, "fps", 1, 120, 0, &fps, e));
    NC_TRY(nc_cli_int(c, "captions", 1, 3, 0, &captions, e));
    nc_scenes_options o = { .size = (int)size, .fps = (int)fps, .frames = (int)frames, .captions = (int)captions };
    nc_progress *p = nc_progress_new("korean-scenes", (double)clips);
    int status = nc_scenes_make(out, (int)clips, (uint64_t)seed, &o, progress, p, e);
    nc_progress_done(p, "%s", status < 0 ? "failed" : out);
    return status;
}

static int feed_json(nc_trainer *t, const nc_json *v, int depth, nc_error *e)
{
    static const char *const keys[] = { "text", "value", "content", "instruction", "input", "output", "prompt", "response", "caption" };
    if (nc_json_is(v, NC_JSON_STRING)) {
        for (int i = 0; i < NC_COUNT(keys); i++)
            if (nc_str_eqz(v->key, keys[i]))
                return nc_trainer_feed(t, v->text, e);
        return 0;
    }
    NC_JSON_EACH(item, v)
        NC_TRY(feed_json(t, item, depth + 1, e));
    return 0;
}

/* Lines of a text, or of a .jsonl the strings under keys that hold text. */
static int feed_lines(nc_trainer *t, const char *path, nc_str all, nc_error *e)
{
    bool json = nc_ends_with(path, ".jsonl");
    int line = 0, status = 0;
    for (size_t at = 0; at < all.n && status == 0; line++) {
        const char *end = memchr(all.p + at, '\n', all.n - at);
        size_t n = end ? (size_t)(end - all.p) - at : all.n - at;
        nc_str s = { all.p + at, n };
        at += n + 1;
        s.n -= s.n && s.p[s.n - 1] == '\r';
        if (!json) {
            status = nc_trainer_feed(t, s, e);
        } else if (s.n) {
            nc_arena *a = nc_arena_new();
            nc_json *v;
            if ((status = nc_json_parse(a, s, path, &v, e)) == 0)
                status = feed_json(t, v, 0, e);
            nc_arena_free(a);
        }
        if (status < 0)
            nc_fail_in(e, "%s:%d", path, line + 1);
    }
    return status;
}

static int feed_file(nc_trainer *t, const char *path, nc_error *e)
{
    nc_buf b = { 0 };
    int status = nc_file_read(path, (size_t)4 << 30, &b, e);
    if (status == 0 && nc_ends_with(path, ".json")) {
        nc_arena *a = nc_arena_new();
        nc_json *v;
        if ((status = nc_json_parse(a, (nc_str){ b.p, b.n }, path, &v, e)) == 0)
            status = feed_json(t, v, 0, e);
        nc_arena_free(a);
    } else if (status == 0 && b.n)
        status = feed_lines(t, path, (nc_str){ b.p, b.n }, e);
    nc_buf_free(&b);
    return status;
}

/* What a model's tokenizers usually have: special tokens, and those around every text. */
static const struct usual { const char *special, *bos, *eos, *unk; int least; } usual[] = {
    [NC_TRAIN_BPE] = { "<|endoftext|>", NULL, NULL, NULL, 257 },
    [NC_TRAIN_WORDPIECE] = { "[PAD],[UNK],[CLS],[SEP],[MASK]", "[CLS]", "[SEP]", "[UNK]", 6 },
    [NC_TRAIN_UNIGRAM] = { "<pad>,</s>,<unk>", NULL, "</s>", "<unk>", 6 },
    [NC_TRAIN_WORDLEVEL] = { "[UNK]", NULL, NULL, "[UNK]", 2 },
};

static void set_token(nc_arena *a, nc_json *config, const char *key, const char *token)
{
    if (token)
        nc_json_set(a, config, key, nc_json_new_string(a, nc_str_of(token)));
}

/* u: the model's usual special tokens, NULL where others were given: then the first of them begins and ends. */
static int write_tokenizer(nc_arena *a, const char *out, const nc_json *tree, const struct usual *u, const char *first_special, nc_error *e)
{
    nc_buf b = { 0 };
    nc_json *config = nc_json_new(a, NC_JSON_OBJECT);
    NC_TRY(nc_mkdirs(out, e));
    nc_json_write(&b, tree, 2);
    int status = nc_file_write(nc_path_join(a, out, "tokenizer.json"), b.p, b.n, e);
    nc_buf_clear(&b);
    nc_json_set(a, config, "tokenizer_class", nc_json_new_string(a, NC_STR("PreTrainedTokenizerFast")));
    const bool marks = u && u->unk;
    set_token(a, config, "bos_token", marks ? NULL : first_special);
    set_token(a, config, "eos_token", marks ? u->eos && !u->bos ? u->eos : NULL : first_special);
    set_token(a, config, "cls_token", marks ? u->bos : NULL);
    set_token(a, config, "sep_token", marks && u->bos ? u->eos : NULL);
    set_token(a, config, "unk_token", marks ? u->unk : NULL);
    set_token(a, config, "pad_token", marks && nc_starts_with(first_special, "<pad>") ? "<pad>" : marks && u->bos ? "[PAD]" : NULL);
    set_token(a, config, "mask_token", marks && u->bos ? "[MASK]" : NULL);
    nc_json_write(&b, config, 2);
    if (status == 0)
        status = nc_file_write(nc_path_join(a, out, "tokenizer_config.json"), b.p, b.n, e);
    nc_buf_free(&b);
    return status;
}

static int tokenizer(nc_cli *c, const char *out, nc_error *e)
{
    int64_t size, least;
    const char *special = nc_cli_get(c, "special"), *name = nc_cli_get(c, "model"), *list[256];
    int specials = 0;
    nc_trainer_model model = NC_TRAIN_BPE;
    if (c->words < 2)
        return nc_cli_usage(c, e, "data tokenizer: name the files to learn from (.txt, .json, .jsonl)");
    if (name && !nc_trainer_model_by_name(name, &model))
        return nc_cli_usage(c, e, "data tokenizer: --model %s: bpe, wordpiece, unigram and wordlevel are known", name);
    const struct usual *u = &usual[model];
    NC_TRY(nc_cli_int(c, "vocab-size", u->least, 10000000, 32000, &size, e));
    NC_TRY(nc_cli_int(c, "min-frequency", 1, 1000000000, 2, &least, e));
    for (const char *s = special ? special : u->special; *s && specials < NC_COUNT(list);) {
        size_t n = strcspn(s, ",");
        list[specials++] = nc_arena_strndup(c->arena, s, n);
        s += n + (s[n] == ',');
    }
    nc_trainer_options o = { .model = model, .vocab_size = (int32_t)size, .min_frequency = least, .special = list, .special_count = specials, .pattern = nc_cli_get(c, "pattern"),
                             .bos = special ? NULL : u->bos, .eos = special ? NULL : u->eos };
    nc_trainer *t = NULL;
    NC_TRY(nc_trainer_new(&o, &t, e));
    nc_json *tree = NULL;
    int status = 0;
    for (int i = 1; i < c->words && status == 0; i++)
        status = feed_file(t, c->word[i], e);
    if (status == 0)
        status = nc_trainer_finish(t, c->arena, &tree, e);
    nc_trainer_free(t);
    if (status < 0)
        return status;
    NC_TRY(write_tokenizer(c->arena, out, tree, special ? NULL : u, specials ? list[0] : NULL, e));
    nc_buf b = { 0 };
    nc_buf_printf(&b, "%s/tokenizer.json: %d tokens learned\n", out, nc_json_path(tree, "model.vocab") ? nc_json_path(tree, "model.vocab")->count : 0);
    nc_cli_print(&b);
    return 0;
}

static int run(nc_cli *c, nc_error *e)
{
    const char *out = nc_cli_get(c, "out"), *what = c->word[0];
    static const char *const known[] = { "make", "tokenizer" };
    if (strcmp(what, "make") && strcmp(what, "tokenizer")) {
        const char *near = nc_nearest(what, known, NC_COUNT(known));
        return nc_cli_usage(c, e, "data %s: no such thing%s%s; make and tokenizer are", what, near ? ", did you mean " : "", near ? near : "");
    }
    if (!out)
        return nc_cli_usage(c, e, "data %s: --out DIR is needed", what);
    return strcmp(what, "make") ? tokenizer(c, out, e) : make(c, out, e);
}

const nc_verb nc_verb_data = { "data", "make korean-scenes | tokenizer FILE...", "make a data set, or learn a tokenizer from texts",
    "nunchi data make korean-scenes --out DIR --clips 1200 --seed 7      short clips of drawn Korean scenes with three captions each\n"
    "nunchi data tokenizer captions.txt --vocab-size 8000 --out DIR      a byte-level BPE tokenizer (tokenizer.json)\n"
    "nunchi data tokenizer corpus.txt --model unigram --vocab-size 8000 --out DIR    or wordpiece, wordlevel",
    options, 1, 4096, false, run };
