/* post.c - post-processors as lists of special tokens around the texts: TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel, Sequence. */
#include <string.h>

#include "text/tokenizer_internal.h"

static void add(nc_build *b, nc_post_item **items, int *count, nc_post_item item)
{
    nc_post_item *grown = NC_NEW_ARRAY(b->arena, nc_post_item, *count + 1);
    if (*count)
        memcpy(grown, *items, (size_t)*count * sizeof *grown);
    grown[*count] = item;
    *items = grown;
    (*count)++;
}

static int read_template(nc_build *b, const nc_json *list, const nc_json *specials, nc_post_item **items, int *count, nc_error *e)
{
    if (!nc_json_is(list, NC_JSON_ARRAY) || list->count > 1000)
        return nc_fail(e, NC_EFORMAT, "TemplateProcessing needs lists \"single\" and \"pair\" of at most 1000 items");
    *count = 0;
    NC_JSON_EACH(item, list) {
        const nc_json *special = nc_json_get(item, "SpecialToken"), *sequence = nc_json_get(item, "Sequence");
        uint8_t type = (uint8_t)nc_json_int(nc_json_get(special ? special : sequence, "type_id"), 0);
        if (sequence) {
            const char *id = nc_json_string(nc_json_get(sequence, "id"), "A");
            add(b, items, count, (nc_post_item){ (int8_t)(id[0] == 'B'), type, 0 });
            continue;
        }
        const nc_json *name = nc_json_get(special, "id");
        const nc_json *ids = nc_json_is(name, NC_JSON_STRING) ? nc_json_get(nc_json_getn(specials, name->text), "ids") : NULL;
        if (!nc_json_is(ids, NC_JSON_ARRAY))
            return nc_fail(e, NC_EFORMAT, "TemplateProcessing (line %d): \"%s\" is not among special_tokens", item->line, nc_json_string(name, "?"));
        NC_JSON_EACH(id, ids) {
            int64_t value;
            if (!nc_json_int_exact(id, &value) || value < 0 || value >= NC_VOCAB_LIMIT)
                return nc_fail(e, NC_EFORMAT, "TemplateProcessing (line %d): a special token's id is no number of a token", id->line);
            add(b, items, count, (nc_post_item){ -1, type, (int32_t)value });
        }
    }
    return NC_OK;
}

/* [CLS] A [SEP] B [SEP] (BERT), <s> A </s> </s> B </s> (RoBERTa). */
static int classic(nc_build *b, const nc_json *v, bool roberta, nc_post *p, nc_error *e)
{
    int64_t cls, sep;
    if (!nc_json_int_exact(nc_json_at(nc_json_get(v, "cls"), 1), &cls) || !nc_json_int_exact(nc_json_at(nc_json_get(v, "sep"), 1), &sep) ||
        cls < 0 || sep < 0 || cls >= NC_VOCAB_LIMIT || sep >= NC_VOCAB_LIMIT)
        return nc_fail(e, NC_EFORMAT, "\"cls\" and \"sep\" must be [token, id]");
    uint8_t second = !roberta;
    nc_post_item open = { -1, 0, (int32_t)cls }, close = { -1, 0, (int32_t)sep }, a = { 0, 0, 0 };
    p->singles = p->pairs = 0;
    add(b, &p->single, &p->singles, open);
    add(b, &p->single, &p->singles, a);
    add(b, &p->single, &p->singles, close);
    add(b, &p->pair, &p->pairs, open);
    add(b, &p->pair, &p->pairs, a);
    add(b, &p->pair, &p->pairs, close);
    if (roberta)
        add(b, &p->pair, &p->pairs, close);
    add(b, &p->pair, &p->pairs, (nc_post_item){ 1, second, 0 });
    close.type = second;
    add(b, &p->pair, &p->pairs, close);
    if (roberta) {
        p->trim_offsets = nc_json_bool(nc_json_get(v, "trim_offsets"), true);
        p->prefix_space = nc_json_bool(nc_json_get(v, "add_prefix_space"), true);
    }
    return NC_OK;
}

static int read_post(nc_build *b, const nc_json *v, nc_post *p, int depth, nc_error *e)
{
    const char *type = nc_json_string(nc_json_get(v, "type"), "");
    if (!strcmp(type, "ByteLevel")) {
        p->trim_offsets = nc_json_bool(nc_json_get(v, "trim_offsets"), true);
        p->prefix_space = nc_json_bool(nc_json_get(v, "add_prefix_space"), true);
        return NC_OK;
    }
    if (!strcmp(type, "TemplateProcessing")) {
        NC_TRY(read_template(b, nc_json_get(v, "single"), nc_json_get(v, "special_tokens"), &p->single, &p->singles, e));
        return read_template(b, nc_json_get(v, "pair"), nc_json_get(v, "special_tokens"), &p->pair, &p->pairs, e);
    }
    if (!strcmp(type, "BertProcessing"))
        return classic(b, v, false, p, e);
    if (!strcmp(type, "RobertaProcessing"))
        return classic(b, v, true, p, e);
    if (strcmp(type, "Sequence") || depth > 4)
        return nc_fail(e, NC_EUNSUPPORTED, "\"%s\" (line %d) is no known post-processor", type, v->line);
    NC_JSON_EACH(item, nc_json_get(v, "processors"))
        NC_TRY(read_post(b, item, p, depth + 1, e));
    return NC_OK;
}

int nc_post_create(nc_build *b, const nc_json *v, nc_post **out, nc_error *e)
{
    *out = NULL;
    if (!v || v->type == NC_JSON_NULL)
        return NC_OK;
    nc_post *p = NC_NEW(b->arena, nc_post);
    add(b, &p->single, &p->singles, (nc_post_item){ 0, 0, 0 });
    add(b, &p->pair, &p->pairs, (nc_post_item){ 0, 0, 0 });
    add(b, &p->pair, &p->pairs, (nc_post_item){ 1, 1, 0 });
    *out = p;
    return read_post(b, v, p, 0, e);
}
