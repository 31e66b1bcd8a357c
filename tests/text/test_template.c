/* test_template.c - limits and refusals of the template interpreter; the language itself is tested by test_golden_templates. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "text/template.h"

static int render(const char *source, nc_buf *out, nc_error *e)
{
    nc_template *t;
    nc_template_limits limits = { .output = 10000, .steps = 100000 };
    int status = nc_template_compile(nc_str_of(source), &t, e);
    if (status >= 0) {
        status = nc_template_render(t, NULL, &limits, out, NULL, e);
        nc_template_free(t);
    }
    return status;
}

static void refuse(const char *source, int code, const char *words)
{
    nc_buf out = { 0 };
    nc_error e = { 0 };
    assert_int_equal(render(source, &out, &e), code);
    if (!strstr(e.message, words))
        print_error("%s\n", e.message);
    assert_non_null(strstr(e.message, words));
    assert_int_equal(out.n, 0);
    nc_buf_free(&out);
}

static void test_limits(void **state)
{
    (void)state;
    nc_template *t;
    nc_buf text = { 0 };
    nc_error e = { 0 };
    assert_int_equal(nc_template_compile(NC_STR("{% for a in range(900) %}{{ a }}{% endfor %}"), &t, &e), 0);
    assert_int_equal(nc_template_render(t, NULL, &(nc_template_limits){ .steps = 2000 }, &text, NULL, &e), NC_ELIMIT);
    assert_string_equal(e.message, "LimitError: the template ran more than 2000 steps");
    assert_int_equal(nc_template_render(t, NULL, NULL, &text, NULL, &e), 0);
    assert_int_equal(text.n, 10 + 180 + 2400);
    nc_template_free(t);
    nc_buf_free(&text);
    refuse("{% for a in range(1000) %}{% for b in range(1000) %}{% endfor %}{% endfor %}", NC_ELIMIT, "LimitError");
    refuse("{{ 'x' * 1000000 }}", NC_ELIMIT, "LimitError");
    refuse("{% for a in range(1000) %}0123456789ab{% endfor %}", NC_ELIMIT, "LimitError");
    refuse("{% set ns = namespace(s='x') %}{% for a in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}", NC_ELIMIT, "LimitError");
    refuse("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", NC_EINVAL, "RecursionError");
    refuse("{{ range(1000000) }}", NC_EINVAL, "OverflowError");
    refuse("{{ 10 ** 100 }}", NC_EINVAL, "OverflowError");
    char deep[4001];
    memset(deep, '(', 2000);
    memset(deep + 2000, ')', 2000);
    deep[4000] = 0;
    nc_buf b = { 0 };
    nc_buf_printf(&b, "{{ %s }}", deep);
    refuse(b.p, NC_EFORMAT, "deeper");
    nc_buf_free(&b);
    refuse("{{ '\xff' }}", NC_EFORMAT, "UTF-8");
}

/* A failing template leaves what out held. */
static void test_keeps_output(void **state)
{
    (void)state;
    nc_buf out = { 0 };
    nc_error e = { 0 };
    nc_buf_adds(&out, "before ");
    assert_true(render("text {{ nope.x }}", &out, &e) < 0);
    assert_string_equal(out.p, "before ");
    assert_string_equal(e.message, "UndefinedError: 'nope' is undefined");
    assert_int_equal(render("after", &out, &e), 0);
    assert_string_equal(out.p, "before after");
    nc_buf_free(&out);
}

/* Spans are byte ranges of the output, also when it does not start empty. */
static void test_spans(void **state)
{
    (void)state;
    nc_template *t;
    nc_error e = { 0 };
    nc_buf out = { 0 };
    nc_template_spans spans = { 0 };
    nc_buf_adds(&out, "xx");
    assert_int_equal(nc_template_compile(NC_STR("a{% generation %}\xed\x95\x9c{% endgeneration %}b{% generation %}{% endgeneration %}"), &t, &e), 0);
    assert_true(nc_template_has_generation(t));
    assert_int_equal(nc_template_render(t, NULL, NULL, &out, &spans, &e), 0);
    assert_int_equal(spans.n, 2);
    assert_int_equal(spans.p[0].begin, 3);
    assert_int_equal(spans.p[0].end, 6);
    assert_int_equal(spans.p[1].begin, spans.p[1].end);
    nc_template_spans_free(&spans);
    nc_template_free(t);
    nc_buf_free(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_limits), cmocka_unit_test(test_keeps_output), cmocka_unit_test(test_spans) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
