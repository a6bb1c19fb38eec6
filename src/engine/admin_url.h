/* Where the tools of operators ask a running instance: what they give with --admin, made a URL. */
#ifndef NP_ENGINE_ADMIN_URL_H
#define NP_ENGINE_ADMIN_URL_H

#include <neap/neap.h>

/* "http://HOST:PORT", "HOST:PORT" or an address as --admin of neap serve has it, and a path of the admin
 * socket, into url. An instance that listens on every address is asked on loopback. NEAP_USAGE: why says
 * what is wrong with it. */
enum neap_status np_admin_url(const char *admin, const char *path, char *url, size_t size,
                              char why[NEAP_WHY]);

#endif
