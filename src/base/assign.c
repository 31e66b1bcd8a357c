/* assign.c - see assign.h. Dual prices u of the short side and v of the long one keep every reduced cost c[i,j] - u[i] - v[j] at least 0; each line of the short side is
 * added by the shortest path over reduced costs (Dijkstra) that ends at a free place of the long side, and the pairs along it change over. */
#include "base/assign.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

typedef struct problem { const double *cost; int n, m; int64_t line, place; double *u, *v, *shortest; int32_t *path, *place_of, *line_of; bool *seen_line, *seen_place; } problem;

static double at(const problem *p, int i, int j) { return p->cost[i * p->line + j * p->place]; }
static size_t up(size_t n) { return (n + 7) & ~(size_t)7; }

size_t nc_assign_bytes(int rows, int columns)
{
    const size_t n = (size_t)(rows < columns ? rows : columns), m = (size_t)(rows < columns ? columns : rows);
    return 8 * (n + 2 * m) + up(4 * n) + 2 * up(4 * m) + up(n) + up(m);
}

static char *cut(char **from, size_t bytes)
{
    char *p = *from;
    *from += up(bytes);
    return p;
}

/* The free place at which the shortest path from line `start` ends; *least: its length. */
static int search(problem *p, int start, double *least)
{
    for (int j = 0; j < p->m; j++)
        p->shortest[j] = INFINITY;
    memset(p->seen_line, 0, (size_t)p->n);
    memset(p->seen_place, 0, (size_t)p->m);
    *least = 0;
    for (int i = start;;) {
        int next = -1;
        p->seen_line[i] = true;
        for (int j = 0; j < p->m; j++) {
            if (p->seen_place[j])
                continue;
            double d = *least + at(p, i, j) - p->u[i] - p->v[j];
            if (d < p->shortest[j]) {
                p->path[j] = i;
                p->shortest[j] = d;
            }
            if (next < 0 || p->shortest[j] < p->shortest[next] || (p->shortest[j] == p->shortest[next] && p->line_of[j] < 0 && p->line_of[next] >= 0))
                next = j;
        }
        *least = p->shortest[next];
        p->seen_place[next] = true;
        if (p->line_of[next] < 0)
            return next;
        i = p->line_of[next];
    }
}

static void add_line(problem *p, int start)
{
    double least;
    int j = search(p, start, &least);
    p->u[start] += least;
    for (int i = 0; i < p->n; i++)
        if (p->seen_line[i] && i != start)
            p->u[i] += least - p->shortest[p->place_of[i]];
    for (int k = 0; k < p->m; k++)
        if (p->seen_place[k])
            p->v[k] -= least - p->shortest[k];
    for (int i = -1; i != start;) {
        int before;
        i = p->path[j];
        p->line_of[j] = i;
        before = p->place_of[i];
        p->place_of[i] = j;
        j = before;
    }
}

void nc_assign(const double *cost, int rows, int columns, int32_t *column_of, void *work)
{
    const bool turned = columns < rows;
    problem p = { .cost = cost, .n = turned ? columns : rows, .m = turned ? rows : columns, .line = turned ? 1 : columns, .place = turned ? columns : 1 };
    char *w = work;
    p.u = (double *)(void *)cut(&w, 8 * (size_t)p.n), p.v = (double *)(void *)cut(&w, 8 * (size_t)p.m), p.shortest = (double *)(void *)cut(&w, 8 * (size_t)p.m);
    p.place_of = (int32_t *)(void *)cut(&w, 4 * (size_t)p.n), p.path = (int32_t *)(void *)cut(&w, 4 * (size_t)p.m), p.line_of = (int32_t *)(void *)cut(&w, 4 * (size_t)p.m);
    p.seen_line = (bool *)cut(&w, (size_t)p.n), p.seen_place = (bool *)cut(&w, (size_t)p.m);
    for (int i = 0; i < p.n; i++)
        p.u[i] = 0, p.place_of[i] = -1;
    for (int j = 0; j < p.m; j++)
        p.v[j] = 0, p.line_of[j] = -1;
    for (int i = 0; i < p.n; i++)
        add_line(&p, i);
    for (int r = 0; r < rows; r++)
        column_of[r] = turned ? p.line_of[r] : p.place_of[r];
}
