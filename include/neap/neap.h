/* neap's public header: make an engine, feed it, stop it.
 *
 * Every function returns one of the exit statuses that the command line has: NEAP_GOOD, NEAP_NO (the
 * answer is no: a policy is invalid), NEAP_USAGE (an option is wrong), NEAP_FAILED (it could not run).
 * Where it is not NEAP_GOOD, `why` holds one or more lines that say what, where and what would be
 * right. */
#ifndef NEAP_NEAP_H
#define NEAP_NEAP_H

#include <stdbool.h>
#include <stddef.h>

enum neap_status { NEAP_GOOD = 0, NEAP_NO = 1, NEAP_USAGE = 2, NEAP_FAILED = 3 };

#define NEAP_WHY 8192

/* What `neap serve` is told. Zero and NULL mean the default. Strings must live as long as the engine. */
struct neap_options {
    const char *policies;      /* folder; ./policies, else the installed one */
    bool trust_folder;         /* take files of it that group or others may write */
    const char *listen;        /* ADDR:PORT; 127.0.0.1:8080 */
    const char *admin;         /* ADDR:PORT; 127.0.0.1:9090 */
    const char *tls_cert;      /* PEM chain that clients are shown; NULL: no TLS */
    const char *tls_key;       /* its key, PEM; together with tls_cert */
    const char *store;         /* memory:, sqlite:PATH or redis://HOST:PORT/DB; sqlite:neap.db */
    const char *state;         /* folder of the ledger's file or journal; the working directory */
    const char *on_store_loss; /* degrade or share:N; degrade */
    unsigned workers;          /* one a core */
    unsigned max_connections;  /* of clients; 16,384 a worker, or what descriptors are there for */
    unsigned
        max_connections_per_address; /* of one client address, or IPv6 /64; half of the above */
    unsigned max_inflight;           /* requests under way; 8,192 a worker */
    unsigned max_wait_ms;            /* how long one may wait to begin; 100 */
    const char *hosts;     /* "name,name" that Host may be beside loopback and the listen address */
    const char *log;       /* file or "-" (standard error) */
    const char *decisions; /* file; none */
    bool record_bodies;
    unsigned log_max_mb;    /* 100 */
    const char *log_level;  /* debug, info, warn or error: what the log leaves out is less; info */
    unsigned keep_records;  /* newest decision records in memory; 10,000; UINT_MAX: none */
    unsigned drain_seconds; /* 30; UINT_MAX: 0 */
    bool simulate;
    const char *scenario;    /* of the imitation providers; NULL: the built-in one */
    const char *admin_token; /* asked for as bearer token on the admin socket */
    const char *ca_file;     /* trusted for providers instead of the system's store */
};

struct neap_engine;

/* Loads the policies, opens the sockets and starts all threads; ready to answer when it returns. */
enum neap_status neap_engine_start(const struct neap_options *options, struct neap_engine **out,
                                   char why[NEAP_WHY]);
/* Reads the policies anew, in the background, and the TLS files at once; what came of it is logged. One
 * thread at a time. */
void neap_engine_reload(struct neap_engine *e);
/* Opens log and decision files anew. Any thread. */
void neap_engine_reopen(struct neap_engine *e);
/* Stops accepting, waits until what is in flight is finished, at most drain_seconds. True when all
 * was finished. A second call from another thread (or neap_engine_hurry) ends the wait. */
bool neap_engine_drain(struct neap_engine *e);
void neap_engine_hurry(struct neap_engine *e);
/* Ends all threads and frees everything. */
void neap_engine_stop(struct neap_engine *e);
/* The ports that were really opened. */
unsigned neap_engine_port(const struct neap_engine *e);
unsigned neap_engine_admin_port(const struct neap_engine *e);

/* What `neap check` is told. */
struct neap_check_options {
    const char *format; /* "text" (NULL), "json" or "github" */
    bool deny_warnings; /* a warning makes the answer no, too */
};

/* Checks a policy set. What there is to say goes to out: a malloc'ed text, the caller's to free; NULL
 * without memory. NEAP_USAGE: no such format. */
enum neap_status neap_check(const char *dir, const struct neap_check_options *options, char **out);
/* What a problem's code means, with an example that is wrong and one that is right; the same way.
 * NEAP_USAGE: there is no such code, out says which is near. */
enum neap_status neap_explain(const char *code, char **out);

/* What `neap test` is told. */
struct neap_test_options {
    const char *filter; /* only tests with this pattern in their name or their file's; NULL: all */
    bool verbose;       /* tests that pass are told, too, with the steps of each hook */
    const char *junit;  /* a file that gets the results as JUnit XML; NULL: none */
    bool coverage;      /* tells which lines and outcomes of hooks were reached */
    unsigned coverage_min; /* per cent of lines; less is NEAP_NO. Above 0 it asks for coverage */
    bool bench;            /* measures steps and time of hooks, and compares with the last time */
    bool update;           /* recorded cases get what came as what they expect */
    void (*say)(void *ctx, const char *line);   /* gets each line, without its end */
    void (*fault)(void *ctx, const char *line); /* the same, of what is no result; NULL: as say */
    void *ctx;
};

/* Runs the *_test.lua files of a policy set on the simulated ground. NEAP_NO: a test failed, the set
 * does not load, or nothing has the pattern in it. */
enum neap_status neap_test(const char *dir, const struct neap_test_options *options);

/* A session of `neap repl`: lines in, text out. All calls but neap_session_interrupt come from one thread. */
struct neap_session;

struct neap_session_options {
    const char *dir;         /* the policy set */
    const char *decisions;   /* file of decision records; NULL: none */
    const char *attach;      /* admin URL of an instance that is copied at the start; NULL: none */
    const char *admin_token; /* its bearer token; NULL: none */
    bool colour;
    unsigned width; /* of the terminal; 0: lines are as long as they are */
    /* Gets text of whole lines; problem: it says why a line failed. */
    void (*say)(void *ctx, const char *text, bool problem);
    /* Gives the next line while a run is held in the stepper, malloc'ed; NULL: there is none. */
    char *(*ask)(void *ctx, const char *prompt);
    /* Opens a file in the operator's editor and returns when it is closed; false when it could not. */
    bool (*edit)(void *ctx, const char *path);
    void *ctx;
};

enum neap_line {
    NEAP_LINE_GOOD,
    NEAP_LINE_MORE, /* unfinished: ask again with what follows, from the beginning */
    NEAP_LINE_FAILED,
    NEAP_LINE_LEAVE /* the session is over, by .quit */
};

enum neap_status neap_session_new(const struct neap_session_options *options,
                                  struct neap_session **out, char why[NEAP_WHY]);
void neap_session_free(struct neap_session *s);
/* Says what a session begins with. */
void neap_session_greet(struct neap_session *s);
/* Runs a command or Lua; text may be of several lines. */
enum neap_line neap_session_line(struct neap_session *s, const char *text);
/* Tells the words that may stand for the last one before the cursor; returns where that begins. */
size_t neap_session_complete(struct neap_session *s, const char *line, size_t cursor,
                             void (*tell)(void *ctx, const char *word), void *ctx);
/* Stops what runs, not the session. From signal handlers and any thread. */
void neap_session_interrupt(struct neap_session *s);

/* Writes a policy set to begin with into the folder, which may be new: data files, hooks with tests, and
 * types for editors. Nothing is written where a file is in the way (NEAP_NO). out: what was done, in
 * lines (a malloc'ed text, the caller's to free). */
enum neap_status neap_init(const char *dir, char **out, char why[NEAP_WHY]);
/* Writes what editors want to know of the policies' names into a set's folder: .neap/neap.lua, and
 * .luarc.json unless there is one. */
enum neap_status neap_types(const char *dir, char **out, char why[NEAP_WHY]);

/* The same, and again whenever a file of the folder changes, until SIGINT or SIGTERM comes (which are
 * blocked meanwhile); the status is that of the last run. */
enum neap_status neap_test_watch(const char *dir, const struct neap_test_options *options);

/* Imitation providers on a socket of their own; runs until neap_mock_stop. */
struct neap_mock;
enum neap_status neap_mock_start(const char *listen, const char *scenario, struct neap_mock **out,
                                 char why[NEAP_WHY]);
unsigned neap_mock_port(const struct neap_mock *m);
void neap_mock_stop(struct neap_mock *m);

/* What `neap status` is told. */
struct neap_overview_options {
    const char *admin; /* of a running instance: "http://127.0.0.1:9090", or ADDR:PORT */
    const char *token; /* bearer token; NULL: none */
    bool json;         /* what its admin socket says, as it stands */
    bool colour;
};

/* How a running instance is doing: endpoints against their objectives, models, budgets, policies. *out
 * is a malloc'ed text, the caller's to free; lines have at most 80 columns. NEAP_FAILED: it can't be
 * asked. */
enum neap_status neap_overview(const struct neap_overview_options *options, char **out,
                               char why[NEAP_WHY]);

/* What `neap ledger` is told. */
struct neap_ledger_options {
    const char *store;       /* as for serve; NULL: sqlite:neap.db */
    const char *state;       /* the same */
    const char *decisions;   /* file of decision records, with those it was before; NULL: none */
    const char *admin;       /* admin URL of the running instance; NULL: none */
    const char *admin_token; /* its bearer token; NULL: none */
};

/* Compares the ledger's file with decision records and metrics. out: what there is to say (a malloc'ed
 * text, the caller's to free). NEAP_NO: they differ. NEAP_FAILED: something can't be read, why says what. */
enum neap_status neap_ledger_check(const struct neap_ledger_options *options, char **out,
                                   char why[NEAP_WHY]);
/* Gives back what an instance holds that died and will not come back for it. out as above; where it failed
 * and something had gone back before, out says what, and why says what failed. NEAP_NO: it lives, or the
 * store knows no such instance. */
enum neap_status neap_ledger_release(const struct neap_ledger_options *options,
                                     const char *instance, char **out, char why[NEAP_WHY]);

/* What `neap explain` is told. */
struct neap_request_options {
    const char *id;        /* of a request, or the beginning of one */
    const char *decisions; /* a file of decision records; its rotated ones are read too. NULL: */
    const char *admin;     /* of a running instance: "http://127.0.0.1:9090", or ADDR:PORT */
    const char *token;     /* its bearer token; NULL: none */
    bool json;             /* the record as it stands */
};

/* A request as its decision record tells it. *out is a malloc'ed text, the caller's to free; lines have
 * at most 80 columns. NEAP_NO: there is no such record, or more than one id begins so.
 * NEAP_USAGE: that is no id. */
enum neap_status neap_request_explain(const struct neap_request_options *options, char **out,
                                      char why[NEAP_WHY]);

/* Makes a key: the text to give away ("neap_…", 256 random bits with a checksum) and its SHA-256 as
 * tenants.lua wants it ("sha256:…"). */
void neap_key_new(char key[64], char hash[80]);
/* The hash of a key. False: it begins like one of ours, and its checksum is not right. */
bool neap_key_hash(const char *key, size_t length, char hash[80]);
/* Why that is no name for a tenant in tenants.lua, in words that follow it; NULL: it is one. */
const char *neap_key_tenant_fault(const char *name);

/* "0.1.0", and the versions of the libraries as loaded at run time, one a line. */
const char *neap_version(void);
void neap_version_libraries(char *out, size_t size);

#endif
