/* embed_modules.c - modules.json of sentence-transformers and what its modules compute. Sums in double.
 *
 *   cls: the first row; max; mean; mean_sqrt_len_tokens: sum / sqrt(n); weightedmean: sum i x_i / sum i, i from 1 at the first token; lasttoken
 *   dense: f(W v + b);  normalize: v / max(|v|, 1e-12)
 */
#include "infer/embed.h"

#include <math.h>

#include "base/file.h"

static const struct { const char *name, *old; unsigned mode; } modes[] = {
    { "cls", "pooling_mode_cls_token", NC_POOL_CLS }, { "max", "pooling_mode_max_tokens", NC_POOL_MAX }, { "mean", "pooling_mode_mean_tokens", NC_POOL_MEAN },
    { "mean_sqrt_len_tokens", "pooling_mode_mean_sqrt_len_tokens", NC_POOL_SQRT }, { "weightedmean", "pooling_mode_weightedmean_tokens", NC_POOL_WEIGHTED },
    { "lasttoken", "pooling_mode_lasttoken", NC_POOL_LAST },
};

int nc_embed_pooling(const char *name, unsigned *out, nc_error *e)
{
    for (int i = 0; i < NC_COUNT(modes); i++)
        if (!strcmp(modes[i].name, name)) {
            *out |= modes[i].mode;
            return 0;
        }
    return nc_fail(e, NC_EUNSUPPORTED, "pooling \"%s\" is not known; cls, max, mean, mean_sqrt_len_tokens, weightedmean and lasttoken are", name);
}

/* ---- reading ---- */

static int read_json(nc_arena *a, const char *folder, const char *name, nc_json **out, nc_error *e)
{
    const char *path = nc_path_join(a, folder, name);
    *out = NULL;
    return nc_file_exists(path) ? nc_json_load(a, path, out, e) : 0;
}

static int read_pooling(nc_arena *a, const char *folder, nc_embed_modules *m, nc_error *e)
{
    nc_json *c;
    NC_TRY(read_json(a, folder, "config.json", &c, e));
    if (!c)
        return nc_fail(e, NC_ENOTFOUND, "%s: no config.json of the pooling", folder);
    const nc_json *mode = nc_json_get(c, "pooling_mode");
    m->pooling = 0;
    if (nc_json_is(mode, NC_JSON_STRING))
        NC_TRY(nc_embed_pooling(nc_json_string(mode, ""), &m->pooling, e));
    NC_JSON_EACH(item, nc_json_is(mode, NC_JSON_ARRAY) ? mode : NULL)
        NC_TRY(nc_embed_pooling(nc_json_string(item, ""), &m->pooling, e));
    for (int i = 0; i < NC_COUNT(modes) && !mode; i++)
        if (nc_json_bool(nc_json_get(c, modes[i].old), false))
            m->pooling |= modes[i].mode;
    m->pooling = m->pooling ? m->pooling : NC_POOL_MEAN;
    m->skip_prompt = !nc_json_bool(nc_json_get(c, "include_prompt"), true);
    return 0;
}

static int read_activation(const char *folder, const char *name, nc_embed_step *s, nc_error *e)
{
    static const struct { const char *end; nc_unary kind; } known[] = {
        { ".Tanh", NC_TANH }, { ".ReLU", NC_RELU }, { ".GELU", NC_GELU }, { ".SiLU", NC_SILU }, { ".Sigmoid", NC_SIGMOID },
    };
    s->has_activation = !nc_ends_with(name, ".Identity");
    if (!s->has_activation)
        return 0;
    for (int i = 0; i < NC_COUNT(known); i++)
        if (nc_ends_with(name, known[i].end)) {
            s->activation = known[i].kind;
            return 0;
        }
    return nc_fail(e, NC_EUNSUPPORTED, "%s: activation_function \"%s\" is not known", folder, name);
}

static const float *floats_of(nc_arena *a, const nc_safetensors *f, const char *name, int64_t rows, int64_t columns)
{
    const nc_stored *t = nc_safetensors_find(f, name);
    if (!t || nc_shape_count(&t->shape) != rows * columns || t->shape.dim[0] != rows)
        return NULL;
    float *out = NC_NEW_ARRAY(a, float, rows * columns + 1);
    for (int64_t i = 0; i < rows * columns; i++)
        out[i] = (float)nc_dtype_load(t->dtype, t->data, i);
    return out;
}

static int read_dense(nc_arena *a, const char *folder, nc_embed_step *s, nc_error *e)
{
    nc_json *c;
    nc_safetensors *f = NULL;
    NC_TRY(read_json(a, folder, "config.json", &c, e));
    if (!c)
        return nc_fail(e, NC_ENOTFOUND, "%s: no config.json of the dense module", folder);
    int64_t in = nc_json_int(nc_json_get(c, "in_features"), 0), out = nc_json_int(nc_json_get(c, "out_features"), 0);
    bool bias = nc_json_bool(nc_json_get(c, "bias"), true);
    if (in < 1 || out < 1 || in > 1 << 20 || out > 1 << 20)
        return nc_fail(e, NC_EFORMAT, "%s: in_features %lld, out_features %lld", folder, (long long)in, (long long)out);
    if (nc_json_bool(nc_json_get(c, "use_residual"), false))
        return nc_fail(e, NC_EUNSUPPORTED, "%s: use_residual is not known here", folder);
    *s = (nc_embed_step){ .is_dense = true, .in = (int)in, .out = (int)out };
    NC_TRY(read_activation(folder, nc_json_string(nc_json_get(c, "activation_function"), "torch.nn.modules.activation.Tanh"), s, e));
    NC_TRY(nc_safetensors_open(folder, &f, e));
    s->w = floats_of(a, f, "linear.weight", out, in);
    s->b = bias ? floats_of(a, f, "linear.bias", out, 1) : NULL;
    nc_safetensors_close(f);
    return s->w && (s->b || !bias) ? 0 : nc_fail(e, NC_EFORMAT, "%s: linear.weight must be [%d, %d], linear.bias [%d]", folder, s->out, s->in, s->out);
}

static int read_module(nc_arena *a, const char *folder, const nc_json *item, nc_embed_modules *m, nc_error *e)
{
    const char *type = nc_json_string(nc_json_get(item, "type"), ""), *path = nc_json_string(nc_json_get(item, "path"), ""), *dot = strrchr(type, '.');
    const char *name = dot ? dot + 1 : type, *inside = *path ? nc_path_join(a, folder, path) : folder;
    if (path[0] == '/' || strstr(path, ".."))
        return nc_fail(e, NC_EFORMAT, "%s/modules.json: path \"%s\" leads out of the folder", folder, path);
    if (!strcmp(name, "Transformer") || !strcmp(name, "CLIPModel")) {
        m->transformer = inside;
        return 0;
    }
    if (!strcmp(name, "Pooling"))
        return read_pooling(a, inside, m, e);
    if (!strcmp(name, "Dense"))
        return read_dense(a, inside, &m->step[m->steps++], e);
    if (!strcmp(name, "Normalize")) {
        m->step[m->steps++] = (nc_embed_step){ 0 };
        return 0;
    }
    return nc_fail(e, NC_EUNSUPPORTED, "%s/modules.json: the module \"%s\" is not known; Transformer, Pooling, Dense and Normalize are", folder, type);
}

int nc_embed_modules_read(nc_arena *a, const char *folder, nc_embed_modules *out, nc_error *e)
{
    nc_json *modules, *sentence, *prompts;
    *out = (nc_embed_modules){ .transformer = folder };
    NC_TRY(read_json(a, folder, "modules.json", &modules, e));
    NC_TRY(read_json(a, folder, "config_sentence_transformers.json", &prompts, e));
    out->prompts = nc_json_get(prompts, "prompts");
    out->default_prompt = nc_json_string(nc_json_get(prompts, "default_prompt_name"), NULL);
    out->step = NC_NEW_ARRAY(a, nc_embed_step, modules ? modules->count + 1 : 1);
    NC_JSON_EACH(item, modules)
        NC_TRY(read_module(a, folder, item, out, e));
    NC_TRY(read_json(a, out->transformer, "sentence_bert_config.json", &sentence, e));
    if (nc_json_path(sentence, "modality_config.message"))
        return nc_fail(e, NC_EUNSUPPORTED, "%s/sentence_bert_config.json: modality_config.message (texts put into the chat template first) is not known here", out->transformer);
    int64_t tokens = nc_json_int(nc_json_get(sentence, "max_seq_length"), 0);
    out->max_tokens = tokens > 0 && tokens < 1 << 24 ? (int)tokens : 0;
    out->lower_case = nc_json_bool(nc_json_get(sentence, "do_lower_case"), false);
    return 0;
}

/* ---- computing ---- */

int nc_embed_pooled_width(unsigned pooling, int width)
{
    int n = 0;
    for (int i = 0; i < NC_COUNT(modes); i++)
        n += (pooling & modes[i].mode) != 0;
    return n * width;
}

static float column(unsigned mode, const float *rows, int count, int width, int skip, int c)
{
    double sum = 0, weights = 0, most = -INFINITY;
    if (mode == NC_POOL_CLS)
        return rows[(int64_t)skip * width + c];
    if (mode == NC_POOL_LAST)
        return rows[(int64_t)(count - 1) * width + c];
    for (int i = skip; i < count; i++) {
        double v = rows[(int64_t)i * width + c], w = mode == NC_POOL_WEIGHTED ? i + 1 : 1;
        sum += v * w;
        weights += w;
        most = v > most ? v : most;
    }
    return (float)(mode == NC_POOL_MAX ? most : sum / (mode == NC_POOL_SQRT ? sqrt(weights) : weights));
}

void nc_embed_pool(unsigned pooling, const float *rows, int count, int width, int skip, float *out)
{
    skip = skip < count ? skip : 0;
    for (int i = 0; i < NC_COUNT(modes); i++)
        for (int c = 0; (pooling & modes[i].mode) && c < width; c++)
            *out++ = column(modes[i].mode, rows, count, width, skip, c);
}

void nc_embed_unit(float *v, int n)
{
    double sum = 0;
    for (int i = 0; i < n; i++)
        sum += (double)v[i] * v[i];
    double length = sqrt(sum) > 1e-12 ? sqrt(sum) : 1e-12;
    for (int i = 0; i < n; i++)
        v[i] = (float)(v[i] / length);
}

void nc_embed_steps(const nc_embed_modules *m, float *v, int width, float *room)
{
    const struct nc_element_kernels *element = nc_kernels_best()->element;
    for (int i = 0; i < m->steps; i++) {
        const nc_embed_step *s = &m->step[i];
        if (!s->is_dense) {
            nc_embed_unit(v, width);
            continue;
        }
        for (int r = 0; r < s->out; r++) {
            double sum = s->b ? s->b[r] : 0;
            for (int c = 0; c < s->in; c++)
                sum += (double)s->w[(int64_t)r * s->in + c] * v[c];
            room[r] = (float)sum;
        }
        width = s->out;
        if (s->has_activation)
            element->unary[nc_dtype_slot(NC_F32)](s->activation, room, room, width, NULL);
        memcpy(v, room, sizeof *v * (size_t)width);
    }
}
