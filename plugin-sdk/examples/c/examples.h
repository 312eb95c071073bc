/* Four small kinds to copy from, each in a file of its own; a plugin needs no more than one. */
#include "executor_runtime/executor_runtime.h"

er_outcome greet(const er_invocation *invocation);
er_outcome fetch(const er_invocation *invocation);
er_outcome download(const er_invocation *invocation);
er_outcome outcomes(const er_invocation *invocation);
