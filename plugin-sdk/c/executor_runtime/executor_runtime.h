/* What a plugin in C is written with.
 *
 *     #include "executor_runtime/executor_runtime.h"
 *
 *     er_outcome run(const er_invocation *invocation) {
 *         er_receipt("greet.text", "Hello, %s!", er_metadata(invocation, "greet.name"));
 *         return er_succeeded();
 *     }
 *
 * Memory: each run has an instance of its own, which is gone when the run is over. What a function here returns is valid
 * until then, and nothing of it has to be freed; what is given to one is copied. A run that sends requests for days gives
 * back what er_close and er_read_text say. Text is UTF-8 and ends with a NUL; in what goes to the host, U+FFFD stands for
 * what is no UTF-8. An invocation with a NUL in one of its texts is rejected.
 *
 * Errors: a function that can fail returns NULL, false or -1. `return er_failure();` then ends the run with what went
 * wrong: that it is to stop, or why a request failed.
 */
#ifndef EXECUTOR_RUNTIME_H
#define EXECUTOR_RUNTIME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ER_FORMAT(text, values) __attribute__((format(printf, text, values)))
#define ER_CHECKED __attribute__((warn_unused_result))

/* ---- What the caller asked for ---------------------------------------------------------------------------------- */

typedef struct er_pair {
    const char *key;
    const char *value;
} er_pair;

/* One RuntimeInvocation, which the host has checked against the metadata keys in plugin.json. */
typedef struct er_invocation {
    const char *id;
    const char *runtime_name;
    const char *kind;
    /* Paths on the host, for information: a component has no file system. NULL: none was given. */
    const char *working_directory;
    const char *input_payload_path;
    const char *artifact_directory;
    const char *const *command;
    size_t command_length;
    const er_pair *environment;
    size_t environment_length;
    const er_pair *metadata;
    size_t metadata_length;
    /* 0: none was given. */
    uint64_t timeout_seconds;
} er_invocation;

/* The value of a metadata key; NULL if it is not there. */
const char *er_metadata(const er_invocation *invocation, const char *key);
/* The same of one that has to be there: without it, er_failure() is a rejection. */
const char *er_required(const er_invocation *invocation, const char *key);
/* The value of a key that plugin.json declares to be an integer, a number, a boolean. */
int64_t er_integer(const er_invocation *invocation, const char *key, int64_t if_missing);
double er_number(const er_invocation *invocation, const char *key, double if_missing);
bool er_boolean(const er_invocation *invocation, const char *key, bool if_missing);
/* A variable that the caller asked for; NULL if it is not there. */
const char *er_environment(const er_invocation *invocation, const char *name);

/* ---- How the run ends ------------------------------------------------------------------------------------------- */

/* What `run` returns: made by the functions below, and by nothing else. */
typedef struct er_outcome {
    int how;
} er_outcome;

/* The plugin's function. */
er_outcome run(const er_invocation *invocation);

/* It did what was asked. */
er_outcome er_succeeded(void) ER_CHECKED;
/* It was attempted and failed. The kind is a stable code in snake case; the summary is one sentence for a person. */
er_outcome er_failed(const char *kind, const char *summary, ...) ER_FORMAT(2, 3) ER_CHECKED;
/* Nothing was attempted: the invocation is unusable. */
er_outcome er_rejected(const char *kind, const char *summary, ...) ER_FORMAT(2, 3) ER_CHECKED;
/* The host asked the run to stop: `timed_out` if the deadline has passed, else `cancelled`. */
er_outcome er_stopped(const char *doing) ER_CHECKED;
/* What the last function that failed was about. */
er_outcome er_failure(void) ER_CHECKED;

/* A key of the result's metadata, however the run ends. A second time replaces its value. */
void er_receipt(const char *key, const char *value, ...) ER_FORMAT(2, 3);
/* What this kind calls an exit code: an HTTP status, 0. */
void er_exit_code(int64_t code);

/* The last failure's code, such as "network" or "stopped", and its words, until another function fails. */
const char *er_error_kind(void);
const char *er_error_summary(void);

/* ---- Log, time, configuration, input ---------------------------------------------------------------------------- */

typedef enum er_level { ER_TRACE, ER_DEBUG, ER_INFO, ER_WARN, ER_ERROR } er_level;

/* One log line. The host drops lines of a run that floods it. printf writes to the log, too. */
void er_log(er_level level, const char *message, ...) ER_FORMAT(2, 3);
/* How far the run is, from 0.0 to 1.0; below 0: that is not known. */
void er_progress(double fraction, const char *message, ...) ER_FORMAT(2, 3);

/* Sleeps; false as soon as the host asks the run to stop. */
bool er_sleep(double seconds) ER_CHECKED;
/* Whether the host has asked the run to stop: for loops that compute. What waits ends by itself. */
bool er_stop_requested(void);
/* Seconds: on a clock that only goes forward; until the deadline, INFINITY without one; from the request to stop to the
 * forced end. */
double er_now(void);
double er_remaining(void);
double er_grace(void);

/* A value of this plugin's `config` map in the operator's configuration file; NULL if it is not there. The host is asked once for
 * each key. */
const char *er_config(const char *key);

/* The next bytes of the input payload: how many, 0 at its end and if there is none, -1 if it can't be read. */
long er_read_input(void *buffer, size_t size) ER_CHECKED;

/* ---- Artifacts and checkpoints ---------------------------------------------------------------------------------- */

/* A file that the run leaves behind. One that is not finished is removed. */
typedef struct er_artifact er_artifact;

/* Makes one of this RxP kind, such as "response_body". The description may be NULL. */
er_artifact *er_create_artifact(const char *name, const char *kind, const char *description) ER_CHECKED;
/* Goes on with one that an interrupted run of this invocation had begun (see er_resumed): keeps its first `length` bytes.
 * If there is none to go on with, er_not_resumable() is true: begin it anew. */
er_artifact *er_reopen_artifact(const char *name, const char *kind, const char *description, uint64_t length) ER_CHECKED;
bool er_not_resumable(void);
bool er_write(er_artifact *artifact, const void *data, size_t length) ER_CHECKED;
bool er_print(er_artifact *artifact, const char *text, ...) ER_FORMAT(2, 3) ER_CHECKED;
/* Keeps what was written; `bytes` may be NULL. The artifact is gone then, as it is after er_drop. */
bool er_finish(er_artifact *artifact, uint64_t *bytes) ER_CHECKED;
/* Removes what was written. */
void er_drop(er_artifact *artifact);

/* Keeps at most 64 KiB, so that a later run of the same invocation can go on from there if this host dies. */
bool er_checkpoint(const void *state, size_t length) ER_CHECKED;
/* The last checkpoint of an earlier run that was interrupted; NULL in a first run. */
const void *er_resumed(size_t *length);

/* ---- HTTP ------------------------------------------------------------------------------------------------------- */

/* A request. What is left out is 0 or NULL: `er_send(&(er_request){.url = url, .retries = 3})`. */
typedef struct er_request {
    const char *url;
    /* NULL: GET. */
    const char *method;
    /* The last one has no key. */
    const er_pair *headers;
    const void *body;
    size_t body_length;
    /* How often it is sent again after an error of the network or a status that may pass (408, 425, 429, 500, 502 to 504).
     * The wait doubles, is at least what Retry-After asks for, and ends when the run is to stop. */
    unsigned retries;
    /* Seconds; 0: half a second, and a minute. A server that asks for more than the longest is not asked again, and none is
     * if the wait would last to the deadline or the run is to stop: the answer is returned. */
    double first_wait;
    double longest_wait;
    /* Also a POST or PATCH: for a server that recognises a request that it has seen. */
    bool retry_any_method;
    /* Seconds for each attempt, with its answer's body; 0: until the deadline of the run. */
    double timeout;
    /* How many redirects are followed; 0: up to 20, below 0: none. */
    int redirects;
    /* For a run that was told to stop, to tell its backend: it has three quarters of the grace. */
    bool after_stop;
} er_request;

/* An answer, also one with an error status. Its body is read as it comes. */
typedef struct er_response {
    int status;
    /* The address that answered, after redirects. */
    const char *url;
    const er_pair *headers;
    size_t headers_length;
    struct er_exchange *exchange;
} er_response;

/* Sends a request and returns the answer as soon as its headers are there. NULL: it failed, with the kind "network",
 * "timeout", "egress_denied", "redirect" or "invalid_request"; or the run is to stop. Redirects are followed: after 301,
 * 302 and 303 with GET and without the body; no header that holds a secret goes to another origin, and nothing goes from
 * https to http. */
er_response *er_send(const er_request *request) ER_CHECKED;
/* The first header of that name, whatever its case; NULL if there is none. */
const char *er_header(const er_response *response, const char *name);
/* The next bytes of the body: how many, 0 at its end, -1 if it breaks off or the run is to stop. */
long er_read(er_response *response, void *buffer, size_t size) ER_CHECKED;
/* The whole body as text, of at most `limit` bytes; it fails if there is a NUL in it. The text is the caller's, also after
 * er_close: a run that reads many gives each back with free. */
char *er_read_text(er_response *response, size_t limit) ER_CHECKED;
/* Writes the rest of the body to an artifact; `bytes` may be NULL. */
bool er_copy(er_response *response, er_artifact *artifact, uint64_t *bytes) ER_CHECKED;
/* Nothing more is read. The response is gone then, with its URL and headers; a run that sends many requests closes each
 * answer. NULL is none. */
void er_close(er_response *response);

#endif
