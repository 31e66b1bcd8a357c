/* parts.c - from "type" to the function that makes a part: the lists of parts.list. */
#include "text/parts.h"

#include <string.h>

#define NESTING 8       /* Sequence inside Sequence */

static _Thread_local int nesting;

#define LOOKUP(v, table, what, none) \
    do { \
        *out = NULL; \
        if (!(v) || (v)->type == NC_JSON_NULL) \
            return none; \
        const char *type = nc_json_string(nc_json_get(v, "type"), NULL); \
        if (!type) \
            return nc_fail(e, NC_EFORMAT, "%s (line %d) has no \"type\"", what, (v)->line); \
        for (int i = 0; i < NC_COUNT(table); i++) { \
            if (strcmp(type, table[i].type)) \
                continue; \
            if (nesting >= NESTING) \
                return nc_fail(e, NC_ELIMIT, "%s (line %d): Sequence nested deeper than %d", what, (v)->line, NESTING); \
            nesting++; \
            int status = table[i].create(b, v, out, e); \
            nesting--; \
            return status < 0 ? nc_fail_in(e, "%s %s (line %d)", what, type, (v)->line) : status; \
        } \
        return nc_fail(e, NC_EUNSUPPORTED, "%s \"%s\" (line %d) is not supported", what, type, (v)->line); \
    } while (0)

static const struct { const char *type; int (*create)(nc_build *, const nc_json *, const nc_normalizer **, nc_error *); } normalizers[] = {
#define NC_NORMALIZER(type, create) { type, create },
#include "text/parts.list"
#undef NC_NORMALIZER
};

static const struct { const char *type; int (*create)(nc_build *, const nc_json *, const nc_pretokenizer **, nc_error *); } pretokenizers[] = {
#define NC_PRETOKENIZER(type, create) { type, create },
#include "text/parts.list"
#undef NC_PRETOKENIZER
};

static const struct { const char *type; int (*create)(nc_build *, const nc_json *, const nc_decoder **, nc_error *); } decoders[] = {
#define NC_DECODER(type, create) { type, create },
#include "text/parts.list"
#undef NC_DECODER
};

static const struct { const char *type; int (*create)(nc_build *, const nc_json *, nc_model **, nc_error *); } models[] = {
#define NC_MODEL(type, create) { type, create },
#include "text/parts.list"
#undef NC_MODEL
};

int nc_normalizer_create(nc_build *b, const nc_json *v, const nc_normalizer **out, nc_error *e)
{
    LOOKUP(v, normalizers, "normalizer", NC_OK);
}

int nc_pretokenizer_create(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    LOOKUP(v, pretokenizers, "pre_tokenizer", NC_OK);
}

int nc_decoder_create(nc_build *b, const nc_json *v, const nc_decoder **out, nc_error *e)
{
    LOOKUP(v, decoders, "decoder", NC_OK);
}

/* Files of before 2020 leave the model's type out; its fields tell. */
static const char *model_type(const nc_json *v)
{
    const char *type = nc_json_string(nc_json_get(v, "type"), NULL);
    if (type)
        return type;
    if (nc_json_get(v, "merges"))
        return "BPE";
    if (nc_json_is(nc_json_get(v, "vocab"), NC_JSON_ARRAY))
        return "Unigram";
    return nc_json_get(v, "continuing_subword_prefix") || nc_json_get(v, "max_input_chars_per_word") ? "WordPiece" : "WordLevel";
}

int nc_model_create(nc_build *b, const nc_json *v, nc_model **out, nc_error *e)
{
    *out = NULL;
    if (!nc_json_is(v, NC_JSON_OBJECT))
        return nc_fail(e, NC_EFORMAT, "\"model\" is missing or no object");
    const char *type = model_type(v);
    for (int i = 0; i < NC_COUNT(models); i++)
        if (!strcmp(type, models[i].type))
            return models[i].create(b, v, out, e);
    return nc_fail(e, NC_EUNSUPPORTED, "model \"%s\" is not supported", type);
}
