/* As many power cuts as it takes to be believed.
 *
 * ctest: labels long
 * ctest: timeout 3600 */
#define CUTS 2000
#include "ledger/test_powerloss.c"
