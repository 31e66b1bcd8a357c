/* split_scripts.c - the UnicodeScripts pre-tokenizer: cuts where the script changes. Blanks belong to any script and those in front of everything are dropped; kana and the
 * long-vowel mark count as Han. A pattern with one alternative a script does it: (first character of the script)(more of it, or of any script)*.
 * Source: pre_tokenizers/unicode_scripts of the tokenizers library; Scripts.txt of Unicode as PCRE2 has it.
 */
#include <string.h>

#include "text/parts.h"

static const char names[] =
    "Adlam Ahom Anatolian_Hieroglyphs Arabic Armenian Avestan Balinese Bamum Bassa_Vah Batak Bengali Bhaiksuki Bopomofo Brahmi Braille Buginese Buhid "
    "Canadian_Aboriginal Carian Caucasian_Albanian Chakma Cham Cherokee Coptic Cuneiform Cypriot Cyrillic Deseret Devanagari Duployan Egyptian_Hieroglyphs Elbasan "
    "Ethiopic Georgian Glagolitic Gothic Grantha Greek Gujarati Gurmukhi Hangul Hanunoo Hatran Hebrew Imperial_Aramaic Inherited Inscriptional_Pahlavi "
    "Inscriptional_Parthian Javanese Kaithi Kannada Kayah_Li Kharoshthi Khmer Khojki Khudawadi Lao Latin Lepcha Limbu Linear_A Linear_B Lisu Lycian Lydian Mahajani "
    "Malayalam Mandaic Manichaean Marchen Meetei_Mayek Mende_Kikakui Meroitic_Cursive Meroitic_Hieroglyphs Miao Modi Mongolian Mro Multani Myanmar Nabataean "
    "New_Tai_Lue Newa Nko Ogham Ol_Chiki Old_Hungarian Old_Italic Old_North_Arabian Old_Permic Old_Persian Old_South_Arabian Old_Turkic Oriya Osage Osmanya "
    "Pahawh_Hmong Palmyrene Pau_Cin_Hau Phags_Pa Phoenician Psalter_Pahlavi Rejang Runic Samaritan Saurashtra Sharada Shavian Siddham SignWriting Sinhala "
    "Sora_Sompeng Sundanese Syloti_Nagri Syriac Tagalog Tagbanwa Tai_Le Tai_Tham Tai_Viet Takri Tamil Tangut Telugu Thaana Thai Tibetan Tifinagh Tirhuta Ugaritic Vai "
    "Warang_Citi Yi";

struct scripts { nc_pretokenizer part; nc_pattern pattern; };

static bool find(const void *context, nc_scratch *s, nc_str text, size_t from, size_t *begin, size_t *end)
{
    return nc_pattern_find(context, s, text, from, begin, end);
}

static void scripts_run(const nc_pretokenizer *self, nc_scratch *s)
{
    const struct scripts *p = (const struct scripts *)self;
    nc_split_spans(s, find, &p->pattern, NC_REMOVED, true);
}

int nc_pretokenizer_scripts(nc_build *b, const nc_json *v, const nc_pretokenizer **out, nc_error *e)
{
    (void)v;
    struct scripts *p = NC_NEW(b->arena, struct scripts);
    nc_buf text = { 0 };
    p->part.run = scripts_run;
    *out = &p->part;
    nc_buf_adds(&text, "(?:(?![ \\x{30fc}])\\p{sc:Common})(?:(?!\\x{30fc})[\\p{sc:Common}\\p{sc:Unknown}])*");
    nc_buf_adds(&text, "|[\\p{sc:Han}\\p{sc:Hiragana}\\p{sc:Katakana}\\x{30fc}][\\p{sc:Han}\\p{sc:Hiragana}\\p{sc:Katakana}\\x{30fc} \\p{sc:Unknown}]*");
    for (const char *name = names; *name;) {
        int n = (int)strcspn(name, " ");
        nc_buf_printf(&text, "|\\p{sc:%.*s}[\\p{sc:%.*s} \\p{sc:Unknown}]*", n, name, n, name);
        name += n + (name[n] == ' ');
    }
    nc_json regex = { .type = NC_JSON_STRING, .text = { text.p, text.n }, .key = NC_STR("Regex") };
    nc_json object = { .type = NC_JSON_OBJECT, .first = &regex, .count = 1 };
    int status = nc_pattern_create(b, &object, &p->pattern, e);
    nc_buf_free(&text);
    return status;
}
