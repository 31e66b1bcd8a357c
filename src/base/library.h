/* library.h - a shared library that is opened when it is first needed, by the one file of ours that stands before it.
 *
 * Linking FFmpeg, pango and poppler into the program's start costs 50 ms (their 150 libraries are mapped and relocated), a third of the time to load a small
 * model; most runs draw nothing and see no video. The functions in use are listed once, and typed by the library's own header:
 *
 *     #define CALLS(F) F(cairo_create) F(cairo_destroy)
 *     typedef struct drawing { CALLS(NC_LIBRARY_CALL) } drawing;      -> d.cairo_create(surface)
 *     static const char *const names[] = { CALLS(NC_LIBRARY_NAME) };
 */
#ifndef NC_BASE_LIBRARY_H
#define NC_BASE_LIBRARY_H
#include <pthread.h>
#include "base/status.h"

#define NC_LIBRARY_CALL(name) __typeof__(&name) name;
#define NC_LIBRARY_NAME(name) #name,

typedef struct nc_late_library {
    const char *const *files;            /* sonames, at most 8, NULL-terminated; a function is taken from the first that has it */
    const char *package;                 /* Debian's that holds them, for the message */
    const char *const *names; int count;
    void *calls;                         /* the struct of pointers, in the order of names */
    pthread_mutex_t lock;                /* PTHREAD_MUTEX_INITIALIZER */
    bool open;
} nc_late_library;

/* Opens the files and fills calls, once; any thread may ask. NC_EUNSUPPORTED, with the file or function that is missing, leaves it to be tried again.
 * What was opened stays until the process ends. */
int nc_library_open(nc_late_library *l, nc_error *e);
#endif
