/* jinja_methods.c - methods of str, dict, list and the loop variable; what the immutable sandbox refuses. */
#include <string.h>

#include "text/jinja.h"
#include "text/unicode.h"

typedef jvalue method_fn(jstate *s, jvalue self, const jcall *c);

static nc_str trimmed(nc_str t, const nc_str *set, bool left, bool right)
{
    while (left && t.n) {
        uint32_t c = 0;
        int length = nc_utf8_decode(t.p, t.n, &c);
        if (length <= 0 || !(set ? memmem(set->p, set->n, t.p, (size_t)length) != NULL : nc_char_is_space(c) || (c >= 0x1c && c <= 0x1f)))
            break;
        t.p += length;
        t.n -= (size_t)length;
    }
    while (right && t.n) {
        size_t at = t.n - 1;
        uint32_t c = 0;
        while (at > 0 && ((unsigned char)t.p[at] & 0xc0) == 0x80)
            at--;
        int length = nc_utf8_decode(t.p + at, t.n - at, &c);
        if (length <= 0 || !(set ? memmem(set->p, set->n, t.p + at, (size_t)length) != NULL : nc_char_is_space(c) || (c >= 0x1c && c <= 0x1f)))
            break;
        t.n = at;
    }
    return t;
}

static jvalue strip(jstate *s, jvalue self, const jcall *c, bool left, bool right)
{
    const jvalue *chars = nc_jarg(c, 0, "chars");
    nc_str set = { "", 0 };
    if (chars && chars->type != J_NONE && chars->type != J_STRING)
        return chars->type == J_UNDEFINED ? nc_jundefined_fail(s, *chars) : nc_jfail(s, "TypeError", "strip arg must be None or str");
    if (chars && chars->type == J_STRING)
        set = chars->s;
    return jstr(trimmed(self.s, chars && chars->type == J_STRING ? &set : NULL, left, right));
}

static jvalue m_strip(jstate *s, jvalue self, const jcall *c) { return strip(s, self, c, true, true); }
static jvalue m_lstrip(jstate *s, jvalue self, const jcall *c) { return strip(s, self, c, true, false); }
static jvalue m_rstrip(jstate *s, jvalue self, const jcall *c) { return strip(s, self, c, false, true); }

static jvalue cased(jstate *s, jvalue self, int mode) { return nc_jcase(s, self.s, mode); }
static jvalue m_upper(jstate *s, jvalue self, const jcall *c) { (void)c; return cased(s, self, 'u'); }
static jvalue m_lower(jstate *s, jvalue self, const jcall *c) { (void)c; return cased(s, self, 'l'); }
static jvalue m_title(jstate *s, jvalue self, const jcall *c) { (void)c; return cased(s, self, 't'); }
static jvalue m_capitalize(jstate *s, jvalue self, const jcall *c) { (void)c; return cased(s, self, 'c'); }
static jvalue m_swapcase(jstate *s, jvalue self, const jcall *c) { (void)c; return cased(s, self, 's'); }

static jvalue split_blanks(jstate *s, nc_str t, int64_t limit, bool from_right)
{
    jvalue out = nc_jlist_new(s, J_LIST, "list");
    jlist *l = out.list;
    t = trimmed(t, NULL, true, true);
    while (t.n && !s->failed) {
        size_t cut = from_right ? t.n : 0, next = cut;
        uint32_t c = 0;
        if (limit >= 0 && l->n >= limit)
            cut = next = from_right ? 0 : t.n;
        while (!from_right && cut < t.n) {
            int length = nc_utf8_decode(t.p + cut, t.n - cut, &c);
            next = cut + (size_t)(length > 0 ? length : 1);
            if (nc_char_is_space(c))
                break;
            cut = next;
        }
        while (from_right && cut > 0) {
            size_t at = cut - 1;
            while (at > 0 && ((unsigned char)t.p[at] & 0xc0) == 0x80)
                at--;
            nc_utf8_decode(t.p + at, t.n - at, &c);
            if (nc_char_is_space(c))
                break;
            cut = at;
        }
        nc_jlist_add(s, l, jstr(from_right ? (nc_str){ t.p + cut, t.n - cut } : (nc_str){ t.p, cut }));
        t = from_right ? trimmed((nc_str){ t.p, cut }, NULL, false, true) : trimmed((nc_str){ t.p + cut, t.n - cut }, NULL, true, false);
    }
    for (int i = 0; from_right && i < l->n / 2; i++) {
        jvalue v = l->p[i];
        l->p[i] = l->p[l->n - 1 - i];
        l->p[l->n - 1 - i] = v;
    }
    return out;
}

static const char *find_last(nc_str t, nc_str what)
{
    for (size_t i = t.n >= what.n ? t.n - what.n + 1 : 0; i-- > 0;)
        if (!memcmp(t.p + i, what.p, what.n))
            return t.p + i;
    return NULL;
}

static jvalue split(jstate *s, jvalue self, const jcall *c, bool from_right)
{
    const jvalue *by = nc_jarg(c, 0, "sep");
    int64_t limit = nc_jarg_int(s, c, 1, "maxsplit", -1);
    nc_str t = self.s;
    if (!by || by->type == J_NONE)
        return split_blanks(s, t, limit, from_right);
    if (by->type != J_STRING)
        return by->type == J_UNDEFINED ? nc_jundefined_fail(s, *by) : nc_jfail(s, "TypeError", "must be str or None, not %s", nc_jtype_name(*by));
    if (!by->s.n)
        return nc_jfail(s, "ValueError", "empty separator");
    jvalue out = nc_jlist_new(s, J_LIST, "list");
    jlist *l = out.list;
    for (const char *hit; !s->failed && (limit < 0 || l->n < limit);) {
        hit = from_right ? find_last(t, by->s) : memmem(t.p, t.n, by->s.p, by->s.n);
        if (!hit)
            break;
        size_t at = (size_t)(hit - t.p), behind = at + by->s.n;
        nc_jlist_add(s, l, jstr(from_right ? (nc_str){ t.p + behind, t.n - behind } : (nc_str){ t.p, at }));
        t = from_right ? (nc_str){ t.p, at } : (nc_str){ t.p + behind, t.n - behind };
    }
    nc_jlist_add(s, l, jstr(t));
    for (int i = 0; from_right && i < l->n / 2; i++) {
        jvalue v = l->p[i];
        l->p[i] = l->p[l->n - 1 - i];
        l->p[l->n - 1 - i] = v;
    }
    return out;
}

static jvalue m_split(jstate *s, jvalue self, const jcall *c) { return split(s, self, c, false); }
static jvalue m_rsplit(jstate *s, jvalue self, const jcall *c) { return split(s, self, c, true); }

static jvalue m_splitlines(jstate *s, jvalue self, const jcall *c)
{
    bool keep = nc_jarg_bool(c, 0, "keepends", false);
    jvalue out = nc_jlist_new(s, J_LIST, "list");
    nc_str t = self.s;
    size_t start = 0;
    for (size_t i = 0; i < t.n && !s->failed;) {
        uint32_t code = 0;
        int length = nc_utf8_decode(t.p + i, t.n - i, &code);
        size_t end = i;
        i += (size_t)(length > 0 ? length : 1);
        if (!((code >= 0xa && code <= 0xd) || (code >= 0x1c && code <= 0x1e) || code == 0x85 || code == 0x2028 || code == 0x2029))
            continue;
        if (code == '\r' && i < t.n && t.p[i] == '\n')
            i++;
        nc_jlist_add(s, out.list, jstr((nc_str){ t.p + start, (keep ? i : end) - start }));
        start = i;
    }
    if (start < t.n)
        nc_jlist_add(s, out.list, jstr((nc_str){ t.p + start, t.n - start }));
    return out;
}

static jvalue ends(jstate *s, jvalue self, const jcall *c, bool at_end)
{
    const jvalue *what = nc_jarg(c, 0, NULL);
    jlist one = { .p = (jvalue *)what, .n = 1 }, *list = what && what->type == J_TUPLE ? what->list : &one;
    const char *name = at_end ? "endswith" : "startswith";
    if (!what)
        return nc_jfail(s, "TypeError", "%s() takes at least 1 argument (0 given)", name);
    int64_t start = nc_jarg_int(s, c, 1, NULL, 0);
    nc_str t = start > 0 ? (nc_str){ self.s.p + nc_jchar_at(self.s, start), self.s.n - nc_jchar_at(self.s, start) } : self.s;
    for (int i = 0; i < list->n; i++) {
        if (list->p[i].type != J_STRING)
            return nc_jfail(s, "TypeError", "%s first arg must be str or a tuple of str, not %s", name, nc_jtype_name(list->p[i]));
        nc_str w = list->p[i].s;
        if (w.n <= t.n && !memcmp(at_end ? t.p + t.n - w.n : t.p, w.p, w.n))
            return jbool(true);
    }
    return jbool(false);
}

static jvalue m_startswith(jstate *s, jvalue self, const jcall *c) { return ends(s, self, c, false); }
static jvalue m_endswith(jstate *s, jvalue self, const jcall *c) { return ends(s, self, c, true); }

static bool text_arg(jstate *s, const jcall *c, int index, nc_str *out)
{
    const jvalue *v = nc_jarg(c, index, NULL);
    if (!v)
        nc_jfail(s, "TypeError", "a method of str needs at least %d argument%s", index + 1, index ? "s" : "");
    else if (v->type == J_UNDEFINED)
        nc_jundefined_fail(s, *v);
    else if (v->type != J_STRING)
        nc_jfail(s, "TypeError", "must be str, not %s", nc_jtype_name(*v));
    else
        *out = v->s;
    return !s->failed;
}

static jvalue find(jstate *s, jvalue self, const jcall *c, bool last, bool must)
{
    nc_str what;
    if (!text_arg(s, c, 0, &what))
        return jundefined();
    size_t from = nc_jchar_at(self.s, nc_jarg_int(s, c, 1, NULL, 0)), to = nc_jchar_at(self.s, nc_jarg_int(s, c, 2, NULL, INT32_MAX));
    nc_str t = { self.s.p + from, to > from ? to - from : 0 };
    const char *hit = last ? find_last(t, what) : what.n ? memmem(t.p, t.n, what.p, what.n) : t.p;
    if (hit)
        return jint((nc_int)nc_utf8_count((nc_str){ self.s.p, (size_t)(hit - self.s.p) }));
    return must ? nc_jfail(s, "ValueError", "substring not found") : jint(-1);
}

static jvalue m_find(jstate *s, jvalue self, const jcall *c) { return find(s, self, c, false, false); }
static jvalue m_rfind(jstate *s, jvalue self, const jcall *c) { return find(s, self, c, true, false); }
static jvalue m_rindex(jstate *s, jvalue self, const jcall *c) { return find(s, self, c, true, true); }

static jvalue m_index(jstate *s, jvalue self, const jcall *c)
{
    if (self.type == J_STRING)
        return find(s, self, c, false, true);
    for (int i = 0; c->n && i < self.list->n && !s->failed; i++)
        if (nc_jequal(s, self.list->p[i], c->args[0]))
            return jint(i);
    return nc_jfail(s, "ValueError", "value is not in list");
}

static jvalue m_count(jstate *s, jvalue self, const jcall *c)
{
    nc_int n = 0;
    if (self.type != J_STRING) {
        for (int i = 0; c->n && i < self.list->n && !s->failed; i++)
            n += nc_jequal(s, self.list->p[i], c->args[0]);
        return jint(n);
    }
    nc_str what, t = self.s;
    if (!text_arg(s, c, 0, &what))
        return jundefined();
    if (!what.n)
        return jint((nc_int)nc_utf8_count(t) + 1);
    for (const char *hit; (hit = memmem(t.p, t.n, what.p, what.n)) != NULL; n++) {
        size_t used = (size_t)(hit - t.p) + what.n;
        t = (nc_str){ t.p + used, t.n - used };
    }
    return jint(n);
}

static jvalue m_replace(jstate *s, jvalue self, const jcall *c)
{
    nc_str old, new, t = self.s;
    nc_buf out = { 0 };
    int64_t limit = nc_jarg_int(s, c, 2, "count", -1);
    if (!text_arg(s, c, 0, &old) || !text_arg(s, c, 1, &new))
        return jundefined();
    for (int64_t done = 0; limit < 0 || done < limit; done++) {
        if (!nc_jstep(s, 1) || out.n > s->limits.output)
            return nc_buf_free(&out), nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
        size_t at, used;
        if (!old.n) {                   /* before every character and at the end */
            nc_buf_add(&out, new.p, new.n);
            if (!t.n)
                return nc_jbuf(s, &out);
            at = nc_jchar_at(t, 1);
            used = at;
        } else {
            const char *hit = memmem(t.p, t.n, old.p, old.n);
            if (!hit)
                break;
            at = (size_t)(hit - t.p);
            used = at + old.n;
        }
        nc_buf_add(&out, t.p, at);
        if (old.n)
            nc_buf_add(&out, new.p, new.n);
        t = (nc_str){ t.p + used, t.n - used };
    }
    nc_buf_add(&out, t.p, t.n);
    return nc_jbuf(s, &out);
}

static jvalue m_join(jstate *s, jvalue self, const jcall *c)
{
    nc_buf out = { 0 };
    jlist *items = c->n ? nc_jiterate(s, c->args[0]) : NULL;
    for (int i = 0; items && i < items->n && !s->failed; i++) {
        if (items->p[i].type != J_STRING) {
            nc_jfail(s, "TypeError", "sequence item %d: expected str instance, %s found", i, nc_jtype_name(items->p[i]));
            break;
        }
        if (i)
            nc_buf_add(&out, self.s.p, self.s.n);
        nc_buf_add(&out, items->p[i].s.p, items->p[i].s.n);
        if (out.n > s->limits.output)
            nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
    }
    return nc_jbuf(s, &out);
}

static bool is_identifier(uint32_t c) { return c == '_' || nc_char_is_word(c); }
static bool is_alnum(uint32_t c) { return nc_char_is_alphabetic(c) || nc_char_is_numeric(c); }
static bool is_ascii(uint32_t c) { return c < 0x80; }

static jvalue every(jvalue self, bool is(uint32_t), bool of_empty)
{
    for (size_t i = 0; i < self.s.n;) {
        uint32_t c = 0;
        int length = nc_utf8_decode(self.s.p + i, self.s.n - i, &c);
        if (!is(c))
            return jbool(false);
        i += (size_t)(length > 0 ? length : 1);
    }
    return jbool(self.s.n > 0 || of_empty);
}

static jvalue m_isdigit(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return every(self, nc_char_is_decimal, false); }
static jvalue m_isnumeric(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return every(self, nc_char_is_numeric, false); }
static jvalue m_isalpha(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return every(self, nc_char_is_alphabetic, false); }
static jvalue m_isalnum(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return every(self, is_alnum, false); }
static jvalue m_isspace(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return every(self, nc_char_is_space, false); }
static jvalue m_isascii(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return every(self, is_ascii, true); }
static jvalue m_isidentifier(jstate *s, jvalue self, const jcall *c)
{
    (void)s;
    (void)c;
    return jbool(self.s.n && !(self.s.p[0] >= '0' && self.s.p[0] <= '9') && every(self, is_identifier, false).b);
}

/* mode 'u' or 'l': some cased character and all of them that case; 't': as title() would write it. */
static jvalue is_case(jvalue self, int mode)
{
    bool any = false, before = false;
    for (size_t i = 0; i < self.s.n;) {
        uint32_t c = 0;
        int length = nc_utf8_decode(self.s.p + i, self.s.n - i, &c);
        bool up = nc_char_is_upper(c), low = nc_char_is_lower(c);
        if ((mode == 'u' && low) || (mode == 'l' && up) || (mode == 't' && ((up && before) || (low && !before))))
            return jbool(false);
        any |= up || low;
        before = up || low;
        i += (size_t)(length > 0 ? length : 1);
    }
    return jbool(any);
}

static jvalue m_isupper(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return is_case(self, 'u'); }
static jvalue m_islower(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return is_case(self, 'l'); }
static jvalue m_istitle(jstate *s, jvalue self, const jcall *c) { (void)s; (void)c; return is_case(self, 't'); }

static jvalue m_format(jstate *s, jvalue self, const jcall *c) { return nc_jformat_braces(s, self.s, c); }

/* Padding to a width in characters: left and right shares of it. */
static jvalue pad(jstate *s, jvalue self, const jcall *c, char side)
{
    int64_t width = nc_jarg_int(s, c, 0, "width", 0), n = (int64_t)nc_utf8_count(self.s), more = width > n ? width - n : 0;
    nc_str fill = nc_jarg_text(s, c, 1, "fillchar", side == '0' ? "0" : " ");
    nc_buf out = { 0 };
    if ((size_t)more * (fill.n + 1) > s->limits.output)
        return nc_jfail(s, "LimitError", "a text is longer than %zu bytes", s->limits.output);
    int64_t left = side == 'r' || side == '0' ? more : side == 'c' ? more / 2 + (more & width & 1) : 0;
    bool sign = side == '0' && self.s.n && (self.s.p[0] == '-' || self.s.p[0] == '+');
    nc_buf_add(&out, self.s.p, sign);
    for (int64_t i = 0; i < left; i++)
        nc_buf_add(&out, fill.p, fill.n);
    nc_buf_add(&out, self.s.p + sign, self.s.n - sign);
    for (int64_t i = left; i < more; i++)
        nc_buf_add(&out, fill.p, fill.n);
    return nc_jbuf(s, &out);
}

static jvalue m_center(jstate *s, jvalue self, const jcall *c) { return pad(s, self, c, 'c'); }
static jvalue m_ljust(jstate *s, jvalue self, const jcall *c) { return pad(s, self, c, 'l'); }
static jvalue m_rjust(jstate *s, jvalue self, const jcall *c) { return pad(s, self, c, 'r'); }
static jvalue m_zfill(jstate *s, jvalue self, const jcall *c) { return pad(s, self, c, '0'); }

static jvalue partition(jstate *s, jvalue self, const jcall *c, bool last)
{
    nc_str what, t = self.s, empty = { "", 0 };
    jvalue out = nc_jlist_new(s, J_TUPLE, "tuple");
    if (!text_arg(s, c, 0, &what))
        return jundefined();
    if (!what.n)
        return nc_jfail(s, "ValueError", "empty separator");
    const char *hit = last ? find_last(t, what) : memmem(t.p, t.n, what.p, what.n);
    size_t at = hit ? (size_t)(hit - t.p) : 0;
    nc_jlist_add(s, out.list, jstr(hit ? (nc_str){ t.p, at } : last ? empty : t));
    nc_jlist_add(s, out.list, jstr(hit ? what : empty));
    nc_jlist_add(s, out.list, jstr(hit ? (nc_str){ hit + what.n, t.n - at - what.n } : last ? t : empty));
    return out;
}

static jvalue m_partition(jstate *s, jvalue self, const jcall *c) { return partition(s, self, c, false); }
static jvalue m_rpartition(jstate *s, jvalue self, const jcall *c) { return partition(s, self, c, true); }

static jvalue m_removeprefix(jstate *s, jvalue self, const jcall *c)
{
    nc_str w;
    if (!text_arg(s, c, 0, &w))
        return jundefined();
    bool hit = w.n <= self.s.n && !memcmp(self.s.p, w.p, w.n);
    return jstr(hit ? (nc_str){ self.s.p + w.n, self.s.n - w.n } : self.s);
}

static jvalue m_removesuffix(jstate *s, jvalue self, const jcall *c)
{
    nc_str w;
    if (!text_arg(s, c, 0, &w))
        return jundefined();
    bool hit = w.n <= self.s.n && !memcmp(self.s.p + self.s.n - w.n, w.p, w.n);
    return jstr(hit ? (nc_str){ self.s.p, self.s.n - w.n } : self.s);
}

static jvalue m_get(jstate *s, jvalue self, const jcall *c)
{
    if (!c->n)
        return nc_jfail(s, "TypeError", "get expected at least 1 argument, got 0");
    const jvalue *known = nc_jdict_get(s, self.dict, c->args[0]), *other = nc_jarg(c, 1, "default");
    return known ? *known : other ? *other : jnone();
}

static jvalue view(jstate *s, jvalue self, const char *kind)
{
    jvalue out = nc_jlist_new(s, J_VIEW, kind);
    for (int i = 0; i < self.dict->n && !s->failed; i++) {
        jpair p = self.dict->p[i];
        jvalue item = kind[5] == 'k' ? p.key : p.value;
        if (kind[5] == 'i') {
            item = nc_jlist_new(s, J_TUPLE, "tuple");
            nc_jlist_add(s, item.list, p.key);
            nc_jlist_add(s, item.list, p.value);
        }
        nc_jlist_add(s, out.list, item);
    }
    return out;
}

static jvalue m_keys(jstate *s, jvalue self, const jcall *c) { (void)c; return view(s, self, "dict_keys"); }
static jvalue m_values(jstate *s, jvalue self, const jcall *c) { (void)c; return view(s, self, "dict_values"); }
static jvalue m_items(jstate *s, jvalue self, const jcall *c) { (void)c; return view(s, self, "dict_items"); }

static jvalue m_copy(jstate *s, jvalue self, const jcall *c)
{
    (void)s;
    (void)c;
    return self;        /* nothing can change either one */
}

static const struct { const char *name; method_fn *run; } of_string[] = {
    { "strip", m_strip }, { "lstrip", m_lstrip }, { "rstrip", m_rstrip }, { "split", m_split }, { "rsplit", m_rsplit }, { "splitlines", m_splitlines },
    { "startswith", m_startswith }, { "endswith", m_endswith }, { "upper", m_upper }, { "lower", m_lower }, { "casefold", m_lower }, { "title", m_title },
    { "capitalize", m_capitalize }, { "swapcase", m_swapcase }, { "replace", m_replace }, { "find", m_find }, { "rfind", m_rfind },
    { "index", m_index }, { "rindex", m_rindex }, { "count", m_count }, { "join", m_join }, { "isdigit", m_isdigit }, { "isdecimal", m_isdigit },
    { "isnumeric", m_isnumeric }, { "isalpha", m_isalpha }, { "isalnum", m_isalnum }, { "isspace", m_isspace }, { "isascii", m_isascii },
    { "isidentifier", m_isidentifier }, { "isupper", m_isupper }, { "islower", m_islower }, { "istitle", m_istitle }, { "format", m_format },
    { "center", m_center }, { "ljust", m_ljust }, { "rjust", m_rjust }, { "zfill", m_zfill }, { "partition", m_partition },
    { "rpartition", m_rpartition }, { "removeprefix", m_removeprefix }, { "removesuffix", m_removesuffix },
}, of_dict[] = {
    { "get", m_get }, { "keys", m_keys }, { "values", m_values }, { "items", m_items }, { "copy", m_copy },
}, of_list[] = {
    { "index", m_index }, { "count", m_count }, { "copy", m_copy },
};

#define LOOKUP(table) \
    for (int i = 0; i < NC_COUNT(table); i++) \
        if (nc_str_eqz(name, table[i].name)) \
            return table[i].run;

static method_fn *find_method(jvalue self, nc_str name)
{
    if (self.type == J_STRING) {
        LOOKUP(of_string)
    } else if (self.type == J_DICT) {
        LOOKUP(of_dict)
    } else if (self.type == J_LIST || self.type == J_TUPLE) {
        LOOKUP(of_list)
    }
    return NULL;
}

bool nc_jmethod_exists(jvalue self, nc_str name)
{
    if (self.type == J_LOOP)
        return nc_str_eqz(name, "cycle") || nc_str_eqz(name, "changed");
    if (self.type == J_CYCLER)
        return nc_str_eqz(name, "next") || nc_str_eqz(name, "reset");
    return find_method(self, name) != NULL;
}

bool nc_jmethod_is_unsafe(jvalue self, nc_str name)
{
    static const char *const list[] = { "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort" };
    static const char *const dict[] = { "clear", "pop", "popitem", "setdefault", "update" };
    static const char *const any[] = { "__class__", "__init__", "__dict__", "__doc__", "__module__", "__subclasshook__", "__getattribute__", "__reduce__", "__eq__", "__hash__" };
    for (int i = 0; i < NC_COUNT(any); i++)
        if (nc_str_eqz(name, any[i]))
            return true;
    for (int i = 0; self.type == J_LIST && i < NC_COUNT(list); i++)
        if (nc_str_eqz(name, list[i]))
            return true;
    for (int i = 0; self.type == J_DICT && i < NC_COUNT(dict); i++)
        if (nc_str_eqz(name, dict[i]))
            return true;
    return false;
}

jvalue nc_jmethod_call(jstate *s, jvalue self, nc_str name, const jcall *c)
{
    method_fn *f = find_method(self, name);
    jvalue out = s->failed || !f ? jundefined() : f(s, self, c);
    out.markup = self.markup && out.type == J_STRING;
    return out;
}
