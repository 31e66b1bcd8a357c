/* golden_media.c - golden/processors: a folder is a case, its pictures are summed. */
#include <stdio.h>

#include "cli/golden.h"
#include "front/processor_golden.h"

typedef struct sums { int ok, failed, skipped; double worst; char first[300], reason[300]; } sums;

static void add(void *context, const char *name, nc_golden_result result, double worst, const char *message)
{
    sums *s = context;
    s->ok += result == NC_GOLDEN_OK;
    if (worst > s->worst)
        s->worst = worst;
    if (result == NC_GOLDEN_FAILED && !s->failed++)
        snprintf(s->first, sizeof s->first, "%s: %.200s", name, message ? message : "");
    if (result == NC_GOLDEN_SKIPPED && !s->skipped++)
        snprintf(s->reason, sizeof s->reason, "%s: %.200s", name, message ? message : "");
}

void nc_golden_run_processor(nc_golden_tally *t, const char *path, const char *folder)
{
    sums s = { 0 };
    nc_error e = { 0 };
    if (nc_golden_processor(folder, t->data, add, &s, &e) < 0)
        nc_golden_line(t, e.code == NC_EUNSUPPORTED ? NC_CASE_SKIPPED : NC_CASE_FAILED, path, "%s", e.message);
    else if (s.failed)
        nc_golden_line(t, NC_CASE_FAILED, path, "%d of %d cases differ; %s", s.failed, s.ok + s.failed, s.first);
    else if (!s.ok)
        nc_golden_line(t, NC_CASE_SKIPPED, path, "%s", s.reason[0] ? s.reason : "no case found");
    else
        nc_golden_line(t, NC_CASE_OK, path, "%d cases, worst error %.3g%s%s", s.ok, s.worst, s.skipped ? "; not compared: " : "", s.reason);
}
