/* run_child.h - a verb run in a child process of its own, which a hostile file may kill without the test. */
#ifndef NC_TEST_CLI_RUN_CHILD_H
#define NC_TEST_CLI_RUN_CHILD_H
#include <fcntl.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"

static char output[1 << 20];

/* The program's exit code, a signal as 1000 + its number; stdout, and unless told otherwise stderr, in output. A child has a minute of processor time. */
static int run_child(int argc, char **argv, bool with_stderr)
{
    int code, ends[2];
    size_t got = 0;
    assert_int_equal(pipe(ends), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(with_stderr ? ends[1] : open("/dev/null", O_WRONLY), STDERR_FILENO);
        close(ends[0]);
        setrlimit(RLIMIT_CPU, &(struct rlimit){ 60, 60 });
        int status = nc_cli_main(argc, argv);
        fflush(NULL);
        _exit(status);
    }
    close(ends[1]);
    for (ssize_t k; (k = read(ends[0], output + got, sizeof output - 1 - got)) > 0;)
        got += (size_t)k;
    output[got] = 0;
    close(ends[0]);
    assert_int_equal(waitpid(child, &code, 0), child);
    return WIFEXITED(code) ? WEXITSTATUS(code) : 1000 + WTERMSIG(code);
}
#endif
