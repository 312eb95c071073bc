// The plugin's function, and what becomes of what it returns or throws.

import { Context } from "./context.js";
import { HttpError } from "./http.js";
import { Failure, Outcome, Rejected, Stopped, article, receiptText, typeName } from "./outcome.js";

const runners = new WeakSet();

// More of a stack that overflowed tells nothing.
const MAX_FRAMES = 30;

/** Marks the function that runs an invocation. */
export function defineRunner(runner) {
  if (typeof runner !== "function") {
    throw new TypeError(`defineRunner takes a function, not ${article(typeName(runner))}`);
  }
  if (/Generator/.test(Object.prototype.toString.call(runner))) {
    throw new TypeError("defineRunner takes a function that returns once, not a generator");
  }
  runners.add(runner);
  return runner;
}

export const isRunner = (value) => typeof value === "function" && runners.has(value);

/** `TestHost` plays the death of its host: the end of the process, as far as the run is concerned. */
export class HostDied extends Error {}

/**
 * Runs an invocation; whatever the function does, it ends in a result: `{ status, receipt, exitCode, kind, summary, error }`.
 */
export async function runToEnd(runner, invocation, host) {
  const context = new Context(host);
  try {
    const result = returned(await runner(invocation, context));
    await context._settleArtifacts();
    return result;
  } catch (error) {
    if (error instanceof HostDied) throw error;
    return thrown(error, host);
  }
}

const succeeded = (receipt, exitCode) => ({ status: "succeeded", receipt, exitCode });

function returned(value) {
  if (value === undefined || value === null) return succeeded({});
  if (value instanceof Outcome) return succeeded(value.receipt, value.exitCode);
  if (value instanceof Error) throw value;
  if (typeof value === "object" && [Object.prototype, null].includes(Object.getPrototypeOf(value))) {
    return succeeded(receiptText(value));
  }
  const found = article(typeName(value));
  const summary = `the runner returned ${found}: expected an Outcome, an object (the receipt) or nothing`;
  return { status: "failed", receipt: {}, kind: "invalid_return", summary };
}

/** How a run ends that let this through. */
export function thrown(error, host) {
  if (error instanceof Failure) {
    const { kind, summary, receipt, exitCode } = error;
    return { status: error instanceof Rejected ? "rejected" : "failed", receipt, exitCode, kind, summary, error };
  }
  if (error instanceof HttpError) {
    const status = error.kind === "invalid_request" ? "rejected" : "failed";
    // `timeout` as the kind of a run is the host's own, for a deadline that has passed.
    const kind = error.kind === "timeout" ? "network" : error.kind;
    return { status, receipt: {}, kind, summary: `http error: ${error.message}`, error };
  }
  if (error instanceof Stopped) {
    const [status, kind] = error.timedOut ? ["timed_out", "timeout"] : ["cancelled", "cancelled"];
    return { status, receipt: {}, kind, summary: error.message, error };
  }
  host.log("error", trace(error));
  return { status: "failed", receipt: {}, kind: "exception", summary: describe(error), error };
}

/** An error in one line, with the place in the plugin that it came from. */
export function describe(error) {
  const frame = frames(error).find((one) => !one.isOurs);
  const place = frame ? ` (${frame.file}, line ${frame.line}${frame.name && `, in ${frame.name}`})` : "";
  return words(error).split(/\s+/).join(" ").trim() + place;
}

function words(error) {
  if (error instanceof Error) return error.message ? `${error.name}: ${error.message}` : error.name;
  // The engine's own word, which is no Error.
  if (error === "out of memory") return "out of memory: the plugin uses more than the host allows";
  if (typeof error === "string") return `the plugin threw the text: ${error}`;
  return `the plugin threw ${article(typeName(error))}, which is no Error`;
}

function trace(error, depth = 0) {
  const all = frames(error);
  const lines = all.slice(0, MAX_FRAMES).map(({ name, file, line }) => `    at ${name || "a function"} (${file}:${line})`);
  if (all.length > MAX_FRAMES) lines.push("    ...");
  const cause = error instanceof Error && error.cause !== undefined && depth < 5;
  if (cause) lines.push(`caused by ${trace(error.cause, depth + 1)}`);
  return [words(error), ...lines].join("\n");
}

/** Where an error was thrown, the innermost first. */
function frames(error) {
  const stack = typeof error?.stack === "string" ? error.stack : "";
  return stack.split("\n").flatMap((text) => {
    // SpiderMonkey has `name@file:line:column`, V8 `at name (file:line:column)`.
    const found =
      /^\s+at (?:(?<name>.*?) \()?(?<file>\S+?):(?<line>\d+):\d+\)?$/.exec(text) ??
      /^(?<name>[^@]*)@(?<file>.*?):(?<line>\d+):\d+$/.exec(text);
    if (!found) return [];
    const { line } = found.groups;
    const file = shortened(found.groups.file);
    // What the component's own glue is called.
    if (/^node:|(^|\/)initializer\.js$/.test(file)) return [];
    const name = (found.groups.name ?? "").replace(/^async /, "").replace(/[/<]+$/, "");
    return [{ name: name === "<anonymous>" ? "" : name, file, line, isOurs: /(^|\/)executor_runtime\/\w+\.js$/.test(file) }];
  });
}

function shortened(file) {
  const path = file.startsWith("file://") ? decodeURI(file.slice("file://".length)) : file;
  const here = globalThis.process?.cwd?.();
  return here !== undefined && path.startsWith(`${here}/`) ? path.slice(here.length + 1) : path;
}
