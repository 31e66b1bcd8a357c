/* site.h - a named weight as a model sees it, and what may hang on it.
 *
 * A model lists its sites once (models/model.h); loading, saving, initializing, counting, quantizing, freezing and adapting walk that list. The name is
 * the Hugging Face checkpoint's as transformers 4 wrote it; shapes are [out, in] for every product. How a file holds a site otherwise is its binding.
 */
#ifndef NC_NN_SITE_H
#define NC_NN_SITE_H
#include "kernels/gemm.h"
#include "tensor/tensor.h"

typedef struct nc_site nc_site;
typedef struct nc_adapter nc_adapter;
struct nc_build;
struct nc_value;

typedef enum nc_init { NC_INIT_NORMAL, NC_INIT_ZERO, NC_INIT_ONE } nc_init;
enum { NC_SITE_LINEAR = 1,       /* an operand of products: may be held packed */
       NC_SITE_BUFFER = 2,       /* no gradient reaches it */
       NC_SITE_KEEP_F32 = 4,     /* stays f32 in a bf16 run */
       NC_SITE_TRANSPOSED = 8,   /* the file holds [in, out] (GPT-2's Conv1D) */
       NC_SITE_OPTIONAL = 16,    /* a file may lack it: then it is marked missing; it keeps its initial value and is not saved unless it is trained */
       NC_SITE_MISSING = 32,
       NC_SITE_INTEGER = 64,     /* the file holds I64 (a counter); f32 in memory */
       NC_SITE_FRESH = 256,      /* not in the files: it gets its initial value (nc_weights_init_fresh) */
       NC_SITE_HEAD = 128 };     /* the family's head: cut into chunks of the vocabulary, and often gathered from; set by nc_model_new */

/* Where a site lies in a tensor that holds many [count, parts * its rows, columns]: rows of part `part` of entry `index`. parts 0: it has a tensor of its own. */
typedef struct nc_stacked { int index, part, parts, count; } nc_stacked;

struct nc_site {
    const char *name;            /* canonical; the model's arena */
    nc_shape shape;              /* as used: [out, in] for products, a convolution's patches flattened */
    nc_shape file_shape;         /* as the file says it: [in, out] when transposed, [out, in, h, w] for convolutions */
    unsigned flags;
    nc_init init;
    double init_std;
    double init_value;           /* added to what init gives (logit_scale) */
    /* The value in the run's dtype: plain row-major in value.data, or packed (value.data NULL); packed and turned where it is trained in bf16. */
    nc_tensor value;
    struct nc_gemm_b *packed;
    /* Training. */
    bool trainable;
    float *grad;                 /* [shape] f32, gradients are added here; NULL unless trainable */
    double squares;              /* the sum of grad's squares where the last run that wrote it counted them; else 0 */
    float *master;               /* f32 value the optimizer owns; equals value.data in an f32 run */
    nc_adapter *adapters;        /* what is added to this site's uses; list, may be NULL */
    const char *file_name;       /* the tensor's name in the folder it came from; NULL when the folder had none */
    nc_stacked stacked;          /* in the tensor file_name */
    int index;                   /* in the model's list */
};

/* Something that adds to the output of a site's linear use: LoRA and its kin (adapt/). */
struct nc_adapter {
    /* Given x (the input) and y (the site's own output) returns the new output. */
    struct nc_value *(*apply)(nc_adapter *a, struct nc_build *b, nc_site *s, struct nc_value *x, struct nc_value *y);
    nc_adapter *next;
};

static inline bool nc_site_is_there(const nc_site *s) { return s && !(s->flags & NC_SITE_MISSING); }
static inline int64_t nc_site_count(const nc_site *s) { return nc_shape_count(&s->shape); }
#endif
