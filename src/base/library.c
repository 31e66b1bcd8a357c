/* library.c - see library.h. */
#include "base/library.h"

#include <dlfcn.h>
#include <string.h>

enum { MOST_FILES = 8 };

static int find(const nc_late_library *l, void *const *handle, nc_error *e)
{
    for (int i = 0; i < l->count; i++) {
        void *call = NULL;
        for (int f = 0; f < MOST_FILES && l->files[f] && !call; f++)
            call = dlsym(handle[f], l->names[i]);
        if (!call)
            return nc_fail(e, NC_EUNSUPPORTED, "%s has no function %s; install the %s that this program was built with", l->files[0], l->names[i], l->package);
        memcpy((char *)l->calls + (size_t)i * sizeof call, &call, sizeof call);
    }
    return 0;
}

static int open_all(nc_late_library *l, nc_error *e)
{
    void *handle[MOST_FILES];
    for (int f = 0; f < MOST_FILES && l->files[f]; f++) {
        handle[f] = dlopen(l->files[f], RTLD_LAZY | RTLD_LOCAL);
        if (!handle[f])
            return nc_fail(e, NC_EUNSUPPORTED, "%s; install Debian's package %s", dlerror(), l->package);
    }
    NC_TRY(find(l, handle, e));
    l->open = true;
    return 0;
}

int nc_library_open(nc_late_library *l, nc_error *e)
{
    pthread_mutex_lock(&l->lock);
    int status = l->open ? 0 : open_all(l, e);
    pthread_mutex_unlock(&l->lock);
    return status;
}
