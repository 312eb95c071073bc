/* `download`: a file that goes on where it was when its host died: what is there is asked for once. */
#include "examples.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* How many bytes may be downloaded again. */
#define STEP (64 * 1024)

/* What there is of the file, and how long that is; NULL: it can't be opened. */
static er_artifact *open_file(uint64_t *begin) {
    size_t length;
    const void *state = er_resumed(&length);
    *begin = 0;
    if (state && length == sizeof *begin) {
        memcpy(begin, state, length);
        er_artifact *file = er_reopen_artifact("file", "download", NULL, *begin);
        if (file || !er_not_resumable()) return file;
        er_log(ER_WARN, "%s", er_error_summary());
        *begin = 0;
    }
    return er_create_artifact("file", "download", NULL);
}

er_outcome download(const er_invocation *invocation) {
    uint64_t begin;
    char range[40];
    static char buffer[16 * 1024];
    const char *url = er_required(invocation, "download.url");
    if (!url) return er_failure();
    er_artifact *file = open_file(&begin);
    if (!file) return er_failure();
    snprintf(range, sizeof range, "bytes=%" PRIu64 "-", begin);
    er_response *answer = er_send(&(er_request){.url = url, .headers = (const er_pair[]){{"range", range}, {0}}});
    if (!answer) return er_failure();
    if (answer->status != 206) {
        er_exit_code(answer->status);
        return er_failed("http_status", "HTTP %d", answer->status);
    }
    uint64_t done = begin, kept = begin, bytes;
    for (long length; (length = er_read(answer, buffer, sizeof buffer)) != 0;) {
        if (length < 0 || !er_write(file, buffer, (size_t)length)) return er_failure();
        done += (uint64_t)length;
        if (done - kept >= STEP) {
            if (!er_checkpoint(&done, sizeof done)) return er_failure();
            kept = done;
        }
    }
    if (!er_finish(file, &bytes)) return er_failure();
    er_receipt("download.begin", "%" PRIu64, begin);
    er_receipt("download.bytes", "%" PRIu64, bytes);
    return er_succeeded();
}
