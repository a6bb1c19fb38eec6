/* Preloaded into a server by test_no_memory.py: lets allocations fail by chance.
 *
 * The file that FAIL_MALLOC names is mapped: its first word says how many of a million fail (0 at first), its
 * second is the seed, its third counts those that failed. Which one fails depends on the seed and on how many
 * were asked for before, by whatever thread. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct plan {
    _Atomic uint64_t per_million, seed, failed;
};

static struct plan none, *plan = &none;
static _Atomic uint64_t asked;
static void *(*next_malloc)(size_t);
static void *(*next_calloc)(size_t, size_t);
static void *(*next_realloc)(void *, size_t);
static void (*next_free)(void *);
static int (*next_memalign)(void **, size_t, size_t);

/* While the next functions are looked up: never given back. */
static char early[65536];
static size_t early_bytes;

static void *early_block(size_t bytes)
{
    size_t at = early_bytes;
    early_bytes += (bytes + 15) & ~(size_t)15;
    if (early_bytes > sizeof early)
        abort();
    return early + at;
}

static int is_early(const void *p)
{
    return (const char *)p >= early && (const char *)p < early + sizeof early;
}

/* By whoever allocates first; what dlsym itself needs meanwhile is early. */
static void find_next(void)
{
    static int finding;
    if (finding)
        return;
    finding = 1;
    void *(*found)(size_t);
    *(void **)&next_free = dlsym(RTLD_NEXT, "free");
    *(void **)&next_realloc = dlsym(RTLD_NEXT, "realloc");
    *(void **)&next_memalign = dlsym(RTLD_NEXT, "posix_memalign");
    *(void **)&next_calloc = dlsym(RTLD_NEXT, "calloc");
    *(void **)&found = dlsym(RTLD_NEXT, "malloc");
    next_malloc = found;
}

__attribute__((constructor)) static void map_plan(void)
{
    const char *name = getenv("FAIL_MALLOC");
    int fd = name ? open(name, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *p = mmap(NULL, sizeof *plan, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED)
        plan = p;
}

static int fails(void)
{
    uint64_t per_million = atomic_load_explicit(&plan->per_million, memory_order_relaxed);
    if (per_million == 0)
        return 0;
    /* splitmix64 */
    uint64_t z = atomic_load_explicit(&plan->seed, memory_order_relaxed) +
                 atomic_fetch_add_explicit(&asked, 1, memory_order_relaxed) * 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    z ^= z >> 31;
    if (z % 1000000 >= per_million)
        return 0;
    atomic_fetch_add_explicit(&plan->failed, 1, memory_order_relaxed);
    errno = ENOMEM;
    return 1;
}

static int is_ready(void)
{
    if (!next_malloc)
        find_next();
    return next_malloc != NULL;
}

void *malloc(size_t bytes)
{
    if (!is_ready())
        return early_block(bytes);
    return fails() ? NULL : next_malloc(bytes);
}

void *calloc(size_t n, size_t bytes)
{
    if (!is_ready())
        return early_block(n * bytes);
    return fails() ? NULL : next_calloc(n, bytes);
}

void *realloc(void *p, size_t bytes)
{
    if (is_ready() && !is_early(p))
        return fails() && bytes > 0 ? NULL : next_realloc(p, bytes);
    void *q = malloc(bytes);
    size_t rest = p ? (size_t)(early + sizeof early - (char *)p) : 0;
    return q && p ? memcpy(q, p, bytes < rest ? bytes : rest) : q;
}

void free(void *p)
{
    if (p && !is_early(p))
        next_free(p);
}

int posix_memalign(void **out, size_t align, size_t bytes)
{
    (void)is_ready();
    return fails() ? ENOMEM : next_memalign(out, align, bytes);
}

void *aligned_alloc(size_t align, size_t bytes)
{
    void *p = NULL;
    align = align < sizeof(void *) ? sizeof(void *) : align;
    return posix_memalign(&p, align, bytes) ? NULL : p;
}
