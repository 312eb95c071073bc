/* What a plugin has said and asked for: the same in a component and in a test. */
#include "host.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* One thread, one run. */
static struct {
    struct er_report report;
    size_t receipt_room;
    struct {
        int how;
        const char *kind, *summary;
        bool not_resumable;
    } error;
} the_run;

void er_forget(void) { memset(&the_run, 0, sizeof the_run); }

void *er_allocate(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) {
        fprintf(stderr, "out of memory: %zu bytes more are needed\n", size);
        abort();
    }
    return memory;
}

char *er_copy_text(const char *text, size_t length) {
    char *copy = er_allocate(length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

static char *formatted(const char *text, va_list values) {
    va_list again;
    va_copy(again, values);
    char *made = er_allocate((size_t)vsnprintf(NULL, 0, text, values) + 1);
    vsprintf(made, text, again);
    va_end(again);
    return made;
}

/* The text of the function's own last parameters. */
#define FORMATTED(into, text)                                                                                           \
    va_list values;                                                                                                    \
    va_start(values, text);                                                                                            \
    char *into = formatted(text, values);                                                                              \
    va_end(values)

/* ---- The invocation --------------------------------------------------------------------------------------------- */

static const char *find(const er_pair *pairs, size_t length, const char *key) {
    for (size_t i = 0; i < length; i++)
        if (!strcmp(pairs[i].key, key)) return pairs[i].value;
    return NULL;
}

const char *er_metadata(const er_invocation *invocation, const char *key) {
    return find(invocation->metadata, invocation->metadata_length, key);
}

const char *er_environment(const er_invocation *invocation, const char *name) {
    return find(invocation->environment, invocation->environment_length, name);
}

const char *er_required(const er_invocation *invocation, const char *key) {
    const char *value = er_metadata(invocation, key);
    if (!value) er_set_error(REJECTED, "invalid_metadata", "metadata key '%s' is missing", key);
    return value;
}

int64_t er_integer(const er_invocation *invocation, const char *key, int64_t if_missing) {
    const char *value = er_metadata(invocation, key);
    return value ? strtoll(value, NULL, 10) : if_missing;
}

double er_number(const er_invocation *invocation, const char *key, double if_missing) {
    const char *value = er_metadata(invocation, key);
    return value ? strtod(value, NULL) : if_missing;
}

bool er_boolean(const er_invocation *invocation, const char *key, bool if_missing) {
    const char *value = er_metadata(invocation, key);
    return value ? !strcmp(value, "true") : if_missing;
}

/* ---- The end ---------------------------------------------------------------------------------------------------- */

static er_outcome ended(int how, const char *kind, const char *summary) {
    the_run.report.kind = kind;
    the_run.report.summary = summary;
    return (er_outcome){how};
}

er_outcome er_succeeded(void) { return ended(SUCCEEDED, "", ""); }

er_outcome er_failed(const char *kind, const char *summary, ...) {
    FORMATTED(words, summary);
    return ended(FAILED, er_copy_text(kind, strlen(kind)), words);
}

er_outcome er_rejected(const char *kind, const char *summary, ...) {
    FORMATTED(words, summary);
    return ended(REJECTED, er_copy_text(kind, strlen(kind)), words);
}

er_outcome er_stopped(const char *doing) {
    er_set_stopped(doing);
    return er_failure();
}

er_outcome er_failure(void) {
    int how = the_run.error.how;
    if (!how) return er_failed("invalid_return", "er_failure() was returned, but nothing has failed");
    const char *kind = the_run.error.kind;
    /* As the kind of a run it is the host's own, for a deadline that has passed. */
    if (!strcmp(kind, "timeout")) kind = "network";
    if (how == TIMED_OUT) kind = "timeout";
    if (how == CANCELLED) kind = "cancelled";
    return ended(how, kind, the_run.error.summary);
}

void er_receipt(const char *key, const char *value, ...) {
    FORMATTED(text, value);
    struct er_report *report = &the_run.report;
    for (size_t i = 0; i < report->receipt_length; i++)
        if (!strcmp(report->receipt[i].key, key)) {
            report->receipt[i].value = text;
            return;
        }
    if (report->receipt_length == the_run.receipt_room) {
        the_run.receipt_room = the_run.receipt_room * 2 + 8;
        er_pair *larger = er_allocate(the_run.receipt_room * sizeof *larger);
        if (report->receipt_length)
            memcpy(larger, report->receipt, report->receipt_length * sizeof *larger);
        report->receipt = larger;
    }
    report->receipt[report->receipt_length++] = (er_pair){er_copy_text(key, strlen(key)), text};
}

void er_exit_code(int64_t code) {
    the_run.report.has_exit_code = true;
    the_run.report.exit_code = code;
}

/* Flushes what was printed; not there if nothing is. */
#ifdef __wasm__
extern void __stdio_exit(void) __attribute__((weak));
#endif

int er_run_to_end(const er_invocation *invocation, struct er_report *report) {
    er_outcome outcome = run(invocation);
    if (outcome.how < FAILED || outcome.how > SUCCEEDED)
        outcome = er_failed("invalid_return", "run() returned no outcome: expected what er_succeeded(), er_failed(), "
                                              "er_rejected(), er_stopped() or er_failure() returns");
#ifdef __wasm__
    if (__stdio_exit) __stdio_exit();
#endif
    *report = the_run.report;
    return outcome.how;
}

void er_set_error(int how, const char *kind, const char *summary, ...) {
    FORMATTED(words, summary);
    the_run.error.how = how;
    the_run.error.kind = kind;
    the_run.error.summary = words;
    the_run.error.not_resumable = false;
}

void er_set_stopped(const char *doing) {
    bool late = er_host_remaining() == 0;
    er_set_error(late ? TIMED_OUT : CANCELLED, "stopped", "%s in %s", late ? "timed out" : "cancelled", doing);
}

void er_set_not_resumable(const char *summary) {
    er_set_error(FAILED, "artifact", "%s", summary);
    the_run.error.not_resumable = true;
}

bool er_not_resumable(void) { return the_run.error.not_resumable; }
const char *er_error_kind(void) { return the_run.error.kind ? the_run.error.kind : ""; }
const char *er_error_summary(void) { return the_run.error.summary ? the_run.error.summary : ""; }

/* ---- What the host offers --------------------------------------------------------------------------------------- */

void er_log(er_level level, const char *message, ...) {
    FORMATTED(words, message);
    er_host_log(level, words);
    free(words);
}

void er_progress(double fraction, const char *message, ...) {
    FORMATTED(words, message);
    er_host_progress(fraction, words);
    free(words);
}

bool er_sleep(double seconds) {
    double nanoseconds = seconds > 0 ? seconds * NANOSECONDS : 0;
    if (er_host_wait_stop(nanoseconds < 9e18 ? (uint64_t)nanoseconds : (uint64_t)INT64_MAX)) {
        er_set_stopped("a pause");
        return false;
    }
    return true;
}

bool er_stop_requested(void) { return er_host_stop_requested() || er_host_remaining() == 0; }
double er_now(void) { return (double)er_host_now() / NANOSECONDS; }
double er_grace(void) { return (double)er_host_grace() / NANOSECONDS; }

double er_remaining(void) {
    uint64_t remaining = er_host_remaining();
    return remaining == NEVER ? INFINITY : (double)remaining / NANOSECONDS;
}

const char *er_config(const char *key) { return er_host_config(key); }
long er_read_input(void *buffer, size_t size) { return er_host_read_input(buffer, size); }

er_artifact *er_create_artifact(const char *name, const char *kind, const char *description) {
    return er_host_open_artifact(name, kind, description ? description : "", -1);
}

er_artifact *er_reopen_artifact(const char *name, const char *kind, const char *description, uint64_t length) {
    return er_host_open_artifact(name, kind, description ? description : "", (int64_t)length);
}

bool er_write(er_artifact *artifact, const void *data, size_t length) { return er_host_write(artifact, data, length); }

bool er_print(er_artifact *artifact, const char *text, ...) {
    FORMATTED(words, text);
    bool written = er_write(artifact, words, strlen(words));
    free(words);
    return written;
}

bool er_finish(er_artifact *artifact, uint64_t *bytes) {
    uint64_t unused;
    return er_host_finish(artifact, bytes ? bytes : &unused);
}

void er_drop(er_artifact *artifact) { er_host_drop(artifact); }
bool er_checkpoint(const void *state, size_t length) { return er_host_checkpoint(state, length); }
const void *er_resumed(size_t *length) { return er_host_resumed(length); }
