/* The host, seen from inside a component. */
#include "component.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- What comes from the host ----------------------------------------------------------------------------------- */

struct er_memory *er_owner;

/* The host allocates what it returns. One byte more, so that text ends with a NUL. */
__attribute__((export_name("cabi_realloc"))) void *cabi_realloc(void *old, size_t old_size, size_t alignment, size_t size) {
    (void)alignment;
    char *memory = er_owner ? er_take(er_owner, size + 1) : er_allocate(size + 1);
    if (old_size) memcpy(memory, old, old_size < size ? old_size : size);
    if (!er_owner) free(old);
    memory[size] = 0;
    return memory;
}

const char *er_error_text(int error, struct er_memory *memory) {
    struct text text;
    er_owner = memory;
    import_error_text(error, &text);
    er_owner = NULL;
    import_drop_error(error);
    return text.data;
}

size_t er_poll(const int *pollables, size_t count) {
    struct {
        uint32_t *ready;
        size_t length;
    } list;
    struct er_memory *before = er_owner;
    er_owner = NULL;
    import_poll(pollables, count, &list);
    er_owner = before;
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
    return er_poll(pollables, 2) == 0;
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

long er_read_now(int stream, void *buffer, size_t size, int *error) {
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

long er_room(int stream) {
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

bool er_write_some(int stream, const void *data, size_t length) {
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
        long some = er_room(stream);
        if (some < 0) return false;
        if (!some) {
            int ready = import_subscribe_output(stream);
            er_poll(&ready, 1);
            continue;
        }
        if ((size_t)some > length) some = (long)length;
        if (!er_write_some(stream, data, (size_t)some)) return false;
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
        long length = er_read_now(stream, buffer, size, &error);
        if (length > 0) return length;
        if (length == 0) {
            int ready = import_subscribe_input(stream);
            er_poll(&ready, 1);
            continue;
        }
        if (length == -2) {
            er_set_error(FAILED, "input", "the input can't be read: %s", er_error_text(error, NULL));
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
