/* Single requests, seen from inside a component. */
#include "component.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* error-code of wasi:http, as far as it is told. */
struct error_code {
    uint8_t code;
    _Alignas(8) struct {
        uint8_t is_some;
        struct text words;
    } detail;
    uint64_t rest[2];
};

/* In the same words as the SDK for Rust. */
static void set_http_error(struct er_exchange *exchange, const struct error_code *error) {
    const char *authority = exchange->authority;
    const char *detail = error->detail.is_some ? error->detail.words.data : NULL;
#define HTTP(kind, ...) er_set_error(FAILED, kind, "http error: " __VA_ARGS__)
    switch (error->code) {
    case 4: /* destination-IP-prohibited */
    case 15: /* HTTP-request-denied */
        HTTP("egress_denied", "this plugin may not reach %s", authority);
        break;
    case 0: /* DNS-timeout */
    case 2: /* destination-not-found */
        detail = NULL;
        /* fall through */
    case 1: /* DNS-error */
        exchange->transient = true;
        HTTP("network", "no address was found for %s: %s", authority, detail ? detail : "the name is not known");
        break;
    case 3: /* destination-unavailable */
    case 5: /* destination-IP-unroutable */
    case 8: /* connection-timeout */
        exchange->transient = true;
        HTTP("network", "%s can't be reached", authority);
        break;
    case 6: /* connection-refused */
        exchange->transient = true;
        HTTP("network", "connection refused by %s", authority);
        break;
    case 7: /* connection-terminated */
    case 25: /* HTTP-response-incomplete */
        exchange->transient = true;
        HTTP("network", "%s closed the connection before its answer was complete", authority);
        break;
    case 12: case 13: case 14: /* TLS-... */
        HTTP("network", "TLS: no secure connection to %s", authority);
        break;
    case 16: case 17: case 18: case 19: case 20: case 21: case 22: case 23: case 24: /* HTTP-request-... */
        er_set_error(REJECTED, "invalid_request", "http error: the request can't be sent: the host refused it");
        break;
    case 26: case 27: case 28: case 29: case 30: case 31: case 32: case 35: /* HTTP-response-... */
        HTTP("network", "%s sent an invalid HTTP response", authority);
        break;
    case 38: /* internal-error */
        HTTP("network", "%s: %s", authority, detail ? detail : "the host can't send requests now");
        break;
    default: HTTP("network", "%s: the request failed (code %d)", authority, error->code);
    }
#undef HTTP
}

static void set_stopped(const struct er_exchange *exchange) {
    char *doing = er_allocate(strlen(exchange->method) + strlen(exchange->authority) + 2);
    sprintf(doing, "%s %s", exchange->method, exchange->authority);
    er_set_stopped(doing);
    free(doing);
}

/* Waits for one or two; false: it is to stop or its time is over, and the error is set. */
static bool wait_for(const struct er_exchange *exchange, int first, int second) {
    int pollables[4] = {first, second};
    size_t count = second ? 2 : 1, stop = 4;
    size_t waited = count;
    if (exchange->heeds_stop) {
        stop = count;
        pollables[count++] = import_subscribe_stop();
    }
    if (exchange->until != NEVER) {
        uint64_t now = import_now();
        pollables[count++] = import_subscribe_duration(exchange->until > now ? exchange->until - now : 0);
    }
    size_t ready = er_poll(pollables, count);
    if (ready < waited) return true;
    if (ready == stop)
        set_stopped(exchange);
    else
        er_set_error(FAILED, "timeout", "http error: timed out");
    return false;
}

static int new_request(struct er_exchange *exchange) {
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};
    struct result fields;
    /* A pair of texts, with their lengths. */
    struct text *list = er_allocate((exchange->headers_length + 1) * 2 * sizeof *list);
    for (size_t i = 0; i < exchange->headers_length; i++) {
        list[2 * i] = (struct text){PASS(exchange->headers[i].key)};
        list[2 * i + 1] = (struct text){PASS(exchange->headers[i].value)};
    }
    import_fields(list, exchange->headers_length, &fields);
    free(list);
    if (fields.failed) {
        er_set_error(REJECTED, "invalid_request", "http error: the request can't be sent: the host refused its headers");
        return -1;
    }
    int request = import_request(fields.value), method = 0;
    while (method < 9 && strcmp(exchange->method, methods[method])) method++;
    if (import_set_method(request, method, PASS(exchange->method)) ||
        import_set_scheme(request, 1, exchange->secure, "", 0) ||
        import_set_authority(request, 1, PASS(exchange->authority)) ||
        import_set_target(request, 1, PASS(exchange->target))) {
        er_set_error(REJECTED, "invalid_request", "http error: the request can't be sent: the host refused %s http%s://%s%.*s",
                     exchange->method, exchange->secure ? "s" : "", exchange->authority,
                     (int)strcspn(exchange->target, "?"), exchange->target);
        import_drop_request(request);
        return -1;
    }
    return request;
}

/* As much of the body as the host takes now; false: it takes no more. */
static bool upload_some(struct er_exchange *exchange) {
    for (long some; exchange->rest_length && (some = er_room(exchange->upload)) != 0;) {
        if (some < 0) return false;
        if ((size_t)some > exchange->rest_length) some = (long)exchange->rest_length;
        if (!er_write_some(exchange->upload, exchange->rest, (size_t)some)) return false;
        exchange->rest += some;
        exchange->rest_length -= (size_t)some;
    }
    return true;
}

static void begin_upload(struct er_exchange *exchange, int request) {
    struct result body, stream;
    import_request_body(request, &body);
    import_body_stream(body.value, &stream);
    exchange->outgoing_body = body.value;
    exchange->upload = stream.value;
    exchange->rest = exchange->body;
    exchange->rest_length = exchange->body_length;
    upload_some(exchange);
}

/* Writes what is left; false: the error is set. A server that has answered before the end wants no more. */
static bool upload(struct er_exchange *exchange, int future) {
    while (exchange->rest_length) {
        if (!upload_some(exchange)) return true; /* Why the host takes no more is in its answer. */
        if (!exchange->rest_length) break;
        int answered = import_subscribe_response(future);
        if (!wait_for(exchange, import_subscribe_output(exchange->upload), answered)) return false;
        if (er_room(exchange->upload) == 0) return true;
    }
    /* Without waiting for the server, which may never read it: the answer is waited for, and no longer than it may take. */
    struct stream_result flushed;
    import_flush(exchange->upload, &flushed);
    if (flushed.failed && !flushed.closed) import_drop_error(flushed.error);
    import_drop_output(exchange->upload);
    exchange->upload = 0;
    struct {
        uint8_t failed;
        _Alignas(8) struct error_code error;
    } result;
    import_body_finish(exchange->outgoing_body, 0, 0, &result);
    exchange->outgoing_body = 0;
    return true;
}

static bool receive(struct er_exchange *exchange, int future) {
    struct {
        uint8_t is_some;
        _Alignas(8) uint8_t taken;
        _Alignas(8) uint8_t failed;
        union {
            int response;
            struct error_code error;
        };
    } answer;
    for (;;) {
        import_response(future, &answer);
        if (answer.is_some) break;
        if (!wait_for(exchange, import_subscribe_response(future), 0)) return false;
    }
    if (answer.failed)
        set_http_error(exchange, &answer.error);
    else
        exchange->response = answer.response;
    return !answer.failed;
}

static void response_headers(struct er_exchange *exchange, er_pair **headers, size_t *length) {
    struct {
        struct text *pairs;
        size_t length;
    } list;
    int fields = import_response_headers(exchange->response);
    import_entries(fields, &list);
    import_drop_fields(fields);
    *headers = er_take(&exchange->memory, list.length * sizeof **headers);
    *length = list.length;
    for (size_t i = 0; i < list.length; i++) (*headers)[i] = (er_pair){list.pairs[2 * i].data, list.pairs[2 * i + 1].data};
}

static int send(struct er_exchange *exchange, er_pair **headers, size_t *length) {
    struct {
        uint8_t failed;
        union {
            _Alignas(8) int future;
            struct error_code error;
        };
    } handled;
    int request = new_request(exchange);
    if (request < 0) return 0;
    if (exchange->body) begin_upload(exchange, request);
    import_handle(request, 0, 0, &handled);
    if (handled.failed) {
        set_http_error(exchange, &handled.error);
        er_host_close(exchange);
        return 0;
    }
    bool received = (!exchange->body || upload(exchange, handled.future)) && receive(exchange, handled.future);
    import_drop_future(handled.future);
    if (!received) {
        er_host_close(exchange);
        return 0;
    }
    response_headers(exchange, headers, length);
    int status = import_status(exchange->response);
    struct result body, stream;
    import_consume(exchange->response, &body);
    exchange->incoming_body = body.value;
    import_incoming_stream(body.value, &stream);
    exchange->stream = stream.value;
    return status;
}

int er_host_send(struct er_exchange *exchange, er_pair **headers, size_t *length) {
    er_owner = &exchange->memory;
    int status = send(exchange, headers, length);
    er_owner = NULL;
    return status;
}

static void set_broken(struct er_exchange *exchange, int error) {
    struct {
        uint8_t is_some;
        _Alignas(8) struct error_code error;
    } code;
    er_owner = &exchange->memory;
    import_http_error(error, &code);
    er_owner = NULL;
    if (code.is_some) {
        set_http_error(exchange, &code.error);
        import_drop_error(error);
    } else {
        er_set_error(FAILED, "network", "http error: %s closed the connection before its answer was complete: %s",
                     exchange->authority, er_error_text(error, &exchange->memory));
    }
}

long er_host_read(struct er_exchange *exchange, void *buffer, size_t size) {
    while (exchange->stream && size) {
        int error;
        long length = er_read_now(exchange->stream, buffer, size, &error);
        if (length > 0) return length;
        if (length == 0) {
            if (!wait_for(exchange, import_subscribe_input(exchange->stream), 0)) return -1;
            continue;
        }
        if (length == -2) set_broken(exchange, error);
        er_host_close(exchange);
        return length == -1 ? 0 : -1;
    }
    return 0;
}

void er_host_close(struct er_exchange *exchange) {
    if (exchange->stream) import_drop_input(exchange->stream);
    if (exchange->incoming_body) import_drop_incoming(exchange->incoming_body);
    if (exchange->response) import_drop_response(exchange->response);
    if (exchange->upload) import_drop_output(exchange->upload);
    if (exchange->outgoing_body) import_drop_body(exchange->outgoing_body);
    exchange->stream = exchange->incoming_body = exchange->response = exchange->upload = exchange->outgoing_body = 0;
}
