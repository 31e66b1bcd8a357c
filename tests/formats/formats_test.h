/* formats_test.h - what the tests of this folder share: a scratch folder and small files. */
#ifndef FORMATS_TEST_H
#define FORMATS_TEST_H
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"

static char scratch[64];

static inline int make_scratch(void **state)
{
    (void)state;
    strcpy(scratch, "/tmp/nunchi-test-XXXXXX");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int drop_scratch(void **state)
{
    (void)state;
    return nc_remove_tree(scratch, NULL);
}

/* Path of a file in the scratch folder; the last four stay valid. */
static inline const char *in_scratch(const char *name)
{
    static char path[4][256];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(path[turn], sizeof path[turn], "%s/%s", scratch, name);
    return path[turn];
}

static inline const char *shared_folder(void)
{
    const char *s = getenv("NUNCHI_SHARED");
    return s ? s : "../shared";
}

#define assert_fails(call, code, part) do { nc_error e_ = { 0 }, *e = &e_; int got_ = (call); (void)e; \
    if (got_ != (code) || !strstr(e_.message, part)) fail_msg("expected %d \"%s\", got %d \"%s\"", (code), part, got_, e_.message); } while (0)
#define assert_ok(call) do { nc_error e_ = { 0 }, *e = &e_; int got_ = (call); (void)e; if (got_ != 0) fail_msg("%d: %s", got_, e_.message); } while (0)
#endif
