/* spm_classes.c - what transformers' classes make of a sentencepiece .model file: fairseq's ids (XLM-RoBERTa, mBART, CamemBERT) put special tokens of their own before the
 * pieces and others behind, and a template around the text; T5 has sentinels behind them. Source: convert_slow_tokenizer of transformers.
 */
#include <string.h>

#include "text/spm.h"

#define FAIRSEQ "<s> <pad> </s> <unk>"
#define MBART_CODES "ar_AR cs_CZ de_DE en_XX es_XX et_EE fi_FI fr_XX gu_IN hi_IN it_IT ja_XX kk_KZ ko_KR lt_LT lv_LV my_MM ne_NP nl_XX ro_RO ru_RU si_LK tr_TR vi_VN zh_CN"

/* skip: pieces of the file that `before` stands for. Templates: A and B are the texts, L is the language (src_lang). */
static const struct layout { const char *class, *before; int skip, unk; const char *behind, *single, *pair, *language; } layouts[] = {
    { "XLMRoberta", FAIRSEQ, 3, 3, "<mask>", "<s> A </s>", "<s> A </s> </s> B </s>", NULL },
    { "MBartTokenizer", FAIRSEQ, 3, 3, MBART_CODES " <mask>", "A </s> L", "A B </s> L", "en_XX" },
    { "Camembert", "<s>NOTUSED <pad> </s>NOTUSED <unk> <unk>NOTUSED", 1, 3, "<mask>", "<s> A </s>", "<s> A </s> </s> B </s>", NULL },
};

static const struct layout *layout_of(const char *class)
{
    for (int i = 0; i < NC_COUNT(layouts); i++)
        if (nc_starts_with(class, layouts[i].class) && !nc_starts_with(class, "MBartTokenizer50"))
            return &layouts[i];
    return NULL;
}

/* The next of words parted by blanks, NULL at the end. */
static const char *next_word(nc_arena *a, const char **at)
{
    while (**at == ' ')
        (*at)++;
    size_t n = strcspn(*at, " ");
    const char *word = n ? nc_arena_strndup(a, *at, n) : NULL;
    *at += n;
    return word;
}

/* What every later part looks up: ids by spelling, in order. */
struct making { nc_arena *a; nc_json *vocab, *tail, *added; };

static void put_last(struct making *k, nc_json *entry)
{
    entry->next = NULL;
    if (k->tail)
        k->tail->next = entry;
    else
        k->vocab->first = entry;
    k->tail = entry;
    k->vocab->count++;
}

static void add_token(nc_arena *a, nc_json *added, const char *word, int64_t id)
{
    nc_json *token = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, token, "id", nc_json_new_int(a, id));
    nc_json_set(a, token, "content", nc_json_new_string(a, nc_str_of(word)));
    nc_json_set(a, token, "special", nc_json_new_bool(a, true));
    nc_json_set(a, token, "normalized", nc_json_new_bool(a, false));
    nc_json_set(a, token, "lstrip", nc_json_new_bool(a, !strcmp(word, "<mask>")));
    nc_json_append(added, token);
}

static void put_special(struct making *k, const char *word, int type)
{
    nc_json *entry = nc_json_new(k->a, NC_JSON_ARRAY);
    nc_json_append(entry, nc_json_new_string(k->a, nc_str_of(word)));
    nc_json_append(entry, nc_json_new_double(k->a, 0));
    nc_json_append(entry, nc_json_new_int(k->a, type));
    if (!nc_ends_with(word, "NOTUSED"))
        add_token(k->a, k->added, word, k->vocab->count);
    put_last(k, entry);
}

/* T5's sentinels stand behind the pieces, <extra_id_0> last. */
static void add_sentinels(nc_arena *a, nc_json *tree, const nc_json *config)
{
    const nc_json *pieces = nc_json_path(tree, "model.vocab");
    int64_t n = nc_json_int(nc_json_get(config, "extra_ids"), 100);
    nc_json *added = (nc_json *)(uintptr_t)nc_json_get(tree, "added_tokens");
    NC_JSON_EACH(item, pieces)
        n = nc_str_eqz(item->first->text, "<extra_id_0>") ? 0 : n;
    for (int64_t i = 0; i < n && n <= 1000; i++)
        add_token(a, added, nc_arena_printf(a, "<extra_id_%d>", (int)i), pieces->count + n - 1 - i);
}

static int64_t id_of(const nc_json *vocab, const char *word)
{
    int64_t id = 0;
    NC_JSON_EACH(item, vocab) {
        if (nc_str_eqz(item->first->text, word))
            return id;
        id++;
    }
    return -1;
}

static nc_json *items_of(struct making *k, const char *plan, const char *language, nc_json *tokens)
{
    nc_json *list = nc_json_new(k->a, NC_JSON_ARRAY);
    for (const char *at = plan, *word; (word = next_word(k->a, &at));) {
        bool text = !strcmp(word, "A") || !strcmp(word, "B");
        const char *name = !strcmp(word, "L") ? language : word;
        nc_json *inner = nc_json_new(k->a, NC_JSON_OBJECT), *item = nc_json_new(k->a, NC_JSON_OBJECT);
        nc_json_set(k->a, inner, "id", nc_json_new_string(k->a, nc_str_of(name)));
        nc_json_set(k->a, inner, "type_id", nc_json_new_int(k->a, 0));
        nc_json_set(k->a, item, text ? "Sequence" : "SpecialToken", inner);
        nc_json_append(list, item);
        if (text || nc_json_get(tokens, name))
            continue;
        nc_json *token = nc_json_new(k->a, NC_JSON_OBJECT), *ids = nc_json_new(k->a, NC_JSON_ARRAY);
        nc_json_append(ids, nc_json_new_int(k->a, id_of(k->vocab, name)));
        nc_json_set(k->a, token, "id", nc_json_new_string(k->a, nc_str_of(name)));
        nc_json_set(k->a, token, "ids", ids);
        nc_json_set(k->a, tokens, name, token);
    }
    return list;
}

void nc_spm_class(nc_arena *a, nc_json *tree, const nc_json *config)
{
    const char *class = nc_json_string(nc_json_get(config, "tokenizer_class"), "");
    const struct layout *l = layout_of(class);
    nc_json *model = (nc_json *)(uintptr_t)nc_json_get(tree, "model"), *decoder = (nc_json *)(uintptr_t)nc_json_get(tree, "decoder");
    const nc_json *pieces = nc_json_get(model, "vocab");
    if (nc_starts_with(class, "T5Tokenizer") && pieces)
        add_sentinels(a, tree, config);
    if (!l || !pieces || pieces->count < l->skip)
        return;
    struct making k = { .a = a, .vocab = nc_json_new(a, NC_JSON_ARRAY), .added = nc_json_new(a, NC_JSON_ARRAY) };
    int at = 0;
    const char *words = l->before;
    for (const char *word; (word = next_word(a, &words)); at++)
        put_special(&k, word, at == l->unk ? NC_SPM_UNKNOWN : NC_SPM_CONTROL);
    nc_json *next = NULL, *item = pieces->first;
    for (int i = 0; item; i++, item = next) {
        next = item->next;
        if (i < l->skip)
            continue;
        if (nc_json_int(nc_json_at(item, 2), 0) == NC_SPM_CONTROL)
            add_token(a, k.added, nc_json_string(item->first, ""), k.vocab->count);
        put_last(&k, item);
    }
    words = l->behind;
    for (const char *word; (word = next_word(a, &words));)
        put_special(&k, word, NC_SPM_CONTROL);
    nc_json *post = nc_json_new(a, NC_JSON_OBJECT), *tokens = nc_json_new(a, NC_JSON_OBJECT), *again = nc_json_new(a, NC_JSON_ARRAY);
    const char *language = nc_json_string(nc_json_get(config, "src_lang"), l->language);
    if (l->language && id_of(k.vocab, language) < 0)
        language = l->language;
    nc_json_set(a, post, "type", nc_json_new_string(a, NC_STR("TemplateProcessing")));
    nc_json_set(a, post, "single", items_of(&k, l->single, language, tokens));
    nc_json_set(a, post, "pair", items_of(&k, l->pair, language, tokens));
    nc_json_set(a, post, "special_tokens", tokens);
    *again = *k.vocab;
    nc_json_set(a, model, "vocab", k.vocab);
    nc_json_set(a, model, "unk_id", nc_json_new_int(a, l->unk));
    nc_json_set(a, decoder, "vocab", again);
    nc_json_set(a, tree, "added_tokens", k.added);
    nc_json_set(a, tree, "post_processor", post);
}
