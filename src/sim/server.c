/* Connections: read a request, ask the source, send the reply by its timetable, misbehave as told. */
#include "sim/imitation_impl.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_MODELS 256
#define MAX_CONNECTIONS 20000
#define READ_BYTES 65536
#define BYTE_PAUSE_NS 50000

struct model_count {
    char name[128];
    uint64_t calls;
    uint64_t billed; /* of them, those that were charged for */
    int64_t prompt, completion, nusd;
};

struct conn {
    struct np_imitation *m;
    struct conn *prev, *next;
    struct np_watch watch;
    struct np_timer timer;
    struct np_buf in;
    size_t taken; /* of it, by requests that have begun */
    bool answering, keep_alive, billed;
    struct model_count *model;  /* of the call; NULL: none */
    struct np_sim_reply *reply; /* while answering */
    uint64_t began_ns;
    size_t sent;
    int64_t stall_at, reset_at, fin_at;
    bool byte_by_byte;
};

struct np_imitation {
    struct np_loop *loop;
    struct np_imitation_source source;
    struct np_watch listener;
    struct conn *conns;
    size_t n_conns;
    uint64_t started_ns;
    uint64_t calls, bodies, open, aborted;
    int64_t billed_prompt, billed_completion, billed_aborted;
    struct model_count models[MAX_MODELS];
    size_t n_models;
};

/* --- the end of a connection --------------------------------------------------------------------- */

static void free_reply(struct conn *c)
{
    if (!c->reply)
        return;
    np_buf_free(&c->reply->bytes);
    free(c->reply);
    c->reply = NULL;
    c->answering = false;
    c->m->open--;
}

/* Tokens that have been made by now: of a stream those of the parts whose time has come. */
static int64_t made(const struct conn *c, uint64_t now_ns)
{
    const struct np_sim_reply *r = c->reply;
    int64_t since_ms = (int64_t)((now_ns - c->began_ns) / NP_NS_PER_MS);
    size_t said = 0;
    if (r->said == 0)
        return r->billed_completion;
    for (size_t i = 0; i < r->n_pieces && r->piece[i].at_ms <= since_ms; i++)
        said = r->piece[i].said;
    return r->billed_completion * (int64_t)said / (int64_t)r->said;
}

/* The model's own bill: whole nano-dollars, rounded up once a call. */
static void bill_model(struct model_count *m, const struct np_sim_reply *r, int64_t completion)
{
    if (!m || (r->billed_prompt == 0 && completion == 0 && r->nusd_call == 0))
        return;
    m->billed++;
    m->prompt += r->billed_prompt;
    m->completion += completion;
    m->nusd += (r->billed_prompt * r->nusd_prompt + completion * r->nusd_completion + 999) / 1000 +
               r->nusd_call;
}

/* A provider charges for what it began to send, and for what nobody waited for; of a stream for what
 * it had made when that ended. Returns what it charges. */
static int64_t bill(struct conn *c, uint64_t now_ns)
{
    int64_t completion = made(c, now_ns);
    if (!c->billed) {
        c->billed = true;
        bill_model(c->model, c->reply, completion);
        c->m->billed_prompt += c->reply->billed_prompt;
        c->m->billed_completion += completion;
    }
    return c->reply->billed_prompt + completion;
}

static void close_conn(struct conn *c, bool reset)
{
    struct np_imitation *m = c->m;
    np_timer_stop(np_loop_timers(m->loop), &c->timer);
    free_reply(c);
    int fd = c->watch.fd;
    np_loop_remove(m->loop, &c->watch);
    if (reset) {
        struct linger hard = {.l_onoff = 1, .l_linger = 0};
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
    (void)close(fd);
    if (c->prev)
        c->prev->next = c->next;
    else
        m->conns = c->next;
    if (c->next)
        c->next->prev = c->prev;
    m->n_conns--;
    np_buf_free(&c->in);
    free(c);
}

/* --- sending ------------------------------------------------------------------------------------- */

/* How many bytes may have left by now, by timetable and faults. */
static size_t allowed(const struct conn *c, uint64_t now_ns)
{
    int64_t since_ms = (int64_t)((now_ns - c->began_ns) / NP_NS_PER_MS);
    size_t end = 0;
    for (size_t i = 0; i < c->reply->n_pieces && c->reply->piece[i].at_ms <= since_ms; i++)
        end = c->reply->piece[i].end;
    const int64_t stops[] = {c->stall_at, c->reset_at, c->fin_at};
    for (size_t i = 0; i < 3; i++) {
        if (stops[i] >= 0 && (size_t)stops[i] < end)
            end = (size_t)stops[i];
    }
    if (c->byte_by_byte && end > c->sent + 1)
        end = c->sent + 1;
    return end;
}

/* When the next byte is due, UINT64_MAX when none is any more. */
static uint64_t next_due(const struct conn *c, uint64_t now_ns)
{
    if (c->stall_at >= 0 && c->sent >= (size_t)c->stall_at)
        return UINT64_MAX;
    if (c->byte_by_byte && allowed(c, now_ns) > c->sent)
        return now_ns + BYTE_PAUSE_NS;
    for (size_t i = 0; i < c->reply->n_pieces; i++) {
        if (c->reply->piece[i].end > c->sent || i + 1 == c->reply->n_pieces)
            return c->began_ns + (uint64_t)c->reply->piece[i].at_ms * NP_NS_PER_MS;
    }
    return UINT64_MAX;
}

/* The client left before its answer was whole. */
static void client_left(struct conn *c)
{
    c->m->aborted++;
    c->m->billed_aborted += bill(c, np_loop_refresh_ns(c->m->loop));
    close_conn(c, false);
}

/* Whether the reply has left whole, and its time is over. */
static bool is_done(const struct conn *c, uint64_t now_ns)
{
    const struct np_sim_piece *last = &c->reply->piece[c->reply->n_pieces - 1];
    return c->sent == c->reply->bytes.n &&
           now_ns >= c->began_ns + (uint64_t)last->at_ms * NP_NS_PER_MS;
}

/* The reply has left whole. False: the connection is gone. */
static bool reply_done(struct conn *c)
{
    bool keep = c->keep_alive && !c->reply->close;
    free_reply(c);
    if (!keep)
        close_conn(c, false);
    return keep;
}

/* Faults that strike at the byte that was reached. True: the connection is gone. */
static bool fault(struct conn *c, uint64_t now_ns)
{
    bool due = now_ns >= c->began_ns + (uint64_t)c->reply->piece[0].at_ms * NP_NS_PER_MS;
    if (c->reset_at >= 0 && c->sent >= (size_t)c->reset_at && due) {
        (void)bill(c, now_ns);
        close_conn(c, true);
        return true;
    }
    if (c->fin_at >= 0 && c->sent >= (size_t)c->fin_at && due) {
        (void)bill(c, now_ns);
        close_conn(c, false);
        return true;
    }
    return false;
}

/* Sends what is due. False: the connection is gone. */
static bool pump(struct conn *c)
{
    uint64_t now = np_loop_refresh_ns(c->m->loop);
    size_t end;
    while ((end = allowed(c, now)) > c->sent) {
        ssize_t n = send(c->watch.fd, c->reply->bytes.p + c->sent, end - c->sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
            (void)!np_loop_change(c->m->loop, &c->watch, EPOLLIN | EPOLLOUT | EPOLLRDHUP);
            return true;
        }
        if (n < 0) {
            client_left(c);
            return false;
        }
        c->sent += (size_t)n;
        if (c->reply->said == 0)
            (void)bill(c, now);
        if (c->byte_by_byte)
            break;
    }
    if (fault(c, now))
        return false;
    if (is_done(c, now)) {
        (void)bill(c, now);
        return reply_done(c);
    }
    uint64_t due = next_due(c, now);
    if (due != UINT64_MAX)
        np_timer_set(np_loop_timers(c->m->loop), &c->timer, due > now ? due : now + 1);
    return true;
}

/* --- answering ----------------------------------------------------------------------------------- */

/* The model's counters, its call counted; NULL where there are too many models. */
static struct model_count *count_model(struct np_imitation *m, const char *name)
{
    size_t i = 0;
    while (i < m->n_models && strcmp(m->models[i].name, name) != 0)
        i++;
    if (i == MAX_MODELS)
        return NULL;
    if (i == m->n_models)
        memcpy(m->models[m->n_models++].name, name, strlen(name) + 1);
    m->models[i].calls++;
    return &m->models[i];
}

static void set_error(struct np_imitation_answer *a, unsigned status, const char *type,
                      const char *message)
{
    a->status = status;
    (void)snprintf(a->error_type, sizeof a->error_type, "%s", type);
    (void)snprintf(a->error_message, sizeof a->error_message, "%s", message);
}

/* What is answered to a call. */
static void ask_source(struct conn *c, struct np_sim_call *call, struct np_imitation_answer *a)
{
    struct np_imitation *m = c->m;
    m->calls++;
    c->model = count_model(m, call->model);
    call->call.number = c->model ? c->model->calls : m->calls;
    call->call.now_ms = (int64_t)((np_loop_now_ns(m->loop) - m->started_ns) / NP_NS_PER_MS);
    if (m->source.ask(m->source.ctx, &call->call, a) != NP_OK)
        set_error(a, 500, "api_error", "The imitation has no answer.");
}

static void answer_call(struct conn *c, enum np_dialect dialect, const struct np_sim_request *r)
{
    struct np_imitation *m = c->m;
    struct np_sim_call call;
    struct np_imitation_answer *a = calloc(1, sizeof *a);
    enum np_err err = a ? np_sim_call_read(dialect, r->path, r->body, &call) : NP_E_NOMEM;
    if (err == NP_E_NOMEM) {
        c->reply->bytes.failed = true;
        free(a);
        return;
    }
    *a = (struct np_imitation_answer){
        .status = 200, .retry_after_s = -1, .stall_at = -1, .reset_at = -1, .fin_at = -1};
    if (err)
        set_error(a, 400, "invalid_request_error", "This is no such call.");
    else
        ask_source(c, &call, a);
    np_sim_render(c->reply, &call, a, m->calls);
    c->stall_at = a->stall_at;
    c->reset_at = a->reset_at;
    c->fin_at = a->fin_at;
    c->byte_by_byte = a->byte_by_byte;
    free(a);
}

static void put_bills(struct np_json_w *w, const struct np_imitation *m)
{
    np_json_w_begin_key(w, "bills", '{');
    for (size_t i = 0; i < m->n_models; i++) {
        np_json_w_begin_key(w, m->models[i].name, '{');
        np_json_w_i64(w, "calls", (int64_t)m->models[i].billed);
        np_json_w_i64(w, "prompt", m->models[i].prompt);
        np_json_w_i64(w, "completion", m->models[i].completion);
        np_json_w_i64(w, "nusd", m->models[i].nusd);
        np_json_w_end(w, '}');
    }
    np_json_w_end(w, '}');
}

static void answer_calls(struct conn *c)
{
    const struct np_imitation *m = c->m;
    struct np_buf b;
    struct np_json_w w;
    np_buf_init(&b, 1u << 20);
    np_json_w_init(&w, &b);
    np_json_w_begin(&w, '{');
    np_json_w_i64(&w, "calls", (int64_t)m->calls);
    np_json_w_i64(&w, "bodies", (int64_t)m->bodies);
    np_json_w_i64(&w, "open", (int64_t)m->open - 1); /* not this one */
    np_json_w_i64(&w, "aborted", (int64_t)m->aborted);
    np_json_w_begin_key(&w, "billed", '{');
    np_json_w_i64(&w, "prompt", m->billed_prompt);
    np_json_w_i64(&w, "completion", m->billed_completion);
    np_json_w_i64(&w, "aborted", m->billed_aborted);
    np_json_w_end(&w, '}');
    np_json_w_begin_key(&w, "models", '{');
    for (size_t i = 0; i < m->n_models; i++)
        np_json_w_i64(&w, m->models[i].name, (int64_t)m->models[i].calls);
    np_json_w_end(&w, '}');
    put_bills(&w, m);
    np_json_w_end(&w, '}');
    np_sim_render_json(c->reply, 200, np_buf_view(&b));
    c->reply->bytes.failed = c->reply->bytes.failed || np_buf_failed(&b);
    np_buf_free(&b);
}

static void answer_control(struct conn *c, struct np_span body)
{
    struct np_buf why, b;
    struct np_json_w w;
    np_buf_init(&why, 1024);
    np_buf_init(&b, 4096);
    if (c->m->source.control(c->m->source.ctx, body, &why) == NP_OK) {
        np_sim_render_json(c->reply, 200, NP_SPAN("{\"result\":\"ok\"}"));
    } else {
        np_json_w_init(&w, &b);
        np_json_w_begin(&w, '{');
        np_json_w_str(&w, "error", np_buf_view(&why));
        np_json_w_end(&w, '}');
        np_sim_render_json(c->reply, 400, np_buf_view(&b));
    }
    np_buf_free(&why);
    np_buf_free(&b);
}

static bool ends_with(struct np_span s, const char *tail)
{
    size_t n = strlen(tail);
    return s.n >= n && memcmp(s.p + s.n - n, tail, n) == 0;
}

static void answer(struct conn *c, const struct np_sim_request *r)
{
    bool post = np_span_is(r->method, "POST");
    c->m->bodies += post;
    if (post && ends_with(r->path, "/chat/completions"))
        answer_call(c, NP_DIALECT_OPENAI, r);
    else if (post && ends_with(r->path, "/messages"))
        answer_call(c, NP_DIALECT_ANTHROPIC, r);
    else if (post && np_span_is(r->path, "/control"))
        answer_control(c, r->body);
    else if (!post && np_span_is(r->path, "/calls"))
        answer_calls(c);
    else
        np_sim_render_json(c->reply, 404, NP_SPAN("{\"error\":{\"message\":\"no such path\"}}"));
}

/* What is no request gets a reply that is the connection's last. */
static void answer_no_request(struct conn *c, enum np_err err)
{
    c->keep_alive = false;
    c->taken = c->in.n;
    if (err == NP_E_FULL)
        np_sim_render_json(c->reply, 413,
                           NP_SPAN("{\"error\":{\"message\":\"the request is too large\"}}"));
    else
        np_sim_render_json(c->reply, 400,
                           NP_SPAN("{\"error\":{\"message\":\"this is not HTTP\"}}"));
}

/* Begins to answer the next request of the input, when it is whole. False: the connection is gone. */
static bool begin_next(struct conn *c)
{
    struct np_sim_request r = {0};
    if (c->taken == c->in.n)
        return true;
    enum np_err err = np_sim_request_read(c->in.p + c->taken, c->in.n - c->taken, &r);
    if (err == NP_E_BUSY)
        return true;
    c->reply = calloc(1, sizeof *c->reply);
    if (!c->reply) {
        close_conn(c, false);
        return false;
    }
    np_buf_init(&c->reply->bytes, NP_SIM_REPLY_MAX);
    c->m->open++;
    c->answering = true;
    c->billed = false;
    c->model = NULL;
    c->keep_alive = r.keep_alive;
    c->taken += r.bytes;
    c->sent = 0;
    c->stall_at = c->reset_at = c->fin_at = -1;
    c->byte_by_byte = false;
    c->began_ns = np_loop_refresh_ns(c->m->loop);
    if (err)
        answer_no_request(c, err);
    else
        answer(c, &r);
    if (np_buf_failed(&c->reply->bytes)) {
        close_conn(c, false);
        return false;
    }
    return true;
}

/* Goes on with what is being answered, then with the requests that wait in the input. False: the
 * connection is gone. */
static bool go_on(struct conn *c)
{
    do {
        if (!c->answering && !begin_next(c))
            return false;
        if (!c->answering)
            break;
        if (!pump(c))
            return false;
    } while (!c->answering);
    np_buf_drop(&c->in, c->taken);
    c->taken = 0;
    return true;
}

static void on_timer(void *ctx, uint64_t now_ns)
{
    struct conn *c = ctx;
    (void)now_ns;
    if (c->answering)
        (void)go_on(c);
}

/* --- events -------------------------------------------------------------------------------------- */

static void client_closed(struct conn *c)
{
    if (c->answering)
        client_left(c);
    else
        close_conn(c, false);
}

/* Takes what came. False: the connection is gone. */
static bool take_input(struct conn *c)
{
    if (np_buf_reserve(&c->in, READ_BYTES) != NP_OK) {
        close_conn(c, false);
        return false;
    }
    ssize_t n = recv(c->watch.fd, c->in.p + c->in.n, READ_BYTES, 0);
    if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
        client_closed(c);
        return false;
    }
    if (n > 0)
        c->in.n += (size_t)n;
    return true;
}

static void on_ready(void *ctx, uint32_t events)
{
    struct conn *c = ctx;
    if (events & EPOLLIN) {
        if (!take_input(c) || (!c->answering && !go_on(c)))
            return;
    } else if (events & (EPOLLHUP | EPOLLERR | EPOLLRDHUP)) {
        client_closed(c);
        return;
    }
    if (events & EPOLLOUT) {
        (void)!np_loop_change(c->m->loop, &c->watch, EPOLLIN | EPOLLRDHUP);
        if (c->answering)
            (void)go_on(c);
    }
}

static void add_conn(struct np_imitation *m, int fd)
{
    struct conn *c = calloc(1, sizeof *c);
    int one = 1;
    if (!c || m->n_conns == MAX_CONNECTIONS) {
        free(c);
        (void)close(fd);
        return;
    }
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->m = m;
    c->watch = (struct np_watch){.ready = on_ready, .ctx = c, .fd = -1};
    np_timer_init(&c->timer, on_timer, c);
    np_buf_init(&c->in, NP_SIM_BODY_MAX + NP_SIM_HEAD_MAX + READ_BYTES);
    if (np_loop_add(m->loop, &c->watch, fd, EPOLLIN | EPOLLRDHUP) != NP_OK) {
        free(c);
        (void)close(fd);
        return;
    }
    c->next = m->conns;
    if (m->conns)
        m->conns->prev = c;
    m->conns = c;
    m->n_conns++;
}

static void on_accept(void *ctx, uint32_t events)
{
    struct np_imitation *m = ctx;
    (void)events;
    for (int i = 0; i < 64; i++) {
        int fd = accept4(m->listener.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            return;
        add_conn(m, fd);
    }
}

struct np_imitation *np_imitation_new(struct np_loop *loop, int listen_fd,
                                      const struct np_imitation_source *source)
{
    struct np_imitation *m = calloc(1, sizeof *m);
    if (!m)
        return NULL;
    m->loop = loop;
    m->source = *source;
    m->started_ns = np_loop_now_ns(loop);
    m->listener = (struct np_watch){.ready = on_accept, .ctx = m, .fd = -1};
    if (np_loop_add(loop, &m->listener, listen_fd, EPOLLIN) != NP_OK) {
        free(m);
        return NULL;
    }
    return m;
}

void np_imitation_free(struct np_imitation *m)
{
    if (!m)
        return;
    while (m->conns)
        close_conn(m->conns, false);
    np_loop_remove(m->loop, &m->listener);
    free(m);
}
