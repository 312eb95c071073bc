/* The parts of the HTTP client. Not for plugins. */
#ifndef EXECUTOR_RUNTIME_HTTP_H
#define EXECUTOR_RUNTIME_HTTP_H

#include "host.h"

/* ---- url.c ------------------------------------------------------------------------------------------------------- */

struct er_url {
    bool secure;
    /* The host, and the port if there is one. */
    const char *authority;
    /* The path, and the query if there is one. */
    const char *target;
};

bool er_parse_url(struct er_memory *memory, const char *text, struct er_url *url);
const char *er_written_url(struct er_memory *memory, const struct er_url *url, const char *target);
bool er_join_url(struct er_memory *memory, const struct er_url *base, const char *location, struct er_url *url);
bool er_same_origin(const struct er_url *a, const struct er_url *b);
/* A URL, or what is none, as it may be shown: its query, its fragment and a password in it may be secrets. */
const char *er_shown_url(struct er_memory *memory, const char *url);

/* ---- headers.c --------------------------------------------------------------------------------------------------- */

/* Puts them into the exchange; false: the error is set. */
bool er_request_headers(const er_request *request, struct er_exchange *exchange);
/* Leaves out what does not go to the next address. */
void er_redirect_headers(struct er_exchange *exchange, bool drops_body, bool other_origin);
const char *er_find_header(const er_pair *headers, size_t length, const char *name);
/* RFC 9110, section 5.6.2: what the name of a header or of a method is. */
bool er_is_token(const char *text);
/* Sets the error; false. */
bool er_invalid_request(const char *why, const char *what);

/* ---- retry.c ----------------------------------------------------------------------------------------------------- */

/* Whether the server may answer otherwise the next time. */
bool er_may_pass(int status);
/* The seconds that the server asks for; 0: none. */
double er_retry_after(const er_pair *headers, size_t length);
/* How long to wait before the request is sent again, after so many retries; below 0: it is not. */
double er_wait_before(const er_request *request, unsigned retries, double asked);

#endif
