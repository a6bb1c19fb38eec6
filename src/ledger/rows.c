#include "ledger/rows.h"

#include <stdlib.h>
#include <string.h>

/* A place at the end; NULL where the queue is full or memory is out. */
static struct np_settle_row *place(struct np_rows *q)
{
    if (!q->last || q->last->n == NP_ROWS_CHUNK) {
        struct np_row_chunk *c = q->n_chunks < NP_ROWS_CHUNKS_MAX ? malloc(sizeof *c) : NULL;
        if (!c) {
            return NULL;
        }
        c->next = NULL;
        c->n = 0;
        *(q->last ? &q->last->next : &q->first) = c;
        q->last = c;
        q->n_chunks++;
    }
    return &q->last->rows[q->last->n++];
}

static void sum_up(struct np_rows *q, const struct np_settle_row *row)
{
    struct np_settle_row *sum = &q->sums[row->class];
    if (sum->count == 0) {
        *sum = *row;
        (void)strcpy(sum->request, "(many)");
        sum->tenant[0] = sum->model[0] = '\0';
        return;
    }
    sum->count += row->count;
    sum->cost_nusd += row->cost_nusd;
    sum->reserved_nusd += row->reserved_nusd;
    sum->at_ms = row->at_ms;
}

void np_rows_add(struct np_rows *q, const struct np_settle_row *row)
{
    struct np_settle_row *to = place(q);
    if (to) {
        *to = *row;
    } else {
        sum_up(q, row);
    }
}

void np_rows_move(struct np_rows *to, struct np_rows *from)
{
    for (size_t class = 0; class < 4; class ++) {
        struct np_settle_row sum = from->sums[class];
        from->sums[class].count = 0;
        if (sum.count > 0) {
            np_rows_add(to, &sum);
        }
    }
    if (!from->first) {
        return;
    }
    *(to->last ? &to->last->next : &to->first) = from->first;
    to->last = from->last;
    to->n_chunks += from->n_chunks;
    from->first = from->last = NULL;
    from->n_chunks = 0;
}

bool np_rows_empty(const struct np_rows *q)
{
    bool sums = false;
    for (size_t class = 0; class < 4; class ++) {
        sums = sums || q->sums[class].count > 0;
    }
    return !q->first && !sums;
}

void np_rows_free(struct np_rows *q)
{
    while (q->first) {
        struct np_row_chunk *c = q->first;
        q->first = c->next;
        free(c);
    }
    *q = (struct np_rows){0};
}
