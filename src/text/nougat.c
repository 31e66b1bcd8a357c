/* nougat.c - see nougat.h. The steps and their expressions are the reference's, which took them from Nougat's authors (Blecher et al. 2023).
 *
 * Easy to get wrong: lengths and distances count characters; the ratio of two lines is 2 LCS / (their lengths' sum) (Levenshtein.ratio); what may end in a word gets a
 * blank, as the reference does where its list of words is not installed.
 */
#define PCRE2_CODE_UNIT_WIDTH 8
#include "text/nougat.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "text/nougat_lines.h"

enum { LINES = PCRE2_MULTILINE, DOTALL = PCRE2_DOTALL };

/* Every match of pattern becomes `with` ($1 ...: groups, empty where they did not take part). Python's rules: ^ stands after a last line feed too. */
static void sub(nc_buf *t, const char *pattern, uint32_t flags, const char *with)
{
    int code;
    PCRE2_SIZE where;
    pcre2_compile_context *context = pcre2_compile_context_create(NULL);
    if (!context)
        return;
    pcre2_set_newline(context, PCRE2_NEWLINE_LF);
    pcre2_code *re = pcre2_compile((PCRE2_SPTR)pattern, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_UCP | PCRE2_ALT_CIRCUMFLEX | PCRE2_NEVER_BACKSLASH_C | flags, &code, &where, context);
    pcre2_compile_context_free(context);
    if (!re)
        return;
    PCRE2_SIZE room = 2 * t->n + 256, n = room;
    char *out = nc_xmalloc(room);
    const uint32_t how = PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_UNSET_EMPTY | PCRE2_SUBSTITUTE_OVERFLOW_LENGTH;
    int status = pcre2_substitute(re, (PCRE2_SPTR)(t->p ? t->p : ""), t->n, 0, how, NULL, NULL, (PCRE2_SPTR)with, PCRE2_ZERO_TERMINATED, (PCRE2_UCHAR *)out, &n);
    if (status == PCRE2_ERROR_NOMEMORY && n < (size_t)1 << 30) {
        out = nc_xrealloc(out, n);
        status = pcre2_substitute(re, (PCRE2_SPTR)(t->p ? t->p : ""), t->n, 0, how, NULL, NULL, (PCRE2_SPTR)with, PCRE2_ZERO_TERMINATED, (PCRE2_UCHAR *)out, &n);
    }
    if (status > 0) {
        nc_buf_clear(t);
        nc_buf_add(t, out, n);
    }
    free(out);
    pcre2_code_free(re);
}

static bool starts(const nc_buf *t, const char *with) { return t->n >= strlen(with) && !memcmp(t->p, with, strlen(with)); }
static bool ends(const nc_buf *t, char c) { return t->n && t->p[t->n - 1] == c; }

/* Where the last line begins. */
static size_t last_line(const nc_buf *t)
{
    size_t at = t->n;
    while (at > 0 && t->p[at - 1] != '\n')
        at--;
    return at;
}

/* A heading at the very end of a page is mostly made up. */
static void drop_last_title(nc_buf *t)
{
    size_t line = last_line(t), at = line;
    while (at < t->n && t->p[at] == '#')
        at++;
    if (line > 0 && at > line && at < t->n && t->p[at] == ' ')
        t->n = line - 1;
}

static void insert_front(nc_buf *t, const char *text)
{
    nc_buf b = { 0 };
    nc_buf_adds(&b, text);
    nc_buf_add(&b, t->p ? t->p : "", t->n);
    nc_buf_free(t);
    *t = b;
}

static bool line_starts(const nc_buf *t, size_t at, const char *with) { return t->n - at >= strlen(with) && !memcmp(t->p + at, with, strlen(with)); }

/* Room before what the next page begins with. */
static void close_page(nc_buf *t)
{
    if (ends(t, '.') || ends(t, '}'))
        nc_buf_adds(t, "\n\n");
    size_t line = last_line(t);
    bool single = t->n && (t->n == 1 || (t->n == 2 && t->p[1] == '\n')) && ((t->p[0] >= 'A' && t->p[0] <= 'Z') || (t->p[0] >= '0' && t->p[0] <= '9') || strchr(",;:", t->p[0]));
    if (single)
        nc_buf_adds(t, " ");
    else if (starts(t, "#") || starts(t, "**") || starts(t, "\\begin"))
        insert_front(t, "\n\n");
    else if (line_starts(t, line, "#") || line_starts(t, line, "Figure") || line_starts(t, line, "Table"))
        nc_buf_adds(t, "\n\n");
    else
        nc_buf_adds(t, " ");
}

static int times(nc_str line, const char *word)
{
    int n = 0;
    const char *at = line.p, *end = line.p + line.n;
    while ((at = memmem(at, (size_t)(end - at), word, strlen(word)))) {
        n++;
        at += strlen(word);
    }
    return n;
}

static void correct_tables(nc_buf *t)
{
    nc_lines lines = nc_lines_of(t);
    for (int i = 0; i < lines.n; i++)
        if (lines.at[i].n && (times(lines.at[i], "\\begin{tabular}") > 15 || times(lines.at[i], "\\multicolumn") > 60 || times(lines.at[i], "&") > 400))
            nc_replace_all(t, lines.at[i], NC_STR(""));
    nc_lines_free(&lines);
    nc_replace_all(t, NC_STR("\\begin{table} \\begin{tabular}"), NC_STR("\\begin{table}\n\\begin{tabular}"));
    nc_replace_all(t, NC_STR("\\end{tabular} \\end{table}"), NC_STR("\\end{tabular}\n\\end{table}"));
    nc_replace_all(t, NC_STR("\\end{table} Tab"), NC_STR("\\end{table}\nTab"));
    sub(t, "(^.+)\\\\begin{tab", LINES, "$1\n\\begin{tab");
    nc_replace_all(t, NC_STR("\\begin{tabular}{l l}  & \\\\ \\end{tabular}"), NC_STR(""));
    nc_replace_all(t, NC_STR("\\begin{tabular}{}\n\n\\end{tabular}"), NC_STR(""));
}

static void markdown_compatible(nc_buf *t)
{
    sub(t, "^\\(([\\d.]+[a-zA-Z]?)\\) \\\\\\[(.+?)\\\\\\]$", LINES, "\\[$2 \\tag{$1}\\]");
    sub(t, "^\\\\\\[(.+?)\\\\\\] \\(([\\d.]+[a-zA-Z]?)\\)$", LINES, "\\[$1 \\tag{$2}\\]");
    sub(t, "^\\\\\\[(.+?)\\\\\\] \\(([\\d.]+[a-zA-Z]?)\\) (\\\\\\[.+?\\\\\\])$", LINES, "\\[$1 \\tag{$2}\\] $3");
    nc_replace_all(t, NC_STR("\\. "), NC_STR(". "));
    nc_replace_all(t, NC_STR("\\bm{"), NC_STR("\\mathbf{"));
    nc_replace_all(t, NC_STR("{\\\\bm "), NC_STR("\\mathbf{"));
    sub(t, "\\\\mbox{ ?\\\\boldmath\\$(.*?)\\$}", 0, "\\mathbf{$1}");
    sub(t, "((?:http|ftp|https):\\/\\/(?:[\\w_-]+(?:(?:\\.[\\w_-]+)+))(?:[\\w.,@?^=%&:\\/~+#-]*[\\w@?^=%&\\/~+#-]))", 0, "[$1]($1)");
    sub(t, "```\\s*(.+?)\\s*```", DOTALL, "```\n$1\n```");
}

void nc_nougat_markdown(nc_buf *t)
{
    sub(t, "(?:\\n|^)#+ \\d*\\W? ?(.{100,})", 0, "\n$1");                           /* too long to be a title */
    nc_strip(t);
    nc_replace_all(t, NC_STR("\n* [leftmargin=*]\n"), NC_STR("\n"));
    sub(t, "^#+ (?:[\\d+\\.]+|[ixv\\.]+)?\\s*(?:$|\\n\\s*)", LINES, "");                /* titles of a number alone */
    drop_last_title(t);
    nc_truncate_repetitions(t);
    nc_remove_repeated_references(t);
    sub(t, "## References\\n+\\[MISSING_PAGE_POST(:\\d+)?\\]", 0, "\n\n[MISSING_PAGE_POST$1]");
    sub(t, "^\\* \\[\\d+\\](\\s?[A-W]\\.+\\s?){10,}.*$", LINES, "");
    sub(t, "^(\\* \\[\\d+\\])\\[\\](.*)$", LINES, "$1$2");
    sub(t, "(^\\w\\n\\n|\\n\\n\\w$)", 0, "");
    sub(t, "([\\s.,()])_([a-zA-Z0-9])__([a-zA-Z0-9]){1,3}_([\\s.,:()])", 0, "$1\\($2_{$3}\\)$4");
    sub(t, "([\\s.,\\d])_([a-zA-Z0-9])_([\\s.,\\d;])", 0, "$1\\($2\\)$3");
    sub(t, "(\\nFootnote .*?:) (?:footnotetext|thanks):\\W*(.*(?:\\n\\n|$))", 0, "$1 $2");
    sub(t, "\\[FOOTNOTE:.+?\\](.*?)\\[ENDFOOTNOTE\\]", 0, "");
    nc_normalize_lists(t);
    close_page(t);
    correct_tables(t);
    nc_replace_all(t, NC_STR("\\begin{array}[]{"), NC_STR("\\begin{array}{"));
    sub(t, "\\\\begin{tabular}{([clr ]){2,}}\\s*[& ]*\\s*(\\\\\\\\)? \\\\end{tabular}", 0, "");
    sub(t, "(\\*\\*S\\. A\\. B\\.\\*\\*\\n+){2,}", 0, "");
    sub(t, "^#+( [\\[\\d\\w])?$", LINES, "");
    sub(t, "^\\.\\s*$", LINES, "");
    sub(t, "\\n{3,}", 0, "\n\n");
    markdown_compatible(t);
}
