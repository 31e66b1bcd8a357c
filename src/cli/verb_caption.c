/* verb_caption.c - what a picture or a video shows, in one answer. */
#include <stdio.h>

#include "cli/speak.h"

static const nc_cli_option options[] = {
    { "prompt", "TEXT", "the question; the data set's own by default" },
    { "json", NULL, "{file, caption, prompt_tokens, new_tokens, seconds} a line" },
    NC_SPEAK_OPTIONS,
    { NULL, NULL, NULL },
};

static int caption(nc_cli *c, nc_session *s, const nc_generation_options *o, const char *path, nc_buf *b, nc_error *e)
{
    const char *prompt = nc_cli_get(c, "prompt");
    nc_attachment at;
    nc_answer answer = { 0 };
    NC_TRY(nc_speak_attachment(path, &at, e));
    const nc_loaded *l = nc_session_loaded(s);
    const char *task = nc_source_task(l->processor, NC_TASK_CAPTION);
    const char *usual = task ? task : l->model->family->encoder ? "" : at.is_video ? NC_SPEAK_QUESTION : NC_SPEAK_PICTURE_QUESTION;   /* no question before a decoder's text */
    int status = nc_session_caption(s, prompt ? prompt : usual, &at, 1, o, NULL, NULL, &answer, e);
    if (status == 0 && nc_cli_has(c, "json")) {
        nc_buf_adds(b, "{\"file\": ");
        nc_buf_json_string(b, nc_str_of(path));
        nc_buf_adds(b, ", \"caption\": ");
        nc_buf_json_string(b, (nc_str){ answer.text.p, answer.text.n });
        nc_buf_printf(b, ", \"prompt_tokens\": %d, \"new_tokens\": %d, \"seconds\": %.4f}\n", answer.prompt_tokens, answer.new_tokens, answer.seconds);
    } else if (status == 0)
        nc_buf_printf(b, "%s%s%s\n", c->words > 2 ? path : "", c->words > 2 ? ": " : "", answer.text.p ? answer.text.p : "");
    nc_buf_free(&answer.text);
    return status;
}

static int run(nc_cli *c, nc_error *e)
{
    nc_session *s = NULL;
    nc_generation_options o;
    nc_attachment probe;
    for (int i = 1; i < c->words; i++)          /* a wrong name is told before the model is loaded */
        NC_TRY(nc_speak_attachment(c->word[i], &probe, e));
    int status = nc_speak_open(c, c->word[0], &s, &o, e);
    for (int i = 1; i < c->words && status == 0; i++) {
        nc_buf b = { 0 };
        status = caption(c, s, &o, c->word[i], &b, e);
        nc_cli_print(&b);
    }
    nc_session_close(s);
    return status;
}

const nc_verb nc_verb_caption = { "caption", "FOLDER FILE...", "what pictures or videos show", NULL, options, 2, 4096, false, run };
