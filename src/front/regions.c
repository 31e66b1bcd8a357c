/* regions.c - see regions.h. The scanners follow the reference's regular expressions, whose '.' is no line feed. */
#include "front/regions.h"

#include <stdlib.h>
#include <string.h>

enum { BINS = 1000, MOST_BIN = 1 << 24 };

nc_region_form nc_region_form_of(const char *text)
{
    static const struct { const char *word; nc_region_form form; } tasks[] = {
        { "<OCR_WITH_REGION>", NC_REGIONS_QUADS }, { "<OD>", NC_REGIONS_BOXES }, { "<DENSE_REGION_CAPTION>", NC_REGIONS_BOXES },
        { "<CAPTION_TO_PHRASE_GROUNDING>", NC_REGIONS_GROUNDING }, { "<REFERRING_EXPRESSION_SEGMENTATION>", NC_REGIONS_POLYGONS },
        { "<REGION_TO_SEGMENTATION>", NC_REGIONS_POLYGONS }, { "<OPEN_VOCABULARY_DETECTION>", NC_REGIONS_BOXES_OR_POLYGONS }, { "<REGION_PROPOSAL>", NC_REGIONS_BARE_BOXES },
    };
    for (int i = 0; i < NC_COUNT(tasks); i++)
        if (strstr(text, tasks[i].word))
            return tasks[i].form;
    return NC_REGIONS_NONE;
}

/* ---- tokens ---- */

static bool starts(nc_str s, size_t at, const char *word)
{
    size_t n = strlen(word);
    return at <= s.n && s.n - at >= n && !memcmp(s.p + at, word, n);
}

/* Behind "<loc_N>" at `at`, 0: none there. */
static size_t location(nc_str s, size_t at, int *bin)
{
    size_t i = at + 5;
    int64_t v = 0;
    if (!starts(s, at, "<loc_"))
        return 0;
    for (; i < s.n && s.p[i] >= '0' && s.p[i] <= '9'; i++)
        v = v > MOST_BIN ? v : 10 * v + (s.p[i] - '0');
    if (i == at + 5 || i >= s.n || s.p[i] != '>')
        return 0;
    *bin = (int)(v < MOST_BIN ? v : MOST_BIN);
    return i + 1;
}

/* Behind a token of places: a location, or a mark of polygons where these count. */
static size_t place(nc_str s, size_t at, bool marks)
{
    static const char *const words[] = { "<sep>", "<poly>", "</poly>" };
    int bin;
    size_t end = location(s, at, &bin);
    for (int i = 0; marks && !end && i < NC_COUNT(words); i++)
        end = starts(s, at, words[i]) ? at + strlen(words[i]) : 0;
    return end;
}

static size_t run_of_places(nc_str s, size_t at, bool marks, int *count)
{
    size_t end;
    for (*count = 0; (end = place(s, at, marks)); at = end)
        ++*count;
    return at;
}

static nc_str without(nc_arena *a, nc_str text, const char *const *words, bool locations)
{
    char *out = nc_arena_alloc(a, text.n + 1);
    size_t n = 0;
    for (size_t at = 0; at < text.n;) {
        int bin;
        size_t end = locations ? location(text, at, &bin) : 0;
        for (const char *const *w = words; !end && *w; w++)
            end = starts(text, at, *w) ? at + strlen(*w) : 0;
        if (end)
            at = end;
        else
            out[n++] = text.p[at++];
    }
    out[n] = '\0';
    return (nc_str){ out, n };
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

static nc_str stripped(nc_str s)
{
    while (s.n && is_space(s.p[0]))
        s = (nc_str){ s.p + 1, s.n - 1 };
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

nc_str nc_regions_words(nc_arena *a, nc_str text)
{
    static const char *const words[] = { "<s>", "</s>", "<pad>", "<sep>", "<poly>", "</poly>", NULL };
    return stripped(without(a, text, words, true));
}

/* ---- regions ---- */

struct reading { nc_arena *a; int width, height, number; const nc_json *banned; nc_regions *out; };

/* In the reference's arithmetic: float32 times the double rounded to float32. */
static int pixel(int bin, int size) { return (int)(((float)bin + 0.5f) * (float)((double)size / BINS)); }

static void add(struct reading *r, int kind, nc_str label, const int *bins, int count)
{
    nc_regions *o = r->out;
    int *xy = NC_NEW_ARRAY(r->a, int, count + 1);
    for (int i = 0; i < count; i++)
        xy[i] = pixel(bins[i], i % 2 ? r->height : r->width);
    if (o->count == o->capacity) {
        nc_region *more = NC_NEW_ARRAY(r->a, nc_region, 2 * o->capacity + 16);
        for (int i = 0; i < o->count; i++)
            more[i] = o->item[i];
        o->item = more;
        o->capacity = 2 * o->capacity + 16;
    }
    o->item[o->count++] = (nc_region){ .label = nc_arena_strndup(r->a, label.n ? label.p : "", label.n), .kind = kind, .xy = xy, .count = count, .number = r->number };
}

/* What stands before the first place or mark; false: a line feed does, and the expression does not reach over it. */
static bool label_of(nc_str phrase, bool polygons, nc_str *out)
{
    static const char *const ends[] = { "<od>", "</od>", "<box>", "</box>", "<bbox>", "</bbox>", "<loc_", "<poly>" };
    size_t begin = 0, at;
    while (begin < phrase.n && is_space(phrase.p[begin]))
        begin++;
    for (at = begin; at < phrase.n && phrase.p[at] != '\n'; at++)
        for (int i = 0; i < NC_COUNT(ends) - !polygons; i++)
            if (starts(phrase, at, ends[i])) {
                *out = stripped((nc_str){ phrase.p + begin, at - begin });
                return true;
            }
    return false;
}

static bool is_banned(const struct reading *r, nc_str label)
{
    static const char *const usual[] = {
        "it", "I", "me", "mine", "you", "your", "yours", "he", "him", "his", "she", "her", "hers", "they", "them", "their", "one", "oneself", "we", "us", "our", "ours", "its", "theirs",
        "myself", "yourself", "himself", "herself", "itself", "ourselves", "yourselves", "themselves", "this", "that", "these", "those", "who", "whom", "whose", "which", "what", "all",
        "another", "any", "anybody", "anyone", "anything", "each", "everybody", "everyone", "everything", "few", "many", "nobody", "none", "several", "some", "somebody", "someone",
        "something", "each other", "one another", "the image", "image", "images", "the", "a", "an", "a group", "other objects", "lots", "a set",
    };
    NC_JSON_EACH(item, r->banned)
        if (nc_json_is(item, NC_JSON_STRING) && nc_str_eq(item->text, label))
            return true;
    for (int i = 0; !r->banned && i < NC_COUNT(usual); i++)
        if (nc_str_eqz(label, usual[i]))
            return true;
    return false;
}

static void boxes(struct reading *r, nc_str phrase, nc_region_form form, size_t words)
{
    nc_str label;
    int bins[4];
    if (!label_of(phrase, false, &label) || (form == NC_REGIONS_GROUNDING && is_banned(r, label)))
        return;
    for (size_t at = words, end; at < phrase.n; at = end) {
        int n = 0;
        for (end = at; n < 4; n++) {
            size_t next = location(phrase, end, &bins[n]);
            if (!next)
                return;
            end = next;
        }
        r->number++;
        add(r, NC_REGION_BOX, label, bins, 4);
    }
}

/* The polygons of one instance: runs of locations before a <sep> or the end. */
static void polygons(struct reading *r, nc_str s, nc_str label)
{
    int *bins = nc_xmalloc(sizeof *bins * (s.n / 6 + 1));
    r->number++;
    for (size_t at = 0, end; at < s.n; at = end) {
        int n = 0;
        for (end = at; (at = location(s, end, &bins[n])); end = at)
            n++;
        if (n == 0)
            end++;
        else if (end == s.n || (end + 1 == s.n && s.p[end] == '\n') || starts(s, end, "<sep>"))
            add(r, NC_REGION_POLYGON, label, bins, n - n % 2);
    }
    free(bins);
}

static bool holds(nc_str s, size_t at, const char *word, size_t *where)
{
    for (*where = at; *where < s.n; ++*where)
        if (starts(s, *where, word))
            return true;
    return false;
}

static void instances(struct reading *r, nc_str phrase, bool bare)
{
    int bin;
    const size_t first = location(phrase, 0, &bin);
    nc_str label, rest = { phrase.p + first, phrase.n - first };
    size_t open, close;
    if ((!rest.n && !bare) || !label_of(rest, true, &label))
        return;
    if (!holds(phrase, 0, "<poly>", &open) || !holds(phrase, 0, "</poly>", &close)) {
        polygons(r, phrase, label);
        return;
    }
    for (size_t at = 0; holds(phrase, at, "<poly>", &open); at = close + strlen("</poly>")) {
        open += strlen("<poly>");
        if (!holds(phrase, open, "</poly>", &close))
            break;
        polygons(r, (nc_str){ phrase.p + open, close - open }, label);
    }
}

/* Phrases: words, then at least four tokens of places; or such tokens alone. */
static void phrases(struct reading *r, nc_str s, nc_region_form form)
{
    const bool marks = form == NC_REGIONS_POLYGONS || form == NC_REGIONS_BOXES_OR_POLYGONS, bare = form == NC_REGIONS_BARE_BOXES || form == NC_REGIONS_POLYGONS;
    for (size_t at = 0, end; at < s.n; at = end) {
        size_t words = at;
        int n;
        while (!bare && words < s.n && s.p[words] != '<')
            words++;
        end = run_of_places(s, words, marks, &n);
        nc_str phrase = { s.p + at, end - at };
        if (n < 4 || (!bare && words == at)) {       /* words may begin behind any '<', a location's too */
            end = !bare ? (words > at ? words : at + 1) : end > at ? end : at + 1;
            continue;
        }
        if (marks)
            instances(r, phrase, bare);
        else
            boxes(r, phrase, form, words - at);
    }
}

/* (.+?) and eight locations. */
static void quads(struct reading *r, nc_str s)
{
    for (size_t begin = 0, at = 1; at < s.n; at++) {
        int bins[8], n = 0;
        size_t end = at;
        if (s.p[at - 1] == '\n') {
            begin = at;
            continue;
        }
        for (size_t next; n < 8 && (next = location(s, end, &bins[n])); end = next)
            n++;
        if (n < 8)
            continue;
        r->number++;
        add(r, NC_REGION_QUAD, stripped((nc_str){ s.p + begin, at - begin }), bins, 8);
        begin = end;
        at = end;
    }
}

void nc_regions_read(nc_arena *a, nc_region_form form, nc_str text, int width, int height, const nc_json *banned, nc_regions *out)
{
    static const char *const specials[] = { "<s>", "</s>", "<pad>", NULL };
    struct reading r = { a, width, height, -1, banned, out };
    nc_str s = without(a, text, specials, false);
    *out = (nc_regions){ 0 };
    if (form == NC_REGIONS_BOXES_OR_POLYGONS && !strstr(s.p, "<poly>"))
        form = NC_REGIONS_BOXES;
    if (form == NC_REGIONS_QUADS)
        quads(&r, s);
    else if (form != NC_REGIONS_NONE)
        phrases(&r, s, form);
}
