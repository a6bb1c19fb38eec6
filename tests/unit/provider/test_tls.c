/* Certificates are always checked, and nothing below TLS 1.2 is spoken. The server is `openssl
 * s_server`, which sends what it gets on its standard input to its client. */
#include "provider/upstream.h"

#include "client.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char dir[64];

struct tls_server {
    pid_t pid;
    int in, out;
    unsigned port;
};

static void in_dir(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s/%s", dir, name);
}

/* A key and a certificate that signs itself, for the given name or address. */
static bool make_certificate(const char *name, const char *alternative)
{
    char command[512];
    snprintf(command, sizeof command,
             "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
             " -subj /CN=neap-test -addext subjectAltName=%s -keyout %s/%s.key -out %s/%s.pem"
             " >/dev/null 2>&1",
             alternative, dir, name, dir, name);
    return system(command) == 0;
}

/* Lets OpenSSL speak old versions, which Debian's own configuration forbids: what refuses them here
 * is the room. */
static bool allow_old_tls(void)
{
    char path[128];
    in_dir(path, sizeof path, "openssl.cnf");
    FILE *f = fopen(path, "w");
    if (!f) {
        return false;
    }
    fputs("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\n"
          "MinProtocol = TLSv1\nCipherString = DEFAULT@SECLEVEL=0\n",
          f);
    return fclose(f) == 0 && setenv("OPENSSL_CONF", path, 1) == 0;
}

static unsigned free_port(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&a, size), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&a, &size), 0);
    close(fd);
    return ntohs(a.sin_port);
}

static _Noreturn void run_server(const char *name, const char *port, const char *option)
{
    char cert[128], key[128], accept[32];
    snprintf(cert, sizeof cert, "%s/%s.pem", dir, name);
    snprintf(key, sizeof key, "%s/%s.key", dir, name);
    snprintf(accept, sizeof accept, "127.0.0.1:%s", port);
    execlp("openssl", "openssl", "s_server", "-accept", accept, "-cert", cert, "-key", key,
           "-cipher", "DEFAULT@SECLEVEL=0", option, (char *)NULL);
    _exit(127);
}

/* Waits until the server says that it listens. */
static void tls_start(struct tls_server *s, const char *name, const char *option)
{
    int in[2], out[2];
    char port[16];
    s->port = free_port();
    snprintf(port, sizeof port, "%u", s->port);
    ck_assert_int_eq(pipe2(in, O_CLOEXEC), 0);
    ck_assert_int_eq(pipe2(out, O_CLOEXEC), 0);
    s->pid = fork();
    ck_assert_int_ge(s->pid, 0);
    if (s->pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        dup2(out[1], 2);
        run_server(name, port, option);
    }
    close(in[0]);
    close(out[1]);
    s->in = in[1];
    s->out = out[0];
    char said[1024] = "";
    size_t n = 0;
    while (!strstr(said, "ACCEPT")) {
        ssize_t got = read(s->out, said + n, sizeof said - 1 - n);
        ck_assert_msg(got > 0, "openssl s_server: %s", said);
        n += (size_t)got;
        said[n] = '\0';
    }
    fcntl(s->out, F_SETFL, O_NONBLOCK);
}

static void tls_stop(struct tls_server *s)
{
    kill(s->pid, SIGTERM);
    waitpid(s->pid, NULL, 0);
    close(s->in);
    close(s->out);
}

/* Answers as soon as the server has shown the end of a request's body. */
static void tls_answer(struct client *c, struct tls_server *s, const struct got *g)
{
    static const char reply[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";
    char said[16384];
    size_t n = 0;
    bool answered = false;
    while (g->dones == 0) {
        np_loop_turn(c->loop, NP_NS_PER_MS);
        ssize_t got = n < sizeof said - 1 ? read(s->out, said + n, sizeof said - 1 - n) : 0;
        n += got > 0 ? (size_t)got : 0;
        said[n] = '\0';
        if (!answered && strstr(said, "{\"q\":1}")) {
            answered = true;
            ck_assert_int_eq(write(s->in, reply, sizeof reply - 1), sizeof reply - 1);
        }
    }
}

static void tls_call(struct tls_server *s, const char *host, const char *ca_file, struct got *g)
{
    struct client c;
    client_open_with(&c, (struct np_upstream_config){.ca_file = ca_file});
    snprintf(c.base, sizeof c.base, "https://%s:%u", host, s->port);
    c.spec.base_url = np_span_of(c.base);
    *g = (struct got){0};
    client_start(&c, g);
    tls_answer(&c, s, g);
    client_close(&c);
}

static void assert_refused(const struct got *g)
{
    assert_how(g, NP_CALL_NO_TLS);
    ck_assert(!g->end.request_sent);
    ck_assert_uint_eq(g->heads + g->datas, 0);
    ck_assert_str_ne(g->end.detail, "");
}

START_TEST(a_certificate_of_the_given_ca_file_is_accepted)
{
    char ca[128];
    in_dir(ca, sizeof ca, "good.pem");
    struct tls_server s;
    struct got g;
    tls_start(&s, "good", "-no_ticket");
    tls_call(&s, "127.0.0.1", ca, &g);
    assert_how(&g, NP_CALL_COMPLETE);
    assert_body(&g, "hello");
    ck_assert_uint_gt(g.end.connect_ns, 0);
    got_free(&g);
    tls_stop(&s);
}
END_TEST

START_TEST(a_certificate_that_signs_itself_is_refused)
{
    struct tls_server s;
    struct got g;
    tls_start(&s, "good", "-no_ticket");
    tls_call(&s, "127.0.0.1", NULL, &g);
    assert_refused(&g);
    tls_stop(&s);
}
END_TEST

START_TEST(a_certificate_for_another_name_is_refused)
{
    char ca[128];
    in_dir(ca, sizeof ca, "other.pem");
    struct tls_server s;
    struct got g;
    tls_start(&s, "other", "-no_ticket");
    tls_call(&s, "127.0.0.1", ca, &g);
    assert_refused(&g);
    tls_stop(&s);
}
END_TEST

START_TEST(a_ca_file_that_is_missing_trusts_nobody)
{
    struct tls_server s;
    struct got g;
    tls_start(&s, "good", "-no_ticket");
    tls_call(&s, "127.0.0.1", "/nonexistent.pem", &g);
    assert_refused(&g);
    tls_stop(&s);
}
END_TEST

START_TEST(a_server_that_speaks_only_tls_1_1_is_refused_and_1_2_is_not)
{
    char ca[128];
    in_dir(ca, sizeof ca, "good.pem");
    struct tls_server s;
    struct got g;
    tls_start(&s, "good", _i ? "-tls1_2" : "-tls1_1");
    tls_call(&s, "127.0.0.1", ca, &g);
    if (_i) {
        assert_how(&g, NP_CALL_COMPLETE);
    } else {
        assert_refused(&g);
    }
    got_free(&g);
    tls_stop(&s);
}
END_TEST

static Suite *tls_suite(void)
{
    Suite *s = suite_create("provider/tls");
    TCase *t = tcase_create("tls");
    tcase_add_test(t, a_certificate_of_the_given_ca_file_is_accepted);
    tcase_add_test(t, a_certificate_that_signs_itself_is_refused);
    tcase_add_test(t, a_certificate_for_another_name_is_refused);
    tcase_add_test(t, a_ca_file_that_is_missing_trusts_nobody);
    tcase_add_loop_test(t, a_server_that_speaks_only_tls_1_1_is_refused_and_1_2_is_not, 0, 2);
    suite_add_tcase(s, t);
    return s;
}

int main(void)
{
    if (system("openssl version >/dev/null 2>&1") != 0) {
        fprintf(stderr, "skipped: there is no openssl program to make certificates with\n");
        return 77;
    }
    signal(SIGPIPE, SIG_IGN);
    snprintf(dir, sizeof dir, "%s", "/tmp/neap-tls-XXXXXX");
    if (!mkdtemp(dir)) {
        perror("mkdtemp");
        return EXIT_FAILURE;
    }
    int result = EXIT_FAILURE;
    if (make_certificate("good", "IP:127.0.0.1") && make_certificate("other", "DNS:other.test") &&
        allow_old_tls()) {
        result = run_suite(tls_suite());
    } else {
        fprintf(stderr, "openssl made no certificates\n");
    }
    static const char *const files[] = {"good.pem", "good.key", "other.pem", "other.key",
                                        "openssl.cnf"};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[128];
        in_dir(path, sizeof path, files[i]);
        unlink(path);
    }
    rmdir(dir);
    return result;
}
