/* An imitation on a loop that the test turns itself, with a clock that the test moves; clients are
 * plain sockets. What the source answers is rig.answer. One rig at a time; nothing here allocates while
 * it turns, so that allocations can be made to fail. */
#ifndef NP_TEST_SIM_RIG_H
#define NP_TEST_SIM_RIG_H

#include "sim/imitation.h"

#define RIG_MS UINT64_C(1000000)

struct rig {
    struct np_clock clock;
    uint64_t now_ns;
    struct np_loop *loop;
    struct np_imitation *imitation;
    int listen_fd;
    unsigned port;
    struct np_imitation_answer answer; /* what the source gives */
    enum np_err answer_err, control_err;
    struct np_imitation_call call; /* the last one that it was asked; its views are over */
    char provider[64], model[128];
    char control[256]; /* the last body */
};

enum rig_end { RIG_OPEN, RIG_CLOSED, RIG_RESET };

/* What a client has read so far; a text, as far as it has no NUL. */
struct rig_got {
    char p[300000];
    size_t n;
    enum rig_end end;
};

extern struct rig rig;
extern struct rig_got got;

/* Fixtures. */
void rig_set_up(void);
void rig_tear_down(void);

int rig_connect(void);
void rig_say(int fd, const char *text);
void rig_say_bytes(int fd, const char *p, size_t n);
/* Turns the loop until nothing moves any more; got is what this client reads meanwhile. */
void rig_settle(int fd);
/* The same after the clock went on by so much. */
void rig_after(int fd, uint64_t ns);
/* A connection of its own for a request: settles, closes, gives what was got. */
const char *rig_ask(const char *request);
/* The request for a call: path, and body with its length. */
const char *rig_post(const char *path, const char *body);
/* What stands in a got reply behind its head. */
const char *rig_body(void);
/* One number of GET /calls. */
long rig_count(const char *name);

#endif
