// What becomes of what a runner returns or throws, and what TestHost plays.

import assert from "node:assert/strict";
import { test } from "node:test";
import { ArtifactError, Failed, HttpError, Invocation, Outcome, Rejected, Stopped, defineRunner } from "../executor_runtime/index.js";
import { isRunner } from "../executor_runtime/run.js";
import { TestHost, invocation } from "../executor_runtime/testing.js";

const end = (call, host = new TestHost()) => host.run((_, ctx) => call(ctx), invocation("test"));

test("each return is what was meant", async () => {
  class Other {}
  for (const [returned, status, receipt, kind] of [
    [undefined, "succeeded", {}],
    [null, "succeeded", {}],
    [{ a: 1, b: true, c: 0.5, d: 2n, e: undefined }, "succeeded", { a: "1", b: "true", c: "0.5", d: "2" }],
    [new Outcome({ a: "x" }, { exitCode: 4 }), "succeeded", { a: "x" }],
    [new Failed("k", "s", { receipt: { a: 1 } }), "failed", { a: "1" }, "k"],
    [new Rejected("k", "s"), "rejected", {}, "k"],
    [new RangeError("v"), "failed", {}, "exception"],
    ["text", "failed", {}, "invalid_return"],
    [[1], "failed", {}, "invalid_return"],
    [new Map(), "failed", {}, "invalid_return"],
    [new Other(), "failed", {}, "invalid_return"],
    [true, "failed", {}, "invalid_return"],
    [{ a: [] }, "failed", {}, "exception"],
  ]) {
    const result = await end(async () => returned);
    assert.deepEqual([result.status, result.receipt, result.kind], [status, receipt, kind], String(returned));
  }
  assert.equal((await end(() => new Outcome({}, { exitCode: 4 }))).exitCode, 4);
  assert.match((await end(() => [])).summary, /returned an array: expected/);
  assert.match((await end(() => ({ a: [] }))).summary, /the receipt's value of 'a' is an array/);
  assert.match((await end(() => new Outcome({}, { exitCode: "4" }))).summary, /expected a whole number/);
});

test("each error is what was meant", async () => {
  for (const [thrown, status, kind, summary, exitCode] of [
    [new Failed("k", "s", { exitCode: 3 }), "failed", "k", "s", 3],
    [new Rejected("k", "s"), "rejected", "k", "s"],
    [new ArtifactError("s"), "failed", "artifact", "s"],
    [new HttpError("network", "s"), "failed", "network", "http error: s"],
    [new HttpError("timeout", "s"), "failed", "network", "http error: s"],
    [new HttpError("invalid_request", "s"), "rejected", "invalid_request", "http error: s"],
    [new Stopped("x", { timedOut: true }), "timed_out", "timeout", "timed out in x"],
    [new Stopped("x", { timedOut: false }), "cancelled", "cancelled", "cancelled in x"],
    ["words", "failed", "exception", "the plugin threw the text: words"],
    [undefined, "failed", "exception", "the plugin threw undefined, which is no Error"],
    [{ a: 1 }, "failed", "exception", "the plugin threw an Object, which is no Error"],
  ]) {
    const result = await end(() => {
      throw thrown;
    });
    assert.deepEqual([result.status, result.kind, result.summary, result.exitCode], [status, kind, summary, exitCode]);
  }
});

test("an error is one line and its stack is in the log", async () => {
  const host = new TestHost();
  const result = await end(async function thrower() {
    await null;
    throw new RangeError("two\nlines", { cause: new TypeError("deeper") });
  }, host);
  assert.match(result.summary, /^RangeError: two lines \((.*\/)?run\.test\.js, line \d+, in thrower\)$/);
  const [{ level, message }] = host.logs;
  assert.equal(level, "error");
  assert.match(message, /^RangeError: two\nlines\n    at thrower \(.*\ncaused by TypeError: deeper\n/s);
});

test("what is no runner is told when it is defined", () => {
  for (const [given, words] of [
    [function* () {}, /not a generator/],
    [async function* () {}, /not a generator/],
    [{}, /takes a function, not an Object/],
    [undefined, /takes a function, not undefined/],
  ]) {
    assert.throws(() => defineRunner(given), words);
  }
  const right = async () => {};
  assert.equal(defineRunner(right), right);
  assert.ok(isRunner(right) && !isRunner(async () => {}) && !isRunner(undefined));
});

test("metadata is read by its type", () => {
  const metadata = { i: "3", n: "1.5", b: "true", l: "a, b,,c", j: "[1]", bad: "x", inf: "Infinity", empty: "" };
  const asked = new Invocation({ runtimeKind: "k", metadata });
  assert.deepEqual(
    [asked.integer("i"), asked.number("n"), asked.boolean("b"), asked.list("l"), asked.json("j")],
    [3, 1.5, true, ["a", "b", "c"], [1]],
  );
  assert.deepEqual(
    [asked.integer("x", 7), asked.text("x"), asked.list("x"), asked.json("x"), asked.text("toString")],
    [7, undefined, [], undefined, undefined],
  );
  for (const read of ["integer", "number", "boolean", "json"]) {
    assert.throws(() => asked[read]("bad"), /metadata key 'bad' is 'x': expected/);
  }
  for (const [read, key] of [["number", "inf"], ["number", "empty"], ["integer", "n"], ["required", "x"]]) {
    assert.throws(() => asked[read](key), Rejected);
  }
});

test("pauses take no time and end at the stop", async () => {
  const host = new TestHost();
  assert.equal((await end((ctx) => ctx.sleep(3600), host)).status, "succeeded");
  assert.ok(Math.abs(host.slept - 3600) < 1, String(host.slept));
  host.stopAfter(60);
  assert.equal((await end((ctx) => ctx.sleep(3600), host)).status, "cancelled");
  const late = await end((ctx) => ctx.sleep(3600), new TestHost({ timeout: 60 }));
  assert.deepEqual([late.status, late.summary], ["timed_out", "timed out in a pause"]);
  const order = [];
  const both = new TestHost();
  await end(async (ctx) => {
    const note = (seconds) => ctx.sleep(seconds).then(() => order.push(seconds));
    await Promise.all([note(20), note(10)]);
  }, both);
  assert.deepEqual(order, [10, 20]);
  assert.ok(Math.abs(both.slept - 20) < 1, String(both.slept));
  assert.match((await end((ctx) => ctx.sleep("1"))).summary, /takes a number of seconds/);
});

test("a loop that computes sees the stop", async () => {
  const host = new TestHost();
  host.stopAfter(0.05);
  const result = await end((ctx) => {
    while (!ctx.stopRequested);
    ctx.checkStop();
  }, host);
  assert.equal(result.status, "cancelled");
});

test("what the host offers is there", async () => {
  const host = new TestHost({ config: { key: "value" }, input: "one\r\ntwo\nthree", timeout: 60 });
  const result = await end(async (ctx) => {
    ctx.log("seen", "warn");
    ctx.progress(0.5, "half");
    const lines = [];
    for await (const line of ctx.openInput().lines()) lines.push(line);
    const left = 59 < ctx.remaining && ctx.remaining <= 60 && Math.abs(ctx.deadline - ctx.now - ctx.remaining) < 1;
    return { config: ctx.config("key"), none: ctx.config("no", "-"), lines: lines.join("|"), left };
  }, host);
  assert.deepEqual(result.receipt, { config: "value", none: "-", lines: "one|two|three", left: "true" });
  assert.deepEqual(host.logs, [{ level: "warn", message: "seen" }]);
  assert.equal(host.logText, "warn: seen");
  assert.deepEqual(host.progressReports, [{ fraction: 0.5, message: "half" }]);
  assert.equal((await end((ctx) => ({ none: ctx.openInput() === undefined }))).receipt.none, "true");
  assert.match((await end((ctx) => ctx.log("x", "loud"))).summary, /'loud' is no level/);
});

test("artifacts are kept once they are finished", async () => {
  const host = new TestHost();
  const result = await end(async (ctx) => {
    const kept = ctx.artifact("kept", "file", "what");
    // In their order, though none is awaited.
    kept.write("ä");
    kept.write(new Uint8Array([98]));
    kept.finish();
    await ctx.artifact("open", "file").write("x");
    ctx.artifact("dropped", "file").drop();
    assert.throws(() => kept.write("late"), /is finished/);
    for (const name of ["kept", "../x", ".hidden", ""]) assert.throws(() => ctx.artifact(name, "file"), ArtifactError);
  }, host);
  assert.equal(result.status, "succeeded", result.summary);
  assert.deepEqual(Object.keys(host.artifacts), ["kept"]);
  assert.deepEqual([host.artifacts.kept.text, host.artifacts.kept.kind], ["äb", "file"]);
});

test("a run goes on after its host died", async () => {
  const count = async (_, ctx) => {
    const done = Number(ctx.resumedText ?? "0");
    const file = done ? ctx.reopenArtifact("numbers", "file", done) : ctx.artifact("numbers", "file");
    for (let number = done; number < 4; number += 1) {
      file.write(String(number));
      try {
        await ctx.checkpoint(String(number + 1));
      } catch {
        // A process that died catches nothing either.
      }
    }
    await file.finish();
    return { from: done };
  };
  const asked = invocation("test");
  const following = await new TestHost().runUntilDeath(2, count, asked);
  assert.deepEqual((await following.run(count, asked)).receipt, { from: "2" });
  assert.equal(following.artifacts.numbers.text, "0123");
  await assert.rejects(new TestHost().runUntilDeath(9, count, asked), /ended before checkpoint 9/);
  const { error } = await end((ctx) => ctx.reopenArtifact("numbers", "file", 1));
  assert.ok(error instanceof ArtifactError && error.notResumable);
  assert.match((await end((ctx) => ctx.checkpoint(new Uint8Array(65_537)))).summary, /more than 65536/);
});
