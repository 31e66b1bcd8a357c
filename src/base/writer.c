/* writer.c - a file written whole or not at all: temporary name, fsync, rename, fsync of the folder.
 *
 * The first error is kept and later bytes are dropped, so that callers write straight through and ask once, at commit.
 * A path that exists and is no regular file (/dev/stdout, a pipe) is written to directly: there is nothing to rename.
 */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUFFER = 1 << 18 };

struct nc_writer {
    char *path, *temporary;         /* temporary is NULL when path is written directly */
    int fd, error;                  /* error: errno of the first failure */
    uint64_t offset;
    size_t held;
    char *buffer;
};

static void write_out(nc_writer *w, const char *p, size_t n)
{
    while (n && !w->error) {
        ssize_t put = write(w->fd, p, n);
        if (put < 0 && errno == EINTR)
            continue;
        if (put <= 0) {
            w->error = put < 0 ? errno : EIO;
            return;
        }
        p += put;
        n -= (size_t)put;
    }
}

static void flush(nc_writer *w)
{
    write_out(w, w->buffer, w->held);
    w->held = 0;
}

static void free_writer(nc_writer *w)
{
    if (w->fd >= 0)
        close(w->fd);
    free(w->buffer);
    free(w->path);
    free(w->temporary);
    free(w);
}

/* What writers of the same file left behind when they were killed: their temporary names hold a process that is no more. (One of another machine on a shared folder looks
 * so as well; two machines do not write one file.) */
static void sweep(const char *path)
{
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    char *folder = slash ? nc_xstrdup(path) : nc_xstrdup(".");
    if (slash)
        folder[slash == path ? 1 : slash - path] = 0;
    DIR *d = opendir(folder);
    const size_t n = strlen(base);
    for (struct dirent *entry; d && (entry = readdir(d));) {
        char *end;
        if (strncmp(entry->d_name, base, n) || strncmp(entry->d_name + n, ".tmp-", 5))
            continue;
        const long process = strtol(entry->d_name + n + 5, &end, 10);
        if (process > 0 && *end == '-' && kill((pid_t)process, 0) < 0 && errno == ESRCH)
            unlinkat(dirfd(d), entry->d_name, 0);
    }
    if (d)
        closedir(d);
    free(folder);
}

int nc_writer_open(const char *path, nc_writer **out, nc_error *e)
{
    static atomic_uint serial;
    *out = NULL;
    nc_writer *w = nc_xcalloc(1, sizeof *w);
    w->path = nc_xstrdup(path);
    struct stat st;
    if (stat(path, &st) == 0 && S_ISDIR(st.st_mode)) {
        w->fd = -1;
        free_writer(w);
        return nc_fail(e, NC_EIO, "%s: is a folder, a file was to be written there", path);
    }
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        w->fd = open(path, O_WRONLY | O_CLOEXEC);
    } else {
        nc_buf name = { 0 };
        sweep(path);
        nc_buf_printf(&name, "%s.tmp-%ld-%u", path, (long)getpid(), atomic_fetch_add(&serial, 1u));
        w->temporary = name.p;
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    }
    if (w->fd < 0) {
        int code = nc_fail(e, errno == ENOENT ? NC_ENOTFOUND : NC_EIO, "%s: cannot write: %s", path, strerror(errno));
        free_writer(w);
        return code;
    }
    w->buffer = nc_xmalloc(BUFFER);
    *out = w;
    return 0;
}

void nc_writer_add(nc_writer *w, const void *bytes, size_t n)
{
    w->offset += n;
    if (n >= BUFFER - w->held) {
        flush(w);
        if (n >= BUFFER) {
            write_out(w, bytes, n);
            return;
        }
    }
    if (n)
        memcpy(w->buffer + w->held, bytes, n);
    w->held += n;
}

uint64_t nc_writer_offset(const nc_writer *w)
{
    return w->offset;
}

void nc_writer_abandon(nc_writer *w)
{
    if (!w)
        return;
    if (w->temporary)
        unlink(w->temporary);
    free_writer(w);
}

int nc_writer_commit(nc_writer *w, nc_error *e)
{
    flush(w);
    if (!w->error && w->temporary && fsync(w->fd) < 0)
        w->error = errno;
    if (close(w->fd) < 0 && !w->error)
        w->error = errno;
    w->fd = -1;
    int code = 0;
    if (w->error)
        code = nc_fail(e, NC_EIO, "%s: cannot write %llu bytes: %s%s", w->path, (unsigned long long)w->offset, strerror(w->error),
                       w->error == ENOSPC || w->error == EDQUOT ? "; free some space and try again" : "");
    else if (w->temporary)
        code = nc_rename(w->temporary, w->path, e);
    if (code < 0) {
        nc_writer_abandon(w);
        return code;
    }
    free_writer(w);
    return 0;
}

int nc_file_write(const char *path, const void *bytes, size_t n, nc_error *e)
{
    nc_writer *w;
    NC_TRY(nc_writer_open(path, &w, e));
    nc_writer_add(w, bytes, n);
    return nc_writer_commit(w, e);
}

int nc_file_copy(const char *from, const char *to, nc_error *e)
{
    int fd = open(from, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return nc_fail(e, errno == ENOENT ? NC_ENOTFOUND : NC_EIO, "%s: cannot open: %s", from, strerror(errno));
    nc_writer *w;
    int code = nc_writer_open(to, &w, e);
    if (code < 0) {
        close(fd);
        return code;
    }
    char *block = nc_xmalloc(BUFFER);
    for (;;) {
        ssize_t got = read(fd, block, BUFFER);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            code = nc_fail(e, NC_EIO, "%s: cannot read: %s", from, strerror(errno));
        if (got <= 0)
            break;
        nc_writer_add(w, block, (size_t)got);
    }
    free(block);
    close(fd);
    if (code < 0) {
        nc_writer_abandon(w);
        return code;
    }
    return nc_writer_commit(w, e);
}
