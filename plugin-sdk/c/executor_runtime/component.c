/* The host, seen from inside a component: the imports of the interface as the canonical ABI has them. `plugin build` puts
 * the component around the module that this is compiled into, and offers it the imports that are declared here. */
#include "host.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IMPORT(module, name) __attribute__((import_module(module), import_name(name))) extern

/* Text and lists: memory that belongs to who has them. */
struct text {
    const char *data;
    size_t length;
};

#define TEXT const char *, size_t
#define PASS(text) (text), strlen(text)

IMPORT("executor-runtime:plugin/host@1.0.0", "log") void import_log(int, TEXT);
IMPORT("executor-runtime:plugin/host@1.0.0", "progress") void import_progress(int, double, TEXT);
IMPORT("executor-runtime:plugin/host@1.0.0", "remaining") void import_remaining(void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "stop-requested") int import_stop_requested(void);
IMPORT("executor-runtime:plugin/host@1.0.0", "subscribe-stop") int import_subscribe_stop(void);
IMPORT("executor-runtime:plugin/host@1.0.0", "grace") uint64_t import_grace(void);
IMPORT("executor-runtime:plugin/host@1.0.0", "config") void import_config(TEXT, void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "open-input") void import_open_input(void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "create-artifact") void import_create_artifact(TEXT, TEXT, TEXT, void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "reopen-artifact") void import_reopen_artifact(TEXT, TEXT, TEXT, uint64_t, void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "[method]artifact.body") void import_artifact_body(int, void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "[static]artifact.finish") void import_artifact_finish(int, void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "[resource-drop]artifact") void import_drop_artifact(int);
IMPORT("executor-runtime:plugin/host@1.0.0", "checkpoint") void import_checkpoint(const void *, size_t, void *);
IMPORT("executor-runtime:plugin/host@1.0.0", "resumed") void import_resumed(void *);

IMPORT("wasi:clocks/monotonic-clock@0.2.12", "now") uint64_t import_now(void);
IMPORT("wasi:clocks/monotonic-clock@0.2.12", "subscribe-duration") int import_subscribe_duration(uint64_t);
IMPORT("wasi:clocks/wall-clock@0.2.12", "now") void import_wall_clock(void *);
IMPORT("wasi:random/random@0.2.12", "get-random-u64") uint64_t import_random(void);
IMPORT("wasi:cli/exit@0.2.12", "exit-with-code") void import_exit(int);
IMPORT("wasi:cli/stderr@0.2.12", "get-stderr") int import_stderr(void);
IMPORT("wasi:cli/stdout@0.2.12", "get-stdout") int import_stdout(void);

IMPORT("wasi:io/error@0.2.12", "[method]error.to-debug-string") void import_error_text(int, void *);
IMPORT("wasi:io/error@0.2.12", "[resource-drop]error") void import_drop_error(int);
IMPORT("wasi:io/poll@0.2.12", "poll") void import_poll(const int *, size_t, void *);
IMPORT("wasi:io/poll@0.2.12", "[resource-drop]pollable") void import_drop_pollable(int);
IMPORT("wasi:io/streams@0.2.12", "[method]input-stream.read") void import_read(int, uint64_t, void *);
IMPORT("wasi:io/streams@0.2.12", "[method]input-stream.subscribe") int import_subscribe_input(int);
IMPORT("wasi:io/streams@0.2.12", "[resource-drop]input-stream") void import_drop_input(int);
IMPORT("wasi:io/streams@0.2.12", "[method]output-stream.check-write") void import_check_write(int, void *);
IMPORT("wasi:io/streams@0.2.12", "[method]output-stream.write") void import_write(int, const void *, size_t, void *);
IMPORT("wasi:io/streams@0.2.12", "[method]output-stream.blocking-flush") void import_blocking_flush(int, void *);
IMPORT("wasi:io/streams@0.2.12", "[method]output-stream.flush") void import_flush(int, void *);
IMPORT("wasi:io/streams@0.2.12", "[method]output-stream.subscribe") int import_subscribe_output(int);
IMPORT("wasi:io/streams@0.2.12", "[resource-drop]output-stream") void import_drop_output(int);

IMPORT("wasi:http/outgoing-handler@0.2.12", "handle") void import_handle(int, int, int, void *);
IMPORT("wasi:http/types@0.2.12", "http-error-code") void import_http_error(int, void *);
IMPORT("wasi:http/types@0.2.12", "[static]fields.from-list") void import_fields(const void *, size_t, void *);
IMPORT("wasi:http/types@0.2.12", "[method]fields.entries") void import_entries(int, void *);
IMPORT("wasi:http/types@0.2.12", "[resource-drop]fields") void import_drop_fields(int);
IMPORT("wasi:http/types@0.2.12", "[constructor]outgoing-request") int import_request(int);
IMPORT("wasi:http/types@0.2.12", "[method]outgoing-request.set-method") int import_set_method(int, int, TEXT);
IMPORT("wasi:http/types@0.2.12", "[method]outgoing-request.set-scheme") int import_set_scheme(int, int, int, TEXT);
IMPORT("wasi:http/types@0.2.12", "[method]outgoing-request.set-authority") int import_set_authority(int, int, TEXT);
IMPORT("wasi:http/types@0.2.12", "[method]outgoing-request.set-path-with-query") int import_set_target(int, int, TEXT);
IMPORT("wasi:http/types@0.2.12", "[method]outgoing-request.body") void import_request_body(int, void *);
IMPORT("wasi:http/types@0.2.12", "[resource-drop]outgoing-request") void import_drop_request(int);
IMPORT("wasi:http/types@0.2.12", "[method]outgoing-body.write") void import_body_stream(int, void *);
IMPORT("wasi:http/types@0.2.12", "[static]outgoing-body.finish") void import_body_finish(int, int, int, void *);
IMPORT("wasi:http/types@0.2.12", "[resource-drop]outgoing-body") void import_drop_body(int);
IMPORT("wasi:http/types@0.2.12", "[method]future-incoming-response.subscribe") int import_subscribe_response(int);
IMPORT("wasi:http/types@0.2.12", "[method]future-incoming-response.get") void import_response(int, void *);
IMPORT("wasi:http/types@0.2.12", "[resource-drop]future-incoming-response") void import_drop_future(int);
IMPORT("wasi:http/types@0.2.12", "[method]incoming-response.status") int import_status(int);
IMPORT("wasi:http/types@0.2.12", "[method]incoming-response.headers") int import_response_headers(int);
IMPORT("wasi:http/types@0.2.12", "[method]incoming-response.consume") void import_consume(int, void *);
IMPORT("wasi:http/types@0.2.12", "[resource-drop]incoming-response") void import_drop_response(int);
IMPORT("wasi:http/types@0.2.12", "[method]incoming-body.stream") void import_incoming_stream(int, void *);
IMPORT("wasi:http/types@0.2.12", "[resource-drop]incoming-body") void import_drop_incoming(int);

/* ---- What comes from the host ----------------------------------------------------------------------------------- */

/* What the memory belongs to that the host allocates now; NULL: to who has called it. */
static struct er_memory *owner;

/* The host allocates what it returns. One byte more, so that text ends with a NUL. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
    (void)alignment;
    char *memory = owner ? er_take(owner, size + 1) : er_allocate(size + 1);
    if (old_size) memcpy(memory, old, old_size < size ? old_size : size);
    if (!owner) free(old);
    memory[size] = 0;
    return memory;
}

/* result<T, string>, for a T of at most four bytes. */
struct result {
    uint8_t failed;
    union {
        int value;
        struct {
            uint8_t is_some;
            int value;
        } option;
        struct text error;
    };
};

/* result<T, stream-error>, for a T of at most four bytes, and for a list. */
struct stream_result {
    uint8_t failed;
    union {
        struct text data;
        struct {
            uint8_t closed;
            int error;
        };
    };
};

static const char *text_of(int error, struct er_memory *memory) {
    struct text text;
    owner = memory;
    import_error_text(error, &text);
    owner = NULL;
    import_drop_error(error);
    return text.data;
}

/* Waits until one is ready; which is the first that is. */
static size_t poll(const int *pollables, size_t count) {
    struct {
        uint32_t *ready;
        size_t length;
    } list;
    struct er_memory *before = owner;
    owner = NULL;
    import_poll(pollables, count, &list);
    owner = before;
    uint32_t first = list.ready[0];
    for (size_t i = 1; i < list.length; i++)
        if (list.ready[i] < first) first = list.ready[i];
    free(list.ready);
    for (size_t i = 0; i < count; i++) import_drop_pollable(pollables[i]);
    return first;
}

/* Takes over the host's words. */
static void set_error(const char *kind, struct text words) {
    er_set_error(FAILED, kind, "%s", words.data);
    free((void *)words.data);
}

static bool has_nul(struct text text) { return text.length && memchr(text.data, 0, text.length); }

void er_host_log(int level, const char *message) { import_log(level, PASS(message)); }
void er_host_progress(double fraction, const char *message) { import_progress(fraction >= 0, fraction, PASS(message)); }
uint64_t er_host_now(void) { return import_now(); }
bool er_host_stop_requested(void) { return import_stop_requested(); }
uint64_t er_host_grace(void) { return import_grace(); }
uint64_t er_host_random(void) { return import_random(); }

int64_t er_host_time(void) {
    struct {
        uint64_t seconds;
        uint32_t nanoseconds;
    } time;
    import_wall_clock(&time);
    return (int64_t)time.seconds;
}

uint64_t er_host_remaining(void) {
    struct {
        uint8_t is_some;
        uint64_t value;
    } remaining;
    import_remaining(&remaining);
    return remaining.is_some ? remaining.value : NEVER;
}

bool er_host_wait_stop(uint64_t nanoseconds) {
    int pollables[] = {import_subscribe_stop(), import_subscribe_duration(nanoseconds)};
    return poll(pollables, 2) == 0;
}

const char *er_host_config(const char *key) {
    struct {
        uint8_t is_some;
        struct text value;
    } value;
    import_config(PASS(key), &value);
    if (!value.is_some) return NULL;
    if (!has_nul(value.value)) return value.value.data;
    er_set_error(FAILED, "invalid_config", "the configuration's '%s' has a NUL in it, which text in C can't have", key);
    er_log(ER_WARN, "%s", er_error_summary());
    return NULL;
}

const void *er_host_resumed(size_t *length) {
    struct {
        uint8_t is_some;
        struct text state;
    } state;
    import_resumed(&state);
    if (length) *length = state.is_some ? state.state.length : 0;
    return state.is_some ? state.state.data : NULL;
}

bool er_host_checkpoint(const void *state, size_t length) {
    struct result result;
    import_checkpoint(state, length, &result);
    if (result.failed) set_error("checkpoint", result.error);
    return !result.failed;
}

/* ---- Streams ---------------------------------------------------------------------------------------------------- */

/* What is there of an input: how many bytes, 0: none now, -1: it is at its end, -2: it is broken, by `error`. */
static long read_now(int stream, void *buffer, size_t size, int *error) {
    struct stream_result result;
    import_read(stream, size, &result);
    if (result.failed) {
        *error = result.error;
        return result.closed ? -1 : -2;
    }
    long length = (long)result.data.length;
    memcpy(buffer, result.data.data, result.data.length);
    free((void *)result.data.data);
    return length;
}

/* How many bytes may be written; 0: none now, -1: the stream is closed or broken. */
static long room(int stream) {
    struct {
        uint8_t failed;
        union {
            uint64_t bytes;
            struct {
                uint8_t closed;
                int error;
            };
        };
    } result;
    import_check_write(stream, &result);
    if (!result.failed) return result.bytes > 1 << 20 ? 1 << 20 : (long)result.bytes;
    if (!result.closed) import_drop_error(result.error);
    return -1;
}

static bool write_some(int stream, const void *data, size_t length) {
    struct stream_result result;
    import_write(stream, data, length, &result);
    if (result.failed && !result.closed) import_drop_error(result.error);
    return !result.failed;
}

/* Waits until what was written is where it goes to: for streams that don't wait for a server. */
static bool flush(int stream) {
    struct stream_result result;
    import_blocking_flush(stream, &result);
    if (result.failed && !result.closed) import_drop_error(result.error);
    return !result.failed;
}

static bool write_all(int stream, const char *data, size_t length) {
    while (length) {
        long some = room(stream);
        if (some < 0) return false;
        if (!some) {
            int ready = import_subscribe_output(stream);
            poll(&ready, 1);
            continue;
        }
        if ((size_t)some > length) some = (long)length;
        if (!write_some(stream, data, (size_t)some)) return false;
        data += some;
        length -= (size_t)some;
    }
    return true;
}

/* What the plugin, or C's library, prints. */
bool er_print_to(int descriptor, const char *data, size_t length) {
    static int streams[2];
    int *stream = &streams[descriptor == 2];
    if (!*stream) *stream = descriptor == 2 ? import_stderr() : import_stdout();
    return write_all(*stream, data, length) && flush(*stream);
}

_Noreturn void er_exit(int code) {
    import_exit(code & 0xff);
    __builtin_trap();
}

long er_host_read_input(void *buffer, size_t size) {
    static int stream = -1;
    static bool opened;
    if (!opened) {
        struct result result;
        import_open_input(&result);
        if (result.failed) {
            set_error("input", result.error);
            return -1;
        }
        opened = true;
        if (result.option.is_some) stream = result.option.value;
    }
    while (stream >= 0 && size) {
        int error;
        long length = read_now(stream, buffer, size, &error);
        if (length > 0) return length;
        if (length == 0) {
            int ready = import_subscribe_input(stream);
            poll(&ready, 1);
            continue;
        }
        if (length == -2) {
            er_set_error(FAILED, "input", "the input can't be read: %s", text_of(error, NULL));
            return -1;
        }
        import_drop_input(stream);
        stream = -1;
    }
    return 0;
}

/* ---- Artifacts -------------------------------------------------------------------------------------------------- */

struct er_artifact {
    int handle;
    int stream;
};

er_artifact *er_host_open_artifact(const char *name, const char *kind, const char *description, int64_t length) {
    struct {
        uint8_t failed;
        union {
            int handle;
            struct {
                uint8_t reason;
                union {
                    struct text words;
                    uint32_t number;
                };
            };
        };
    } result;
    if (length < 0)
        import_create_artifact(PASS(name), PASS(kind), PASS(description), &result);
    else
        import_reopen_artifact(PASS(name), PASS(kind), PASS(description), (uint64_t)length, &result);
    if (!result.failed) {
        struct result body;
        import_artifact_body(result.handle, &body);
        er_artifact *artifact = er_allocate(sizeof *artifact);
        *artifact = (er_artifact){result.handle, body.value};
        return artifact;
    }
    switch (result.reason) {
    case 0:
        er_set_error(FAILED, "artifact", "'%s' can't be the name of an artifact: expected letters, digits, '.', '_' and '-'",
                     name);
        break;
    case 1: er_set_error(FAILED, "artifact", "this run has made an artifact '%s' before", name); break;
    case 2:
        er_set_error(FAILED, "artifact", "this run has made %u artifacts, which is as many as the host allows", result.number);
        break;
    case 4:
        er_set_not_resumable(result.words.data);
        free((void *)result.words.data);
        break;
    default:
        er_set_error(FAILED, "artifact", "artifact '%s' can't be written: %s", name, result.words.data);
        free((void *)result.words.data);
    }
    return NULL;
}

bool er_host_write(er_artifact *artifact, const void *data, size_t length) {
    if (write_all(artifact->stream, data, length)) return true;
    er_set_error(FAILED, "artifact", "the artifact can't be written: it is longer than the host allows, or the disk is full");
    return false;
}

bool er_host_finish(er_artifact *artifact, uint64_t *bytes) {
    struct {
        uint8_t failed;
        union {
            uint64_t bytes;
            struct text error;
        };
    } result;
    int handle = artifact->handle;
    bool flushed = flush(artifact->stream);
    import_drop_output(artifact->stream);
    free(artifact);
    if (!flushed) {
        import_drop_artifact(handle);
        er_set_error(FAILED, "artifact", "the artifact can't be written to its end");
        return false;
    }
    import_artifact_finish(handle, &result);
    if (result.failed)
        set_error("artifact", result.error);
    else
        *bytes = result.bytes;
    return !result.failed;
}

void er_host_drop(er_artifact *artifact) {
    import_drop_output(artifact->stream);
    import_drop_artifact(artifact->handle);
    free(artifact);
}

/* ---- HTTP ------------------------------------------------------------------------------------------------------- */

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
    size_t ready = poll(pollables, count);
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
    for (long some; exchange->rest_length && (some = room(exchange->upload)) != 0;) {
        if (some < 0) return false;
        if ((size_t)some > exchange->rest_length) some = (long)exchange->rest_length;
        if (!write_some(exchange->upload, exchange->rest, (size_t)some)) return false;
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
        if (room(exchange->upload) == 0) return true;
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
    owner = &exchange->memory;
    int status = send(exchange, headers, length);
    owner = NULL;
    return status;
}

static void set_broken(struct er_exchange *exchange, int error) {
    struct {
        uint8_t is_some;
        _Alignas(8) struct error_code error;
    } code;
    owner = &exchange->memory;
    import_http_error(error, &code);
    owner = NULL;
    if (code.is_some) {
        set_http_error(exchange, &code.error);
        import_drop_error(error);
    } else {
        er_set_error(FAILED, "network", "http error: %s closed the connection before its answer was complete: %s",
                     exchange->authority, text_of(error, &exchange->memory));
    }
}

long er_host_read(struct er_exchange *exchange, void *buffer, size_t size) {
    while (exchange->stream && size) {
        int error;
        long length = read_now(exchange->stream, buffer, size, &error);
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

/* ---- The export ------------------------------------------------------------------------------------------------- */

struct list {
    void *items;
    size_t length;
};

/* The record `invocation`. */
struct asked {
    struct text id, runtime_name, kind, working_directory;
    struct list command, environment;
    struct {
        uint8_t is_some;
        uint64_t value;
    } timeout;
    struct {
        uint8_t is_some;
        struct text value;
    } input, artifacts;
    struct list metadata;
};

struct written_report {
    struct {
        uint8_t is_some;
        int64_t value;
    } exit_code;
    struct list receipt;
};

/* The variant `outcome`. */
struct written_outcome {
    uint8_t which;
    union {
        struct written_report success;
        struct {
            _Alignas(8) struct text kind;
            struct text summary;
            struct written_report report;
        } failure;
    };
};

static const er_pair *pairs(struct list list) {
    er_pair *pairs = er_allocate(list.length * sizeof *pairs);
    const struct text *texts = list.items;
    for (size_t i = 0; i < list.length; i++) pairs[i] = (er_pair){texts[2 * i].data, texts[2 * i + 1].data};
    return pairs;
}

static bool refuse(const char *kind, const char *what, const char *key, er_outcome *outcome) {
    *outcome = er_rejected(kind, "%s%s has a NUL in it, which text in C can't have", what, key);
    return true;
}

/* Rejects an invocation with a text that would end before its end. */
static bool refused(const struct asked *asked, er_outcome *outcome) {
    const struct text *environment = asked->environment.items, *metadata = asked->metadata.items;
    const struct text *command = asked->command.items;
    for (size_t i = 0; i < asked->metadata.length; i++)
        if (has_nul(metadata[2 * i]) || has_nul(metadata[2 * i + 1]))
            return refuse("invalid_metadata", "the value of metadata key ", metadata[2 * i].data, outcome);
    for (size_t i = 0; i < asked->environment.length; i++)
        if (has_nul(environment[2 * i]) || has_nul(environment[2 * i + 1]))
            return refuse("invalid_invocation", "environment variable ", environment[2 * i].data, outcome);
    for (size_t i = 0; i < asked->command.length; i++)
        if (has_nul(command[i])) return refuse("invalid_invocation", "the command", "", outcome);
    const struct {
        const char *name;
        struct text text;
    } fields[] = {
        {"invocation_id", asked->id},
        {"runtime_name", asked->runtime_name},
        {"runtime_kind", asked->kind},
        {"working_directory", asked->working_directory},
        {"input_payload_path", asked->input.is_some ? asked->input.value : (struct text){0}},
        {"artifact_directory", asked->artifacts.is_some ? asked->artifacts.value : (struct text){0}},
    };
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
        if (has_nul(fields[i].text)) return refuse("invalid_invocation", fields[i].name, "", outcome);
    return false;
}

__attribute__((export_name("executor-runtime:plugin/run@1.0.0#run"))) void *exported_run(const struct asked *asked) {
    const char **command = er_allocate(asked->command.length * sizeof *command);
    for (size_t i = 0; i < asked->command.length; i++) command[i] = ((const struct text *)asked->command.items)[i].data;
    const er_invocation invocation = {
        .id = asked->id.data,
        .runtime_name = asked->runtime_name.data,
        .kind = asked->kind.data,
        .working_directory = asked->working_directory.data,
        .input_payload_path = asked->input.is_some ? asked->input.value.data : NULL,
        .artifact_directory = asked->artifacts.is_some ? asked->artifacts.value.data : NULL,
        .command = command,
        .command_length = asked->command.length,
        .environment = pairs(asked->environment),
        .environment_length = asked->environment.length,
        .metadata = pairs(asked->metadata),
        .metadata_length = asked->metadata.length,
        .timeout_seconds = asked->timeout.is_some ? asked->timeout.value : 0,
    };
    struct er_report report;
    static struct written_outcome outcome;
    er_outcome refusal;
    int how = refused(asked, &refusal) ? er_end(refusal, &report) : er_run_to_end(&invocation, &report);
    struct text *receipt = er_allocate(report.receipt_length * 2 * sizeof *receipt);
    for (size_t i = 0; i < report.receipt_length; i++) {
        receipt[2 * i] = (struct text){PASS(report.receipt[i].key)};
        receipt[2 * i + 1] = (struct text){PASS(report.receipt[i].value)};
    }
    const struct written_report written = {
        {report.has_exit_code, report.exit_code},
        {receipt, report.receipt_length},
    };
    outcome.which = (uint8_t)(how - FAILED);
    if (how == SUCCEEDED) {
        outcome.success = written;
    } else {
        outcome.failure.kind = (struct text){PASS(report.kind)};
        outcome.failure.summary = (struct text){PASS(report.summary)};
        outcome.failure.report = written;
    }
    return &outcome;
}
