/* verb_ocr.c - what a page says: text or markdown (Nougat, TrOCR, Pix2Struct, GOT-OCR2), fields as JSON (Donut), texts with their places (Florence-2). Pages are pictures, or those of a PDF. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/file.h"
#include "cli/ocr_fields.h"
#include "cli/regions.h"
#include "cli/speak.h"
#include "media/pdf.h"
#include "text/nougat.h"

enum { DEFAULT_DPI = 144 };

static const nc_cli_option options[] = {
    { "task", "TEXT", "what the decoder's text begins with (Donut: <s_cord-v2>), or the question of a model that is asked (Florence-2: <OCR_WITH_REGION>)" },
    { "pages", "A-B", "of a PDF, from 1; all by default" },
    { "dpi", "N", "dots per inch of a PDF's pages; 144" },
    { "json", NULL, "{file, page, text, fields or regions, new_tokens, seconds} a line" },
    NC_SPEAK_OPTIONS,
    { NULL, NULL, NULL },
};

typedef struct ocr { nc_cli *c; nc_session *session; nc_generation_options o; const char *task; double dpi; int first, last; bool json, has_fields, markdown; } ocr;     /* markdown: Nougat's text is cleaned up as its tokenizer does it */

/* Donut's vocabularies have tokens for fields: "<s_total>". */
static bool writes_fields(const nc_loaded *l)
{
    if (!l->tokenizer || !l->model->family->encoder || !l->model->family->encoder_rows)
        return false;
    for (int32_t id = 0; id < nc_tokenizer_vocab_size(l->tokenizer); id++) {
        nc_str t = nc_tokenizer_is_added(l->tokenizer, id) ? nc_tokenizer_token(l->tokenizer, id) : (nc_str){ 0 };
        if (t.n > 4 && !memcmp(t.p, "<s_", 3) && t.p[t.n - 1] == '>')
            return true;
    }
    return false;
}

static int take_all(nc_generation *x, nc_answer *out, nc_error *e)
{
    double begin = nc_now();
    int status = 0;
    for (nc_piece *p; (p = nc_generation_next(x, -1)); nc_piece_free(p)) {
        nc_buf_add(&out->text, p->text.p ? p->text.p : "", p->text.n);
        if (p->finish == NC_FINISH_ERROR) {
            *e = p->error;
            status = p->error.code;
        }
    }
    out->new_tokens = nc_generation_new_tokens(x);
    out->seconds = nc_now() - begin;
    return status;
}

static int ask(const ocr *r, const nc_attachment *at, nc_answer *out, nc_error *e)
{
    nc_reading reading;
    nc_generation *x = NULL;
    *out = (nc_answer){ 0 };
    if (!nc_session_loaded(r->session)->model->family->encoder)
        return nc_session_caption(r->session, r->task ? r->task : "OCR: ", at, 1, &r->o, NULL, NULL, out, e);
    NC_TRY(nc_session_read_source(r->session, nc_str_of(r->task ? r->task : ""), at, 1, &reading, e));
    nc_generation_options o = r->o;
    o.keep_special = r->has_fields;
    int status = nc_generation_start(nc_session_engine(r->session), &reading.prompt, &o, &x, e);
    nc_reading_free(&reading);
    NC_TRY(status);
    status = take_all(x, out, e);
    nc_generation_free(x);
    return status;
}

/* As text a page ends with its line: the blank that Nougat's tokenizer leaves for a page to follow is told in JSON only. */
static void print(const ocr *r, const char *path, int page, const nc_answer *answer)
{
    nc_buf b = { 0 };
    nc_str text = { answer->text.p ? answer->text.p : "", answer->text.n };
    while (!r->json && text.n && text.p[text.n - 1] == ' ')
        text.n--;
    nc_json *fields = r->has_fields ? nc_ocr_fields(r->c->arena, text) : NULL;
    if (!r->json) {
        if (fields)
            nc_json_write(&b, fields, 1);
        else
            nc_buf_add(&b, text.p, text.n);
        nc_buf_adds(&b, "\n");
    } else {
        nc_buf_adds(&b, "{\"file\": ");
        nc_buf_json_string(&b, nc_str_of(path));
        nc_buf_printf(&b, ", \"page\": %d, \"text\": ", page + 1);
        nc_buf_json_string(&b, text);
        if (fields) {
            nc_buf_adds(&b, ", \"fields\": ");
            nc_json_write(&b, fields, 0);
        }
        nc_buf_printf(&b, ", \"new_tokens\": %d, \"seconds\": %.4f}\n", answer->new_tokens, answer->seconds);
    }
    nc_cli_print(&b);
}

/* Texts with their four corners. */
static void print_told(const ocr *r, const char *path, int page, const nc_told *told)
{
    const nc_regions *x = &told->regions;
    nc_buf b = { 0 };
    if (r->json) {
        nc_buf_adds(&b, "{\"file\": ");
        nc_buf_json_string(&b, nc_str_of(path));
        nc_buf_printf(&b, ", \"page\": %d, \"text\": ", page + 1);
        nc_buf_json_string(&b, told->text);
        nc_buf_adds(&b, told->form == NC_REGIONS_NONE ? "" : ", \"regions\": [");
        for (int i = 0; i < x->count;) {
            nc_buf_adds(&b, i ? ", {\"text\": " : "{\"text\": ");
            i = nc_regions_members(&b, x, i);
            nc_buf_adds(&b, "}");
        }
        nc_buf_printf(&b, "%s, \"new_tokens\": %d, \"seconds\": %.4f}\n", told->form == NC_REGIONS_NONE ? "" : "]", told->new_tokens, told->seconds);
    } else if (told->form == NC_REGIONS_NONE) {
        nc_buf_printf(&b, "%s\n", told->text.p);
    }
    for (int i = 0; i < x->count && !r->json; i++)
        nc_buf_printf(&b, "%s\n", x->item[i].label);
    nc_cli_print(&b);
}

static int read_places(const ocr *r, const char *path, int page, const nc_attachment *at, const char *task, nc_error *e)
{
    nc_arena *a = nc_arena_new();
    nc_told told;
    int status = nc_regions_ask(r->session, a, task, at, &r->o, &told, e);
    if (status == 0)
        print_told(r, path, page, &told);
    nc_arena_free(a);
    return status;
}

static int read_page(const ocr *r, const char *path, int page, const nc_attachment *at, nc_error *e)
{
    const char *task = nc_source_task(nc_session_loaded(r->session)->processor, NC_TASK_OCR);
    nc_answer answer;
    if (task)
        return read_places(r, path, page, at, r->task ? r->task : task, e);
    int status = ask(r, at, &answer, e);
    if (status == 0 && r->markdown)
        nc_nougat_markdown(&answer.text);
    if (status == 0)
        print(r, path, page, &answer);
    nc_buf_free(&answer.text);
    return status;
}

static int read_pdf(const ocr *r, const char *path, nc_error *e)
{
    nc_pdf *pdf = NULL;
    NC_TRY(nc_pdf_open(path, &pdf, e));
    int status = 0, last = r->last && r->last < nc_pdf_pages(pdf) ? r->last : nc_pdf_pages(pdf);
    if (r->first > last)
        status = nc_fail(e, NC_EINVAL, "%s: has %d pages, --pages begins at %d", path, nc_pdf_pages(pdf), r->first);
    for (int page = r->first - 1; page < last && status == 0; page++) {
        nc_image im;
        nc_buf png = { 0 };
        status = nc_pdf_page(pdf, page, r->dpi, &im, e);
        if (status == 0)
            status = nc_image_encode_png(&im, &png, e);
        nc_image_free(&im);
        if (status == 0)
            status = read_page(r, path, page, &(nc_attachment){ .name = path, .bytes = png.p, .n = png.n }, e);
        nc_buf_free(&png);
    }
    nc_pdf_close(pdf);
    return status;
}

static int is_pdf(const char *path, bool *out, nc_error *e)
{
    nc_mapped m;
    NC_TRY(nc_map_file(path, &m, e));
    *out = nc_pdf_match(m.p, m.n);
    nc_unmap_file(&m);
    return 0;
}

/* A wrong name is told before the model is loaded. */
static int check_file(const char *path, nc_error *e)
{
    nc_attachment at;
    nc_pdf *pdf = NULL;
    bool pdf_file;
    NC_TRY(is_pdf(path, &pdf_file, e));
    if (!pdf_file) {
        NC_TRY(nc_speak_attachment(path, &at, e));
        return at.is_video ? nc_fail(e, NC_EINVAL, "%s: a video; ocr reads pictures and PDF files", path) : 0;
    }
    NC_TRY(nc_pdf_open(path, &pdf, e));
    nc_pdf_close(pdf);
    return 0;
}

static int read_pages(nc_cli *c, ocr *r, nc_error *e)
{
    const char *pages = nc_cli_get(c, "pages");
    int end = 0;
    r->first = 1;
    if (pages && sscanf(pages, "%d-%d%n", &r->first, &r->last, &end) != 2) {
        if (sscanf(pages, "%d%n", &r->first, &end) != 1)
            end = -1;
        r->last = r->first;
    }
    if (pages && (end < 1 || pages[end] || r->first < 1 || r->last < r->first))
        return nc_cli_usage(c, e, "ocr: --pages %s: a page or a range such as 2-5 is wanted", pages);
    return 0;
}

static int run(nc_cli *c, nc_error *e)
{
    ocr r = { .c = c, .task = nc_cli_get(c, "task"), .json = nc_cli_has(c, "json") };
    int64_t dpi;
    NC_TRY(nc_cli_int(c, "dpi", 18, 1200, DEFAULT_DPI, &dpi, e));
    NC_TRY(read_pages(c, &r, e));
    r.dpi = (double)dpi;
    for (int i = 1; i < c->words; i++)
        NC_TRY(check_file(c->word[i], e));
    int status = nc_speak_open(c, c->word[0], &r.session, &r.o, e);
    if (status == 0) {
        const nc_loaded *l = nc_session_loaded(r.session);
        r.has_fields = writes_fields(l);
        r.markdown = l->processor && !strcmp(l->processor, "NougatProcessor");
    }
    for (int i = 1; i < c->words && status == 0; i++) {
        bool pdf;
        status = is_pdf(c->word[i], &pdf, e);
        if (status == 0)
            status = pdf ? read_pdf(&r, c->word[i], e) : read_page(&r, c->word[i], 0, &(nc_attachment){ .name = c->word[i] }, e);
    }
    nc_session_close(r.session);
    return status;
}

const nc_verb nc_verb_ocr = { "ocr", "FOLDER FILE...", "read pages: text, markdown or fields",
    "FILE is a picture or a PDF (where the program was built with poppler). Models: Nougat and Donut, TrOCR (a line of text), Pix2Struct, GOT-OCR2,\nFlorence-2 and other models that are asked about pictures.", options, 2, 4096, false, run };
