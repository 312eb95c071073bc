#include "examples.h"

#include <string.h>

er_outcome run(const er_invocation *invocation) {
    if (!strcmp(invocation->kind, "greet")) return greet(invocation);
    if (!strcmp(invocation->kind, "fetch")) return fetch(invocation);
    if (!strcmp(invocation->kind, "download")) return download(invocation);
    return outcomes(invocation);
}
