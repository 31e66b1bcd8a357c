/* pdf.h - pages of a PDF as pictures, by poppler where the build found it (libpoppler-glib-dev); else nc_pdf_open refuses and says so. */
#ifndef NC_MEDIA_PDF_H
#define NC_MEDIA_PDF_H
#include "media/image.h"

typedef struct nc_pdf nc_pdf;
bool nc_pdf_match(const void *bytes, size_t n);      /* by the first bytes */
int nc_pdf_open(const char *path, nc_pdf **out, nc_error *e);
void nc_pdf_close(nc_pdf *p);                        /* NULL is allowed */
int nc_pdf_pages(const nc_pdf *p);
/* Page 0 ... on white at so many dots per inch (18 to 1200), RGB. NC_ELIMIT when that is more than 128 million dots. */
int nc_pdf_page(const nc_pdf *p, int page, double dpi, nc_image *out, nc_error *e);
#endif
