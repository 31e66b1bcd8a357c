/* scenes_text.c - captions of korean-scenes and back: slots to Korean sentences, a sentence to the slots it names.
 *
 * A caption is one sentence of three orders (weather and time before the place; the weather as a clause of its own; the camera first), with one or two
 * wordings for each part. Commas are avoided, so that eojeols (the units between spaces) line up between captions.
 */
#include "data/scenes.h"
#include "base/rng.h"
#include <string.h>

static const char *const places[] = { "바다", "산", "논", "도심", "한옥 골목", "강변", "공원", "시장" };
static const char *const marks[] = { "등대", "봉우리", "허수아비", "탑", "대문", "다리", "분수", "가게" };   /* what the camera nears */
static const char *const times[] = { "새벽", "아침", "낮", "저녁", "밤" };
static const char *const weathers[] = { "맑음", "비", "눈", "안개", "노을" };
static const char *const cameras[] = { "고정", "좌우 이동", "확대" };

static const struct thing_words {
    const char *name, *counted;
    const char *and[2], *ends[2], *while_[2];    /* 지나가고, 지나간다, 지나가며 in two wordings */
} things[] = {
    { "배", "배 한 척", { "지나가고", "떠가고" }, { "지나간다", "떠간다" }, { "지나가며", "떠가며" } },
    { "갈매기", "갈매기 한 마리", { "날아가고", "날고" }, { "날아간다", "난다" }, { "날아가며", "날며" } },
    { "자동차", "자동차 한 대", { "달리고", "지나가고" }, { "달린다", "지나간다" }, { "달리며", "지나가며" } },
    { "버스", "버스 한 대", { "달리고", "지나가고" }, { "달린다", "지나간다" }, { "달리며", "지나가며" } },
    { "기차", "기차 한 대", { "달리고", "지나가고" }, { "달린다", "지나간다" }, { "달리며", "지나가며" } },
    { "사람", "사람 한 명", { "걸어가고", "걷고" }, { "걸어간다", "걷는다" }, { "걸어가며", "걸으며" } },
    { "자전거", "자전거 한 대", { "지나가고", "달리고" }, { "지나간다", "달린다" }, { "지나가며", "달리며" } },
    { "연", "연 하나", { "하늘을 날고", "하늘에 떠 있고" }, { "하늘을 난다", "하늘에 떠 있다" }, { "하늘을 날며", "하늘에 떠 있으며" } },
    { "강아지", "강아지 한 마리", { "뛰어가고", "달려가고" }, { "뛰어간다", "달려간다" }, { "뛰어가며", "달려가며" } },
    { "열기구", "열기구 하나", { "떠가고", "날아가고" }, { "떠간다", "날아간다" }, { "떠가며", "날아가며" } },
    { "케이블카", "케이블카 한 대", { "지나가고", "움직이고" }, { "지나간다", "움직인다" }, { "지나가며", "움직이며" } },
};
_Static_assert(sizeof things / sizeof *things == nc_scene_things, "every thing has its words");

static const char *const attributes[][2] = {                     /* before a noun */
    { "맑은", "맑은" }, { "비가 내리는", "비가 오는" }, { "눈이 내리는", "눈이 오는" }, { "안개가 낀", "안개가 자욱한" }, { "노을이 지는", "노을이 물든" },
};
static const char *const clauses[][2] = {                        /* as a clause */
    { "맑고", "하늘이 맑고" }, { "비가 내리고", "비가 오고" }, { "눈이 내리고", "눈이 오고" }, { "안개가 끼어 있고", "안개가 자욱하고" }, { "노을이 지고", "노을이 물들고" },
};

const char *nc_scene_name(int slot, int index)
{
    static const struct { const char *const *names; int count; } tables[] = {
        { places, nc_scene_places }, { times, nc_scene_times }, { weathers, nc_scene_weathers }, { NULL, nc_scene_things }, { cameras, nc_scene_cameras },
    };
    if (slot < 0 || slot >= nc_scene_slot_count || index < 0 || index >= tables[slot].count)
        return NULL;
    return slot == 3 ? things[index].name : tables[slot].names[index];
}

/* The final consonant of the last syllable, 0 none, 8 ㄹ, as Unicode numbers them (U+AC00 + (lead * 21 + vowel) * 28 + final). */
static int final_consonant(const char *word)
{
    size_t n = strlen(word);
    uint32_t c = 0;
    if (n < 3 || nc_utf8_decode(word + n - 3, 3, &c) != 3 || c < 0xac00 || c > 0xd7a3)
        return 0;
    return (int)((c - 0xac00) % 28);
}

const char *nc_korean_particle(const char *word, nc_particle p)
{
    static const char *const pairs[][2] = { { "가", "이" }, { "를", "을" }, { "는", "은" }, { "로", "으로" }, { "와", "과" } };
    const int final = final_consonant(word);
    return pairs[p][p == NC_TOWARDS ? final != 0 && final != 8 : final != 0];
}

static void add_with(nc_buf *b, const char *word, nc_particle p)
{
    nc_buf_printf(b, "%s%s ", word, nc_korean_particle(word, p));
}

struct choice { nc_rng r; };

/* 0 mostly, 1 in 4 of 10. */
static int second(struct choice *c) { return nc_rng_below(&c->r, 10) < 4; }

/* "배 한 척이 지나가고 갈매기 한 마리가 날아가며 " or, at the end of a sentence, "... 날아간다." */
static void add_things(nc_buf *b, const nc_scene_slots *s, bool last, struct choice *c)
{
    uint32_t left = s->objects;
    /* Two things come in either order. */
    const bool backwards = nc_rng_below(&c->r, 4) == 0;
    while (left) {
        int k = backwards ? 31 - __builtin_clz(left) : __builtin_ctz(left);
        left &= ~(1u << k);
        add_with(b, things[k].counted, NC_SUBJECT);
        const char *const *verb = left ? things[k].and : last ? things[k].ends : things[k].while_;
        nc_buf_printf(b, "%s%s", verb[second(c)], left || !last ? " " : ".");
    }
}

static void add_camera_end(nc_buf *b, const nc_scene_slots *s, struct choice *c)
{
    const int other = second(c);
    nc_buf_adds(b, "카메라는 ");
    if (s->camera == 0) {
        nc_buf_adds(b, other ? "움직이지 않는다." : "고정되어 있다.");
    } else if (s->camera == 1) {
        if (other)
            add_with(b, places[s->place], NC_OBJECT);
        nc_buf_adds(b, other ? "옆으로 천천히 비춘다." : "옆으로 천천히 이동한다.");
    } else {
        add_with(b, marks[s->place], NC_TOWARDS);
        nc_buf_adds(b, other ? "점점 다가간다." : "천천히 다가간다.");
    }
}

static void add_camera_start(nc_buf *b, const nc_scene_slots *s)
{
    nc_buf_adds(b, "카메라가 ");
    if (s->camera == 0) {
        nc_buf_adds(b, "고정된 채 ");
    } else if (s->camera == 1) {
        nc_buf_adds(b, "옆으로 천천히 이동하며 ");
    } else {
        add_with(b, marks[s->place], NC_TOWARDS);
        nc_buf_adds(b, "천천히 다가가며 ");
    }
}

void nc_scenes_caption(const nc_scene_slots *s, uint64_t seed, uint64_t variant, nc_buf *b)
{
    struct choice c = { nc_rng_new(seed, nc_rng_stream(0xcab, variant, 0, 0)) };
    const int order = (int)nc_rng_below(&c.r, 10);       /* 0-4 plain, 5-7 clause, 8-9 camera first */
    const bool clause = order >= 5 && order <= 7, camera_first = order >= 8;
    const char *place = places[s->place], *time = times[s->time];

    if (camera_first)
        add_camera_start(b, s);
    if (clause) {
        nc_buf_printf(b, "%s %s%s %s ", time, place, s->weather ? "에" : nc_korean_particle(place, NC_TOPIC), clauses[s->weather][second(&c)]);
    } else {
        nc_buf_printf(b, "%s %s ", attributes[s->weather][second(&c)], time);
        if (s->objects)
            nc_buf_printf(b, "%s에서 ", place);
    }
    if (s->objects) {
        add_things(b, s, camera_first, &c);
    } else if (clause) {
        nc_buf_adds(b, second(&c) ? "아무도 없으며 " : "움직이는 것이 없으며 ");
    } else {
        add_with(b, place, NC_SUBJECT);
        const int other = second(&c);
        nc_buf_adds(b, other ? "조용히 " : "고요하게 ");
        nc_buf_adds(b, camera_first ? "펼쳐진다." : "펼쳐지며 ");
    }
    if (!camera_first)
        add_camera_end(b, s, &c);
}

/* word starts at p[0..n) and what follows is a particle or nothing. */
static bool is_word(const char *p, size_t n, const char *word)
{
    static const char *const after[] = { "", "에", "에서", "에는", "에서는", "이", "가", "은", "는", "을", "를", "의", "도", "으로", "로", "과", "와" };
    const size_t w = strlen(word);

    if (n < w || memcmp(p, word, w) != 0)
        return false;
    for (int i = 0; i < NC_COUNT(after); i++)
        if (n - w == strlen(after[i]) && memcmp(p + w, after[i], n - w) == 0)
            return true;
    return false;
}

static void name(int *slot, int value)
{
    *slot = *slot == -1 || *slot == value ? value : -2;
}

static bool starts(const char *p, size_t n, const char *prefix)
{
    const size_t w = strlen(prefix);
    return n >= w && memcmp(p, prefix, w) == 0;
}

static void read_word(const char *p, size_t n, nc_scene_slots *out)
{
    static const char *const weather_words[] = { NULL, "비", "눈", "안개", "노을" };

    for (int i = 0; i < nc_scene_places; i++)
        if (is_word(p, n, i == 4 ? "골목" : places[i]))
            name(&out->place, i);
    for (int i = 0; i < nc_scene_times; i++)
        if (is_word(p, n, times[i]))
            name(&out->time, i);
    if (starts(p, n, "맑"))
        name(&out->weather, 0);
    for (int i = 1; i < nc_scene_weathers; i++)
        if (is_word(p, n, weather_words[i]))
            name(&out->weather, i);
    for (int i = 0; i < nc_scene_things; i++)
        if (is_word(p, n, things[i].name))
            out->objects |= 1u << i;
    if (starts(p, n, "고정") || starts(p, n, "움직이지"))
        name(&out->camera, 0);
    if (is_word(p, n, "옆"))
        name(&out->camera, 1);
    if (starts(p, n, "다가") || starts(p, n, "확대"))
        name(&out->camera, 2);
}

void nc_scenes_slots(const char *caption, nc_scene_slots *out)
{
    *out = (nc_scene_slots){ -1, -1, -1, -1, 0 };
    for (const char *p = caption; *p;) {
        size_t n = strcspn(p, " \t\r\n.,!?;:\"'()");
        if (n)
            read_word(p, n, out);
        p += n;
        p += *p ? 1 : 0;
    }
}

int nc_scenes_compare(const nc_scene_slots *a, const nc_scene_slots *b, bool right[nc_scene_slot_count])
{
    const bool same[nc_scene_slot_count] = { a->place >= 0 && a->place == b->place, a->time >= 0 && a->time == b->time,
                                             a->weather >= 0 && a->weather == b->weather, a->objects == b->objects,
                                             a->camera >= 0 && a->camera == b->camera };
    int count = 0;
    for (int i = 0; i < nc_scene_slot_count; i++) {
        count += same[i];
        if (right)
            right[i] = same[i];
    }
    return count;
}
