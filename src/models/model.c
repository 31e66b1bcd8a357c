/* model.c - instances of families: sites listed from a config, parts composed, stages called. */
#include "models/model.h"

#include <stdio.h>
#include <stdlib.h>

#define FAMILY(name) extern const nc_family nc_family_##name;
#include "models/models.list"
#undef FAMILY

static const nc_family *const families[] = {
#define FAMILY(name) &nc_family_##name,
#include "models/models.list"
#undef FAMILY
};

const nc_family *const *nc_families(int *count)
{
    *count = NC_COUNT(families);
    return families;
}

const nc_family *nc_family_find(const char *model_type)
{
    for (int i = 0; i < NC_COUNT(families); i++)
        if (!strcmp(families[i]->name, model_type))
            return families[i];
    return NULL;
}

static int unknown_family(const char *type, nc_error *e)
{
    const char *names[NC_COUNT(families)];
    for (int i = 0; i < NC_COUNT(families); i++)
        names[i] = families[i]->name;
    const char *near = nc_nearest(type, names, NC_COUNT(families));
    return nc_fail(e, NC_EUNSUPPORTED, "config.json: model_type \"%s\" is none of the %d families known here%s%s", type, NC_COUNT(families), near ? "; nearest is " : "", near ? near : "");
}

/* A part shares the parent's arena and reader. */
static nc_model *new_instance(nc_arena *a, const nc_family *f, const nc_json *config, nc_model *parent, const char *prefix)
{
    if (f->variant)
        f = f->variant(config);
    nc_model *m = NC_NEW(a, nc_model);
    *m = (nc_model){ .family = f, .self = nc_arena_alloc(a, f->size), .arena = a, .config = config, .parent = parent, .prefix = prefix,
                     .image_token_id = -1, .video_token_id = -1 };
    return m;
}

static void list_sites(nc_model *m)
{
    nc_head head = { 0 };
    m->family->weights(m, m->self);
    if (m->family->head)
        m->family->head(m->self, &head);
    if (head.w)
        head.w->flags |= NC_SITE_HEAD;
}

int nc_model_new(const nc_json *config, nc_model **out, nc_error *e)
{
    const char *type = nc_json_string(nc_json_get(config, "model_type"), "");
    const nc_family *f = nc_family_find(type);
    if (!f)
        return unknown_family(type, e);
    nc_arena *a = nc_arena_new();
    nc_model *m = new_instance(a, f, nc_json_clone(a, config), NULL, "");
    nc_config *r = nc_config_new(a, m->config, "config.json");
    m->family->config(m, m->self, r);
    int status = nc_config_finish(r, e);
    if (status < 0) {
        nc_arena_free(a);
        return status;
    }
    list_sites(m);
    *out = m;
    return 0;
}

nc_model *nc_model_trial(const nc_json *config, const nc_family *f, bool sites, nc_config_notes *notes)
{
    nc_arena *a = nc_arena_new();
    nc_model *m = new_instance(a, f, nc_json_clone(a, config), NULL, "");
    nc_config *r = nc_config_new_trial(a, m->config, notes);
    m->family->config(m, m->self, r);
    nc_config_finish_trial(r);
    if (sites && !notes->broken)
        list_sites(m);
    return m;
}

static nc_model *part_of(nc_model *m, nc_config *c, const nc_json *config, const char *prefix)
{
    const char *type = nc_config_string(c, "model_type", "");
    const nc_family *f = nc_family_find(type);
    if (!f) {
        nc_error e = { 0 };
        unknown_family(type, &e);
        nc_config_mistake(c, "%s", e.message);
        return NULL;
    }
    nc_model *part = new_instance(m->arena, f, config, m, nc_arena_printf(m->arena, "%s%s", m->prefix, prefix));
    part->family->config(part, part->self, c);
    return part;
}

nc_model *nc_submodel(nc_model *m, nc_config *r, const char *key, const char *prefix)
{
    nc_config *c = nc_config_child(r, key);
    if (c)
        return part_of(m, c, nc_json_get(m->config, key), prefix);
    nc_config_mistake(r, "the key \"%s\" is missing", key);
    return NULL;
}

nc_model *nc_submodel_of(nc_model *m, nc_config *r, const nc_json *config, const char *where, const char *prefix)
{
    return part_of(m, nc_config_over(r, config, where), config, prefix);
}

void nc_submodel_weights(nc_model *part)
{
    if (part)
        part->family->weights(part, part->self);
}

void nc_model_free(nc_model *m)
{
    if (!m)
        return;
    if (m->release)
        m->release(m, m->release_context);
    free(m->sites);
    nc_arena_free(m->arena);
}

nc_site *nc_model_site(const nc_model *m, const char *name)
{
    for (int i = 0; i < m->site_count; i++)
        if (!strcmp(m->sites[i]->name, name))
            return m->sites[i];
    return NULL;
}

const char *const *nc_model_part_names(const nc_model *m, nc_part part)
{
    static const char *const towers[] = { "vision_tower.", "vision_model.", NULL }, *const projectors[] = { "multi_modal_projector.", "image_newline", NULL };
    if (!m->family->tower || part == NC_PART_LANGUAGE)
        return NULL;
    if (part == NC_PART_TOWER)
        return m->family->tower_parts ? m->family->tower_parts : towers;
    return m->family->projector_parts ? m->family->projector_parts : projectors;
}

nc_part nc_model_part(const nc_model *m, const nc_site *s)
{
    for (nc_part part = NC_PART_TOWER; part <= NC_PART_PROJECTOR; part++)
        for (const char *const *p = nc_model_part_names(m, part); p && *p; p++)
            if (nc_starts_with(s->name, *p))
                return part;
    return NC_PART_LANGUAGE;
}

int64_t nc_model_parameters(const nc_model *m)
{
    int64_t n = 0;
    for (int i = 0; i < m->site_count; i++)
        if (!(m->sites[i]->flags & NC_SITE_BUFFER))
            n += nc_site_count(m->sites[i]);
    return n;
}

/* Sites of a part are listed in the outermost model, whose list everything walks. */
static nc_model *outermost(nc_model *m)
{
    while (m->parent)
        m = m->parent;
    return m;
}

void nc_weight_scope(nc_model *m, const char *format, ...)
{
    char scope[200];
    va_list args;
    va_start(args, format);
    vsnprintf(scope, sizeof scope, format, args);
    va_end(args);
    m->scope = nc_arena_strdup(m->arena, scope);
}

/* A fresh weight's standard deviation: its part's initializer_range, else that of the model around it. */
static double init_std(const nc_model *m)
{
    for (; m; m = m->parent) {
        double std = nc_json_double(nc_json_get(m->config, "initializer_range"), -1);
        if (std > 0 && std < 100)
            return std;
    }
    return 0.02;
}

nc_site *nc_weight(nc_model *m, unsigned flags, nc_init init, const char *name, int64_t d0, int64_t d1, int64_t d2, int64_t d3)
{
    nc_model *top = outermost(m);
    nc_site *s = NC_NEW(m->arena, nc_site);
    int64_t dims[4] = { d0, d1, d2, d3 };
    int rank = 0;
    while (rank < 4 && dims[rank])
        rank++;
    s->name = nc_arena_printf(m->arena, "%s%s%s", m->prefix, m->scope ? m->scope : "", name);
    s->shape = s->file_shape = nc_shape_of(rank, dims);
    s->flags = flags;
    s->init = init;
    s->init_std = init_std(m);
    s->index = top->site_count;
    if ((top->site_count & (top->site_count - 1)) == 0)
        top->sites = nc_xrealloc(top->sites, sizeof *top->sites * (size_t)(top->site_count ? 2 * top->site_count : 1));
    top->sites[top->site_count++] = s;
    return s;
}

nc_site *nc_weight_conv(nc_model *m, const char *name, int64_t out, int64_t in, int64_t height, int64_t width)
{
    nc_site *s = nc_weight_linear(m, name, out, in * height * width);
    s->file_shape = NC_SHAPE(out, in, height, width);
    return s;
}

nc_site *nc_weight_conv1d(nc_model *m, const char *name, int64_t in, int64_t out)
{
    nc_site *s = nc_weight(m, NC_SITE_LINEAR | NC_SITE_TRANSPOSED, NC_INIT_NORMAL, name, out, in, 0, 0);
    s->file_shape = NC_SHAPE(in, out);
    return s;
}

const char *nc_config_class(const nc_model *m, nc_config *r)
{
    const nc_json *list = nc_config_get(r, "architectures");
    const char *name = list && list->count ? nc_json_string(list->first, "") : "", *known = m->family->architectures;
    size_t n = strlen(name);
    if (m->parent || !n)
        return "";
    for (; known; known = strchr(known, ' ') ? strchr(known, ' ') + 1 : NULL)
        if (!strncmp(known, name, n) && (known[n] == ' ' || !known[n]))
            return nc_arena_strdup(m->arena, name);
    nc_config_differs(r, "architectures: the class %s is not written here (for a %s: %s)", name, m->family->name, m->family->architectures);
    return "";
}

void nc_config_labels(nc_model *m, nc_config *r)
{
    const nc_json *names = nc_config_get(r, "id2label");
    const char *problem = nc_config_string(r, "problem_type", "");
    m->labels.count = (int)nc_config_int(r, "num_labels", nc_json_is(names, NC_JSON_OBJECT) ? names->count : 2);
    m->labels.problem = !strcmp(problem, "multi_label_classification") ? NC_MULTI_LABEL
                        : !strcmp(problem, "regression") || (!*problem && m->labels.count == 1) ? NC_REGRESSION : NC_SINGLE_LABEL;
    if (m->labels.count < 1)
        nc_config_mistake(r, "a classifier with %d labels", m->labels.count);
}

nc_value *nc_model_loss(const nc_model *m, nc_build *b)
{
    nc_encoded x = { 0 };
    if (m->family->outputs)
        return m->family->outputs(m, m->self, b);
    nc_modality what = m->family->reads_text ? NC_TEXTS : NC_PICTURES;
    m->family->encode(m, m->self, b, what, &x);
    return x.logits ? nc_labels_loss(b, &m->labels, x.logits, what == NC_TEXTS ? "sequences" : "pictures") : NULL;
}

nc_value *nc_model_tower(const nc_model *m, nc_build *b)
{
    return m->family->tower(m, m->self, b);
}

nc_value *nc_model_vision(const nc_model *v, nc_build *b, int layer, const char *probe)
{
    nc_vision_info info;
    v->family->vision_info(v->self, &info);
    if (b->part)                                     /* one of two towers: rows are given for a single one */
        b->given_rows = b->took_rows = false;
    if (b->given_rows) {
        b->took_rows = true;
        return nc_in(b, "vision.given", nc_graph_compute(b->g), "vision", info.hidden_size);
    }
    nc_value *x = v->family->vision(v, v->self, b, layer, probe);
    if (b->keep_rows)
        nc_build_keep(b, x, "vision.given");
    return x;
}

nc_value *nc_model_decoder(const nc_model *m, nc_build *b, nc_value *media)
{
    b->layer = b->cross = 0;
    return m->family->decoder(m, m->self, b, media);
}

nc_value *nc_model_encoder(const nc_model *m, nc_build *b, nc_value *media)
{
    return m->family->encoder(m, m->self, b, media);
}

nc_value *nc_model_reads(const nc_model *m, nc_build *b, bool pictures)
{
    nc_value *media = m->family->tower && pictures ? nc_model_tower(m, b) : NULL;
    return m->family->encoder ? nc_model_encoder(m, b, media) : media;
}

int nc_model_encoder_rows(const nc_model *m, const nc_seq *s)
{
    return m->family->encoder_rows ? m->family->encoder_rows(m, m->self, s) : s->source_count;
}

int nc_model_prepare(const nc_model *m, nc_batch *batch, const nc_seq *seqs, int count, nc_error *e)
{
    nc_batch_reset(batch);
    return m->family->prepare ? m->family->prepare(m, m->self, batch, seqs, count, e) : nc_prepare_text(batch, seqs, count, e);
}
