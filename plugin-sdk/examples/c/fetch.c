/* `fetch`: a page that is asked for again until the server has it, and kept. */
#include "examples.h"

#include <inttypes.h>

er_outcome fetch(const er_invocation *invocation) {
    const er_request request = {
        .url = er_required(invocation, "fetch.url"),
        .retries = (unsigned)er_integer(invocation, "fetch.retries", 0),
        .first_wait = 0.01,
        .timeout = er_number(invocation, "fetch.timeout", 0),
    };
    if (!request.url) return er_failure();
    er_response *page = er_send(&request);
    if (!page) return er_failure();
    if (page->status < 200 || page->status > 299) {
        er_exit_code(page->status);
        return er_failed("http_status", "the server answered %d", page->status);
    }
    uint64_t bytes;
    er_artifact *file = er_create_artifact("body", "response_body", NULL);
    if (!file || !er_copy(page, file, NULL) || !er_finish(file, &bytes)) return er_failure();
    er_exit_code(page->status);
    er_receipt("fetch.bytes", "%" PRIu64, bytes);
    return er_succeeded();
}
