// How a run ends: what a runner returns or throws.

/** The receipt as the host takes it: text. */
export function receiptText(receipt) {
  const texts = {};
  for (const [key, value] of Object.entries(receipt)) {
    // One that is not there is left out, as JSON does.
    if (value === undefined) continue;
    if (!["string", "number", "boolean", "bigint"].includes(typeof value)) {
      throw new TypeError(
        `the receipt's value of '${key}' is ${article(typeName(value))}: expected a string, a number or a boolean`,
      );
    }
    texts[key] = String(value);
  }
  return texts;
}

/** What a person calls the type of a value. */
export function typeName(value) {
  if (value === null) return "null";
  if (Array.isArray(value)) return "array";
  if (typeof value !== "object") return typeof value;
  return value.constructor?.name ?? "object";
}

export function article(name) {
  if (name === "null" || name === "undefined") return name;
  return `${/^[aeiou]/i.test(name) ? "an" : "a"} ${name}`;
}

function checkedExitCode(code) {
  if (code !== undefined && !Number.isSafeInteger(code)) {
    throw new TypeError(`the exit code is ${String(code)}: expected a whole number`);
  }
  return code;
}

export class Outcome {
  constructor(receipt = {}, { exitCode } = {}) {
    this.receipt = receiptText(receipt);
    this.exitCode = checkedExitCode(exitCode);
  }
}

/** What `Failed` and `Rejected` have in common. */
export class Failure extends Error {
  constructor(kind, summary, { receipt = {}, exitCode, cause } = {}) {
    super(summary, cause === undefined ? undefined : { cause });
    this.kind = String(kind);
    this.summary = String(summary);
    this.receipt = receiptText(receipt);
    this.exitCode = checkedExitCode(exitCode);
  }
}

export class Failed extends Failure {
  name = "Failed";
}

export class Rejected extends Failure {
  name = "Rejected";
}

export class Stopped extends Error {
  name = "Stopped";

  constructor(doing, { timedOut }) {
    super(`${timedOut ? "timed out" : "cancelled"} in ${doing}`);
    this.timedOut = timedOut;
  }
}
