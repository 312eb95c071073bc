// Types of the host for tests.

import type { Bytes, Invocation, Level, Runner } from "./index.js";

/** An invocation of this kind; `fields` are those of `Invocation`. */
export function invocation(kind: string, metadata?: Record<string, string>, fields?: Partial<Invocation>): Invocation;

/** How a run ended. */
export interface Result {
  status: "succeeded" | "failed" | "rejected" | "timed_out" | "cancelled";
  receipt: Record<string, string>;
  exitCode?: number;
  /** The code of a failure, such as `network`. */
  kind?: string;
  /** What went wrong, for a person. */
  summary?: string;
  /** What the function threw, if that was it. */
  error?: unknown;
}

/** An artifact as a run has left it. */
export interface WrittenArtifact {
  kind: string;
  description: string;
  data: Uint8Array;
  readonly text: string;
  finished: boolean;
}

export interface TestHostOptions {
  /** The plugin's `config` map. */
  config?: Record<string, string>;
  /** The input payload. */
  input?: string | Bytes;
  /** Seconds until the deadline, on the run's clock. */
  timeout?: number;
  /** Seconds between the request to stop and the forced end. */
  grace?: number;
}

/**
 * Runs a plugin's function in this process, without WebAssembly and without the real host. Pauses take no time: `ctx.sleep(60)`
 * moves the run's clock on. HTTP is real: start a server on a loopback port.
 */
export class TestHost {
  constructor(options?: TestHostOptions);
  readonly logs: { level: Level; message: string }[];
  /** All log lines. */
  readonly logText: string;
  readonly progressReports: { fraction: number | undefined; message: string }[];
  /** What the run has made, by name. */
  readonly artifacts: Record<string, WrittenArtifact>;
  readonly checkpoints: Uint8Array[];
  /** How long the run has slept, in seconds of its clock. */
  slept: number;
  /** Runs an invocation to its end. */
  run(runner: Runner, asked: Invocation): Promise<Result>;
  /**
   * Runs an invocation until its host dies, right after the checkpoint with this number (1 is the first); gives a host for the
   * run that goes on.
   */
  runUntilDeath(checkpoint: number, runner: Runner, asked: Invocation): Promise<TestHost>;
  /** Asks the run to stop: before it, or while it waits. */
  stop(): void;
  /** Asks the run to stop when so much time has passed on its clock, sleeps included. */
  stopAfter(seconds: number): void;
}
