/* porter.c - with C a run of consonants and V of vowels, a word is [C](VC)^m[V]; rules replace a suffix when the stem before it meets
 * a condition on m, on having a vowel (*v*), on ending in a double consonant (*d) or consonant-vowel-consonant (*o).
 *
 * NLTK's departures from the paper: a pool of irregular words; words of one or two letters stay; -ies and -ied after a single letter
 * give -ie; y -> i only after a consonant that is not the first letter; *o also holds for vowel-consonant words of two letters;
 * -bli -> -ble instead of -abli -> -able; -alli -> -al comes first and step 2 runs again; -fulli -> -ful; -logi -> -log with the l
 * counted to the stem. Letters are Unicode characters: m and lengths count them, not bytes.
 */
#include "eval/porter.h"
#include <string.h>

/* The word being stemmed as code points; no rule makes it longer than it began plus one. */
struct stem { uint32_t *c; int n; };

static bool is_vowel(uint32_t c) { return c == 'a' || c == 'e' || c == 'i' || c == 'o' || c == 'u'; }

/* A y is a consonant at the start and after a vowel: along a run of y the two kinds alternate. */
static bool is_consonant(const struct stem *w, int i)
{
    bool flip = false;
    if (is_vowel(w->c[i]))
        return false;
    while (i > 0 && w->c[i] == 'y') {
        flip = !flip;
        i--;
    }
    return !is_vowel(w->c[i]) != flip;
}

/* m of the first n letters. */
static int measure(const struct stem *w, int n)
{
    int m = 0;
    bool vowel_before = false, consonant = false;
    for (int i = 0; i < n; i++) {
        consonant = is_vowel(w->c[i]) ? false : w->c[i] == 'y' ? i == 0 || !consonant : true;
        m += vowel_before && consonant;
        vowel_before = !consonant;
    }
    return m;
}

static bool has_vowel(const struct stem *w, int n)
{
    for (int i = 0; i < n; i++)
        if (!is_consonant(w, i))
            return true;
    return false;
}

static bool ends_double(const struct stem *w) { return w->n >= 2 && w->c[w->n - 1] == w->c[w->n - 2] && is_consonant(w, w->n - 1); }

static bool ends_cvc(const struct stem *w, int n)
{
    if (n == 2)
        return !is_consonant(w, 0) && is_consonant(w, 1);
    return n >= 3 && is_consonant(w, n - 3) && !is_consonant(w, n - 2) && is_consonant(w, n - 1) &&
           w->c[n - 1] != 'w' && w->c[n - 1] != 'x' && w->c[n - 1] != 'y';
}

static bool ends(const struct stem *w, const char *suffix)
{
    int n = (int)strlen(suffix);
    if (n > w->n)
        return false;
    for (int i = 0; i < n; i++)
        if (w->c[w->n - n + i] != (unsigned char)suffix[i])
            return false;
    return true;
}

static void replace(struct stem *w, int cut, const char *with)
{
    w->n -= cut;
    for (; *with; with++)
        w->c[w->n++] = (unsigned char)*with;
}

struct rule { const char *suffix, *with; };

/* The first rule whose suffix fits decides: applied when the stem's m exceeds `above`, else nothing. */
static void apply(struct stem *w, const struct rule *rules, int count, int above)
{
    for (int i = 0; i < count; i++)
        if (ends(w, rules[i].suffix)) {
            int cut = (int)strlen(rules[i].suffix);
            if (measure(w, w->n - cut) > above)
                replace(w, cut, rules[i].with);
            return;
        }
}

static void step1a(struct stem *w)
{
    if (ends(w, "ies"))
        replace(w, 3, w->n == 4 ? "ie" : "i");
    else if (ends(w, "sses"))
        replace(w, 2, "");
    else if (ends(w, "s") && !ends(w, "ss"))
        replace(w, 1, "");
}

static void step1b(struct stem *w)
{
    if (ends(w, "ied")) {
        replace(w, 3, w->n == 4 ? "ie" : "i");
        return;
    }
    if (ends(w, "eed")) {
        if (measure(w, w->n - 3) > 0)
            replace(w, 1, "");
        return;
    }
    int cut = ends(w, "ed") && has_vowel(w, w->n - 2) ? 2 : ends(w, "ing") && has_vowel(w, w->n - 3) ? 3 : 0;
    if (!cut)
        return;
    w->n -= cut;
    if (ends(w, "at") || ends(w, "bl") || ends(w, "iz"))
        replace(w, 0, "e");
    else if (ends_double(w)) {
        uint32_t last = w->c[w->n - 1];
        if (last != 'l' && last != 's' && last != 'z')
            w->n--;
    } else if (measure(w, w->n) == 1 && ends_cvc(w, w->n))
        replace(w, 0, "e");
}

static void step2(struct stem *w)
{
    static const struct rule rules[] = {
        { "ational", "ate" }, { "tional", "tion" }, { "enci", "ence" }, { "anci", "ance" }, { "izer", "ize" }, { "bli", "ble" }, { "alli", "al" },
        { "entli", "ent" }, { "eli", "e" }, { "ousli", "ous" }, { "ization", "ize" }, { "ation", "ate" }, { "ator", "ate" }, { "alism", "al" },
        { "iveness", "ive" }, { "fulness", "ful" }, { "ousness", "ous" }, { "aliti", "al" }, { "iviti", "ive" }, { "biliti", "ble" }, { "fulli", "ful" },
    };
    while (ends(w, "alli") && measure(w, w->n - 4) > 0)
        replace(w, 4, "al");
    if (ends(w, "logi")) {
        if (measure(w, w->n - 3) > 0)
            w->n--;
        return;
    }
    apply(w, rules, NC_COUNT(rules), 0);
}

static void step3(struct stem *w)
{
    static const struct rule rules[] = { { "icate", "ic" }, { "ative", "" }, { "alize", "al" }, { "iciti", "ic" }, { "ical", "ic" }, { "ful", "" }, { "ness", "" } };
    apply(w, rules, NC_COUNT(rules), 0);
}

static void step4(struct stem *w)
{
    static const struct rule rules[] = {
        { "al", "" }, { "ance", "" }, { "ence", "" }, { "er", "" }, { "ic", "" }, { "able", "" }, { "ible", "" }, { "ant", "" }, { "ement", "" }, { "ment", "" },
        { "ent", "" }, { "ou", "" }, { "ism", "" }, { "ate", "" }, { "iti", "" }, { "ous", "" }, { "ive", "" }, { "ize", "" },
    };
    if (ends(w, "ion")) {                      /* no other suffix of the list ends a word in -ion */
        uint32_t before = w->n > 3 ? w->c[w->n - 4] : 0;
        if (measure(w, w->n - 3) > 1 && (before == 's' || before == 't'))
            w->n -= 3;
        return;
    }
    apply(w, rules, NC_COUNT(rules), 1);
}

static void step5(struct stem *w)
{
    if (ends(w, "e")) {
        int m = measure(w, w->n - 1);
        if (m > 1 || (m == 1 && !ends_cvc(w, w->n - 1)))
            w->n--;
    }
    if (ends(w, "ll") && measure(w, w->n - 1) > 1)
        w->n--;
}

static const char *irregular(nc_str word)
{
    static const char *const pool[][2] = {
        { "sky", "sky" }, { "skies", "sky" }, { "dying", "die" }, { "lying", "lie" }, { "tying", "tie" }, { "news", "news" }, { "innings", "inning" },
        { "inning", "inning" }, { "outings", "outing" }, { "outing", "outing" }, { "cannings", "canning" }, { "canning", "canning" }, { "howe", "howe" },
        { "proceed", "proceed" }, { "exceed", "exceed" }, { "succeed", "succeed" },
    };
    for (int i = 0; i < NC_COUNT(pool); i++)
        if (nc_str_eqz(word, pool[i][0]))
            return pool[i][1];
    return NULL;
}

nc_str nc_porter_stem(nc_arena *a, nc_str word)
{
    const char *known = irregular(word);
    if (known)
        return nc_str_of(known);
    if (!nc_utf8_valid(word))
        return word;
    struct stem w = { NC_NEW_ARRAY(a, uint32_t, word.n + 4), 0 };
    for (size_t at = 0; at < word.n;)
        at += (size_t)nc_utf8_decode(word.p + at, word.n - at, &w.c[w.n++]);
    if (w.n <= 2)
        return word;
    step1a(&w);
    step1b(&w);
    if (ends(&w, "y") && w.n > 2 && is_consonant(&w, w.n - 2))
        w.c[w.n - 1] = 'i';
    step2(&w);
    step3(&w);
    step4(&w);
    step5(&w);
    char *out = nc_arena_alloc(a, 4 * (size_t)w.n + 1);
    size_t n = 0;
    for (int i = 0; i < w.n; i++)
        n += (size_t)nc_utf8_encode(w.c[i], out + n);
    return (nc_str){ out, n };
}
