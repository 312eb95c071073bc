/* The host of a test. */
#include "testing.h"

#include "host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX 256

struct er_artifact {
    char *name;
    struct bytes {
        char *data;
        size_t length;
    } bytes;
    bool finished, dropped;
};

static struct {
    struct pairs {
        er_pair pairs[MAX];
        size_t length;
    } metadata, environment, config;
    struct bytes input;
    double timeout, stop_after;
    bool has_timeout, has_stop;
    struct {
        int status;
        const char *headers, *body;
    } answers[MAX];
    size_t answer_count;
    struct bytes checkpoint;
    bool resumes;
    er_artifact interrupted[MAX];
    size_t interrupted_count;
} finds;

static struct {
    int how;
    struct er_report report;
    struct bytes log, requests;
    er_artifact artifacts[MAX];
    size_t artifact_count, answered, input_read;
    uint64_t clock;
    int checkpoints, dies_at;
    jmp_buf death;
} left;

static void append(struct bytes *bytes, const void *data, size_t length) {
    char *larger = er_allocate(bytes->length + length + 1);
    if (bytes->length) memcpy(larger, bytes->data, bytes->length);
    if (length) memcpy(larger + bytes->length, data, length);
    larger[bytes->length + length] = 0;
    bytes->data = larger;
    bytes->length += length;
}

static void append_line(struct bytes *bytes, const char *a, const char *b, const char *c) {
    append(bytes, a, strlen(a));
    append(bytes, b, strlen(b));
    append(bytes, c, strlen(c));
    append(bytes, "\n", 1);
}

static void must(bool is_so, const char *what) {
    if (is_so) return;
    fprintf(stderr, "the test is wrong: %s\n", what);
    abort();
}

static void set(struct pairs *pairs, const char *key, const char *value) {
    for (size_t i = 0; i < pairs->length; i++)
        if (!strcmp(pairs->pairs[i].key, key)) {
            pairs->pairs[i].value = value;
            return;
        }
    must(pairs->length < MAX, "too many keys");
    pairs->pairs[pairs->length++] = (er_pair){key, value};
}

void er_test_metadata(const char *key, const char *value) { set(&finds.metadata, key, value); }
void er_test_environment(const char *name, const char *value) { set(&finds.environment, name, value); }
void er_test_config(const char *key, const char *value) { set(&finds.config, key, value); }
void er_test_input(const void *data, size_t length) { finds.input = (struct bytes){(char *)data, length}; }

void er_test_timeout(double seconds) {
    finds.has_timeout = true;
    finds.timeout = seconds;
}

void er_test_stop_after(double seconds) {
    finds.has_stop = true;
    finds.stop_after = seconds;
}

void er_test_answer(int status, const char *headers, const char *body) {
    must(finds.answer_count < MAX, "too many answers");
    finds.answers[finds.answer_count].status = status;
    finds.answers[finds.answer_count].headers = headers ? headers : "";
    finds.answers[finds.answer_count++].body = body ? body : "";
}

void er_test_reset(void) { memset(&finds, 0, sizeof finds); }

static void run_once(void) {
    er_forget();
    const char *command[] = {"test"};
    const er_invocation invocation = {
        .id = "test",
        .runtime_name = "test",
        .kind = "test",
        .working_directory = "/",
        .command = command,
        .command_length = 1,
        .input_payload_path = finds.input.data ? "input" : NULL,
        .metadata = finds.metadata.pairs,
        .metadata_length = finds.metadata.length,
        .environment = finds.environment.pairs,
        .environment_length = finds.environment.length,
        .timeout_seconds = (uint64_t)finds.timeout,
    };
    left.how = er_run_to_end(&invocation, &left.report);
}

void er_test_run(void) {
    memset(&left, 0, sizeof left);
    run_once();
    finds.resumes = false;
    finds.interrupted_count = 0;
}

bool er_test_run_until_death(int checkpoint) {
    memset(&left, 0, sizeof left);
    left.dies_at = checkpoint;
    if (!setjmp(left.death)) {
        run_once();
        finds.resumes = false;
        finds.interrupted_count = 0;
        return false;
    }
    finds.resumes = true;
    finds.interrupted_count = 0;
    for (size_t i = 0; i < left.artifact_count; i++)
        if (!left.artifacts[i].finished && !left.artifacts[i].dropped)
            finds.interrupted[finds.interrupted_count++] = left.artifacts[i];
    return true;
}

const char *er_test_status(void) {
    static const char *const statuses[] = {"", "failed", "rejected", "timed_out", "cancelled", "succeeded"};
    return statuses[left.how];
}

const char *er_test_kind(void) { return left.report.kind; }
const char *er_test_summary(void) { return left.report.summary; }
int64_t er_test_exit_code(void) { return left.report.has_exit_code ? left.report.exit_code : -1; }
const char *er_test_log(void) { return left.log.data ? left.log.data : ""; }
const char *er_test_requests(void) { return left.requests.data ? left.requests.data : ""; }

const char *er_test_receipt(const char *key) {
    for (size_t i = 0; i < left.report.receipt_length; i++)
        if (!strcmp(left.report.receipt[i].key, key)) return left.report.receipt[i].value;
    return NULL;
}

const char *er_test_artifact(const char *name, size_t *length) {
    for (size_t i = 0; i < left.artifact_count; i++)
        if (left.artifacts[i].finished && !strcmp(left.artifacts[i].name, name)) {
            if (length) *length = left.artifacts[i].bytes.length;
            return left.artifacts[i].bytes.data ? left.artifacts[i].bytes.data : "";
        }
    return NULL;
}

/* ---- The host --------------------------------------------------------------------------------------------------- */

/* When the run is to stop. */
static uint64_t stop_moment(void) {
    uint64_t stop = finds.has_stop ? er_nanoseconds(finds.stop_after) : NEVER;
    return finds.has_timeout && er_nanoseconds(finds.timeout) < stop ? er_nanoseconds(finds.timeout) : stop;
}

void er_host_log(int level, const char *message) {
    static const char *const levels[] = {"trace", "debug", "info", "warn", "error"};
    append_line(&left.log, levels[level], ": ", message);
}

void er_host_progress(double fraction, const char *message) { (void)fraction, (void)message; }
uint64_t er_host_now(void) { return left.clock; }
int64_t er_host_time(void) { return 1700000000 + (int64_t)(left.clock / 1000000000); }
bool er_host_stop_requested(void) { return left.clock >= stop_moment(); }
uint64_t er_host_grace(void) { return er_nanoseconds(5); }
uint64_t er_host_random(void) { return 0; }
const char *er_host_config(const char *key) {
    for (size_t i = 0; i < finds.config.length; i++)
        if (!strcmp(finds.config.pairs[i].key, key)) return finds.config.pairs[i].value;
    return NULL;
}

uint64_t er_host_remaining(void) {
    if (!finds.has_timeout) return NEVER;
    uint64_t deadline = er_nanoseconds(finds.timeout);
    return deadline > left.clock ? deadline - left.clock : 0;
}

bool er_host_wait_stop(uint64_t time) {
    uint64_t stop = stop_moment();
    if (stop <= left.clock) return true;
    if (stop - left.clock <= time) {
        left.clock = stop;
        return true;
    }
    left.clock = er_later(left.clock, time);
    return false;
}

long er_host_read_input(void *buffer, size_t size) {
    size_t rest = finds.input.length - left.input_read;
    if (size > rest) size = rest;
    if (size) memcpy(buffer, finds.input.data + left.input_read, size);
    left.input_read += size;
    return (long)size;
}

er_artifact *er_host_open_artifact(const char *name, const char *kind, const char *description, int64_t length) {
    (void)kind, (void)description;
    if (!*name || *name == '.' || strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != strlen(name)) {
        er_set_error(FAILED, "artifact", "'%s' can't be the name of an artifact: expected letters, digits, '.', '_' and '-'",
                     name);
        return NULL;
    }
    for (size_t i = 0; i < left.artifact_count; i++)
        if (!strcmp(left.artifacts[i].name, name)) {
            er_set_error(FAILED, "artifact", "this run has made an artifact '%s' before", name);
            return NULL;
        }
    must(left.artifact_count < MAX, "too many artifacts");
    er_artifact *artifact = &left.artifacts[left.artifact_count];
    *artifact = (er_artifact){.name = er_copy_text(name, strlen(name))};
    if (length >= 0) {
        const er_artifact *begun = NULL;
        for (size_t i = 0; i < finds.interrupted_count; i++)
            if (!strcmp(finds.interrupted[i].name, name)) begun = &finds.interrupted[i];
        if (!begun || begun->bytes.length < (size_t)length) {
            er_set_not_resumable("there is no such artifact to go on with, or it is shorter");
            return NULL;
        }
        append(&artifact->bytes, begun->bytes.data, (size_t)length);
    }
    left.artifact_count++;
    return artifact;
}

bool er_host_write(er_artifact *artifact, const void *data, size_t length) {
    must(!artifact->finished && !artifact->dropped, "an artifact is written to that is finished or dropped");
    append(&artifact->bytes, data, length);
    return true;
}

bool er_host_finish(er_artifact *artifact, uint64_t *bytes) {
    must(!artifact->finished && !artifact->dropped, "an artifact is finished twice");
    artifact->finished = true;
    *bytes = artifact->bytes.length;
    return true;
}

void er_host_drop(er_artifact *artifact) {
    must(!artifact->finished && !artifact->dropped, "an artifact is dropped that is finished");
    artifact->dropped = true;
}

bool er_host_checkpoint(const void *state, size_t length) {
    if (length > 64 * 1024) {
        er_set_error(FAILED, "checkpoint", "a checkpoint has at most 64 KiB");
        return false;
    }
    finds.checkpoint = (struct bytes){NULL, 0};
    append(&finds.checkpoint, state, length);
    if (++left.checkpoints == left.dies_at) longjmp(left.death, 1);
    return true;
}

const void *er_host_resumed(size_t *length) {
    if (length) *length = finds.resumes ? finds.checkpoint.length : 0;
    return finds.resumes ? finds.checkpoint.data : NULL;
}

static const char *kept(struct er_exchange *exchange, const char *text, size_t length) {
    char *copy = er_take(&exchange->memory, length + 1);
    memcpy(copy, text, length);
    copy[length] = 0;
    return copy;
}

int er_host_send(struct er_exchange *exchange, er_pair **headers, size_t *length) {
    append_line(&left.requests, exchange->method, exchange->secure ? " https://" : " http://", "");
    left.requests.length--;
    append_line(&left.requests, exchange->authority, exchange->target, "");
    for (size_t i = 0; i < exchange->headers_length; i++) {
        append(&left.requests, "> ", 2);
        append_line(&left.requests, exchange->headers[i].key, ": ", exchange->headers[i].value);
    }
    if (exchange->until <= left.clock) {
        er_set_error(FAILED, "timeout", "http error: timed out");
        return 0;
    }
    size_t next = left.answered;
    if (next >= finds.answer_count || !finds.answers[next].status) {
        left.answered += next < finds.answer_count;
        exchange->transient = true;
        er_set_error(FAILED, "network", "http error: connection refused by %s", exchange->authority);
        return 0;
    }
    left.answered++;
    *headers = er_take(&exchange->memory, MAX * sizeof **headers);
    *length = 0;
    for (const char *line = finds.answers[next].headers; *line && *length < MAX;) {
        size_t end = strcspn(line, "\n"), colon = strcspn(line, ":");
        must(colon < end, "a header of an answer has no colon");
        const char *value = line + colon + 1;
        while (*value == ' ') value++;
        (*headers)[(*length)++] =
            (er_pair){kept(exchange, line, colon), kept(exchange, value, (size_t)(line + end - value))};
        line += end + (line[end] == '\n');
    }
    exchange->rest = finds.answers[next].body;
    exchange->rest_length = strlen(exchange->rest);
    return finds.answers[next].status;
}

long er_host_read(struct er_exchange *exchange, void *buffer, size_t size) {
    if (er_stop_requested() && exchange->heeds_stop) {
        er_set_stopped("an HTTP request");
        return -1;
    }
    if (size > exchange->rest_length) size = exchange->rest_length;
    if (size) memcpy(buffer, exchange->rest, size);
    exchange->rest += size;
    exchange->rest_length -= size;
    return (long)size;
}

void er_host_close(struct er_exchange *exchange) { exchange->rest_length = 0; }
