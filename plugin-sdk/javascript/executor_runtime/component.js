// What componentize-js makes a component of: the function that plugin.js exports, as the host calls it.

import { drive, replaceTimers } from "./reactor.js";
import { explainFetch } from "./sandbox.js";
import * as plugin from "../plugin.js";
import { Invocation } from "./invocation.js";
import { Failed, Stopped } from "./outcome.js";
import { isRunner, runToEnd, thrown } from "./run.js";
import { WasiHost } from "./wasi.js";

replaceTimers();
explainFetch();

if (!isRunner(plugin.default)) {
  throw new Error(
    "plugin.js has to export a runner: export default defineRunner(async (invocation, ctx) => { ... })",
  );
}

const TAGS = { failed: "failed", rejected: "rejected", timed_out: "timed-out", cancelled: "cancelled" };

/** The interface `run`. */
export const run = {
  async run(given) {
    const { metadata, environment, timeoutSeconds, ...rest } = given;
    const invocation = new Invocation({
      ...rest,
      metadata: Object.fromEntries(metadata),
      environment: Object.fromEntries(environment),
      timeoutSeconds: timeoutSeconds === undefined ? undefined : Number(timeoutSeconds),
    });
    const host = new WasiHost();
    const running = runToEnd(plugin.default, invocation, host);
    const how = await drive(running);
    return outcome(how === "over" ? await running : thrown(unsettled(how, host), host));
  },
};

/** Why a run ends whose promise is not settled. */
function unsettled(how, host) {
  if (typeof how === "object") return how.error;
  if (how === "stopped") return new Stopped("a timer", { timedOut: host.remaining() === 0 });
  return new Failed("exception", "the runner waits for a promise that nothing will ever settle");
}

function outcome({ status, receipt, exitCode, kind, summary }) {
  const report = {
    exitCode: exitCode === undefined ? undefined : BigInt(exitCode),
    receipt: Object.entries(receipt).sort(([a], [b]) => (a < b ? -1 : 1)),
  };
  if (status === "succeeded") return { tag: "succeeded", val: report };
  return { tag: TAGS[status], val: { kind, summary, report } };
}
