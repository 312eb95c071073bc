/* `greet`: the smallest kind. */
#include "examples.h"

er_outcome greet(const er_invocation *invocation) {
    const char *name = er_required(invocation, "greet.name");
    if (!name) return er_failure();
    er_log(ER_INFO, "greeting %s", name);
    er_receipt("greet.text", "Hello, %s!", name);
    return er_succeeded();
}
