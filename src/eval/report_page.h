/* report_page.h - the fixed parts of the report: style sheet, the row of tools above the samples, the script that sorts and filters. */
#ifndef NC_EVAL_REPORT_PAGE_H
#define NC_EVAL_REPORT_PAGE_H
extern const char nc_report_style[], nc_report_tools[], nc_report_script[];
#endif
