/* cli.c - from argv to a verb's run, and from its outcome to a line and an exit code. */
#include "cli/cli.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/log.h"
#include "kernels/kernels.h"

static const nc_verb *const verbs[] = {
#define VERB(name) &nc_verb_##name,
#include "cli/verbs.list"
#undef VERB
};

const nc_verb *const *nc_verbs(int *count)
{
    *count = NC_COUNT(verbs);
    return verbs;
}

const nc_verb *nc_verb_find(const char *name)
{
    for (int i = 0; i < NC_COUNT(verbs); i++)
        if (!strcmp(verbs[i]->name, name))
            return verbs[i];
    return NULL;
}

/* ---- signals ---- */
static void (*volatile on_interrupt)(void);
static void (*volatile on_terminate)(void);
static volatile sig_atomic_t interrupts;

static void interrupted(int signal)
{
    void (*fn)(void) = signal == SIGTERM ? on_terminate : on_interrupt;
    if (!fn || (signal == SIGINT && interrupts++ > 0))
        _exit(signal == SIGTERM ? 143 : 130);
    fn();
}

static void listen_to(int signal)
{
    struct sigaction s = { .sa_handler = interrupted };
    sigemptyset(&s.sa_mask);
    sigaction(signal, &s, NULL);      /* no SA_RESTART: a read of the terminal ends with EINTR */
}

void nc_cli_interrupt(void (*fn)(void))
{
    on_interrupt = fn;
    interrupts = 0;
    listen_to(SIGINT);
}

void nc_cli_terminate(void (*fn)(void))
{
    on_terminate = fn;
    listen_to(SIGTERM);
}

/* ---- text ---- */
void nc_cli_print(nc_buf *b)
{
    if (b->n)
        fwrite(b->p, 1, b->n, stdout);
    fflush(stdout);
    nc_buf_free(b);
}

/* East Asian wide ranges that our own messages use: Hangul, CJK, kana, full-width forms. */
int nc_cli_columns(const char *s)
{
    size_t n = strlen(s);
    int columns = 0;
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        int length = nc_utf8_decode(s + i, n - i, &c);
        i += length > 0 ? (size_t)length : 1;
        columns += c >= 0x1100 && (c <= 0x115f || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) || (c >= 0xf900 && c <= 0xfaff) || (c >= 0xff00 && c <= 0xff60)) ? 2 : 1;
    }
    return columns;
}

void nc_cli_pad(nc_buf *b, const char *s, int columns)
{
    nc_buf_adds(b, s);
    for (int i = nc_cli_columns(s); i < columns; i++)
        nc_buf_addc(b, ' ');
}

const char *nc_cli_metrics(nc_arena *a, const char *run)
{
    const char *found = nc_path_join(a, run, "metrics.jsonl");
    found = nc_file_exists(found) ? found : NULL;
    for (int k = 0; k < 64; k++) {
        const char *path = nc_arena_printf(a, "%s/stage%d/metrics.jsonl", run, k);
        if (nc_file_exists(path))
            found = path;
    }
    return found;
}

void nc_verb_describe(const nc_verb *v, nc_buf *out)
{
    nc_buf_printf(out, "%s\n\nusage: nunchi %s%s%s%s%s\n", v->summary, v->name, *v->words ? " " : "", v->words, v->options ? " [options]" : "", v->pairs ? " [key=value ...]" : "");
    if (v->details)
        nc_buf_printf(out, "\n%s\n", v->details);
    if (!v->options)
        return;
    nc_buf_adds(out, "\noptions:\n");
    int width = 0;
    for (const nc_cli_option *o = v->options; o->name; o++) {
        int n = (int)strlen(o->name) + (o->argument ? (int)strlen(o->argument) + 1 : 0);
        width = n > width ? n : width;
    }
    for (const nc_cli_option *o = v->options; o->name; o++) {
        int n = (int)strlen(o->name) + (o->argument ? (int)strlen(o->argument) + 1 : 0);
        nc_buf_printf(out, "  --%s%s%s%*s  %s\n", o->name, o->argument ? " " : "", o->argument ? o->argument : "", width - n, "", o->help);
    }
}

/* ---- options ---- */
static int find_option(const nc_verb *v, const char *name, size_t n)
{
    for (int i = 0; v->options && v->options[i].name; i++)
        if (strlen(v->options[i].name) == n && !memcmp(v->options[i].name, name, n))
            return i;
    return -1;
}

const char *nc_cli_get(const nc_cli *c, const char *option)
{
    int i = find_option(c->verb, option, strlen(option));
    return i < 0 ? NULL : c->value[i];
}

bool nc_cli_has(const nc_cli *c, const char *option) { return nc_cli_get(c, option) != NULL; }

int nc_cli_usage(nc_cli *c, nc_error *e, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    nc_failv(e, NC_EINVAL, format, args);
    va_end(args);
    c->usage = true;
    return NC_EINVAL;
}

int nc_cli_int(nc_cli *c, const char *option, int64_t least, int64_t most, int64_t fallback, int64_t *out, nc_error *e)
{
    const char *s = nc_cli_get(c, option);
    *out = fallback;
    if (s && (!nc_parse_int(s, out) || *out < least || *out > most))
        return nc_cli_usage(c, e, "%s: --%s %s: give a whole number from %lld to %lld", c->verb->name, option, s, (long long)least, (long long)most);
    return 0;
}

int nc_cli_double(nc_cli *c, const char *option, double least, double most, double fallback, double *out, nc_error *e)
{
    const char *s = nc_cli_get(c, option);
    *out = fallback;
    if (s && (!nc_parse_double(s, out) || !(*out >= least && *out <= most)))
        return nc_cli_usage(c, e, "%s: --%s %s: give a number from %g to %g", c->verb->name, option, s, least, most);
    return 0;
}

static int unknown_option(nc_cli *c, const char *name, size_t n, nc_error *e)
{
    const char *names[64], *given = nc_arena_strndup(c->arena, name, n);
    int count = 0;
    for (int i = 0; c->verb->options && c->verb->options[i].name && count < NC_COUNT(names); i++)
        names[count++] = c->verb->options[i].name;
    const char *near = nc_nearest(given, names, count);
    if (near)
        return nc_cli_usage(c, e, "%s: --%s: no such option; did you mean --%s?", c->verb->name, given, near);
    return nc_cli_usage(c, e, "%s: --%s: no such option; see nunchi %s --help", c->verb->name, given, c->verb->name);
}

static bool is_pair(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.");
    return n > 0 && s[n] == '=';
}

/* Reads one option at argv[*i]; its value is behind '=' or the next word. */
static int read_option(nc_cli *c, int argc, char **argv, int *i, nc_error *e)
{
    const char *name = argv[*i] + 2, *equals = strchr(name, '=');
    size_t n = equals ? (size_t)(equals - name) : strlen(name);
    int k = find_option(c->verb, name, n);
    if (k < 0)
        return unknown_option(c, name, n, e);
    const nc_cli_option *o = &c->verb->options[k];
    if (!o->argument) {
        if (equals)
            return nc_cli_usage(c, e, "%s: --%s takes no value", c->verb->name, o->name);
        c->value[k] = "";
        return 0;
    }
    if (!equals && ++*i >= argc)
        return nc_cli_usage(c, e, "%s: --%s needs a value (%s)", c->verb->name, o->name, o->argument);
    c->value[k] = equals ? equals + 1 : argv[*i];
    return 0;
}

static int read_words(nc_cli *c, int argc, char **argv, bool *help, nc_error *e)
{
    bool literal = false;
    for (int i = 0; i < argc; i++) {
        char *s = argv[i];
        if (!literal && !strcmp(s, "--"))
            literal = true;
        else if (!literal && (!strcmp(s, "--help") || !strcmp(s, "-h"))) {
            *help = true;
            return 0;
        } else if (!literal && nc_starts_with(s, "--"))
            NC_TRY(read_option(c, argc, argv, &i, e));
        else if (!literal && s[0] == '-' && s[1])
            return nc_cli_usage(c, e, "%s: %s: options are long here (--name); see nunchi %s --help", c->verb->name, s, c->verb->name);
        else if (c->verb->pairs && !literal && is_pair(s))
            c->pair[c->pairs++] = s;
        else
            c->word[c->words++] = s;
    }
    if (c->words < c->verb->least)
        return nc_cli_usage(c, e, "%s: too few arguments; usage: nunchi %s %s", c->verb->name, c->verb->name, c->verb->words);
    if (c->words > c->verb->most)
        return nc_cli_usage(c, e, "%s: %s: one argument too many; usage: nunchi %s %s", c->verb->name, c->word[c->verb->most], c->verb->name, c->verb->words);
    return 0;
}

static int run_verb(const nc_verb *v, int argc, char **argv, const char *program)
{
    nc_cli c = { .verb = v, .arena = nc_arena_new(), .program = program };
    nc_error e = { 0 };
    int options = 0;
    bool help = false;
    while (v->options && v->options[options].name)
        options++;
    c.value = NC_NEW_ARRAY(c.arena, const char *, options + 1);
    c.word = NC_NEW_ARRAY(c.arena, char *, argc + 1);
    c.pair = NC_NEW_ARRAY(c.arena, char *, argc + 1);
    int status = read_words(&c, argc, argv, &help, &e);
    if (status == 0 && help) {
        nc_buf b = { 0 };
        nc_verb_describe(v, &b);
        nc_cli_print(&b);
    } else if (status == 0)
        status = v->run(&c, &e);
    if (status < 0) {
        if (status != NC_ECANCELLED || e.message[0])
            fprintf(stderr, "nunchi: %s\n", e.message[0] ? e.message : nc_status_name(status));
        status = c.usage ? 2 : status == NC_ECANCELLED ? 130 : 1;
    }
    nc_arena_free(c.arena);
    return status;
}

/* Output that could not be written is a failure, but for a reader that went away (head, less). */
static int finish(int status)
{
    errno = 0;
    if ((fflush(stdout) || ferror(stdout)) && errno != EPIPE && errno != 0) {
        fprintf(stderr, "nunchi: standard output: %s\n", strerror(errno));
        return status ? status : 1;
    }
    return status;
}

static int unknown_verb(const char *name)
{
    const char *names[NC_COUNT(verbs)];
    for (int i = 0; i < NC_COUNT(verbs); i++)
        names[i] = verbs[i]->name;
    const char *near = nc_nearest(name, names, NC_COUNT(names));
    if (near)
        fprintf(stderr, "nunchi: %s: no such verb; did you mean %s?\n", name, near);
    else
        fprintf(stderr, "nunchi: %s: no such verb; see nunchi help\n", name);
    return 2;
}

static int environment_mistake(const char *name, const char *wanted)
{
    fprintf(stderr, "nunchi: %s=%s: it must be %s\n", name, getenv(name), wanted);
    return 2;
}

/* A variable that was mistyped would otherwise change nothing, silently. */
static int check_environment(void)
{
    const char *cpu = getenv("NUNCHI_CPU"), *threads = getenv("NUNCHI_THREADS"), *form = getenv("NUNCHI_LOG"), *least = getenv("NUNCHI_LOG_LEVEL");
    nc_isa isa;
    int64_t n;
    if (cpu && *cpu && nc_isa_parse(cpu, &isa) < 0)
        return environment_mistake("NUNCHI_CPU", "scalar, avx2, avx512, avx512bf16 or amx");
    if (threads && *threads && (!nc_parse_int(threads, &n) || n < 0))
        return environment_mistake("NUNCHI_THREADS", "a whole number, 0 for all CPUs");
    if (form && *form && strcmp(form, "json") && strcmp(form, "text"))
        return environment_mistake("NUNCHI_LOG", "json or text");
    if (least && *least && strcmp(least, "debug") && strcmp(least, "info"))
        return environment_mistake("NUNCHI_LOG_LEVEL", "debug or info");
    return 0;
}

int nc_cli_main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (check_environment())
        return 2;
    const char *least = getenv("NUNCHI_LOG_LEVEL"), *form = getenv("NUNCHI_LOG");
    nc_log_setup(least && !strcmp(least, "debug") ? NC_LOG_DEBUG : NC_LOG_INFO, form && !strcmp(form, "json"));
    if (argc < 2) {
        run_verb(&nc_verb_help, 0, NULL, argv[0]);
        return 2;
    }
    const char *name = argv[1];
    if (!strcmp(name, "--help") || !strcmp(name, "-h"))
        name = "help";
    if (!strcmp(name, "--version"))
        name = "version";
    const nc_verb *v = nc_verb_find(name);
    return v ? finish(run_verb(v, argc - 2, argv + 2, argv[0])) : unknown_verb(name);
}
