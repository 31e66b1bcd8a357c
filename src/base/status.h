/* status.h - how every call says what went wrong.
 *
 * A function that can fail returns 0 or a negative nc_status and fills an nc_error the caller gave (NULL is allowed).
 * The message names what, where and the mend: "model.safetensors: tensor x ends at 900, file has 512 bytes; download it again".
 * The library never prints, exits or aborts on input.
 */
#ifndef NC_BASE_STATUS_H
#define NC_BASE_STATUS_H
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum nc_status {
    NC_OK = 0,
    NC_EINVAL = -1,      /* the caller asked for something that cannot be */
    NC_ESHAPE = -2,      /* shapes or dtypes do not fit */
    NC_ENOMEM = -3,
    NC_EIO = -4,         /* the system refused: open, read, write, disk full */
    NC_EFORMAT = -5,     /* bytes that are not what they claim to be */
    NC_ENOTFOUND = -6,   /* file, key, tensor, family */
    NC_EUNSUPPORTED = -7,/* understood, but not here (family, dtype, option) */
    NC_ELIMIT = -8,      /* a stated limit was reached: memory plan, body size, steps */
    NC_ECANCELLED = -9,  /* a signal or a client that went away */
} nc_status;

typedef struct nc_error {
    int code;            /* nc_status; 0 while nothing is wrong */
    char message[1000];  /* one line, UTF-8, NUL-terminated */
} nc_error;

#if defined(__GNUC__)
#define NC_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define NC_PRINTF(f, a)
#endif

/* Fills e (may be NULL) and returns code, so that a failing function ends in `return nc_fail(e, NC_EIO, "...")`. */
int nc_fail(nc_error *e, int code, const char *format, ...) NC_PRINTF(3, 4);
int nc_failv(nc_error *e, int code, const char *format, va_list args);

/* Puts "prefix: " before the message already in e; returns e's code. Keeps the end readable when the line is full. */
int nc_fail_in(nc_error *e, const char *format, ...) NC_PRINTF(2, 3);

/* The code's short name, "shape", for machine-readable output. */
const char *nc_status_name(int code);

#define NC_TRY(call) do { int nc_try_ = (call); if (nc_try_ < 0) return nc_try_; } while (0)
#define NC_COUNT(array) ((int)(sizeof(array) / sizeof *(array)))

/* Sizes from outside are multiplied and added through these; false on overflow. */
static inline bool nc_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool nc_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
#endif
