/* Memory of a run, and memory that is given back together. */
#include "host.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct er_block {
    struct er_block *next;
    max_align_t data[];
};

void *er_allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) {
        fprintf(stderr, "out of memory: %zu bytes more are needed\n", size);
        abort();
    }
    return memory;
}

char *er_copy_text(const char *text, size_t length) {
    char *copy = er_allocate(length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

void *er_take(struct er_memory *memory, size_t size) {
    struct er_block *block = er_allocate(sizeof *block + size);
    block->next = memory->blocks;
    memory->blocks = block;
    return block->data;
}

void er_give_back(struct er_memory *memory) {
    for (struct er_block *block = memory->blocks, *next; block; block = next) {
        next = block->next;
        free(block);
    }
    memory->blocks = NULL;
}
