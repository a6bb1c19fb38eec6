/* What the names of policies mean: hooks, fields, functions. The table is lua/neap/words.lua; this is
 * where C asks it, for people, for completion and for the files that are made of it. */
#ifndef NP_SCRIPT_WORDS_H
#define NP_SCRIPT_WORDS_H

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"

/* One thread at a time. */
struct np_words;

/* NULL without memory. */
struct np_words *np_words_new(void);
void np_words_free(struct np_words *w);

/* Appends what a name means ("retry", "req.prompt_tokens", "stats.p95", "os", "neap.class"), in lines for
 * people. NP_E_NOTFOUND: nothing is called so, and what was appended says so, with a guess. */
enum np_err np_words_tell(struct np_words *w, struct np_span name,
                          struct np_buf *out) NP_MUST_CHECK;

/* A name with what there is to say of it in one line; texts live until the call returns. */
typedef void np_words_each(void *ctx, const char *name, const char *text);

/* All names that begin with the prefix, in byte order, each with its sentence. NP_E_NOMEM. */
enum np_err np_words_list(struct np_words *w, struct np_span prefix, np_words_each *each,
                          void *ctx) NP_MUST_CHECK;

/* The fields of a class ("req", "candidate", "neap.message"), each with its type ("integer", "string?").
 * NP_E_NOTFOUND: there is no such class. */
enum np_err np_words_fields(struct np_words *w, struct np_span class, np_words_each *each,
                            void *ctx) NP_MUST_CHECK;

/* What is made of the table for others to read. */
enum np_words_file {
    NP_WORDS_TYPES,   /* types for editors: valid Lua of comments (LuaCATS) and empty functions */
    NP_WORDS_SETTINGS /* .luarc.json, which lua-language-server looks for */
};

/* Appends one of them. NP_E_NOMEM. */
enum np_err np_words_write(struct np_words *w, enum np_words_file file,
                           struct np_buf *out) NP_MUST_CHECK;

#endif
