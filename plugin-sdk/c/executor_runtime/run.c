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
    /* When the request to stop was first seen. */
    struct {
        bool is_seen;
        uint64_t at;
    } stop;
    struct config {
        struct config *next;
        char *key;
        const char *value;
    } *config;
    struct {
        bool is_known;
        const void *state;
        size_t length;
    } resumed;
} the_run;

void er_forget(void) { memset(&the_run, 0, sizeof the_run); }

static char *formatted(const char *text, va_list values) {
    va_list again;
    va_copy(again, values);
    int length = vsnprintf(NULL, 0, text, values);
    char *made = length < 0 ? er_copy_text(text, strlen(text)) : er_allocate((size_t)length + 1);
    if (length >= 0) vsprintf(made, text, again);
    va_end(again);
    return made;
}

static char *utf8_copy(const char *text) { return er_as_utf8(er_copy_text(text, strlen(text))); }

/* The text of the function's own last parameters, for the host. */
#define FORMATTED(into, text)                                                                                           \
    va_list values;                                                                                                    \
    va_start(values, text);                                                                                            \
    char *into = er_as_utf8(formatted(text, values));                                                                  \
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

/* Takes over both. */
static er_outcome ended(int how, char *kind, char *summary) {
    free((void *)the_run.report.kind);
    free((void *)the_run.report.summary);
    the_run.report.kind = kind;
    the_run.report.summary = summary;
    return (er_outcome){how};
}

er_outcome er_succeeded(void) { return ended(SUCCEEDED, utf8_copy(""), utf8_copy("")); }

er_outcome er_failed(const char *kind, const char *summary, ...) {
    FORMATTED(words, summary);
    return ended(FAILED, utf8_copy(kind), words);
}

er_outcome er_rejected(const char *kind, const char *summary, ...) {
    FORMATTED(words, summary);
    return ended(REJECTED, utf8_copy(kind), words);
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
    return ended(how, utf8_copy(kind), utf8_copy(the_run.error.summary));
}

void er_receipt(const char *key, const char *value, ...) {
    FORMATTED(text, value);
    char *name = utf8_copy(key);
    struct er_report *report = &the_run.report;
    for (size_t i = 0; i < report->receipt_length; i++)
        if (!strcmp(report->receipt[i].key, name)) {
            free(name);
            free((void *)report->receipt[i].value);
            report->receipt[i].value = text;
            return;
        }
    if (report->receipt_length == the_run.receipt_room) {
        the_run.receipt_room = the_run.receipt_room * 2 + 8;
        er_pair *larger = er_allocate(the_run.receipt_room * sizeof *larger);
        if (report->receipt_length)
            memcpy(larger, report->receipt, report->receipt_length * sizeof *larger);
        free(report->receipt);
        report->receipt = larger;
    }
    report->receipt[report->receipt_length++] = (er_pair){name, text};
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
    return er_end(outcome, report);
}

int er_end(er_outcome outcome, struct er_report *report) {
    *report = the_run.report;
    return outcome.how;
}

void er_set_error(int how, const char *kind, const char *summary, ...) {
    FORMATTED(words, summary);
    free((void *)the_run.error.summary);
    the_run.error.how = how;
    the_run.error.kind = kind;
    the_run.error.summary = words;
    the_run.error.not_resumable = false;
}

void er_set_stopped(const char *doing) {
    /* Asking keeps the moment, too. */
    bool late = er_stop_requested() && er_host_remaining() == 0;
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
    if (er_host_wait_stop(er_nanoseconds(seconds))) {
        er_set_stopped("a pause");
        return false;
    }
    return true;
}

bool er_stop_requested(void) {
    bool is_requested = er_host_stop_requested() || er_host_remaining() == 0;
    if (is_requested && !the_run.stop.is_seen) {
        the_run.stop.is_seen = true;
        the_run.stop.at = er_host_now();
    }
    return is_requested;
}

uint64_t er_last_moment(void) {
    uint64_t since = er_stop_requested() ? the_run.stop.at : er_host_now();
    return er_later(since, er_host_grace() / 4 * 3);
}

uint64_t er_nanoseconds(double seconds) {
    double nanoseconds = seconds > 0 ? seconds * NANOSECONDS : 0;
    return nanoseconds < 0x1p64 ? (uint64_t)nanoseconds : UINT64_MAX;
}

uint64_t er_later(uint64_t moment, uint64_t nanoseconds) {
    return nanoseconds < UINT64_MAX - moment ? moment + nanoseconds : UINT64_MAX;
}

double er_now(void) { return (double)er_host_now() / NANOSECONDS; }
double er_grace(void) { return (double)er_host_grace() / NANOSECONDS; }

double er_remaining(void) {
    uint64_t remaining = er_host_remaining();
    return remaining == NEVER ? INFINITY : (double)remaining / NANOSECONDS;
}

/* The host is asked once for each key: what it answers is kept. */
const char *er_config(const char *key) {
    char *name = utf8_copy(key);
    for (const struct config *config = the_run.config; config; config = config->next)
        if (!strcmp(config->key, name)) {
            free(name);
            return config->value;
        }
    struct config *config = er_allocate(sizeof *config);
    *config = (struct config){the_run.config, name, er_host_config(name)};
    the_run.config = config;
    return config->value;
}

long er_read_input(void *buffer, size_t size) { return er_host_read_input(buffer, size); }

static er_artifact *open_artifact(const char *name, const char *kind, const char *description, int64_t length) {
    char *texts[] = {utf8_copy(name), utf8_copy(kind), utf8_copy(description ? description : "")};
    er_artifact *artifact = er_host_open_artifact(texts[0], texts[1], texts[2], length);
    for (size_t i = 0; i < 3; i++) free(texts[i]);
    return artifact;
}

er_artifact *er_create_artifact(const char *name, const char *kind, const char *description) {
    return open_artifact(name, kind, description, -1);
}

er_artifact *er_reopen_artifact(const char *name, const char *kind, const char *description, uint64_t length) {
    return open_artifact(name, kind, description, length <= INT64_MAX ? (int64_t)length : INT64_MAX);
}

bool er_write(er_artifact *artifact, const void *data, size_t length) { return er_host_write(artifact, data, length); }

bool er_print(er_artifact *artifact, const char *text, ...) {
    va_list values;
    va_start(values, text);
    char *words = formatted(text, values);
    va_end(values);
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

const void *er_resumed(size_t *length) {
    if (!the_run.resumed.is_known) the_run.resumed.state = er_host_resumed(&the_run.resumed.length);
    the_run.resumed.is_known = true;
    if (length) *length = the_run.resumed.length;
    return the_run.resumed.state;
}
