/* Accounts by their names, for policies, the admin API and metrics; never on a request's way unless
 * a policy asks. */
#include "ledger/ledger_impl.h"

#include "base/hash.h"

#include <stdio.h>

#define NP_WARM_TENANTS 4096

static const char *const kind_prefix[] = {
    [NP_ACCOUNT_GLOBAL] = "global",  [NP_ACCOUNT_EACH_TENANT] = "tenant:",
    [NP_ACCOUNT_TENANT] = "tenant:", [NP_ACCOUNT_ENDPOINT] = "endpoint:",
    [NP_ACCOUNT_MODEL] = "model:",   [NP_ACCOUNT_PROVIDER] = "provider:"};

const char *np_account_prefix(enum np_account_kind kind)
{
    return kind_prefix[kind];
}

bool np_account_is_money(const char *account)
{
    for (size_t i = 0; i < sizeof kind_prefix / sizeof kind_prefix[0]; i++) {
        size_t n = strlen(kind_prefix[i]);
        if (strncmp(account, kind_prefix[i], n) == 0 &&
            (kind_prefix[i][n - 1] == ':' || account[n] == '/')) {
            return true;
        }
    }
    return false;
}

/* The longest name is "/" and a window's behind the text; a hash takes 17 bytes where it is cut. */
#define NAME_BYTES (NP_ACCOUNT_TEXT - 1 - 7)

void np_account_name(char out[NP_ACCOUNT_TEXT], const char *prefix, const char *name,
                     enum np_window window)
{
    char text[NAME_BYTES + 1];
    int n = snprintf(text, sizeof text, "%s%s", prefix, name);
    if (n > NAME_BYTES) {
        uint64_t hash = np_fnv1a(name, strlen(name));
        (void)snprintf(text + NAME_BYTES - 17, 18, "~%016llx", (unsigned long long)hash);
    }
    (void)snprintf(out, NP_ACCOUNT_TEXT, "%s/%s", text, np_window_name(window));
}

void np_account_look(struct np_ledger *l, const struct np_account_key *key, int64_t wall_ms,
                     struct np_account_view *out)
{
    pthread_mutex_lock(&l->lock);
    wall_ms = np_records_now(l, wall_ms);
    int64_t start_ms;
    np_records_window(l, key->window, wall_ms, &start_ms, &out->resets_wall_ms);
    struct np_record *r = np_record_find(l, key, start_ms);
    if (r) {
        r->looked = true;
    }
    out->spent_nusd = r ? r->others_settled + np_vector_settled(&r->v) : 0;
    out->reserved_nusd = r ? r->reserved : 0;
    out->leased_nusd = r && r->free > 0 ? r->free : 0;
    out->turned_away = r && r->turned_away;
    pthread_mutex_unlock(&l->lock);
}

/* --- what a budget's name stands for --------------------------------------------------------------- */

static const struct np_tenant *tenant_named(const struct np_catalog *c, struct np_span name)
{
    for (size_t i = 0; i < c->n_tenants; i++) {
        if (np_span_is(name, c->tenants[i].name)) {
            return &c->tenants[i];
        }
    }
    return c->anonymous && np_span_is(name, c->anonymous->name) ? c->anonymous : NULL;
}

/* The id of what is called so; false when the catalogue has none. */
static bool entity_id(const struct np_catalog *c, enum np_account_kind kind, struct np_span name,
                      uint64_t *id)
{
    *id = 0;
    if (kind == NP_ACCOUNT_GLOBAL) {
        return name.n == 0;
    }
    if (kind == NP_ACCOUNT_TENANT) {
        const struct np_tenant *t = tenant_named(c, name);
        *id = t ? t->slot : 0;
        return t != NULL;
    }
    if (kind == NP_ACCOUNT_ENDPOINT) {
        const struct np_endpoint *e = np_catalog_endpoint(c, name);
        *id = e ? e->slot : 0;
        return e != NULL;
    }
    if (kind == NP_ACCOUNT_MODEL) {
        *id = np_fnv1a(name.p, name.n);
        return true;
    }
    for (size_t i = 0; i < c->n_providers; i++) {
        if (np_span_is(name, c->providers[i].name)) {
            *id = c->providers[i].slot;
            return true;
        }
    }
    return false;
}

/* Whether a budget is one of this account's; key's window is not looked at. */
static bool budget_covers(const struct np_budget *b, enum np_account_kind kind, struct np_span name)
{
    return np_account_kind_of(b) == kind &&
           (b->kind == NP_ACCOUNT_EACH_TENANT || np_span_is(name, b->name));
}

/* The lowest limit of the budgets of one account and window; *first is the first of them. */
static int64_t lowest_limit(const struct np_catalog *c, enum np_account_kind kind,
                            struct np_span name, enum np_window window, size_t *first)
{
    int64_t lowest = INT64_MAX;
    *first = c->n_budgets;
    for (size_t i = 0; i < c->n_budgets; i++) {
        const struct np_budget *b = &c->budgets[i];
        if (b->window == window && budget_covers(b, kind, name)) {
            *first = *first < i ? *first : i;
            lowest = b->limit_nusd < lowest ? b->limit_nusd : lowest;
        }
    }
    return lowest;
}

/* --- one account by its name ----------------------------------------------------------------------- */

/* Splits "tenant:acme" into kind and name. */
static bool account_split(struct np_span account, enum np_account_kind *kind, struct np_span *name)
{
    static const enum np_account_kind kinds[] = {NP_ACCOUNT_TENANT, NP_ACCOUNT_ENDPOINT,
                                                 NP_ACCOUNT_MODEL, NP_ACCOUNT_PROVIDER};
    *name = NP_SPAN_NONE;
    *kind = NP_ACCOUNT_GLOBAL;
    if (np_span_is(account, kind_prefix[NP_ACCOUNT_GLOBAL])) {
        return true;
    }
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        size_t n = strlen(kind_prefix[kinds[i]]);
        if (np_span_starts(account, kind_prefix[kinds[i]])) {
            *kind = kinds[i];
            *name = np_span_make(account.p + n, account.n - n);
            return true;
        }
    }
    return false;
}

/* The key of an account and the first of its budgets, with its limit. window NP_WINDOW_KINDS: that of the
 * first budget that covers it. */
static enum np_err resolve(const struct np_catalog *c, struct np_span account, unsigned window,
                           struct np_account_key *key, size_t *first, int64_t *limit_nusd)
{
    enum np_account_kind kind;
    struct np_span name;
    if (!account_split(account, &kind, &name) || !entity_id(c, kind, name, &key->id)) {
        return NP_E_NOTFOUND;
    }
    key->kind = kind;
    for (size_t i = 0; i < c->n_budgets && window == NP_WINDOW_KINDS; i++) {
        if (budget_covers(&c->budgets[i], kind, name)) {
            window = c->budgets[i].window;
        }
    }
    if (window == NP_WINDOW_KINDS) {
        return NP_E_NOTFOUND;
    }
    key->window = (enum np_window)window;
    *limit_nusd = lowest_limit(c, kind, name, key->window, first);
    return *first == c->n_budgets ? NP_E_NOTFOUND : NP_OK;
}

static enum np_err look_up(struct np_ledger *l, const struct np_catalog *c, struct np_span account,
                           unsigned window, int64_t wall_ms, struct np_account_view *out)
{
    struct np_account_key key;
    size_t first;
    enum np_err err = resolve(c, account, window, &key, &first, &out->limit_nusd);
    if (err) {
        return err;
    }
    snprintf(out->name, sizeof out->name, "%.*s/%s", (int)account.n, account.p,
             np_window_name(key.window));
    np_account_look(l, &key, wall_ms, out);
    out->window = key.window;
    out->reject = c->budgets[first].reject;
    out->each_tenant = c->budgets[first].kind == NP_ACCOUNT_EACH_TENANT;
    return NP_OK;
}

/* The part after the last slash as a window; NP_WINDOW_KINDS when it is none. */
static unsigned window_of(struct np_span name, struct np_span *account)
{
    const char *slash = name.n > 0 ? memrchr(name.p, '/', name.n) : NULL;
    if (!slash) {
        return NP_WINDOW_KINDS;
    }
    *account = np_span_make(name.p, (size_t)(slash - name.p));
    struct np_span last = np_span_make(slash + 1, name.n - account->n - 1);
    unsigned w = 0;
    while (w < NP_WINDOW_KINDS && !np_span_is(last, np_window_name((enum np_window)w))) {
        w++;
    }
    return w;
}

/* A name is tried as a whole first: the path of an endpoint may end like a window. */
enum np_err np_ledger_account(struct np_ledger *l, const struct np_catalog *c, struct np_span name,
                              int64_t wall_ms, struct np_account_view *out)
{
    struct np_span account;
    enum np_err err = look_up(l, c, name, NP_WINDOW_KINDS, wall_ms, out);
    unsigned window = window_of(name, &account);
    if (err == NP_E_NOTFOUND && window < NP_WINDOW_KINDS) {
        err = look_up(l, c, account, window, wall_ms, out);
    }
    return err;
}

void np_ledger_turned_away(struct np_ledger *l, const struct np_catalog *c, struct np_span account,
                           int64_t wall_ms)
{
    struct np_account_key key;
    struct np_span bare = account;
    size_t first;
    int64_t limit, start_ms, end_ms;
    unsigned window = window_of(account, &bare);
    if (window == NP_WINDOW_KINDS || resolve(c, bare, window, &key, &first, &limit)) {
        return;
    }
    pthread_mutex_lock(&l->lock);
    np_records_window(l, key.window, np_records_now(l, wall_ms), &start_ms, &end_ms);
    struct np_record *r = np_record_find(l, &key, start_ms);
    if (r) {
        r->turned_away = true;
    }
    pthread_mutex_unlock(&l->lock);
}

/* --- all accounts ---------------------------------------------------------------------------------- */

struct list {
    struct np_ledger *l;
    const struct np_catalog *c;
    int64_t wall_ms;
    struct np_account_view *out;
    size_t n, max;
};

static double fullness(const struct np_account_view *v)
{
    double held = (double)v->spent_nusd + (double)v->reserved_nusd;
    return v->limit_nusd > 0 ? held / (double)v->limit_nusd : held + 1;
}

/* Puts a view into its place. A full list lets go of its last account that stands for each tenant, before
 * one that was declared by name. */
static void list_put(struct list *list, const struct np_account_view *v)
{
    size_t place = list->n, out = list->n;
    while (place > 0 && fullness(&list->out[place - 1]) < fullness(v)) {
        place--;
    }
    if (list->n == list->max) {
        while (out > 0 && !list->out[out - 1].each_tenant) {
            out--;
        }
        bool named = out == 0;
        out = named ? list->n : out;
        /* Behind the last of its kind, or of another kind than all that are there. */
        if (out == 0 || (place >= out && (named || v->each_tenant)) || (named && v->each_tenant)) {
            return;
        }
        out--;
        place -= place > out;
    }
    if (out > place) {
        memmove(&list->out[place + 1], &list->out[place], (out - place) * sizeof *v);
    } else {
        memmove(&list->out[out], &list->out[out + 1], (place - out) * sizeof *v);
    }
    list->out[place] = *v;
    list->n += list->n < list->max;
}

/* Puts the account that budget `at` gives `name` into its place, unless a budget before it did. */
static void list_add(struct list *list, size_t at, const char *name, uint64_t id)
{
    const struct np_budget *b = &list->c->budgets[at];
    struct np_account_key key = {.id = id, .kind = np_account_kind_of(b), .window = b->window};
    struct np_account_view v;
    size_t first;
    v.limit_nusd =
        lowest_limit(list->c, np_account_kind_of(b), np_span_of(name), b->window, &first);
    if (first != at) {
        return;
    }
    np_account_name(v.name, kind_prefix[b->kind], name, key.window);
    np_account_look(list->l, &key, list->wall_ms, &v);
    v.window = key.window;
    v.reject = b->reject;
    v.each_tenant = b->kind == NP_ACCOUNT_EACH_TENANT;
    list_put(list, &v);
}

static void list_tenants(struct list *list, size_t at)
{
    const struct np_catalog *c = list->c;
    for (size_t i = 0; i < c->n_tenants; i++) {
        list_add(list, at, c->tenants[i].name, c->tenants[i].slot);
    }
    if (c->n_tenants == 0 && c->anonymous) {
        list_add(list, at, c->anonymous->name, c->anonymous->slot);
    }
}

size_t np_ledger_list(struct np_ledger *l, const struct np_catalog *c, int64_t wall_ms,
                      struct np_account_view *out, size_t max)
{
    struct list list = {.l = l, .c = c, .wall_ms = wall_ms, .out = out, .max = max};
    for (size_t i = 0; i < c->n_budgets; i++) {
        const struct np_budget *b = &c->budgets[i];
        uint64_t id;
        if (b->kind == NP_ACCOUNT_EACH_TENANT) {
            list_tenants(&list, i);
        } else if (entity_id(c, b->kind, np_span_of(b->name), &id)) {
            list_add(&list, i, b->name, id);
        }
    }
    return list.n;
}

/* --- asking early ---------------------------------------------------------------------------------- */

static void warm(struct np_ledger *l, const struct np_catalog *c, const struct np_budget *b,
                 const char *name, uint64_t id)
{
    size_t first;
    int64_t limit = lowest_limit(c, np_account_kind_of(b), np_span_of(name), b->window, &first);
    struct np_account_key key = {.id = id, .kind = np_account_kind_of(b), .window = b->window};
    uint32_t number = np_record_get(l, &key, kind_prefix[b->kind], name);
    if (number == NP_LEDGER_NONE) {
        return;
    }
    np_lease_limit(l, number, np_account_limit(l, c, number, limit));
    if (!np_record_at(l, number)->opened) {
        np_record_list(l, number);
    }
}

static void warm_tenants(struct np_ledger *l, const struct np_catalog *c, const struct np_budget *b)
{
    for (size_t i = 0; i < c->n_tenants && i < NP_WARM_TENANTS; i++) {
        warm(l, c, b, c->tenants[i].name, c->tenants[i].slot);
    }
    if (c->n_tenants == 0 && c->anonymous) {
        warm(l, c, b, c->anonymous->name, c->anonymous->slot);
    }
}

void np_ledger_warm(struct np_ledger *l, const struct np_catalog *c, int64_t wall_ms)
{
    uint64_t id;
    pthread_mutex_lock(&l->lock);
    l->newest = c;
    l->declarations++;
    pthread_mutex_unlock(&l->lock);
    for (size_t i = 0; i < c->n_budgets; i++) {
        const struct np_budget *b = &c->budgets[i];
        pthread_mutex_lock(&l->lock);
        np_records_time(l, wall_ms);
        if (b->kind == NP_ACCOUNT_EACH_TENANT) {
            warm_tenants(l, c, b);
        } else if (entity_id(c, b->kind, np_span_of(b->name), &id)) {
            warm(l, c, b, b->name, id);
        }
        pthread_mutex_unlock(&l->lock);
    }
    np_thread_kick(l->thread, true);
}
