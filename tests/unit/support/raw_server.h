/* A TCP server on 127.0.0.1 that does to its clients whatever a test wants: a function of the test's
 * runs for each connection, in a thread of its own, and the connection is closed when it returns. */
#ifndef NP_TEST_RAW_SERVER_H
#define NP_TEST_RAW_SERVER_H

#include <stdbool.h>
#include <stddef.h>

struct np_raw_server;

struct np_raw_conn {
    struct np_raw_server *server;
    void *ctx;
    int fd;
    unsigned nth;  /* from 0, in the order in which they were accepted */
    char *request; /* the last one read, NUL-terminated */
    size_t request_n;
    size_t body_at; /* where its body begins */
};

struct np_raw_server *np_raw_start(void (*serve)(struct np_raw_conn *c), void *ctx);
/* Ends all connections and waits for their threads. */
void np_raw_stop(struct np_raw_server *s);
unsigned np_raw_port(const struct np_raw_server *s);
/* Connections accepted, requests read whole, connections that the client closed first (seen by
 * np_raw_read or np_raw_wait_closed) so far. */
unsigned np_raw_connections(struct np_raw_server *s);
unsigned np_raw_requests(struct np_raw_server *s);
unsigned np_raw_closed(struct np_raw_server *s);
/* A copy of the last request that was read; the caller frees it. */
char *np_raw_last(struct np_raw_server *s);

/* Reads one request with its body (by Content-Length); false when the client has closed. */
bool np_raw_read(struct np_raw_conn *c);
void np_raw_say(struct np_raw_conn *c, const char *text);
/* False when the client is gone. */
bool np_raw_send(struct np_raw_conn *c, const void *p, size_t n);
/* Waits until the client closes, or the server is stopped. */
void np_raw_wait_closed(struct np_raw_conn *c);
/* The connection ends with RST instead of FIN. */
void np_raw_reset(struct np_raw_conn *c);

#endif
