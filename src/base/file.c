/* file.c - whole files, folders, maps. Every error carries the path and the system's reason. */
#include "base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail_errno(nc_error *e, const char *what, const char *path)
{
    int code = errno == ENOENT || errno == ENOTDIR ? NC_ENOTFOUND : NC_EIO;
    return nc_fail(e, code, "%s: cannot %s: %s", path, what, strerror(errno));
}

static int read_all(int fd, const char *path, size_t limit, nc_buf *out, nc_error *e)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return fail_errno(e, "read", path);
    if (S_ISDIR(st.st_mode))
        return nc_fail(e, NC_EIO, "%s: is a folder, a file is needed", path);
    if (st.st_size > 0 && (uint64_t)st.st_size <= limit)
        nc_buf_reserve(out, (size_t)st.st_size + 1);
    for (size_t total = 0;;) {
        nc_buf_reserve(out, 4096);
        ssize_t got = read(fd, out->p + out->n, out->capacity - out->n - 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_errno(e, "read", path);
        if (got == 0)
            break;
        total += (size_t)got;
        if (total > limit)
            return nc_fail(e, NC_ELIMIT, "%s: larger than the limit of %zu bytes", path, limit);
        out->n += (size_t)got;
    }
    return 0;
}

int nc_file_read(const char *path, size_t limit, nc_buf *out, nc_error *e)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(e, "open", path);
    const size_t before = out->n;
    int code = read_all(fd, path, limit, out, e);
    close(fd);
    if (code < 0)
        out->n = before;
    if (out->p)
        out->p[out->n] = 0;
    return code;
}

bool nc_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

bool nc_is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

int64_t nc_file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (int64_t)st.st_size : -1;
}

int nc_mkdirs(const char *path, nc_error *e)
{
    char *copy = nc_xstrdup(path);
    int code = 0;
    for (char *p = copy + (*copy == '/'); code == 0; p++) {
        if (*p && *p != '/')
            continue;
        char end = *p;
        *p = 0;
        if (*copy && mkdir(copy, 0777) < 0 && !(errno == EEXIST && nc_is_dir(copy)))
            code = nc_fail(e, NC_EIO, "%s: cannot make the folder: %s", copy,
                           errno == EEXIST ? "a file of that name is in the way" : strerror(errno));
        *p = end;
        if (!end)
            break;
    }
    free(copy);
    return code;
}

static int remove_at(int parent, const char *name, const char *path, int depth, nc_error *e)
{
    if (unlinkat(parent, name, 0) == 0 || errno == ENOENT)
        return 0;
    if (errno != EISDIR && errno != EPERM)
        return fail_errno(e, "remove", path);
    if (depth > 200)
        return nc_fail(e, NC_ELIMIT, "%s: folders lie more than 200 deep", path);
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir) {
        if (fd >= 0)
            close(fd);
        return fail_errno(e, "remove", path);
    }
    int code = 0;
    for (struct dirent *d; code == 0 && (d = readdir(dir));)
        if (strcmp(d->d_name, ".") && strcmp(d->d_name, ".."))
            code = remove_at(dirfd(dir), d->d_name, path, depth + 1, e);
    closedir(dir);
    if (code == 0 && unlinkat(parent, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
        return fail_errno(e, "remove", path);
    return code;
}

int nc_remove_tree(const char *path, nc_error *e)
{
    return remove_at(AT_FDCWD, path, path, 0, e);
}

int nc_sync_dir(const char *path, nc_error *e)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(e, "open the folder", path);
    /* Some file systems have no fsync of folders (EINVAL); there is nothing more to do for them. */
    int code = fsync(fd) < 0 && errno != EINVAL ? fail_errno(e, "sync the folder", path) : 0;
    close(fd);
    return code;
}

int nc_rename(const char *from, const char *to, nc_error *e)
{
    if (rename(from, to) < 0)
        return nc_fail(e, errno == ENOENT ? NC_ENOTFOUND : NC_EIO, "%s: cannot rename to %s: %s", from, to, strerror(errno));
    nc_arena *a = nc_arena_new();
    int code = nc_sync_dir(nc_path_dir(a, to), e);
    nc_arena_free(a);
    return code;
}

char *nc_path_join(nc_arena *a, const char *folder, const char *name)
{
    size_t n = strlen(folder);
    if (*name == '/' || n == 0)
        return nc_arena_strdup(a, name);
    return nc_arena_printf(a, "%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", name);
}

const char *nc_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

char *nc_path_dir(nc_arena *a, const char *path)
{
    const char *slash = strrchr(path, '/');
    while (slash > path && slash[-1] == '/')
        slash--;
    if (!slash)
        return nc_arena_strdup(a, ".");
    return nc_arena_strndup(a, path, slash == path ? 1 : (size_t)(slash - path));
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int nc_list_dir(nc_arena *a, const char *path, char ***names, int *count, nc_error *e)
{
    *names = NULL;
    *count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return fail_errno(e, "open the folder", path);
    char **list = NULL;
    int n = 0, capacity = 0;
    errno = 0;
    for (struct dirent *d; (d = readdir(dir));) {
        if (!strcmp(d->d_name, ".") || !strcmp(d->d_name, ".."))
            continue;
        if (n == capacity) {
            capacity = capacity ? capacity * 2 : 32;
            list = nc_xrealloc(list, (size_t)capacity * sizeof *list);
        }
        list[n++] = nc_arena_strdup(a, d->d_name);
    }
    int code = errno ? fail_errno(e, "read the folder", path) : 0;
    closedir(dir);
    if (code == 0 && n) {
        qsort(list, (size_t)n, sizeof *list, compare_names);
        *names = nc_arena_copy(a, list, (size_t)n * sizeof *list);
        *count = n;
    }
    free(list);
    return code;
}

int nc_map_file(const char *path, nc_mapped *out, nc_error *e)
{
    *out = (nc_mapped){ NULL, 0, -1 };
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return fail_errno(e, "open", path);
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return nc_fail(e, NC_EIO, "%s: is no ordinary file and cannot be mapped", path);
    }
    if (st.st_size > 0) {
        void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (p == MAP_FAILED) {
            int code = fail_errno(e, "map", path);
            close(fd);
            return code;
        }
        out->p = p;
        out->n = (size_t)st.st_size;
    }
    out->fd = fd;
    return 0;
}

void nc_unmap_file(nc_mapped *m)
{
    if (m->p)
        munmap((void *)(uintptr_t)m->p, m->n);
    if (m->fd > 0)         /* 0 is a zeroed struct, never a file opened here while stdin is open */
        close(m->fd);
    *m = (nc_mapped){ NULL, 0, -1 };
}
