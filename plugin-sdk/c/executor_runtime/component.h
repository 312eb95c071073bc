/* What a component imports, as the canonical ABI has it. `plugin build` puts the component around the module that this is
 * compiled into, and offers it the imports that are declared here. Not for plugins. */
#ifndef EXECUTOR_RUNTIME_COMPONENT_H
#define EXECUTOR_RUNTIME_COMPONENT_H

#include "host.h"

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

/* What the memory belongs to that the host allocates now; NULL: to who has called it. */
extern struct er_memory *er_owner;

/* The words of an error, which it drops; they belong to the memory, if there is one. */
const char *er_error_text(int error, struct er_memory *memory);
/* Waits until one is ready, and drops all; which is the first that is. */
size_t er_poll(const int *pollables, size_t count);
/* What is there of an input: how many bytes, 0: none now, -1: it is at its end, -2: it is broken, by `error`. */
long er_read_now(int stream, void *buffer, size_t size, int *error);
/* How many bytes may be written; 0: none now, -1: the stream is closed or broken. */
long er_room(int stream);
bool er_write_some(int stream, const void *data, size_t length);

#endif
