/* Classifiers from a folder and labelled records: texts, pairs, words and pictures; which class and labels the result has, what is fresh in it, and the same bits after a kill and
 * with any number of threads; and masked words. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "load/load.h"
#include "media/image.h"
#include "train/train.h"

static char folder[64];

static const char *path_of(const char *name)
{
    static char path[4][200];
    static int turn;
    char *p = path[turn++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", folder, name);
    return p;
}

static void put(const char *name, const char *text)
{
    nc_error e = { 0 };
    assert_int_equal(nc_file_write(path_of(name), text, strlen(text), &e), 0);
}

/* The bare BERT of a tokenizer whose words are pieces of the data. */
static int make_texts(void)
{
    static const char config[] = "{\"architectures\": [\"BertModel\"], \"model_type\": \"bert\", \"vocab_size\": 24, \"hidden_size\": 16, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
                                 "\"intermediate_size\": 24, \"max_position_embeddings\": 16, \"pad_token_id\": 0, \"initializer_range\": 0.2}";
    nc_error e = { 0 };
    nc_loaded *l = NULL;
    if (nc_mkdirs(path_of("bert"), &e) < 0)
        return -1;
    put("bert/config.json", config);
    put("bert/vocab.txt", "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\ngood\nbad\nfilm\nplot\nthe\na\nwas\nnot\n##s\n영화\n좋다\n나쁘다\nSeoul\nKim\nin\n");
    put("bert/tokenizer_config.json", "{\"tokenizer_class\": \"BertTokenizer\", \"do_lower_case\": false, \"cls_token\": \"[CLS]\", \"sep_token\": \"[SEP]\", \"unk_token\": \"[UNK]\", "
                                      "\"pad_token\": \"[PAD]\", \"mask_token\": \"[MASK]\"}");
    if (nc_load(path_of("bert"), &(nc_load_options){ .weights = { .compute = NC_F32, .kernels = nc_kernels_best() }, .random = true, .seed = 4 }, &l, &e) < 0 ||
        nc_model_save(l->model, path_of("bert"), NC_F32, (uint64_t)1 << 30, &e) < 0) {
        fprintf(stderr, "%s\n", e.message);
        return -1;
    }
    nc_loaded_free(l);
    put("text.jsonl", "{\"text\": \"the film was good\", \"label\": \"pos\"}\n{\"text\": \"bad plot\", \"label\": \"neg\"}\n{\"text\": \"a good plot\", \"label\": \"pos\"}\n"
                      "{\"text\": \"the films was bad\", \"label\": \"neg\"}\n{\"text\": \"영화 좋다\", \"label\": \"pos\"}\n{\"text\": \"영화 나쁘다\", \"label\": \"neg\"}\n");
    put("pair.jsonl", "{\"sentence1\": \"good film\", \"sentence2\": \"a good film\", \"score\": 4.5}\n{\"sentence1\": \"good film\", \"sentence2\": \"bad plot\", \"score\": 1.0}\n"
                      "{\"sentence1\": \"the plot was bad\", \"sentence2\": \"plots was bad\", \"score\": 4.0}\n");
    put("some.jsonl", "{\"text\": \"good film\", \"labels\": [\"film\"]}\n{\"text\": \"the plot, the film\", \"labels\": [\"film\", \"plot\"]}\n{\"text\": \"Seoul\", \"labels\": []}\n");
    put("words.jsonl", "{\"tokens\": [\"Kim\", \"was\", \"in\", \"Seoul\"], \"ner_tags\": [\"B-PER\", \"O\", \"O\", \"B-LOC\"]}\n"
                       "{\"tokens\": [\"the\", \"films\", \"in\", \"Seoul\"], \"ner_tags\": [\"O\", \"O\", \"O\", \"B-LOC\"]}\n");
    put("r.yaml", "stage: cls\nmax_steps: 48\nlogging_steps: 1\nsave_steps: 2\nlearning_rate: 3.0e-3\nper_device_train_batch_size: 2\nseed: 3\n");
    return 0;
}

/* A folder for each label, as datasets' imagefolder reads them. */
static int make_pictures(void)
{
    nc_error e = { 0 };
    for (int i = 0; i < 8; i++) {
        char name[40];
        nc_image im = { 0 };
        nc_buf bytes = { 0 };
        snprintf(name, sizeof name, "pictures/%s", i % 2 ? "dark" : "bright");
        if (nc_mkdirs(path_of(name), &e) < 0 || nc_image_new(40 + i, 36, 3, &im, &e) < 0)
            return -1;
        for (size_t k = 0; k < nc_image_bytes(&im); k++)
            im.pixels[k] = (uint8_t)((k * 7 + (size_t)i * 13) % 60 + (i % 2 ? 0 : 180));
        snprintf(name, sizeof name, "pictures/%s/%d.jpg", i % 2 ? "dark" : "bright", i);
        if (nc_image_encode_jpeg(&im, 95, &bytes, &e) < 0 || nc_file_write(path_of(name), bytes.p, bytes.n, &e) < 0)
            return -1;
        nc_image_free(&im);
        nc_buf_free(&bytes);
    }
    return 0;
}

static int make_folder(void **state)
{
    (void)state;
    nc_log_setup(NC_LOG_SILENT, false);
    strcpy(folder, "/tmp/nunchi-test-XXXXXX");
    return mkdtemp(folder) && make_texts() == 0 && make_pictures() == 0 ? 0 : -1;
}

static int remove_folder(void **state)
{
    nc_error e = { 0 };
    (void)state;
    return nc_remove_tree(folder, &e);
}

static int try_train(const char *out, const char *model, const char *data, const char *const *more, nc_train_report *r, nc_error *e)
{
    char text[4][200], *list[12];
    int n = 0;
    snprintf(text[0], sizeof text[0], "output_dir=%s/%s", folder, out);
    snprintf(text[1], sizeof text[1], "model_name_or_path=%s", model);
    snprintf(text[2], sizeof text[2], "dataset=%s", data);
    snprintf(text[3], sizeof text[3], "dataset_dir=%s", folder);
    while (n < 4)
        list[n] = text[n], n++;
    for (; more && *more; more++)
        list[n++] = (char *)(uintptr_t)*more;
    return nc_train(path_of("r.yaml"), list, n, r, e);
}

static nc_train_report train(const char *out, const char *model, const char *data, const char *const *more)
{
    nc_train_report r;
    nc_error e = { 0 };
    if (try_train(out, model, data, more, &r, &e) < 0)
        fail_msg("%s", e.message);
    assert_true(isfinite(r.last_loss));
    return r;
}

static nc_json *config_of(nc_arena *a, const char *out)
{
    nc_json *j = NULL;
    nc_error e = { 0 };
    char name[100];
    snprintf(name, sizeof name, "%s/model/config.json", out);
    if (nc_json_load(a, path_of(name), &j, &e) < 0)
        fail_msg("%s", e.message);
    return j;
}

static void expect_class(const char *out, const char *class, const char *problem, int labels, const char *first)
{
    nc_arena *a = nc_arena_new();
    nc_json *c = config_of(a, out);
    assert_string_equal(nc_json_string(nc_json_at(nc_json_get(c, "architectures"), 0), ""), class);
    assert_string_equal(nc_json_string(nc_json_get(c, "problem_type"), ""), problem);
    assert_int_equal(nc_json_get(c, "id2label")->count, labels);
    assert_string_equal(nc_json_string(nc_json_path(c, "id2label.0"), ""), first);
    nc_arena_free(a);
}

static void a_bare_model_gets_the_head_that_the_labels_ask_for(void **state)
{
    (void)state;
    nc_train_report r = train("text", path_of("bert"), "text.jsonl", NULL);
    assert_true(r.last_loss < 0.5 * r.first_loss);
    expect_class("text", "BertForSequenceClassification", "single_label_classification", 2, "neg");
    r = train("pair", path_of("bert"), "pair.jsonl", NULL);
    assert_true(r.last_loss < r.first_loss);
    expect_class("pair", "BertForSequenceClassification", "regression", 1, "LABEL_0");
    train("some", path_of("bert"), "some.jsonl", NULL);
    expect_class("some", "BertForSequenceClassification", "multi_label_classification", 2, "film");
    r = train("words", path_of("bert"), "words.jsonl", NULL);
    assert_true(r.last_loss < r.first_loss);
    expect_class("words", "BertForTokenClassification", "single_label_classification", 3, "B-LOC");
}

static bool has_tensor(const char *out, const char *name)
{
    nc_safetensors *s = NULL;
    nc_error e = { 0 };
    assert_int_equal(nc_safetensors_open(path_of(out), &s, &e), 0);
    bool has = nc_safetensors_find(s, name) != NULL;
    nc_safetensors_close(s);
    return has;
}

static void names_are_those_of_the_new_class(void **state)
{
    (void)state;
    assert_true(has_tensor("text/model", "bert.encoder.layer.0.output.dense.weight") && has_tensor("text/model", "classifier.weight") && has_tensor("text/model", "bert.pooler.dense.weight"));
    assert_false(has_tensor("words/model", "bert.pooler.dense.weight"));
}

/* A head is kept where the labels are its own, refused where they are others, and made anew where that is asked for. */
static void a_head_is_kept_or_asked_about(void **state)
{
    static const char *const anew[] = { "ignore_mismatched_sizes=true", NULL }, *const still[] = { "learning_rate=0", "max_steps=1", NULL };
    nc_train_report r;
    nc_error e = { 0 };
    char kept[200];
    (void)state;
    snprintf(kept, sizeof kept, "%s", path_of("text/model"));
    r = train("again", kept, "text.jsonl", still);
    assert_true(r.last_loss < 0.6);                      /* trained before */
    put("three.jsonl", "{\"text\": \"good\", \"label\": \"a\"}\n{\"text\": \"bad\", \"label\": \"b\"}\n{\"text\": \"plot\", \"label\": \"c\"}\n");
    assert_true(try_train("other", kept, "three.jsonl", NULL, &r, &e) < 0);
    assert_non_null(strstr(e.message, "ignore_mismatched_sizes"));
    train("other", kept, "three.jsonl", anew);
    expect_class("other", "BertForSequenceClassification", "single_label_classification", 3, "a");
}

static void pictures_in_folders_train_classifiers(void **state)
{
    static const char *const three[] = { "per_device_train_batch_size=3", "num_train_epochs=3", "max_steps=-1", "ignore_mismatched_sizes=true", NULL };
    (void)state;
    nc_train_report r = train("beit", "tests/golden/models/beit", "pictures", three);
    assert_int_equal(r.steps, 9);
    expect_class("beit", "BeitForImageClassification", "single_label_classification", 2, "bright");
    r = train("regnet", "tests/golden/models/regnet", "pictures", three);
    expect_class("regnet", "RegNetForImageClassification", "single_label_classification", 2, "bright");
}

/* The head is trained whole beside the factors, and lies with them for PEFT. */
static void adapters_leave_the_head_whole(void **state)
{
    static const char *const lora[] = { "finetuning_type=lora", "learning_rate=1.0e-2", NULL }, *const alone[] = { "finetuning_type=lora", "merge_adapter=false", NULL };
    nc_arena *a = nc_arena_new();
    nc_json *c = NULL;
    nc_error e = { 0 };
    nc_train_report r = train("lora", path_of("bert"), "text.jsonl", lora);
    (void)state;
    assert_true(r.last_loss < r.first_loss);
    assert_true(has_tensor("lora/adapter/adapter_model.safetensors", "base_model.model.classifier.weight") && has_tensor("lora/model", "classifier.weight"));
    assert_int_equal(nc_json_load(a, path_of("lora/adapter/adapter_config.json"), &c, &e), 0);
    assert_string_equal(nc_json_string(nc_json_get(c, "task_type"), ""), "SEQ_CLS");
    assert_string_equal(nc_json_string(nc_json_at(nc_json_get(c, "modules_to_save"), 0), ""), "classifier");
    nc_arena_free(a);
    assert_true(try_train("no", path_of("bert"), "text.jsonl", alone, &r, &e) < 0);
    assert_non_null(strstr(e.message, "merge_adapter"));
}

static void pictures_train_a_model_made_from_nothing(void **state)
{
    static const char *const more[] = { "train_from_scratch=true", "model_config={model_type: vit, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 24, image_size: 16, "
                                        "patch_size: 8}", NULL };
    (void)state;
    nc_train_report r = train("scratch", "none", "pictures", more);
    assert_true(r.last_loss < 0.5 * r.first_loss);
    expect_class("scratch", "ViTForImageClassification", "single_label_classification", 2, "bright");
}

static void what_cannot_be_trained_so_is_refused(void **state)
{
    nc_train_report r;
    nc_error e = { 0 };
    (void)state;
    assert_true(try_train("no", "tests/golden/models/llama", "text.jsonl", NULL, &r, &e) < 0);
    assert_non_null(strstr(e.message, "it has no class ...ForSequenceClassification"));
    put("mixed.jsonl", "{\"text\": \"good\", \"label\": \"a\"}\n{\"tokens\": [\"bad\"], \"tags\": [\"b\"]}\n");
    assert_true(try_train("no", path_of("bert"), "mixed.jsonl", NULL, &r, &e) < 0);
    assert_non_null(strstr(e.message, "mixed.jsonl:2: a record of words among those of texts"));
    put("one.jsonl", "{\"text\": \"good\", \"label\": \"a\"}\n{\"text\": \"bad\", \"label\": \"a\"}\n");
    assert_true(try_train("no", path_of("bert"), "one.jsonl", NULL, &r, &e) < 0);
    assert_non_null(strstr(e.message, "the same label"));
}

static nc_buf weights_of(const char *out)
{
    char name[100];
    nc_buf b = { 0 };
    nc_error e = { 0 };
    snprintf(name, sizeof name, "%s/model/model.safetensors", out);
    if (nc_file_read(path_of(name), 1 << 26, &b, &e) < 0)
        fail_msg("%s", e.message);
    return b;
}

static void same_bits(const char *one, const char *two)
{
    nc_buf a = weights_of(one), b = weights_of(two);
    assert_int_equal(a.n, b.n);
    assert_memory_equal(a.p, b.p, a.n);
    nc_buf_free(&a);
    nc_buf_free(&b);
}

static void train_with_kills(const char *out, const char *model, const char *data, const char *const *more)
{
    for (int kills = 0; kills < 4; kills++) {
        pid_t child = fork();
        if (child == 0) {
            nc_train_report r;
            nc_error e = { 0 };
            _exit(try_train(out, model, data, more, &r, &e) < 0);
        }
        usleep((useconds_t)(30000 + 40000 * kills));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    train(out, model, data, more);
}

/* Batch norm's running statistics are part of the state. */
static void killed_it_goes_on(void **state)
{
    static const char *const more[] = { "ignore_mismatched_sizes=true", "max_steps=-1", "num_train_epochs=3", "per_device_train_batch_size=3", NULL };
    (void)state;
    train_with_kills("killed", "tests/golden/models/regnet", "pictures", more);
    same_bits("regnet", "killed");
}

/* Another choice of words in each epoch, the same after a kill. */
static void masked_words_train_a_bare_model(void **state)
{
    static const char *const more[] = { "stage=mlm", "mlm_probability=0.4", "max_steps=-1", "num_train_epochs=12", "val_size=1", "eval_strategy=epoch", NULL };
    (void)state;
    put("running.txt", "the film was good\nthe plot was bad\na good film in Seoul\nthe films was not bad and the plot was good and the film was a good film in Seoul\nKim was in Seoul\n");
    nc_train_report r = train("masked", path_of("bert"), "running.txt", more);
    assert_true(r.last_loss < r.first_loss && isfinite(r.eval_loss));
    assert_true(has_tensor("masked/model", "cls.predictions.transform.dense.weight") && !has_tensor("masked/model", "bert.pooler.dense.weight"));
    train_with_kills("masked-killed", path_of("bert"), "running.txt", more);
    same_bits("masked", "masked-killed");
    nc_error e = { 0 };
    assert_true(try_train("no", path_of("bert"), "text.jsonl", (const char *const[]){ "stage=mlm", "mlm_probability=1.5", NULL }, &r, &e) < 0);
    assert_non_null(strstr(e.message, "mlm_probability"));
}

/* The words first, then the labels; planned and run. */
static void one_stage_goes_on_from_another(void **state)
{
    static const char stages[] = "per_device_train_batch_size: 2\nmax_steps: 3\nstages:\n  - {name: words, stage: mlm, dataset: running.txt}\n"
                                 "  - {name: labels, stage: cls, dataset: text.jsonl, model_name_or_path: words}\n";
    char out[200], data[200], model[200], *list[] = { out, data, model };
    nc_buf table = { 0 };
    nc_train_report r;
    nc_error e = { 0 };
    (void)state;
    put("stages.yaml", stages);
    snprintf(out, sizeof out, "output_dir=%s", path_of("staged"));
    snprintf(data, sizeof data, "dataset_dir=%s", folder);
    snprintf(model, sizeof model, "stages.words.model_name_or_path=%s", path_of("bert"));
    if (nc_train_plan(path_of("stages.yaml"), list, 3, &table, &e) < 0)
        fail_msg("%s", e.message);
    assert_non_null(strstr(table.p, "stage 1 labels: cls full"));
    nc_buf_free(&table);
    if (nc_train(path_of("stages.yaml"), list, 3, &r, &e) < 0)
        fail_msg("%s", e.message);
    expect_class("staged", "BertForSequenceClassification", "single_label_classification", 2, "neg");
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    setenv("NUNCHI_THREADS", "1", 1);
    train("one-thread", path_of("bert"), "text.jsonl", NULL);
    setenv("NUNCHI_THREADS", "3", 1);
    train("three-threads", path_of("bert"), "text.jsonl", NULL);
    unsetenv("NUNCHI_THREADS");
    same_bits("one-thread", "three-threads");
    same_bits("one-thread", "text");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bare_model_gets_the_head_that_the_labels_ask_for), cmocka_unit_test(names_are_those_of_the_new_class), cmocka_unit_test(a_head_is_kept_or_asked_about),
        cmocka_unit_test(adapters_leave_the_head_whole), cmocka_unit_test(pictures_in_folders_train_classifiers), cmocka_unit_test(pictures_train_a_model_made_from_nothing), cmocka_unit_test(what_cannot_be_trained_so_is_refused), cmocka_unit_test(killed_it_goes_on), cmocka_unit_test(masked_words_train_a_bare_model), cmocka_unit_test(one_stage_goes_on_from_another),
        cmocka_unit_test(threads_change_no_bit),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
