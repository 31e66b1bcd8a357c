/* assign.h - the linear assignment problem, solved exactly: shortest augmenting paths (Jonker & Volgenant 1987, in the rectangular form of Crouse 2016). */
#ifndef NC_BASE_ASSIGN_H
#define NC_BASE_ASSIGN_H
#include <stddef.h>
#include <stdint.h>

/* cost [rows, columns], finite. Chooses min(rows, columns) pairs, no row and no column twice, whose sum is the least there is: column_of[row], -1 for a row left out.
 * O(min^2 max). work: nc_assign_bytes of it, aligned for doubles. */
void nc_assign(const double *cost, int rows, int columns, int32_t *column_of, void *work);
size_t nc_assign_bytes(int rows, int columns);
#endif
