/* What the counted work tells valgrind: from where to where it counts. Outside of valgrind these calls do nothing. */
#include <valgrind/callgrind.h>

void begin(void) { CALLGRIND_START_INSTRUMENTATION; }

void toggle(void) { CALLGRIND_TOGGLE_COLLECT; }

void forget(void) { CALLGRIND_ZERO_STATS; }

void write_down(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
