/* verify_encoder.c - encoders of text: padded batches of the reference as flat streams without padding; rows are spread back before they are compared, padded ones are not.
 *
 *   in.input_ids, in.attention_mask, in.token_type_ids [n,T]; in.labels [n,T] (-100: left out), [n], or floats; in.next_sentence_label [n]
 */
#include "cli/verify.h"

struct texts { nc_seq *seq; bool *padded; int count, tokens; int64_t width; };

static int32_t *ints_of(nc_verify *v, const char *name, int64_t count)
{
    const nc_stored *t = nc_verify_has(v, name) ? nc_verify_tensor(v, "%s", name) : NULL;
    return t && nc_shape_count(&t->shape) == count ? nc_verify_ints(v->arena, t) : NULL;
}

/* Rows that are padding may stand on either side. */
static int gather(nc_verify *v, struct texts *out, nc_error *e)
{
    const nc_stored *ids = nc_verify_tensor(v, "in.input_ids");
    if (ids->shape.rank != 2)
        return nc_fail(e, NC_EFORMAT, "%s: in.input_ids must be [texts, tokens]", v->folder);
    int n = (int)ids->shape.dim[0], width = (int)ids->shape.dim[1];
    int32_t *all = nc_verify_ints(v->arena, ids), *mask = ints_of(v, "in.attention_mask", n * width), *types = ints_of(v, "in.token_type_ids", n * width);
    int32_t *labels = ints_of(v, "in.labels", n * width), *targets = NC_NEW_ARRAY(v->arena, int32_t, n * width + 1);
    int counted = 0;
    *out = (struct texts){ .seq = NC_NEW_ARRAY(v->arena, nc_seq, n + 1), .padded = NC_NEW_ARRAY(v->arena, bool, n * width + 1), .count = n, .width = width };
    for (int i = 0; i < n; i++) {
        int first = 0, live = 0;
        for (int j = 0; j < width; j++) {
            int at = i * width + j;
            out->padded[at] = mask && !mask[at];
            first = out->padded[at] && !live ? j + 1 : first;
            live += !out->padded[at];
            targets[at] = labels && labels[at] >= 0 && !out->padded[at] ? labels[at] : -1;
            counted += targets[at] >= 0;
        }
        int at = i * width + first;
        out->seq[i] = (nc_seq){ .ids = all + at, .count = live, .slot = -1, .types = types ? types + at : NULL, .targets = labels && width > 1 ? targets + at : NULL };
        out->tokens += live;
    }
    for (int i = 0; i < n; i++)
        out->seq[i].weight = counted ? 1.0f / (float)counted : 0;
    return 0;
}

static void add_labels(nc_verify *v, const struct texts *s, nc_batch *batch)
{
    const char *name = nc_verify_has(v, "in.next_sentence_label") ? "in.next_sentence_label" : "in.labels";
    const nc_stored *t = nc_verify_has(v, name) ? nc_verify_tensor(v, "%s", name) : NULL;
    if (!t || t->shape.dim[0] != s->count)
        return;
    if (t->shape.rank == 1 && t->dtype != NC_F32) {
        nc_batch_labels(batch, "labels", "label.weights", nc_verify_ints(v->arena, t), s->count);
    } else if (t->dtype == NC_F32) {
        float *w = nc_batch_f32(batch, "label.weights", s->count, 1);
        nc_batch_borrow(batch, "label.values", NC_F32, s->count, nc_shape_count(&t->shape) / s->count, t->data);
        for (int i = 0; i < s->count; i++)
            w[i] = 1.0f / (float)s->count;
    }
}

static int run(nc_verify *v, const struct texts *s, bool train, nc_program **out, nc_batch *batch, nc_error *e)
{
    const nc_model *m = v->f32->model;
    nc_encoded x = { 0 };
    NC_TRY(nc_model_prepare(m, batch, s->seq, s->count, e));
    add_labels(v, s, batch);
    nc_program *p = nc_program_new(&(nc_program_options){ .compute = NC_F32, .training = train, .probes = true });
    nc_build *b = nc_program_build(p);
    nc_build_capacities(b, batch);
    nc_value *loss = NULL;
    if (train && !(loss = nc_model_loss(m, b))) {
        nc_program_free(p);
        return nc_fail(e, NC_EUNSUPPORTED, "%s: the bare %s has no loss; its golden outputs are of a class with a head", v->folder, m->family->name);
    }
    if (train)
        loss = nc_probe(b, loss, "loss");
    else
        m->family->encode(m, m->self, b, NC_TEXTS, &x);
    int status = nc_program_finish(p, loss, nc_pool_threads(v->pool), e);
    if (status == 0)
        status = nc_program_allocate(p, NULL, e);
    if (status == 0)
        status = nc_program_run(p, batch, &(nc_run_options){ .pool = v->pool, .kernels = v->kernels }, e);
    if (status < 0) {
        nc_program_free(p);
        return status;
    }
    *out = p;
    return 0;
}

static float *spread(nc_verify *v, const struct texts *s, const float *packed, int64_t columns)
{
    float *out = NC_NEW_ARRAY(v->arena, float, s->count * s->width * columns + 1);
    for (int64_t i = 0; i < s->count * s->width; i++)
        if (!s->padded[i]) {
            memcpy(out + i * columns, packed, sizeof *out * (size_t)columns);
            packed += columns;
        }
    return out;
}

static void compare(nc_verify *v, nc_program *p, const struct texts *s)
{
    for (int i = 0; i < nc_program_probes(p); i++) {
        const char *name = nc_program_probe_name(p, i);
        int64_t n = 0;
        if (!nc_verify_has(v, name))
            continue;
        const nc_stored *want = nc_verify_tensor(v, "%s", name);
        float *ours = nc_verify_probe(v->arena, p, name, &n);
        int64_t count = nc_shape_count(&want->shape), columns = count / (s->count * s->width);
        bool by_row = want->shape.rank >= 2 && want->shape.dim[0] == s->count && want->shape.dim[1] == s->width && n == s->tokens * columns;
        if (by_row)
            nc_verify_compare(v, name, want, spread(v, s, ours, columns), count, 2e-5, s->padded, columns);
        else
            nc_verify_compare(v, name, want, ours, n, 2e-5, NULL, 1);
    }
}

static int run_all(nc_verify *v, nc_error *e)
{
    struct texts s;
    nc_batch *batch = nc_batch_new();
    nc_program *p = NULL;
    int status = gather(v, &s, e);
    if (status == 0)
        status = run(v, &s, false, &p, batch, e);
    if (status == 0)
        compare(v, p, &s);
    nc_program_free(p);
    if (status == 0 && nc_verify_has(v, "loss"))
        status = run(v, &s, true, &v->program, batch, e);
    if (status == 0 && v->program)
        status = nc_verify_train(v, v->program, batch, e);
    nc_batch_free(batch);
    return status;
}

static bool takes(const nc_verify *v)
{
    return v->f32->model->family->reads_text && nc_verify_has(v, "in.input_ids") && !nc_verify_has(v, "in.pixel_values");
}

const nc_verify_kind nc_verify_kind_encoder = { "encoder", takes, run_all };
