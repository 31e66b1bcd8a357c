/* kernels.h - how a kernel is chosen.
 *
 * A family of kernels (gemm, norm, attention ...) is one header kernels/<family>.h that declares a struct of function pointers
 * with their contracts (shapes, strides, alignment, aliasing, accumulation type), the scalar definition in kernels/ref/<family>.c
 * (also in float64 where gradients are checked), and twins in kernels/cpu/<family>_<isa>.c. nc_kernels gathers the families:
 * filled with references first, then overwritten upward by ISA, returning at the first missing level.
 * A family is one line in families.list and one file kernels/<family>.c that defines `void nc_<family>_init(struct nc_<family>_kernels *t, nc_isa isa)`:
 * it fills references, then overwrites upward to isa. It is called once for every level this CPU has; NC_FAMILY_FITS(name) in that file checks the size.
 *
 * Kernels know no tensors: raw pointers, sizes and strides (in elements). A kernel that shares work takes the pool and cuts by fixed
 * partition; every output element is computed in an order fixed by the shapes of weight or sequence, never by rows in the batch or threads.
 */
#ifndef NC_KERNELS_KERNELS_H
#define NC_KERNELS_KERNELS_H
#include "base/thread.h"
#include "kernels/dtype.h"

typedef enum nc_isa { NC_ISA_SCALAR, NC_ISA_AVX2, NC_ISA_AVX512, NC_ISA_AVX512BF16, NC_ISA_AMX, NC_ISAS } nc_isa;

nc_isa nc_isa_best(void);                        /* of this CPU and system, not above NUNCHI_CPU=scalar|avx2|avx512|avx512bf16|amx */
nc_isa nc_isa_of_cpu(void);                      /* what the CPU has, whatever NUNCHI_CPU says */
const char *nc_isa_name(nc_isa isa);
int nc_isa_parse(const char *name, nc_isa *out);
/* AMX tile data must be asked for once a process (arch_prctl) and each thread configures its tiles; false when refused. */
bool nc_amx_request(void);

#define FAMILY(name) struct nc_##name##_kernels;
#include "kernels/families.list"
#undef FAMILY
typedef struct nc_kernels {
    nc_isa isa;
#define FAMILY(name) const struct nc_##name##_kernels *name;
#include "kernels/families.list"
#undef FAMILY
} nc_kernels;

enum { NC_FAMILY_BYTES = 2048 };                 /* room for one family's pointers */
#define NC_FAMILY_FITS(name) _Static_assert(sizeof(struct nc_##name##_kernels) <= NC_FAMILY_BYTES, "raise NC_FAMILY_BYTES")
#define FAMILY(name) void nc_##name##_init(struct nc_##name##_kernels *t, nc_isa isa);
#include "kernels/families.list"
#undef FAMILY

const nc_kernels *nc_kernels_for(nc_isa isa);    /* the table of that level; levels above the CPU's give NULL */
const nc_kernels *nc_kernels_best(void);
#endif
