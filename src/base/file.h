/* file.h - files: read whole, mapped, written whole or not at all. Errors name the path. */
#ifndef NC_BASE_FILE_H
#define NC_BASE_FILE_H
#include "base/str.h"

int nc_file_read(const char *path, size_t limit, nc_buf *out, nc_error *e); /* appends; more than limit bytes is NC_ELIMIT */
bool nc_file_exists(const char *path);
bool nc_is_dir(const char *path);
int64_t nc_file_size(const char *path);                                     /* -1 when absent */
int nc_mkdirs(const char *path, nc_error *e);                               /* like mkdir -p */
int nc_remove_tree(const char *path, nc_error *e);                          /* does not follow links; absent is fine */
int nc_rename(const char *from, const char *to, nc_error *e);               /* fsyncs the folder */
int nc_sync_dir(const char *path, nc_error *e);
char *nc_path_join(nc_arena *a, const char *folder, const char *name);      /* an absolute name stays itself */
const char *nc_path_base(const char *path);
char *nc_path_dir(nc_arena *a, const char *path);
/* Names in a folder (no . and ..), sorted by bytes, in a. */
int nc_list_dir(nc_arena *a, const char *path, char ***names, int *count, nc_error *e);

typedef struct nc_mapped { const uint8_t *p; size_t n; int fd; } nc_mapped; /* read-only, private; fd stays open for pread */
int nc_map_file(const char *path, nc_mapped *out, nc_error *e);             /* an empty file maps to p = NULL, n = 0 */
void nc_unmap_file(nc_mapped *m);

/* A file being written: bytes go to a temporary name beside path; commit flushes, fsyncs, renames, fsyncs the folder.
 * Every error (a full disk, say) is kept and comes back at commit; abandoned files leave nothing behind. */
typedef struct nc_writer nc_writer;
int nc_writer_open(const char *path, nc_writer **out, nc_error *e);
void nc_writer_add(nc_writer *w, const void *bytes, size_t n);
uint64_t nc_writer_offset(const nc_writer *w);
int nc_writer_commit(nc_writer *w, nc_error *e);                            /* frees w, also on failure */
void nc_writer_abandon(nc_writer *w);                                       /* NULL is allowed */
int nc_file_write(const char *path, const void *bytes, size_t n, nc_error *e);  /* the three calls in one */
int nc_file_copy(const char *from, const char *to, nc_error *e);            /* atomically */
#endif
