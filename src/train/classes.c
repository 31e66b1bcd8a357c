/* classes.c - a stage that trains another class than its folder holds: BertModel becomes BertForSequenceClassification with a fresh head for the labels of the data, a head of other
 * labels is made anew. The config.json that says so stands in the stage's front folder; weights still come from the folder itself.
 */
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "load/checkpoint.h"
#include "train/run.h"

/* Of the family's classes the one that ends so; "" when there is none. */
static const char *class_of(nc_arena *a, const nc_family *f, const char *suffix)
{
    for (const char *p = f->architectures; *p; p += strcspn(p, " "), p += *p == ' ') {
        char *name = nc_arena_strndup(a, p, strcspn(p, " "));
        if (nc_ends_with(name, suffix))
            return name;
    }
    return "";
}

static const char *const problems[] = { NULL, "single_label_classification", "multi_label_classification", "regression" };

static void set_labels(nc_arena *a, nc_json *config, const nc_label_set *labels)
{
    nc_json *names = nc_json_new(a, NC_JSON_OBJECT), *numbers = nc_json_new(a, NC_JSON_OBJECT), *kept = nc_json_new(a, NC_JSON_OBJECT);
    for (int i = 0; i < labels->count; i++) {
        const char *key = nc_arena_printf(a, "%d", i);
        nc_str name = labels->name ? labels->name[i] : nc_str_of(nc_arena_printf(a, "LABEL_%d", i));
        nc_json_set(a, names, key, nc_json_new_string(a, name));
        nc_json_set(a, numbers, nc_arena_strndup(a, name.p, name.n), nc_json_new_int(a, i));
    }
    NC_JSON_EACH(v, config)
        if (strcmp(v->key.p, "num_labels"))              /* follows from id2label */
            nc_json_set(a, kept, v->key.p, nc_json_clone(a, v));
    nc_json_set(a, kept, "id2label", names);
    nc_json_set(a, kept, "label2id", numbers);
    nc_json_set(a, kept, "problem_type", nc_json_new_string(a, nc_str_of(problems[labels->kind])));
    *config = *kept;
}

static int write_front(nc_train_run *r, const nc_json *config, nc_error *e)
{
    nc_buf b = { 0 };
    const char *folder = nc_path_join(r->arena, r->folder, "front");
    NC_TRY(nc_mkdirs(folder, e));
    if (strcmp(folder, r->front))
        NC_TRY(nc_copy_front_files(r->front, folder, e));
    nc_json_write(&b, config, 2);
    nc_buf_addc(&b, '\n');
    int status = nc_file_write(nc_path_join(r->arena, folder, "config.json"), b.p, b.n, e);
    nc_buf_free(&b);
    r->front = folder;
    return status;
}

int nc_train_settle(nc_train_run *r, const char *suffix, const char *what, const nc_label_set *labels, nc_error *e)
{
    nc_arena *a = r->arena;
    nc_json *config = NULL, *list = nc_json_new(a, NC_JSON_ARRAY);
    NC_TRY(nc_json_load(a, nc_path_join(a, r->front, "config.json"), &config, e));
    const nc_family *f = nc_family_find(nc_json_string(nc_json_get(config, "model_type"), ""));
    if (!f)                                              /* loading says so better */
        return 0;
    const char *class = class_of(a, f, suffix), *now = nc_json_string(nc_json_at(nc_json_get(config, "architectures"), 0), "");
    if (!*class)
        return nc_fail(e, NC_EUNSUPPORTED, "stage: %s cannot train a %s on %s: it has no class ...%s (%s)", r->s->stage, f->name, what, suffix, f->architectures);
    r->class_changed = strcmp(class, now) != 0;
    nc_json_append(list, nc_json_new_string(a, nc_str_of(class)));
    nc_json_set(a, config, "architectures", list);
    if (labels)
        set_labels(a, config, labels);
    return write_front(r, config, e);
}

/* ---- which sites are the class's own ---- */

/* A module of a class without a head stands there without the prefix that a class with one puts before it. */
static const nc_site *twin_of(const nc_model *other, const nc_site *s)
{
    for (int i = 0; i < other->site_count; i++) {
        const char *name = other->sites[i]->name;
        const char *longer = strlen(name) > strlen(s->name) ? name : s->name, *shorter = longer == name ? s->name : name;
        size_t n = strlen(longer) - strlen(shorter);
        if (!strcmp(longer + n, shorter) && (n == 0 || (longer[n - 1] == '.' && memchr(longer, '.', n) == longer + n - 1)))
            return other->sites[i];
    }
    return NULL;
}

/* The folder's own class, and the family's class without a head. */
static int other_model(nc_train_run *r, const char *folder, bool bare, nc_model **out, nc_error *e)
{
    nc_arena *a = r->arena;
    nc_json *config = NULL, *list = nc_json_new(a, NC_JSON_ARRAY);
    NC_TRY(nc_json_load(a, nc_path_join(a, folder, "config.json"), &config, e));
    const char *class = class_of(a, r->l->model->family, "Model");
    if (bare && *class) {
        nc_json_append(list, nc_json_new_string(a, nc_str_of(class)));
        nc_json_set(a, config, "architectures", list);
    }
    return nc_model_new(config, out, e);
}

static int mark_fresh(nc_train_run *r, const nc_model *source, nc_error *e)
{
    const nc_model *m = r->l->model;
    nc_checkpoint *c = NULL;
    nc_error none = { 0 };
    if (nc_checkpoint_open(r->source, &c, &none) < 0 && !r->plan_only) {      /* a plan's earlier stages leave no weights: those of their class will be there */
        *e = none;
        return none.code;
    }
    for (int i = 0; i < m->site_count; i++) {
        nc_site *s = m->sites[i];
        const nc_site *there = twin_of(source, s);
        nc_source found = { 0 };
        nc_error missing = { 0 };
        bool other = there && !nc_shape_equal(&there->shape, &s->shape), has = !other && (c ? nc_checkpoint_find(c, m, s, &found, &missing) == 0 && found.data : there && !(there->flags & NC_SITE_OPTIONAL));
        if (!has && (other || !there || (there->flags & NC_SITE_OPTIONAL)) && !(s->flags & NC_SITE_OPTIONAL))
            s->flags |= NC_SITE_FRESH;
        else if (!has && (s->flags & NC_SITE_OPTIONAL))      /* known before the programs are made: what is not there is not read */
            s->flags |= NC_SITE_MISSING;
    }
    nc_checkpoint_close(c);
    return 0;
}

/* An adapter alone would lack what is trained whole beside it. */
static int check_adapter(const nc_train_run *r, nc_error *e)
{
    bool any = false;
    for (int i = 0; i < r->l->model->site_count; i++)
        any |= r->own[i];
    if (!any || r->s->merge_adapter || strcmp(r->s->finetuning_type, "lora"))
        return 0;
    return nc_fail(e, NC_EUNSUPPORTED, "merge_adapter: false: the head is trained whole, and adapters with whole modules (modules_to_save) are written for PEFT but not read here; "
                   "leave merge_adapter true, adapter/ beside the model holds both");
}

int nc_train_mark(nc_train_run *r, nc_error *e)
{
    const nc_model *m = r->l->model;
    nc_model *source = NULL, *bare = NULL;
    NC_TRY(other_model(r, r->front, true, &bare, e));
    r->own = NC_NEW_ARRAY(r->arena, bool, m->site_count + 1);
    for (int i = 0; i < m->site_count; i++)
        r->own[i] = !twin_of(bare, m->sites[i]);
    nc_model_free(bare);
    NC_TRY(check_adapter(r, e));
    if (!r->source)
        return 0;
    int status = other_model(r, r->source, false, &source, e);
    if (status == 0)
        status = mark_fresh(r, source, e);
    nc_model_free(source);
    for (int i = 0; i < m->site_count; i++) {
        if (r->class_changed && !r->own[i] && (m->sites[i]->flags & NC_SITE_OPTIONAL))      /* the pooler of a class that pools nothing */
            m->sites[i]->flags |= NC_SITE_MISSING;
        r->own[i] |= (m->sites[i]->flags & NC_SITE_FRESH) != 0;
    }
    return status;
}
