/* tfevents.c - the few protobuf messages of an event file, written by hand: field = varint(number << 3 | wire type) then the value
 * (0 varint, 1 eight bytes, 2 length and bytes, 5 four bytes). */
#include "formats/tfevents.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/hash.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct nc_tfevents { int fd; char *path; };

static void add_le(nc_buf *b, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        nc_buf_addc(b, (char)(v >> (8 * i)));
}

static void add_varint(nc_buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        nc_buf_addc(b, (char)(v | 0x80));
    nc_buf_addc(b, (char)v);
}

static void add_whole(nc_buf *b, int field, uint64_t v)
{
    add_varint(b, (uint64_t)field << 3);
    add_varint(b, v);
}

static void add_double(nc_buf *b, int field, double v)
{
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_varint(b, (uint64_t)field << 3 | 1);
    add_le(b, bits, 8);
}

static void add_float(nc_buf *b, int field, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    add_varint(b, (uint64_t)field << 3 | 5);
    add_le(b, bits, 4);
}

static void add_bytes(nc_buf *b, int field, nc_str s)
{
    add_varint(b, (uint64_t)field << 3 | 2);
    add_varint(b, s.n);
    nc_buf_add(b, s.p, s.n);
}

/* Adds `inner` as a message field and frees it. */
static void add_message(nc_buf *b, int field, nc_buf *inner)
{
    add_bytes(b, field, (nc_str){ inner->p, inner->n });
    nc_buf_free(inner);
}

static uint32_t masked_crc(const void *p, size_t n)
{
    uint32_t c = nc_crc32c(0, p, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

/* Frames and writes an event in one call, then frees it. */
static int write_event(nc_tfevents *t, nc_buf *event, nc_error *e)
{
    nc_buf r = { 0 };
    add_le(&r, event->n, 8);
    add_le(&r, masked_crc(r.p, 8), 4);
    nc_buf_add(&r, event->p, event->n);
    add_le(&r, masked_crc(event->p, event->n), 4);
    nc_buf_free(event);
    size_t done = 0;
    while (done < r.n) {
        ssize_t n = write(t->fd, r.p + done, r.n - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            int code = nc_fail(e, NC_EIO, "%s: %s; free disk space and resume", t->path, strerror(errno));
            nc_buf_free(&r);
            return code;
        }
        done += (size_t)n;
    }
    nc_buf_free(&r);
    return 0;
}

static void start_event(nc_buf *b, int64_t step)
{
    add_double(b, 1, nc_wall_time());
    if (step)
        add_whole(b, 2, (uint64_t)step);
}

int nc_tfevents_scalar(nc_tfevents *t, const char *tag, int64_t step, double value, nc_error *e)
{
    nc_buf v = { 0 }, summary = { 0 }, event = { 0 };
    add_bytes(&v, 1, nc_str_of(tag));
    add_float(&v, 2, (float)value);
    add_message(&summary, 1, &v);
    start_event(&event, step);
    add_message(&event, 5, &summary);
    return write_event(t, &event, e);
}

/* Value { tag, metadata 9 { plugin_data 1 { plugin_name 1: "text" } }, tensor 8 { dtype 1: DT_STRING, shape 2 { dim 2 { size 1: 1 } }, string_val 8 } } */
int nc_tfevents_text(nc_tfevents *t, const char *tag, int64_t step, nc_str markdown, nc_error *e)
{
    nc_buf plugin = { 0 }, metadata = { 0 }, dim = { 0 }, shape = { 0 }, tensor = { 0 }, v = { 0 }, summary = { 0 }, event = { 0 };
    add_bytes(&plugin, 1, NC_STR("text"));
    add_message(&metadata, 1, &plugin);
    add_whole(&dim, 1, 1);
    add_message(&shape, 2, &dim);
    add_whole(&tensor, 1, 7);
    add_message(&tensor, 2, &shape);
    add_bytes(&tensor, 8, markdown);
    add_bytes(&v, 1, nc_str_of(tag));
    add_message(&v, 8, &tensor);
    add_message(&v, 9, &metadata);
    add_message(&summary, 1, &v);
    start_event(&event, step);
    add_message(&event, 5, &summary);
    return write_event(t, &event, e);
}

static uint64_t get_le(const uint8_t *p, int bytes)
{
    uint64_t v = 0;
    while (bytes-- > 0)
        v = v << 8 | p[bytes];
    return v;
}

/* The length of the leading part that consists of whole records with right checksums. */
static size_t whole_records(const uint8_t *p, size_t n)
{
    size_t at = 0;
    while (n - at >= 16) {
        uint64_t length = get_le(p + at, 8);
        if (length > n - at - 16 || get_le(p + at + 8, 4) != masked_crc(p + at, 8) ||
            get_le(p + at + 12 + length, 4) != masked_crc(p + at + 12, (size_t)length))
            break;
        at += 16 + (size_t)length;
    }
    return at;
}

static int open_file(nc_tfevents *t, const char *path, int flags, nc_error *e)
{
    t->path = nc_xstrdup(path);
    t->fd = open(path, O_WRONLY | O_APPEND | O_CLOEXEC | flags, 0644);
    if (t->fd < 0)
        return nc_fail(e, NC_EIO, "%s: %s; make the folder writable", path, strerror(errno));
    return 0;
}

static int start_new(nc_tfevents *t, nc_arena *a, const char *folder, nc_error *e)
{
    char host[256];
    if (gethostname(host, sizeof host) != 0)
        strcpy(host, "localhost");
    host[sizeof host - 1] = 0;
    const char *name = nc_arena_printf(a, "events.out.tfevents.%010lld.%s.%ld", (long long)nc_wall_time(), host, (long)getpid());
    int code = 0;
    for (int i = 0; i < 1000; i++) {           /* two files of one second get numbers */
        char *path = nc_path_join(a, folder, nc_arena_printf(a, "%s.%d", name, i));
        if (nc_file_exists(path))
            continue;
        code = open_file(t, path, O_CREAT | O_EXCL, e);
        break;
    }
    NC_TRY(code);
    nc_buf event = { 0 };
    start_event(&event, 0);
    add_bytes(&event, 3, NC_STR("brain.Event:2"));
    return write_event(t, &event, e);
}

static int continue_file(nc_tfevents *t, const char *path, int64_t step, nc_error *e)
{
    nc_mapped map;
    NC_TRY(nc_map_file(path, &map, e));
    size_t whole = whole_records(map.p, map.n);
    nc_unmap_file(&map);
    NC_TRY(open_file(t, path, 0, e));
    if (ftruncate(t->fd, (off_t)whole) != 0)
        return nc_fail(e, NC_EIO, "%s: cannot cut a broken record: %s", path, strerror(errno));
    nc_buf session = { 0 }, event = { 0 };
    if (whole == 0) {
        start_event(&event, 0);
        add_bytes(&event, 3, NC_STR("brain.Event:2"));
        NC_TRY(write_event(t, &event, e));
    }
    add_whole(&session, 1, 1);                 /* SessionLog.status START */
    start_event(&event, step);
    add_message(&event, 7, &session);
    return write_event(t, &event, e);
}

static int open_any(nc_tfevents *t, nc_arena *a, const char *folder, int64_t resume_step, nc_error *e)
{
    char **names;
    int count;
    NC_TRY(nc_mkdirs(folder, e));
    NC_TRY(nc_list_dir(a, folder, &names, &count, e));
    for (int i = count - 1; resume_step >= 0 && i >= 0; i--)       /* names sort by their time */
        if (nc_starts_with(names[i], "events.out.tfevents."))
            return continue_file(t, nc_path_join(a, folder, names[i]), resume_step, e);
    return start_new(t, a, folder, e);
}

int nc_tfevents_open(const char *folder, int64_t resume_step, nc_tfevents **out, nc_error *e)
{
    nc_tfevents *t = nc_xcalloc(1, sizeof *t);
    nc_arena *a = nc_arena_new();
    t->fd = -1;
    int code = open_any(t, a, folder, resume_step, e);
    nc_arena_free(a);
    if (code < 0) {
        nc_tfevents_close(t, NULL);
        t = NULL;
    }
    *out = t;
    return code;
}

const char *nc_tfevents_path(const nc_tfevents *t) { return t->path; }

int nc_tfevents_close(nc_tfevents *t, nc_error *e)
{
    if (!t)
        return 0;
    int code = 0;
    bool bad = t->fd >= 0 && fsync(t->fd) != 0;
    bad = (t->fd >= 0 && close(t->fd) != 0) || bad;
    if (bad)
        code = nc_fail(e, NC_EIO, "%s: %s", t->path, strerror(errno));
    free(t->path);
    free(t);
    return code;
}
