/* test_report.c - the page holds what it was given, escaped, and asks the network for nothing; charts are sound on odd input. */
#include "golden_lines.h"
#include "eval/report.h"
#include <unistd.h>

static char path[64] = "/tmp/nunchi-report-XXXXXX";

static int count(const char *page, const char *part)
{
    int n = 0;
    for (const char *at = page; (at = strstr(at, part)); at++)
        n++;
    return n;
}

static void page(void **state)
{
    (void)state;
    static const char metrics[] = "{\"step\": 1, \"loss\": 9.5, \"learning_rate\": 1e-4, \"grad_norm\": 2.5, \"note\": \"x\"}\nnot json\n"
                                  "{\"step\": 2, \"loss\": 7.25, \"learning_rate\": 2e-4, \"grad_norm\": NaN}\n{\"step\": 2, \"eval_loss\": 7.0, \"eval_meteor\": 0.25}\n{\"step\": 3, \"loss\": 6";
    static const unsigned char png[] = { 0x89, 'P', 'N', 'G' };
    nc_error e = { 0 };
    char file[128];
    assert_non_null(mkdtemp(path));
    snprintf(file, sizeof file, "%s/metrics.jsonl", path);
    assert_int_equal(nc_file_write(file, metrics, sizeof metrics - 1, &e), 0);
    nc_report *r = nc_report_new("바다 <b>", "48 clips");
    nc_report_score(r, "METEOR", 0.6123, 3, "NLTK, eojeol");
    nc_report_score(r, "CIDEr", NAN, 2, "");
    nc_report_setting(r, "recipe", "a & b");
    assert_int_equal(nc_report_curves(r, file, &e), 0);
    assert_true(nc_report_curves(r, "/tmp/none.jsonl", &e) == NC_ENOTFOUND && strstr(e.message, "none.jsonl"));
    nc_frame frame[2] = { { png, sizeof png, "image/png" }, { png, sizeof png, "image/png" } };
    nc_str refs[] = { NC_STR("배가 바다를 지나간다."), NC_STR("<script>alert(1)</script>") };
    nc_score scores[] = { { "METEOR", 0.75 }, { "BLEU-4", 0.5 } };
    nc_report_sample(r, &(nc_report_row){ "clip-1", "무엇이 보이나요?", frame, 2, NC_STR("배가 <산을> 지나간다."), refs, 2, scores, 2 });
    snprintf(file, sizeof file, "%s/report.html", path);
    assert_int_equal(nc_report_write(r, file, &e), 0);
    nc_report_free(r);

    nc_buf b = { 0 };
    assert_int_equal(nc_file_read(file, 1 << 20, &b, &e), 0);
    assert_true(nc_utf8_valid((nc_str){ b.p, b.n }));
    assert_int_equal(count(b.p, "<svg"), 4);                           /* loss, rate, norm, eval_meteor */
    assert_int_equal(count(b.p, "data:image/png;base64,iVBORw==\""), 2);
    assert_int_equal(count(b.p, "<img"), 2);
    assert_non_null(strstr(b.p, "<mark>배가</mark> &lt;산을&gt; <mark>지나간다.</mark>"));
    assert_null(strstr(b.p, "<script>alert"));
    assert_non_null(strstr(b.p, "바다 &lt;b&gt;"));
    assert_non_null(strstr(b.p, "0.612"));
    assert_non_null(strstr(b.p, "a &amp; b"));
    assert_int_equal(count(b.p, "http"), count(b.p, "http://www.w3.org/2000/svg"));
    nc_buf_free(&b);
    assert_int_equal(nc_remove_tree(path, &e), 0);
}

static void charts(void **state)
{
    (void)state;
    double x[2000], y[2000], flat[3] = { 5, 5, 5 }, holes[3] = { NAN, 1, INFINITY };
    for (int i = 0; i < 2000; i++) {
        x[i] = i;
        y[i] = 10 / (1 + i * 0.01);
    }
    const nc_series cases[] = { { "long", x, y, 2000, false, false }, { "flat", x, flat, 3, true, true }, { "holes", x, holes, 3, false, false }, { "one", x, y, 1, false, false }, { "none", x, y, 0, false, false } };
    for (int i = 0; i < NC_COUNT(cases); i++)
        for (int log_y = 0; log_y < 2; log_y++) {
            nc_buf b = { 0 };
            nc_svg_chart(&b, &(nc_chart){ .title = "a<b", .series = &cases[i], .count = 1, .log_y = log_y });
            assert_true(nc_starts_with(b.p, "<svg") && nc_ends_with(b.p, "</svg>"));
            assert_null(strstr(b.p, "nan"));
            assert_null(strstr(b.p, "inf"));
            assert_non_null(strstr(b.p, "a&lt;b"));
            assert_true(b.n < 60000);
            nc_buf_free(&b);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(page), cmocka_unit_test(charts) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
