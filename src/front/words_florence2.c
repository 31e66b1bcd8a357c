/* words_florence2.c - Florence-2: a task's word becomes the question the model was trained on, between the begin and end tokens.
 *
 *   <CAPTION>                              What does the image describe?
 *   <CAPTION_TO_PHRASE_GROUNDING> a cat    Locate the phrases in the caption: a cat
 *
 * A text without a task's word is asked as it is.
 */
#include <string.h>

#include "front/words.h"

/* after NULL: the task takes no input. */
static const struct { const char *word, *before, *after; } questions[] = {
    { "<OCR>", "What is the text in the image?", NULL },
    { "<OCR_WITH_REGION>", "What is the text in the image, with regions?", NULL },
    { "<CAPTION>", "What does the image describe?", NULL },
    { "<DETAILED_CAPTION>", "Describe in detail what is shown in the image.", NULL },
    { "<MORE_DETAILED_CAPTION>", "Describe with a paragraph what is shown in the image.", NULL },
    { "<OD>", "Locate the objects with category name in the image.", NULL },
    { "<DENSE_REGION_CAPTION>", "Locate the objects in the image, with their descriptions.", NULL },
    { "<REGION_PROPOSAL>", "Locate the region proposals in the image.", NULL },
    { "<CAPTION_TO_PHRASE_GROUNDING>", "Locate the phrases in the caption: ", "" },
    { "<REFERRING_EXPRESSION_SEGMENTATION>", "Locate ", " in the image with mask" },
    { "<REGION_TO_SEGMENTATION>", "What is the polygon mask of region ", "" },
    { "<OPEN_VOCABULARY_DETECTION>", "Locate ", " in the image." },
    { "<REGION_TO_CATEGORY>", "What is the region ", "?" },
    { "<REGION_TO_DESCRIPTION>", "What does the region ", " describe?" },
    { "<REGION_TO_OCR>", "What text is in the region ", "?" },
};

static const char *find(nc_str text, size_t from, const char *word)
{
    const size_t n = strlen(word);
    for (size_t i = from; i + n <= text.n; i++)
        if (!memcmp(text.p + i, word, n))
            return text.p + i;
    return NULL;
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

/* The text without every occurrence of the task's word, and without white space around. */
static void add_input(nc_str text, const char *word, nc_buf *out)
{
    nc_buf rest = { 0 };
    for (size_t at = 0; at < text.n;) {
        const char *next = find(text, at, word);
        size_t end = next ? (size_t)(next - text.p) : text.n;
        nc_buf_add(&rest, text.p + at, end - at);
        at = next ? end + strlen(word) : end;
    }
    size_t begin = 0, end = rest.n;
    while (begin < end && is_space(rest.p[begin]))
        begin++;
    while (end > begin && is_space(rest.p[end - 1]))
        end--;
    if (end > begin)
        nc_buf_add(out, rest.p + begin, end - begin);
    nc_buf_free(&rest);
}

static int question(nc_str text, nc_buf *out, nc_error *e)
{
    for (int i = 0; i < NC_COUNT(questions); i++) {
        if (!find(text, 0, questions[i].word))
            continue;
        if (!questions[i].after && text.n != strlen(questions[i].word))
            return nc_fail(e, NC_EINVAL, "the task %s takes no text beside its word", questions[i].word);
        nc_buf_adds(out, questions[i].before);
        if (questions[i].after) {
            add_input(text, questions[i].word, out);
            nc_buf_adds(out, questions[i].after);
        }
        return 0;
    }
    nc_buf_add(out, text.p, text.n);
    return 0;
}

static int source(const nc_tokenizer *t, nc_str text, nc_buf *out, nc_error *e)
{
    const char *bos = nc_tokenizer_special(t, "bos"), *eos = nc_tokenizer_special(t, "eos");
    nc_buf_adds(out, bos ? bos : "");
    NC_TRY(question(text, out, e));
    nc_buf_adds(out, eos ? eos : "");
    return 0;
}

static const char *const tasks[NC_TASKS] = { [NC_TASK_CAPTION] = "<CAPTION>", [NC_TASK_OCR] = "<OCR>", [NC_TASK_DETECT] = "<OD>" };

const nc_wording nc_wording_florence2 = { .processor = "Florence2Processor", .source = source, .tasks = tasks };
