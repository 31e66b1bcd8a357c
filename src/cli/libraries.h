/* libraries.h - the libraries the program was built with, by their own words. */
#ifndef NC_CLI_LIBRARIES_H
#define NC_CLI_LIBRARIES_H
typedef struct nc_library { const char *name, *version; } nc_library;
int nc_libraries(nc_library *out, int most);     /* how many were filled in */
#endif
