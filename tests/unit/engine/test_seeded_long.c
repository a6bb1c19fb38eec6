/* 2,000 seeds of 1,000 exchanges each: the books agree with each of them.
 *
 * ctest: labels long sim
 * ctest: timeout 3600 */
#define SEEDS 2000
#include "engine/test_seeded.c"
