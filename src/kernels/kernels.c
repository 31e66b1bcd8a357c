/* kernels.c - which level this CPU reaches, and the table of kernels of each level.
 *
 * Source of the bits: Intel SDM vol. 2, CPUID leaves 1 and 7, XCR0 for what the system saves; Linux arch_prctl(2) for AMX tiles.
 */
#include "kernels/kernels.h"
#include <pthread.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

static const char *const isa_names[NC_ISAS] = { "scalar", "avx2", "avx512", "avx512bf16", "amx" };

const char *nc_isa_name(nc_isa isa) { return (unsigned)isa < NC_ISAS ? isa_names[isa] : "unknown"; }

int nc_isa_parse(const char *name, nc_isa *out)
{
    for (int i = 0; name && i < NC_ISAS; i++)
        if (!strcasecmp(name, isa_names[i]))
            return *out = (nc_isa)i, 0;
    return NC_ENOTFOUND;
}

bool nc_amx_request(void)
{
#if defined(__x86_64__) && defined(SYS_arch_prctl)
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
#else
    return false;
#endif
}

#if defined(__x86_64__)
static bool has_all(uint32_t flags, uint32_t wanted) { return (flags & wanted) == wanted; }

static nc_isa detect(void)
{
    uint32_t a, b, c, d, b7, c7, d7, a71 = 0, xcr_low, xcr_high;

    if (!__get_cpuid(1, &a, &b, &c, &d) || !has_all(c, bit_FMA | bit_F16C | bit_OSXSAVE | bit_AVX))
        return NC_ISA_SCALAR;
    uint32_t leaves;
    if (!__get_cpuid_count(7, 0, &leaves, &b7, &c7, &d7) || !has_all(b7, bit_AVX2 | bit_BMI2))
        return NC_ISA_SCALAR;
    __asm__ volatile("xgetbv" : "=a"(xcr_low), "=d"(xcr_high) : "c"(0));
    if (!has_all(xcr_low, 0x6))
        return NC_ISA_SCALAR;
    const uint32_t vnni = 1u << 11;
    if (!has_all(xcr_low, 0xe6) || !has_all(b7, bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL | bit_AVX512CD) || !has_all(c7, vnni))
        return NC_ISA_AVX2;
    if (leaves >= 1)
        __get_cpuid_count(7, 1, &a71, &b, &c, &d);
    if (!has_all(a71, 1u << 5))
        return NC_ISA_AVX512;
    const uint32_t amx = 1u << 22 | 1u << 24 | 1u << 25;    /* AMX-BF16, AMX-TILE, AMX-INT8 */
    if (!has_all(d7, amx) || !has_all(xcr_low, 0x60000) || !nc_amx_request())
        return NC_ISA_AVX512BF16;
    return NC_ISA_AMX;
}
#else
static nc_isa detect(void) { return NC_ISA_SCALAR; }
#endif

/* A family's table is opaque here; each family checks that its own fits (NC_FAMILY_FITS). */
typedef union slot { uint64_t align[NC_FAMILY_BYTES / 8]; char bytes[NC_FAMILY_BYTES]; } slot;

#define FAMILY(name) void nc_##name##_init(struct nc_##name##_kernels *t, nc_isa isa) PENDING_##name;
#include "kernels/families.list"
#undef FAMILY

static struct level {
    nc_kernels table;
#define FAMILY(name) slot name;
#include "kernels/families.list"
#undef FAMILY
} levels[NC_ISAS];

static nc_isa cpu_level;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void)
{
    cpu_level = detect();
    for (int i = 0; i <= (int)cpu_level; i++) {
        struct level *l = &levels[i];
        l->table.isa = (nc_isa)i;
#define FAMILY(name)                                                                       \
        void (*init_##name)(struct nc_##name##_kernels *, nc_isa) = nc_##name##_init;      \
        if (init_##name) {                                                                 \
            init_##name((struct nc_##name##_kernels *)&l->name, (nc_isa)i);                \
            l->table.name = (const struct nc_##name##_kernels *)&l->name;                  \
        }
#include "kernels/families.list"
#undef FAMILY
    }
}

nc_isa nc_isa_of_cpu(void)
{
    pthread_once(&once, fill);
    return cpu_level;
}

nc_isa nc_isa_best(void)
{
    nc_isa best = nc_isa_of_cpu(), wanted;

    return nc_isa_parse(getenv("NUNCHI_CPU"), &wanted) == 0 && wanted < best ? wanted : best;
}

const nc_kernels *nc_kernels_for(nc_isa isa)
{
    return (unsigned)isa < NC_ISAS && isa <= nc_isa_of_cpu() ? &levels[isa].table : NULL;
}

const nc_kernels *nc_kernels_best(void) { return nc_kernels_for(nc_isa_best()); }
