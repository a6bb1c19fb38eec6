/* How many connections all fronts together may have, and how many of one address. Any thread. An IPv6
 * address counts with its whole /64, which is what one customer of a network gets. */
#ifndef NP_HTTP_LIMITS_H
#define NP_HTTP_LIMITS_H

#include <stdint.h>
#include <sys/socket.h>

struct np_http_limits;

struct np_http_peer {
    uint8_t bytes[16];
};

enum np_http_room { NP_HTTP_ROOM, NP_HTTP_ROOM_NONE, NP_HTTP_ROOM_NONE_FOR_ADDRESS };

/* NULL without memory. */
struct np_http_limits *np_http_limits_new(unsigned max, unsigned max_of_address);
void np_http_limits_free(struct np_http_limits *l);
struct np_http_peer np_http_peer_of(const struct sockaddr *a);
/* NP_HTTP_ROOM: it is counted, and must be given back. */
enum np_http_room np_http_limits_take(struct np_http_limits *l, const struct np_http_peer *peer);
void np_http_limits_give(struct np_http_limits *l, const struct np_http_peer *peer);
/* How many are counted now. */
unsigned np_http_limits_count(struct np_http_limits *l);

#endif
