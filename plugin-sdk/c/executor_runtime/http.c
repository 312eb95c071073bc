/* The HTTP client: redirects, retries, the request to stop. What sends a single request is the host. */
#include "http.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define MAX_REDIRECTS 20

bool er_invalid_request(const char *why, const char *what) {
    er_set_error(REJECTED, "invalid_request", "http error: the request can't be sent: %s'%s'", why, what);
    return false;
}

static bool redirects(int status) { return (status >= 301 && status <= 303) || status == 307 || status == 308; }

/* Sends a request, and follows where it leads. */
static er_response *follow(const er_request *request, struct er_url url, struct er_exchange *exchange) {
    struct er_memory *memory = &exchange->memory;
    int allowed = request->redirects ? request->redirects : MAX_REDIRECTS;
    for (int followed = 0;;) {
        er_pair *headers;
        size_t length;
        exchange->secure = url.secure;
        exchange->authority = url.authority;
        exchange->target = url.target;
        exchange->transient = false;
        int status = er_host_send(exchange, &headers, &length);
        if (!status) return NULL;
        const char *location = er_find_header(headers, length, "location");
        if (allowed < 0 || !location || !redirects(status)) {
            er_response *response = er_take(memory, sizeof *response);
            *response = (er_response){status, er_written_url(memory, &url, url.target), headers, length, exchange};
            return response;
        }
        er_host_close(exchange);
        if (++followed > allowed) {
            er_set_error(FAILED, "redirect", "http error: more than %d redirects", allowed);
            return NULL;
        }
        struct er_url next;
        if (!er_join_url(memory, &url, location, &next)) {
            er_set_error(FAILED, "redirect", "http error: a redirect that can't be followed: to '%s', which is not a URL",
                         er_shown_url(memory, location));
            return NULL;
        }
        if (url.secure && !next.secure) {
            er_set_error(FAILED, "redirect",
                         "http error: a redirect that can't be followed: from https to '%s', which would send the request on "
                         "unencrypted",
                         er_shown_url(memory, er_written_url(memory, &next, next.target)));
            return NULL;
        }
        bool drops_body = status <= 303;
        if (drops_body) {
            if (strcmp(exchange->method, "HEAD")) exchange->method = "GET";
            exchange->body = NULL;
            exchange->body_length = 0;
        }
        er_redirect_headers(exchange, drops_body, !er_same_origin(&url, &next));
        url = next;
    }
}

static void close_exchange(struct er_exchange *exchange) {
    er_host_close(exchange);
    er_give_back(&exchange->memory);
    free(exchange);
}

/* One attempt. NULL: the error is set, and whether another may succeed. */
static er_response *attempt(const er_request *request, const char *method, bool *transient) {
    if (!request->after_stop && er_stop_requested()) {
        er_set_stopped("an HTTP request");
        return NULL;
    }
    struct er_exchange *exchange = er_allocate(sizeof *exchange);
    *exchange = (struct er_exchange){.method = method,
                                     .body = request->body,
                                     .body_length = request->body_length,
                                     .until = NEVER,
                                     .heeds_stop = !request->after_stop};
    if (request->timeout > 0) exchange->until = er_later(er_host_now(), er_nanoseconds(request->timeout));
    if (request->after_stop) {
        uint64_t last_moment = er_last_moment();
        if (last_moment < exchange->until) exchange->until = last_moment;
    }
    struct er_url url;
    er_response *response = NULL;
    if (!er_parse_url(&exchange->memory, request->url, &url))
        er_invalid_request("it has to be an absolute http or https URL in ASCII, without a user name: ",
                           er_shown_url(&exchange->memory, request->url));
    else if (!er_is_token(method))
        er_invalid_request("this is no method: ", method);
    else if (er_request_headers(request, exchange))
        response = follow(request, url, exchange);
    *transient = exchange->transient;
    if (!response) close_exchange(exchange);
    return response;
}

static bool is_idempotent(const char *method) {
    static const char *const methods[] = {"GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
        if (!strcasecmp(method, methods[i])) return true;
    return false;
}

/* Whether there is time for another attempt after a wait. */
static bool has_time_for(double wait) { return er_nanoseconds(wait) < er_host_remaining() && !er_stop_requested(); }

er_response *er_send(const er_request *request) {
    const char *method = request->method ? request->method : "GET";
    bool repeats = request->retry_any_method || is_idempotent(method);
    for (unsigned retries = 0;; retries++) {
        bool transient = false;
        er_response *response = attempt(request, method, &transient);
        double wait = -1;
        if (repeats && response && er_may_pass(response->status))
            wait = er_wait_before(request, retries, er_retry_after(response->headers, response->headers_length));
        else if (repeats && !response && transient)
            wait = er_wait_before(request, retries, 0);
        if (wait < 0 || !has_time_for(wait)) return response;
        if (response)
            er_log(ER_DEBUG, "trying again in %.1f s: %s answered %d", wait,
                   er_shown_url(&response->exchange->memory, response->url), response->status);
        else
            er_log(ER_DEBUG, "trying again in %.1f s: %s", wait, er_error_summary());
        er_close(response);
        if (!er_sleep(wait)) return NULL;
    }
}

const char *er_header(const er_response *response, const char *name) {
    return er_find_header(response->headers, response->headers_length, name);
}

long er_read(er_response *response, void *buffer, size_t size) { return er_host_read(response->exchange, buffer, size); }

char *er_read_text(er_response *response, size_t limit) {
    struct er_memory *memory = &response->exchange->memory;
    size_t room = 4096, length = 0;
    char *text = er_allocate(room + 1);
    for (;;) {
        if (length == room) {
            char *larger = er_allocate(2 * room + 1);
            memcpy(larger, text, length);
            free(text);
            text = larger;
            room *= 2;
        }
        long read = er_read(response, text + length, room - length);
        if (read < 0) break;
        length += (size_t)read;
        if (length > limit) {
            er_set_error(FAILED, "network", "http error: the answer of %s is longer than %zu bytes",
                         er_shown_url(memory, response->url), limit);
            break;
        }
        if (read) continue;
        if (memchr(text, 0, length)) {
            er_set_error(FAILED, "network", "http error: the answer of %s has a NUL, which would end the text: read it with "
                                            "er_read",
                         er_shown_url(memory, response->url));
            break;
        }
        char *whole = er_copy_text(text, length);
        free(text);
        return whole;
    }
    free(text);
    return NULL;
}

bool er_copy(er_response *response, er_artifact *artifact, uint64_t *bytes) {
    static char buffer[16 * 1024];
    uint64_t copied = 0;
    for (long read; (read = er_read(response, buffer, sizeof buffer)) != 0; copied += (uint64_t)read)
        if (read < 0 || !er_write(artifact, buffer, (size_t)read)) return false;
    if (bytes) *bytes = copied;
    return true;
}

void er_close(er_response *response) {
    if (response) close_exchange(response->exchange);
}
