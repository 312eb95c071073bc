/* Tests of a plugin in C: `plugin test` compiles each test*.c with the plugin for this machine, and runs it. Without
 * WebAssembly and without the host, so that a test takes milliseconds. Pauses take no time: er_sleep(60) moves the run's
 * clock on.
 *
 *     int main(void) {
 *         er_test_metadata("greet.name", "Ada");
 *         er_test_run();
 *         assert(!strcmp(er_test_status(), "succeeded"));
 *     }
 */
#ifndef EXECUTOR_RUNTIME_TESTING_H
#define EXECUTOR_RUNTIME_TESTING_H

#include "executor_runtime.h"

/* What the next run finds. It stays for those after it, until er_test_reset(). */
void er_test_metadata(const char *key, const char *value);
void er_test_environment(const char *name, const char *value);
void er_test_config(const char *key, const char *value);
void er_test_input(const void *data, size_t length);
/* Seconds until the deadline, and until it is told to stop, on the run's clock. */
void er_test_timeout(double seconds);
void er_test_stop_after(double seconds);
/* The answers to its requests, in this order; no request leaves the program. Headers are lines "name: value\n", or NULL.
 * Status 0: the connection is refused. After the last one, too. */
void er_test_answer(int status, const char *headers, const char *body);
void er_test_reset(void);

/* Runs the plugin. What is told below is of this run. The plugin's own globals keep what an earlier run has left in them:
 * under the real host each run finds them as the program sets them. */
void er_test_run(void);
/* Runs it until its host dies, right after the checkpoint with this number (1 is the first). The next run goes on from
 * there, with the artifacts that were not finished. False: it ended before, and the next run begins anew. */
bool er_test_run_until_death(int checkpoint);

/* "succeeded", "failed", "rejected", "timed_out" or "cancelled". */
const char *er_test_status(void);
/* The failure's code and words; "" of a success. */
const char *er_test_kind(void);
const char *er_test_summary(void);
/* NULL if it has none of that key. */
const char *er_test_receipt(const char *key);
/* -1: it has none. */
int64_t er_test_exit_code(void);
/* A finished artifact, with a NUL after its bytes; NULL if there is none. The length may be NULL. */
const char *er_test_artifact(const char *name, size_t *length);
/* The log: lines "info: greeting Ada\n". */
const char *er_test_log(void);
/* The requests: lines "GET http://host/path\n", with a line "> name: value\n" for each of their headers. */
const char *er_test_requests(void);

#endif
