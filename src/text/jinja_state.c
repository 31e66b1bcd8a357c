/* jinja_state.c - the first error of a rendering and its limits: steps, memory, depth. */
#include <string.h>

#include "text/jinja.h"

jvalue nc_jfail(jstate *s, const char *error, const char *format, ...)
{
    if (!s->failed) {
        va_list args;
        va_start(args, format);
        nc_failv(s->error, strcmp(error, "LimitError") ? NC_EINVAL : NC_ELIMIT, format, args);
        va_end(args);
        nc_fail_in(s->error, "%s", error);
    }
    s->failed = true;
    return jundefined();
}

bool nc_jstep(jstate *s, int64_t steps)
{
    int64_t before = s->steps;
    s->steps += steps;
    if (s->steps > s->limits.steps)
        nc_jfail(s, "LimitError", "the template ran more than %lld steps", (long long)s->limits.steps);
    else if (before >> 10 != s->steps >> 10 && nc_arena_bytes(s->arena) > s->limits.output * 4 + ((size_t)16 << 20))
        nc_jfail(s, "LimitError", "the template took more than %zu bytes of memory", s->limits.output * 4 + ((size_t)16 << 20));
    return !s->failed;
}

bool nc_jdeeper(jstate *s)
{
    if (s->depth >= 4 * J_DEPTH) {
        nc_jfail(s, "RecursionError", "maximum recursion depth exceeded");
        return false;
    }
    s->depth++;
    return true;
}
