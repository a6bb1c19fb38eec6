/* Connections by address: a hash table whose nodes are all there from the start, so that counting needs no
 * memory. The lock is held for some memory accesses, twice in a connection's life. */
#include "http/limits.h"

#include <netinet/in.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"
#include "base/rng.h"

#define NOWHERE UINT32_MAX

struct node {
    struct np_http_peer peer;
    unsigned count;
    uint32_t next; /* of its bucket, or of those that are free */
};

struct np_http_limits {
    pthread_mutex_t lock;
    unsigned max, max_of_address, count;
    uint64_t seed; /* buckets that nobody can aim at */
    uint32_t mask;
    uint32_t free;
    uint32_t *bucket;
    struct node *node;
};

static uint32_t buckets_for(unsigned max)
{
    uint32_t n = 16;
    while (n < max && n < UINT32_C(1) << 24)
        n *= 2;
    return n;
}

struct np_http_limits *np_http_limits_new(unsigned max, unsigned max_of_address)
{
    struct np_http_limits *l = calloc(1, sizeof *l);
    if (!l)
        return NULL;
    uint32_t n = buckets_for(max);
    l->max = max;
    l->max_of_address = max_of_address;
    l->mask = n - 1;
    l->bucket = malloc(n * sizeof *l->bucket);
    l->node = malloc((size_t)max * sizeof *l->node);
    if (!l->bucket || !l->node || pthread_mutex_init(&l->lock, NULL) != 0) {
        free(l->bucket);
        free(l->node);
        free(l);
        return NULL;
    }
    np_random_bytes(&l->seed, sizeof l->seed);
    for (uint32_t i = 0; i < n; i++)
        l->bucket[i] = NOWHERE;
    for (uint32_t i = 0; i < max; i++)
        l->node[i].next = i + 1 < max ? i + 1 : NOWHERE;
    l->free = max > 0 ? 0 : NOWHERE;
    return l;
}

void np_http_limits_free(struct np_http_limits *l)
{
    if (!l)
        return;
    np_require(l->count == 0);
    pthread_mutex_destroy(&l->lock);
    free(l->bucket);
    free(l->node);
    free(l);
}

struct np_http_peer np_http_peer_of(const struct sockaddr *a)
{
    union {
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } u;
    struct np_http_peer peer = {{0}};
    if (a->sa_family == AF_INET) {
        memcpy(&u.v4, a, sizeof u.v4);
        peer.bytes[10] = peer.bytes[11] = 0xff;
        memcpy(peer.bytes + 12, &u.v4.sin_addr, 4);
    } else if (a->sa_family == AF_INET6) {
        memcpy(&u.v6, a, sizeof u.v6);
        bool mapped = IN6_IS_ADDR_V4MAPPED(&u.v6.sin6_addr);
        memcpy(peer.bytes, &u.v6.sin6_addr, mapped ? 16 : 8);
    }
    return peer;
}

/* The splitmix64 finisher over both halves. */
static uint32_t bucket_of(const struct np_http_limits *l, const struct np_http_peer *peer)
{
    uint64_t half[2], h = l->seed;
    memcpy(half, peer->bytes, sizeof half);
    for (int i = 0; i < 2; i++) {
        h ^= half[i];
        h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
        h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
        h ^= h >> 31;
    }
    return (uint32_t)h & l->mask;
}

/* Where the node of the peer is linked from; NOWHERE stands there when it has none. */
static uint32_t *find(struct np_http_limits *l, const struct np_http_peer *peer)
{
    uint32_t *at = &l->bucket[bucket_of(l, peer)];
    while (*at != NOWHERE && memcmp(&l->node[*at].peer, peer, sizeof *peer) != 0)
        at = &l->node[*at].next;
    return at;
}

enum np_http_room np_http_limits_take(struct np_http_limits *l, const struct np_http_peer *peer)
{
    enum np_http_room room = NP_HTTP_ROOM;
    pthread_mutex_lock(&l->lock);
    uint32_t *at = find(l, peer);
    if (*at != NOWHERE && l->node[*at].count >= l->max_of_address) {
        room = NP_HTTP_ROOM_NONE_FOR_ADDRESS;
    } else if (l->count >= l->max) {
        room = NP_HTTP_ROOM_NONE;
    } else if (*at != NOWHERE) {
        l->node[*at].count++;
        l->count++;
    } else {
        /* There are as many nodes as connections. */
        uint32_t n = l->free;
        np_require(n != NOWHERE);
        l->free = l->node[n].next;
        l->node[n] = (struct node){.peer = *peer, .count = 1, .next = NOWHERE};
        *at = n;
        l->count++;
    }
    pthread_mutex_unlock(&l->lock);
    return room;
}

void np_http_limits_give(struct np_http_limits *l, const struct np_http_peer *peer)
{
    pthread_mutex_lock(&l->lock);
    uint32_t *at = find(l, peer);
    np_require(*at != NOWHERE && l->count > 0);
    struct node *node = &l->node[*at];
    l->count--;
    if (--node->count == 0) {
        uint32_t n = *at;
        *at = node->next;
        node->next = l->free;
        l->free = n;
    }
    pthread_mutex_unlock(&l->lock);
}

unsigned np_http_limits_count(struct np_http_limits *l)
{
    pthread_mutex_lock(&l->lock);
    unsigned n = l->count;
    pthread_mutex_unlock(&l->lock);
    return n;
}
