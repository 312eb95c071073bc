/* What a run needs of its host: inside a component the imports of the interface (component.h), in a test a part of the
 * program (testing.c). Not for plugins. */
#ifndef EXECUTOR_RUNTIME_HOST_H
#define EXECUTOR_RUNTIME_HOST_H

#include "executor_runtime.h"

#define NANOSECONDS 1000000000.0

/* How a run ended, in the order of the interface; 0: the plugin has not said it. */
enum { NOT_SAID, FAILED, REJECTED, TIMED_OUT, CANCELLED, SUCCEEDED };

/* What a plugin has reported. */
struct er_report {
    const char *kind;
    const char *summary;
    bool has_exit_code;
    int64_t exit_code;
    er_pair *receipt;
    size_t receipt_length;
};

/* Runs the plugin's function; whatever it returns is one of the above. */
int er_run_to_end(const er_invocation *invocation, struct er_report *report);
/* The same for an outcome that is known before the plugin begins. */
int er_end(er_outcome outcome, struct er_report *report);

/* Begins anew, for a test that runs more than once. */
void er_forget(void);

/* Memory; a run without any is ended. */
void *er_allocate(size_t size);
char *er_copy_text(const char *text, size_t length);

/* Memory that is given back together. */
struct er_memory {
    struct er_block *blocks;
};
void *er_take(struct er_memory *memory, size_t size);
void er_give_back(struct er_memory *memory);

/* The text, which it takes over, with U+FFFD for what is no UTF-8. */
char *er_as_utf8(char *text);

/* Keeps what went wrong for er_failure. */
void er_set_error(int how, const char *kind, const char *summary, ...) ER_FORMAT(3, 4);
void er_set_stopped(const char *doing);

/* Where nothing is waited for after. */
#define NEVER UINT64_MAX

/* Nanoseconds, and what comes so much later; the largest there are where there would be more. */
uint64_t er_nanoseconds(double seconds);
uint64_t er_later(uint64_t moment, uint64_t nanoseconds);

/* When a run that was told to stop has to stop using the network: the last quarter of its grace is for returning. It counts
 * from now, each time anew, as long as the run was not told to. */
uint64_t er_last_moment(void);

/* How a wait ended. */
enum { READY, STOP, TIME_OVER };

void er_host_log(int level, const char *message);
void er_host_progress(double fraction, const char *message);
/* Nanoseconds. */
uint64_t er_host_now(void);
/* By the clock on the wall, in seconds since 1970. */
int64_t er_host_time(void);
/* NEVER without a deadline. */
uint64_t er_host_remaining(void);
bool er_host_stop_requested(void);
uint64_t er_host_grace(void);
uint64_t er_host_random(void);
/* Waits for the request to stop; false if so much time has passed. */
bool er_host_wait_stop(uint64_t nanoseconds);
const char *er_host_config(const char *key);
/* As er_read_input, which sets the error. */
long er_host_read_input(void *buffer, size_t size);

/* NULL: the error is set. `length` is below 0 for a new one. */
er_artifact *er_host_open_artifact(const char *name, const char *kind, const char *description, int64_t length);
bool er_host_write(er_artifact *artifact, const void *data, size_t length);
bool er_host_finish(er_artifact *artifact, uint64_t *bytes);
void er_host_drop(er_artifact *artifact);
/* Why there is no artifact to go on with. */
void er_set_not_resumable(const char *summary);

bool er_host_checkpoint(const void *state, size_t length);
const void *er_host_resumed(size_t *length);

/* One request and its answer. */
struct er_exchange {
    /* All that belongs to it. */
    struct er_memory memory;
    const char *method;
    bool secure;
    const char *authority;
    const char *target;
    const er_pair *headers;
    size_t headers_length;
    const void *body;
    size_t body_length;
    /* When it has to be over, as er_host_now has it; NEVER. */
    uint64_t until;
    bool heeds_stop;
    /* Of the last failure: whether the same request may succeed later. */
    bool transient;
    /* The host's. */
    int response, incoming_body, stream, outgoing_body, upload;
    const char *rest;
    size_t rest_length;
};

/* The answer's status and headers, in the exchange's memory; 0: the error is set. */
int er_host_send(struct er_exchange *exchange, er_pair **headers, size_t *headers_length);
long er_host_read(struct er_exchange *exchange, void *buffer, size_t size);
void er_host_close(struct er_exchange *exchange);

#endif
