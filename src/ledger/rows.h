/* Settlements on their way to the disk: a bounded queue of chunks. When it is full, rows are summed up
 * by class: a row then stands for many, and sums stay right. Not locked; its user is. */
#ifndef NP_LEDGER_ROWS_H
#define NP_LEDGER_ROWS_H

#include "ledger/store.h"

#define NP_ROWS_CHUNK 128
#define NP_ROWS_CHUNKS_MAX 128

struct np_row_chunk {
    struct np_row_chunk *next;
    size_t n;
    struct np_settle_row rows[NP_ROWS_CHUNK];
};

struct np_rows {
    struct np_row_chunk *first, *last;
    size_t n_chunks;
    struct np_settle_row sums[4]; /* by class; count 0: none */
};

/* Adds a row, or its sum where there is no place. */
void np_rows_add(struct np_rows *q, const struct np_settle_row *row);
/* Moves all of `from` behind what `to` holds; sums come along where there is a place for them. */
void np_rows_move(struct np_rows *to, struct np_rows *from);
bool np_rows_empty(const struct np_rows *q);
void np_rows_free(struct np_rows *q);

#endif
