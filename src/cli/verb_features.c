/* verb_features.c - pictures to vectors, patch rows and labels: a JSON line a picture.
 *
 * Zero-shot labels (CLIP, SigLIP): with image u and label texts t of length 1, z = exp(logit_scale) t.u [+ logit_bias]; CLIP's scores are softmax(z) over the labels,
 * SigLIP's, which have the bias, sigmoid(z) each for itself.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "cli/cli.h"
#include "infer/embed.h"
#include "infer/picture_encoder.h"

static const nc_cli_option options[] = {
    { "patch", NULL, "the rows of the patches too: {\"grid\": [down, across], \"patches\": [[...], ...]}" },
    { "labels", "A,B,...", "zero-shot labels with CLIP or SigLIP" },
    { "template", "TEXT", "what {} of a label is put into; \"This is a photo of {}.\" by default" },
    { "top", "N", "labels printed of a classifier, 5 by default" },
    { "no-embedding", NULL, "labels alone" },
    { "dtype", "TYPE", "f32 (the default) or bf16" },
    { "threads", "N", "threads, all CPUs by default" },
    { NULL, NULL, NULL },
};

struct label { const char *name; double score; };

static void print_vector(nc_buf *b, const float *v, int n)
{
    nc_buf_addc(b, '[');
    for (int i = 0; i < n; i++)
        nc_buf_printf(b, "%s%.9g", i ? ", " : "", (double)v[i]);
    nc_buf_addc(b, ']');
}

static int by_score(const void *a, const void *b)
{
    double x = ((const struct label *)a)->score, y = ((const struct label *)b)->score;
    return x < y ? 1 : x > y ? -1 : 0;
}

static void print_labels(nc_buf *b, struct label *l, int n, int top)
{
    qsort(l, (size_t)n, sizeof *l, by_score);
    nc_buf_adds(b, ", \"labels\": [");
    for (int i = 0; i < n && i < top; i++) {
        nc_buf_adds(b, i ? ", {\"label\": " : "{\"label\": ");
        nc_buf_json_string(b, nc_str_of(l[i].name));
        nc_buf_printf(b, ", \"score\": %.9g}", l[i].score);
    }
    nc_buf_addc(b, ']');
}

static void soft_max(struct label *l, int n)
{
    double most = -INFINITY, sum = 0;
    for (int i = 0; i < n; i++)
        most = fmax(most, l[i].score);
    for (int i = 0; i < n; i++)
        sum += l[i].score = exp(l[i].score - most);
    for (int i = 0; i < n; i++)
        l[i].score /= sum;
}

static double sigmoid(double z) { return 1 / (1 + exp(-z)); }

/* A classifier's labels by their names in config.json. */
static struct label *classes_of(nc_arena *a, const nc_model *m, const nc_picture_code *code)
{
    struct label *l = NC_NEW_ARRAY(a, struct label, code->labels + 1);
    const nc_json *names = nc_json_get(m->config, "id2label");
    for (int i = 0; i < code->labels; i++) {
        char *key = nc_arena_printf(a, "%d", i);
        l[i] = (struct label){ nc_json_string(nc_json_get(names, key), nc_arena_printf(a, "LABEL_%d", i)), code->logits[i] };
        if (m->labels.problem == NC_MULTI_LABEL)
            l[i].score = sigmoid(l[i].score);
    }
    if (m->labels.problem == NC_SINGLE_LABEL)
        soft_max(l, code->labels);
    return l;
}

/* ---- zero-shot ---- */

struct zero_shot { const char **name; float *vector; int count, width; double scale, bias; bool has_bias; };

static double value_of(const nc_model *m, const char *name, bool *there)
{
    const nc_site *s = nc_model_site(m, name);
    *there = s && s->value.data;
    return *there ? nc_dtype_load(s->value.dtype, s->value.data, 0) : 0;
}

static char *filled(nc_arena *a, const char *template, const char *label)
{
    const char *hole = strstr(template, "{}");
    return nc_arena_printf(a, "%.*s%s%s", (int)(hole - template), template, label, hole + 2);
}

static int read_labels(nc_cli *c, const nc_embed_options *o, struct zero_shot *z, nc_error *e)
{
    const char *template = nc_cli_get(c, "template"), *list = nc_cli_get(c, "labels");
    nc_embedder *x = NULL;
    bool there;
    template = template ? template : "This is a photo of {}.";
    if (!strstr(template, "{}"))
        return nc_cli_usage(c, e, "--template \"%s\" has no {} for the label", template);
    z->name = NC_NEW_ARRAY(c->arena, const char *, strlen(list) + 2);
    nc_str *texts = NC_NEW_ARRAY(c->arena, nc_str, strlen(list) + 2);
    for (const char *p = list; *p;) {
        size_t n = strcspn(p, ",");
        char *name = nc_arena_strndup(c->arena, p + strspn(p, " "), n > strspn(p, " ") ? n - strspn(p, " ") : 0);
        if (*name) {
            texts[z->count] = nc_str_of(filled(c->arena, template, name));
            z->name[z->count++] = name;
        }
        p += n + (p[n] == ',');
    }
    if (!z->count)
        return nc_cli_usage(c, e, "--labels names none");
    NC_TRY(nc_embedder_open(c->word[0], o, &x, e));
    const nc_model *m = nc_embedder_loaded(x)->model;
    z->scale = exp(value_of(m, "logit_scale", &there));
    z->bias = value_of(m, "logit_bias", &z->has_bias);
    z->width = nc_embedder_width(x);
    z->vector = NC_NEW_ARRAY(c->arena, float, (int64_t)z->count * z->width);
    int status = there || m->family->outputs ? nc_embedder_run(x, texts, z->count, z->vector, NULL, e)
                       : nc_fail(e, NC_EUNSUPPORTED, "%s: a %s compares no pictures with texts; --labels needs CLIP or SigLIP", c->word[0], m->family->name);
    nc_embedder_free(x);
    return status;
}

static struct label *zero_shot(nc_arena *a, const struct zero_shot *z, const nc_picture_code *code)
{
    struct label *l = NC_NEW_ARRAY(a, struct label, z->count + 1);
    for (int i = 0; i < z->count; i++) {
        double dot = 0;
        for (int j = 0; j < z->width; j++)
            dot += (double)z->vector[(int64_t)i * z->width + j] * code->vector[j];
        l[i] = (struct label){ z->name[i], z->scale * dot + z->bias };
        if (z->has_bias)
            l[i].score = sigmoid(l[i].score);
    }
    if (!z->has_bias)
        soft_max(l, z->count);
    return l;
}

/* ---- a picture ---- */

static int print_picture(nc_cli *c, nc_picture_encoder *x, const char *path, const struct zero_shot *z, int top, nc_error *e)
{
    nc_image image = { 0 };
    nc_picture_code code;
    nc_buf b = { 0 };
    const nc_model *m = nc_picture_encoder_loaded(x)->model;
    NC_TRY(nc_image_load(path, NULL, &image, e));
    int status = nc_picture_encoder_run(x, &image, &code, e);
    nc_image_free(&image);
    if (status < 0)
        return nc_fail_in(e, "%s", path), status;
    nc_buf_adds(&b, "{\"file\": ");
    nc_buf_json_string(&b, nc_str_of(path));
    if (code.vector && !nc_cli_has(c, "no-embedding")) {
        nc_buf_adds(&b, ", \"embedding\": ");
        print_vector(&b, code.vector, code.width);
    }
    if (z)
        print_labels(&b, zero_shot(c->arena, z, &code), z->count, z->count);
    else if (code.logits)
        print_labels(&b, classes_of(c->arena, m, &code), code.labels, top);
    if (nc_cli_has(c, "patch") && code.patch) {
        nc_buf_printf(&b, ", \"grid\": [%d, %d], \"patches\": [", code.down, code.across);
        for (int i = 0; i < code.down * code.across; i++) {
            nc_buf_adds(&b, i ? ", " : "");
            print_vector(&b, code.patch + (int64_t)i * code.patch_width, code.patch_width);
        }
        nc_buf_addc(&b, ']');
    }
    nc_buf_adds(&b, "}\n");
    nc_cli_print(&b);
    return 0;
}

static int run(nc_cli *c, nc_error *e)
{
    const char *dtype = nc_cli_get(c, "dtype");
    nc_embed_options o = { .compute = NC_F32 };
    int64_t top, threads;
    struct zero_shot z = { 0 };
    nc_picture_encoder *x = NULL;
    NC_TRY(nc_cli_int(c, "top", 1, 1 << 20, 5, &top, e));
    NC_TRY(nc_cli_int(c, "threads", 1, 1024, 0, &threads, e));
    if (dtype && (nc_dtype_parse(dtype, &o.compute) < 0 || (o.compute != NC_F32 && o.compute != NC_BF16)))
        return nc_cli_usage(c, e, "--dtype %s: f32 and bf16 are known", dtype);
    o.threads = (int)threads;
    bool compares = nc_cli_get(c, "labels") != NULL;
    if (compares)
        NC_TRY(read_labels(c, &o, &z, e));
    NC_TRY(nc_picture_encoder_open(c->word[0], o.compute, (int)threads, &x, e));
    nc_loaded *l = nc_picture_encoder_loaded(x);
    if (l->warnings.n)
        nc_warn("%s: %.*s", l->folder, (int)strcspn(l->warnings.p, "\n"), l->warnings.p);
    int status = 0;
    for (int i = 1; i < c->words && status == 0; i++)
        status = print_picture(c, x, c->word[i], compares ? &z : NULL, (int)top, e);
    nc_picture_encoder_free(x);
    return status;
}

const nc_verb nc_verb_features = { "features", "FOLDER PICTURE...", "pictures to vectors, patch rows and labels, a JSON line each",
    "The vector is the pooled one of the encoder (ViT, DINO, BEiT, conv nets), or the compared one of CLIP and SigLIP. Classifiers add their labels.",
    options, 2, 65536, false, run };
