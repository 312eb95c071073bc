/* `outcomes`: each way to end, and what a run may do before. */
#include "examples.h"

#include <inttypes.h>
#include <string.h>

/* Of what is begun, that stays which is finished. */
static er_outcome artifacts(void) {
    er_artifact *kept = er_create_artifact("kept.txt", "report", "what was found");
    if (!kept || !er_print(kept, "kept\n") || !er_finish(kept, NULL)) return er_failure();
    er_artifact *dropped = er_create_artifact("dropped.txt", "report", NULL);
    if (!dropped || !er_print(dropped, "dropped\n")) return er_failure();
    er_drop(dropped);
    bool refused = !er_create_artifact("../escaped.txt", "report", NULL);
    er_receipt("outcomes.refused", "%s", refused ? "true" : "false");
    return er_succeeded();
}

/* Keeps the input payload as an artifact. */
static er_outcome input(const er_invocation *invocation) {
    static char buffer[64 * 1024];
    uint64_t bytes;
    if (!invocation->input_payload_path) return er_rejected("no_input", "there is no input payload");
    er_artifact *file = er_create_artifact("input", "input", NULL);
    if (!file) return er_failure();
    for (long length; (length = er_read_input(buffer, sizeof buffer)) != 0;)
        if (length < 0 || !er_write(file, buffer, (size_t)length)) return er_failure();
    if (!er_finish(file, &bytes)) return er_failure();
    er_receipt("outcomes.bytes", "%" PRIu64, bytes);
    return er_succeeded();
}

er_outcome outcomes(const er_invocation *invocation) {
    const char *end = er_required(invocation, "outcomes.end");
    if (!end) return er_failure();
    if (!strcmp(end, "failed")) {
        er_exit_code(7);
        er_receipt("outcomes.seen", "500");
        return er_failed("backend", "the backend answered 500");
    }
    if (!strcmp(end, "rejected")) return er_rejected("nothing_to_do", "nothing is asked for");
    if (!strcmp(end, "waits")) {
        er_log(ER_INFO, "waiting");
        return er_sleep(600) ? er_succeeded() : er_failure();
    }
    if (!strcmp(end, "artifacts")) return artifacts();
    if (!strcmp(end, "input")) return input(invocation);
    if (!strcmp(end, "config")) {
        const char *word = er_config("word");
        er_receipt("outcomes.word", "%s", word ? word : "");
        return er_succeeded();
    }
    er_exit_code(0);
    er_receipt("outcomes.text", "ä € 😀");
    return er_succeeded();
}
