/* verb_doctor.c - what this machine offers and what the program makes of it. */
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/json.h"
#include "cli/cli.h"
#include "cli/libraries.h"
#include "kernels/roofline.h"

static const nc_cli_option options[] = {
    { "json", NULL, "as one object" },
    { "quick", NULL, "leave the measurement out" },
    { NULL, NULL, NULL },
};

/* The value behind "key :" of /proc/cpuinfo or /proc/meminfo. */
static const char *proc_value(nc_arena *a, const char *file, const char *key)
{
    nc_buf b = { 0 };
    nc_error e = { 0 };
    const char *found = "unknown";
    if (nc_file_read(file, 1 << 22, &b, &e) == 0 && b.p) {
        char *at = strstr(b.p, key), *colon = at ? strchr(at, ':') : NULL;
        if (colon) {
            colon += 1 + strspn(colon + 1, " \t");
            found = nc_arena_strndup(a, colon, strcspn(colon, "\n"));
        }
    }
    nc_buf_free(&b);
    return found;
}

static const char *features(nc_arena *a)
{
    static const char *const known[] = { "avx2", "fma", "f16c", "bmi2", "avx512f", "avx512bw", "avx512vl", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8" };
    const char *flags = nc_arena_printf(a, " %s ", proc_value(a, "/proc/cpuinfo", "flags")), *out = "";
    for (int i = 0; i < NC_COUNT(known); i++)
        if (strstr(flags, nc_arena_printf(a, " %s ", known[i])))
            out = nc_arena_printf(a, "%s%s%s", out, *out ? " " : "", known[i]);
    return *out ? out : "none of those it has kernels for";
}

static void as_json(nc_arena *a, const nc_roofline *r, bool measured, nc_buf *b)
{
    nc_json *o = nc_json_new(a, NC_JSON_OBJECT), *libraries = nc_json_new(a, NC_JSON_OBJECT);
    nc_json_set(a, o, "version", nc_json_new_string(a, nc_str_of(NUNCHI_VERSION)));
    nc_json_set(a, o, "cpu", nc_json_new_string(a, nc_str_of(proc_value(a, "/proc/cpuinfo", "model name"))));
    nc_json_set(a, o, "features", nc_json_new_string(a, nc_str_of(features(a))));
    nc_json_set(a, o, "isa", nc_json_new_string(a, nc_str_of(nc_isa_name(nc_isa_best()))));
    nc_json_set(a, o, "threads", nc_json_new_int(a, nc_cpu_count()));
    if (measured) {
        nc_json_set(a, o, "dram_read_gbps", nc_json_new_double(a, r->dram_read_gbps));
        nc_json_set(a, o, "bf16_gflops", nc_json_new_double(a, r->bf16_gflops));
        nc_json_set(a, o, "int8_gops", nc_json_new_double(a, r->int8_gops));
        nc_json_set(a, o, "f32_gflops", nc_json_new_double(a, r->f32_gflops));
    }
    nc_library list[32];
    int n = nc_libraries(list, NC_COUNT(list));
    for (int i = 0; i < n; i++)
        nc_json_set(a, libraries, list[i].name, nc_json_new_string(a, nc_str_of(list[i].version)));
    nc_json_set(a, o, "libraries", libraries);
    nc_json_write(b, o, 1);
    nc_buf_addc(b, '\n');
}

static void as_text(nc_arena *a, const nc_roofline *r, bool measured, nc_buf *b)
{
    const char *level = getenv("NUNCHI_CPU");
    nc_buf_printf(b, "nunchi      %s\nprocessor   %s\nfeatures    %s\n", NUNCHI_VERSION, proc_value(a, "/proc/cpuinfo", "model name"), features(a));
    nc_buf_printf(b, "kernels     %s%s%s%s\n", nc_isa_name(nc_isa_best()), level ? " (NUNCHI_CPU=" : "", level ? level : "", level ? ")" : "");
    char total[32], free_now[32];
    nc_human_bytes(1024 * strtod(proc_value(a, "/proc/meminfo", "MemTotal"), NULL), total);
    nc_human_bytes(1024 * strtod(proc_value(a, "/proc/meminfo", "MemAvailable"), NULL), free_now);
    nc_buf_printf(b, "threads     %d\nmemory      %s, %s to be had\n", nc_cpu_count(), total, free_now);
    if (measured)
        nc_buf_printf(b, "roofline    %.1f GB/s reading memory; %.0f GFLOP/s bf16, %.0f GFLOP/s f32, %.0f Gop/s int8 (measured now, %d threads)\n", r->dram_read_gbps, r->bf16_gflops,
                      r->f32_gflops, r->int8_gops, r->threads);
    nc_library list[32];
    int n = nc_libraries(list, NC_COUNT(list));
    nc_buf_adds(b, "libraries");
    for (int i = 0; i < n; i++)
        nc_buf_printf(b, "%s%s %s", i ? ", " : "   ", list[i].name, list[i].version);
    nc_buf_addc(b, '\n');
}

static int run(nc_cli *c, nc_error *e)
{
    bool measured = !nc_cli_has(c, "quick");
    nc_roofline r = { 0 };
    nc_buf b = { 0 };
    int status = 0;
    if (measured) {
        nc_pool *pool = nc_pool_new(0);
        status = nc_roofline_measure(nc_kernels_best(), pool, &r, e);
        nc_pool_free(pool);
    }
    if (status < 0)
        return status;
    if (nc_cli_has(c, "json"))
        as_json(c->arena, &r, measured, &b);
    else
        as_text(c->arena, &r, measured, &b);
    nc_cli_print(&b);
    return 0;
}

const nc_verb nc_verb_doctor = { "doctor", "", "CPU features in use, threads, measured roofline, libraries found", NULL, options, 0, 0, false, run };
