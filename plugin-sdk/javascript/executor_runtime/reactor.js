// What a run waits for inside a component: WASI's pollables and timers, all at once, with the request to stop.
//
// The engine's own event loop knows nothing of the host's pollables, and a wait of its own does not see the request to stop.
// So everything waits here: `setTimeout` too, which is replaced.

import { subscribeStop } from "executor-runtime:plugin/host@1.0.0";
import { now as clock, subscribeDuration } from "wasi:clocks/monotonic-clock@0.2.12";
import { poll } from "wasi:io/poll@0.2.12";

const NANOS = 1_000_000_000;
// A longer wait is as good as none.
const LONGEST = 2 ** 62;

const engineTimeout = globalThis.setTimeout;
const waits = new Set();
const timers = new Map();
let lastTimer = 0;
let isStopping = false;
let uncaught;

/** Seconds on the clock of waits. */
export const now = () => Number(clock()) / NANOS;

/** Closes a resource: WASI's have to be closed before what they were made of. */
export const close = (resource) => resource[Symbol.dispose]();

/**
 * Waits until one of the resources is ready. Gives the indices of those that are, or `stop` at the request to stop, or `late`
 * at the moment `until`. `onWait` is given a function that ends the wait, with nothing.
 */
export function wait(resources, { until = Infinity, heedsStop = true }, onWait) {
  return new Promise((resolve) => {
    const pollables = resources.map((resource) => resource.subscribe());
    const one = {
      pollables,
      until,
      heedsStop,
      end(result) {
        if (!waits.delete(one)) return;
        pollables.forEach(close);
        resolve(result);
      },
    };
    waits.add(one);
    onWait?.(() => one.end(undefined));
  });
}

/** Runs the event loop until the promise is settled. Gives why if it never will be: `stuck`, `stopped`, or `{ error }`. */
export async function drive(promise) {
  let isOver = false;
  const over = () => {
    isOver = true;
  };
  promise.then(over, over);
  for (;;) {
    // What can go on without the host does so first.
    await new Promise((resolve) => engineTimeout(resolve, 0));
    if (isOver) return "over";
    if (uncaught) return uncaught;
    if (waits.size === 0) return "stuck";
    // The plugin's own timers do not see the request to stop: where nothing else is waited for, it ends the run.
    if (isStopping && [...waits].every((one) => one.isEarlyTimer)) return "stopped";
    pollOnce();
  }
}

function pollOnce() {
  const all = [...waits];
  const polled = all.flatMap((one) => one.pollables);
  const owners = all.flatMap((one) => one.pollables.map((_, index) => [one, index]));
  const extra = [];
  const until = Math.min(...all.map((one) => one.until));
  if (until !== Infinity) {
    extra.push(subscribeDuration(BigInt(Math.floor(Math.min(Math.max(0, until - now()) * NANOS, LONGEST)))));
  }
  let stop;
  if (!isStopping || all.some((one) => one.heedsStop)) {
    stop = polled.length + extra.length;
    extra.push(subscribeStop());
  }
  const ready = poll([...polled, ...extra]);
  extra.forEach(close);

  const done = new Map();
  for (const index of ready) {
    const [one, own] = owners[index] ?? [];
    if (one !== undefined) done.set(one, [...(done.get(one) ?? []), own]);
  }
  const stops = stop !== undefined && ready.includes(stop);
  const moment = now();
  for (const one of all) {
    if (done.has(one)) one.end(done.get(one));
    else if (stops && one.heedsStop) one.end("stop");
    else if (one.until <= moment) one.end("late");
  }
  if (stops && !isStopping) {
    isStopping = true;
    for (const one of waits) one.isEarlyTimer = one.isTimer;
  }
}

function setTimer(call, milliseconds, repeats, values) {
  const id = (lastTimer += 1);
  const seconds = Math.max(0, Number(milliseconds) || 0) / 1000;
  const start = () => {
    const one = {
      pollables: [],
      until: now() + seconds,
      heedsStop: false,
      isTimer: true,
      end() {
        waits.delete(one);
        if (repeats) start();
        else timers.delete(id);
        try {
          call(...values);
        } catch (error) {
          // Nobody is there to catch it: it ends the run, as it ends a process.
          uncaught ??= { error };
        }
      },
    };
    timers.set(id, one);
    waits.add(one);
  };
  start();
  return id;
}

function clearTimer(id) {
  waits.delete(timers.get(id));
  timers.delete(id);
}

/** Has the engine's timers wait here. */
export function replaceTimers() {
  globalThis.setTimeout = (call, milliseconds, ...values) => setTimer(call, milliseconds, false, values);
  globalThis.setInterval = (call, milliseconds, ...values) => setTimer(call, milliseconds, true, values);
  globalThis.clearTimeout = clearTimer;
  globalThis.clearInterval = clearTimer;
}
