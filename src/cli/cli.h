/* cli.h - the command line: a verb is one file verb_<name>.c with a table of options, and one line in verbs.list.
 *
 *   nunchi VERB [words] [--option value] [key=value]
 *
 * A verb's run returns an exit code (0 or more) or a negative nc_status, whose message is printed as `nunchi: message`. Exit codes: 0 done, 1 failure, 2 usage,
 * 130 after ^C.
 */
#ifndef NC_CLI_CLI_H
#define NC_CLI_CLI_H
#include "base/str.h"

typedef struct nc_cli_option {
    const char *name;                /* without the dashes */
    const char *argument;            /* what its value is called in the help, NULL: a flag */
    const char *help;
} nc_cli_option;

typedef struct nc_cli nc_cli;
typedef struct nc_verb {
    const char *name;
    const char *words;               /* of the usage line: "FOLDER [FILE]" */
    const char *summary;             /* one line */
    const char *details;             /* more for --help, or NULL */
    const nc_cli_option *options;    /* ends with a name of NULL; NULL: none */
    int least, most;                 /* words it takes */
    bool pairs;                      /* takes key=value */
    int (*run)(nc_cli *c, nc_error *e);
} nc_verb;

struct nc_cli {
    const nc_verb *verb;
    nc_arena *arena;
    const char **value;              /* by option; "" for a flag that is set; NULL when absent */
    char **word, **pair;             /* the rest, in order */
    int words, pairs;
    bool usage;                      /* the mistake is the caller's: exit code 2 */
    const char *program;             /* argv[0] */
};

int nc_cli_main(int argc, char **argv);
/* The value of an option (it must be in the table), NULL when absent. */
const char *nc_cli_get(const nc_cli *c, const char *option);
bool nc_cli_has(const nc_cli *c, const char *option);
/* A number within bounds; fallback when absent. A mistake is a usage error. */
int nc_cli_int(nc_cli *c, const char *option, int64_t least, int64_t most, int64_t fallback, int64_t *out, nc_error *e);
int nc_cli_double(nc_cli *c, const char *option, double least, double most, double fallback, double *out, nc_error *e);
/* Fails with exit code 2. */
int nc_cli_usage(nc_cli *c, nc_error *e, const char *format, ...) NC_PRINTF(3, 4);

/* What ^C does from now on: fn (async-signal-safe) is called at the first, the process ends with 130 at the second. NULL: it ends at the first. */
void nc_cli_interrupt(void (*fn)(void));
/* The same for SIGTERM. */
void nc_cli_terminate(void (*fn)(void));
/* Prints b to stdout whole and frees it. */
void nc_cli_print(nc_buf *b);
/* Aligns text to so many terminal columns (Korean letters take two): appends s and the spaces. */
void nc_cli_pad(nc_buf *b, const char *s, int columns);
int nc_cli_columns(const char *s);
/* The curves of a training run: its metrics.jsonl, or that of its last stage; NULL when there is none. */
const char *nc_cli_metrics(nc_arena *a, const char *run);

#define VERB(name) extern const nc_verb nc_verb_##name;
#include "cli/verbs.list"
#undef VERB
const nc_verb *const *nc_verbs(int *count);
const nc_verb *nc_verb_find(const char *name);
void nc_verb_describe(const nc_verb *v, nc_buf *out);
#endif
