/* stacked.c - names of sites against names of tensors that hold many of them (nc_family.stacks). */
#include <stdlib.h>
#include <string.h>

#include "load/checkpoint.h"

/* name = head of '*', then what stands before '#', digits, and what follows. */
static bool fits(const char *name, const char *canonical, size_t *star, int *index)
{
    const char *middle = canonical + 1, *number = strchr(canonical, '#');
    const size_t before = (size_t)(number - middle), after = strlen(number + 1), n = strlen(name);
    if (n < before + after + 1 || strcmp(name + n - after, number + 1))
        return false;
    size_t digits = 0;
    while (digits < 6 && digits + after < n && name[n - after - digits - 1] >= '0' && name[n - after - digits - 1] <= '9')
        digits++;
    if (digits == 0 || digits + after + before > n || strncmp(name + n - after - digits - before, middle, before))
        return false;
    *star = n - after - digits - before;
    *index = atoi(name + n - after - digits);
    return true;
}

bool nc_stack_of(const nc_model *m, const char *name, nc_buf *file, nc_stacked *out)
{
    for (const nc_stack *s = m->family->stacks; s && s->file; s++) {
        size_t star;
        int index;
        if (!fits(name, s->canonical, &star, &index))
            continue;
        nc_buf_printf(file, "%.*s%s", (int)star, name, s->file + 1);
        *out = (nc_stacked){ .index = index, .part = s->part, .parts = s->parts };
        return true;
    }
    return false;
}

bool nc_stack_reaches(const nc_model *m, const char *name, int index)
{
    bool there = false;
    for (const nc_stack *s = m->family->stacks; s && s->file; s++) {
        size_t star;
        int own;
        const char *number = strchr(s->canonical, '#');
        if (!fits(name, s->canonical, &star, &own))
            continue;
        nc_buf other = { 0 };
        nc_buf_printf(&other, "%.*s%.*s%d%s", (int)star, name, (int)(number - s->canonical - 1), s->canonical + 1, index, number + 1);
        there = nc_model_site(m, other.p) != NULL;
        nc_buf_free(&other);
    }
    return there;
}
