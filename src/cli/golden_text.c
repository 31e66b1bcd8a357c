/* golden_text.c - golden/tokenizers and golden/templates: a folder is a case, its files' comparisons are summed. */
#include <stdio.h>

#include "cli/golden.h"
#include "base/str.h"
#include "load/gguf_vocab.h"
#include "text/golden_text.h"

typedef struct sums { long ok, failed; char skipped[300], first[300]; } sums;

static void add(void *context, const char *name, long ok, long failed, const char *detail)
{
    sums *s = context;
    s->ok += ok;
    if (failed && !s->failed)
        snprintf(s->first, sizeof s->first, "%s: %.200s", name, detail ? detail : "");
    if (!ok && !failed && !s->skipped[0])
        snprintf(s->skipped, sizeof s->skipped, "%s: %.200s", name, detail ? detail : "");
    s->failed += failed;
}

static void line(nc_golden_tally *t, const char *path, const sums *s, int status, const nc_error *e)
{
    if (status < 0)
        nc_golden_line(t, NC_CASE_FAILED, path, "%s", e->message);
    else if (s->failed)
        nc_golden_line(t, NC_CASE_FAILED, path, "%ld of %ld comparisons differ; %s", s->failed, s->ok + s->failed, s->first);
    else if (!s->ok)
        nc_golden_line(t, NC_CASE_SKIPPED, path, "%s", s->skipped[0] ? s->skipped : "no case found");
    else
        nc_golden_line(t, NC_CASE_OK, path, "%ld comparisons equal%s%s", s->ok, s->skipped[0] ? "; not compared: " : "", s->skipped);
}

void nc_golden_run_tokenizer(nc_golden_tally *t, const char *path, const char *folder)
{
    sums s = { 0 };
    nc_error e = { 0 };
    int status = nc_golden_tokenizer(folder, t->data, nc_gguf_vocab_open, add, &s, &e);
    line(t, path, &s, status, &e);
}

void nc_golden_run_templates(nc_golden_tally *t, const char *path, const char *folder)
{
    sums s = { 0 };
    nc_error e = { 0 };
    int status = nc_golden_templates(folder, add, &s, &e);
    line(t, path, &s, status, &e);
}
