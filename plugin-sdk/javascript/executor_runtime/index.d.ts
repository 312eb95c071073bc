// Types of the SDK: its reference. README.md is the guide.

export type ReceiptValue = string | number | boolean | bigint | undefined;
/** Keys of the result's metadata, such as `http.status`. */
export type Receipt = Record<string, ReceiptValue>;
export type Bytes = Uint8Array | ArrayBuffer | ArrayBufferView;
export type Level = "trace" | "debug" | "info" | "warn" | "error";

/** What a runner returns. A failure that is returned instead of thrown is a failure all the same. */
export type Returned = Outcome | Receipt | Failed | Rejected | null | undefined | void;
export type Runner = (invocation: Invocation, ctx: Context) => Promise<Returned> | Returned;

/**
 * Marks the function that runs an invocation: `export default defineRunner(async (invocation, ctx) => ...)`.
 *
 * It succeeds with what it returns: an `Outcome`, the receipt as an object, or nothing. It fails with what it throws:
 * `Rejected` or `Failed`; any other error is `failed` of the kind `exception`, and its stack goes to the log.
 */
export function defineRunner(runner: Runner): Runner;

/** A success: return it. */
export class Outcome {
  constructor(receipt?: Receipt, options?: { exitCode?: number });
  readonly receipt: Record<string, string>;
  readonly exitCode: number | undefined;
}

export interface FailureOptions {
  receipt?: Receipt;
  exitCode?: number;
  cause?: unknown;
}

/** What `Failed` and `Rejected` have in common. */
declare class Failure extends Error {
  /** @param kind a stable code in snake case. @param summary one sentence for a person. */
  constructor(kind: string, summary: string, options?: FailureOptions);
  readonly kind: string;
  readonly summary: string;
  readonly receipt: Record<string, string>;
  readonly exitCode: number | undefined;
}

/** It was attempted and failed: `throw new Failed("backend", "the backend answered 500")`. */
export class Failed extends Failure {}

/** Nothing was attempted, because the invocation is unusable: `throw new Rejected("invalid_metadata", "...")`. */
export class Rejected extends Failure {}

/**
 * The host asked the run to stop: it was cancelled, or its deadline has passed. Thrown by whatever waits. Let it through,
 * after cleaning up in `finally`: the host then says `cancelled` or `timed_out`. A `catch` that takes everything has to throw
 * it on.
 */
export class Stopped extends Error {
  readonly timedOut: boolean;
}

/** The artifact can't be made, written or gone on with. `notResumable` says the last. */
export class ArtifactError extends Failed {
  readonly notResumable: boolean;
}

/**
 * Why a request failed. An answer with an error status is an answer.
 *
 * Let through, it ends the run as `failed`, with its kind: `network`, `egress_denied`, `redirect`, `http_status` (by
 * `raiseForStatus`), `invalid_request` (`rejected`). After `timeout`, of the request, the run's kind is `network`.
 */
export class HttpError extends Error {
  readonly kind: string;
  /** Whether the same request may well succeed later. */
  readonly transient: boolean;
}

/** One RuntimeInvocation, which the host has checked against the metadata keys in plugin.json. */
export class Invocation {
  readonly runtimeKind: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly invocationId: string;
  readonly runtimeName: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** A path on the host, for information: a component has no file system. */
  readonly workingDirectory: string;
  readonly timeoutSeconds: number | undefined;
  /** A path on the host, for information: read the payload by `ctx.openInput()`. */
  readonly inputPayloadPath: string | undefined;
  readonly artifactDirectory: string | undefined;

  /** The value of a metadata key. */
  text(key: string): string | undefined;
  text(key: string, otherwise: string): string;
  /** The value of a metadata key that has to be there. */
  required(key: string): string;
  /** A whole number. */
  integer(key: string): number | undefined;
  integer(key: string, otherwise: number): number;
  number(key: string): number | undefined;
  number(key: string, otherwise: number): number;
  /** `true` or `false`. */
  boolean(key: string): boolean | undefined;
  boolean(key: string, otherwise: boolean): boolean;
  /** The items of a list, which commas separate. */
  list(key: string): string[];
  /** The value of a key that holds a JSON document. */
  json(key: string, otherwise?: unknown): any;
}

/** Bytes that are read as they come, and once. */
export interface ByteStream extends AsyncIterable<Uint8Array> {
  /** To the end, or the first `limit` bytes. */
  bytes(limit?: number): Promise<Uint8Array>;
  arrayBuffer(): Promise<ArrayBuffer>;
  /** As UTF-8; what is none is replaced. */
  text(): Promise<string>;
  json(): Promise<any>;
  /** Line by line, without the ends of lines. */
  lines(): AsyncIterable<string>;
  /** Writes it to an artifact, piece by piece; gives the number of bytes. */
  copyTo(artifact: Artifact): Promise<number>;
  /** Nothing more is read. */
  close(): void;
}

export interface Headers extends Iterable<[string, string]> {
  /** The value, by the name in any case; those of several with one name are joined by a comma. */
  get(name: string): string | undefined;
  has(name: string): boolean;
}

/** What a server answered. Its body is read as it comes: to its end, or close it. */
export interface Response extends ByteStream {
  readonly status: number;
  /** Whether the status is one of success: 200 to 299. */
  readonly ok: boolean;
  /** The address that answered, after redirects. */
  readonly url: string;
  readonly headers: Headers;
  /** Throws `HttpError` unless the status is one of success. */
  raiseForStatus(): Response;
}

/**
 * Send again after an error of the network or a status that may pass (408, 425, 429, 500, 502 to 504).
 *
 * The wait doubles from `firstWait` up to `longestWait` seconds, with up to half of it left out at random, and is at least what
 * `Retry-After` asks for; a server that asks for more than `longestWait` is not asked again.
 * Nor is it if the wait would last to the deadline or the run is to stop: the answer is returned, or the error thrown.
 */
export interface Retry {
  times: number;
  /** 0.5 seconds if not given. */
  firstWait?: number;
  /** 60 seconds if not given. */
  longestWait?: number;
  /** Also POST and PATCH: for a server that recognises a request that it has seen, by an idempotency key for example. */
  anyMethod?: boolean;
}

export interface FetchOptions {
  /** GET if not given. */
  method?: string;
  headers?: Record<string, string> | Iterable<[string, string]>;
  /** Added to the query; an array is several values of one key. */
  params?: Record<string, unknown>;
  /**
   * Text (UTF-8), bytes, a form, or pieces of one of the first two, such as `ctx.openInput()`. What comes piece by piece is sent
   * so, and only once: neither retried nor sent on after a redirect.
   */
  body?: string | Bytes | URLSearchParams | AsyncIterable<string | Bytes> | Iterable<string | Bytes> | null;
  /** Sent as JSON. */
  json?: unknown;
  /** How many times to send it again, or how. */
  retry?: number | Retry;
  /** Seconds for each attempt, with the answer's body; the deadline of the run counts anyway. */
  timeout?: number;
  /** How many are followed at most, 20 if not given; 0: a redirect is an answer. */
  redirects?: number;
}

/**
 * An artifact that is being written. What is not finished when the run is over is removed.
 *
 * Calls come one after the other, in their order, also where they are not awaited.
 */
export interface Artifact {
  /** Writes all of it; text as UTF-8. Gives the number of bytes. */
  write(data: string | Bytes): Promise<number>;
  /** Keeps what was written; gives the number of bytes. */
  finish(): Promise<number>;
  /** Removes what was written. */
  drop(): void;
}

/**
 * What the host offers a run. Whatever waits here throws `Stopped` as soon as the host asks the run to stop. Times are in
 * seconds.
 */
export interface Context {
  /**
   * Sends a request; gives the answer as soon as its headers are there.
   *
   * Redirects are followed, up to 20: after 301, 302 and 303 with GET and without the body (HEAD stays HEAD), after 307 and 308
   * with the same method and body. To another origin no header goes that holds a secret. From https to http none is followed.
   * The operator decides which hosts a plugin may reach.
   */
  fetch(url: string | URL, options?: FetchOptions): Promise<Response>;
  /** For a run that was told to stop, to tell its backend: these requests have three quarters of the grace. */
  fetchAfterStop(url: string | URL, options?: FetchOptions): Promise<Response>;
  sleep(seconds: number): Promise<void>;
  /** Writes one log line, `info` if no level is given. The host drops lines of a run that floods it. */
  log(message: unknown, level?: Level): void;
  /** Tells how far the run is: a fraction from 0 to 1, if it can be known, and a few words. */
  progress(fraction?: number | null, message?: string): void;
  /** A value of this plugin's `config` map in the operator's configuration file. */
  config(key: string): string | undefined;
  config(key: string, otherwise: string): string;
  /** The bytes of the invocation's input payload, from the start; undefined if it has none. */
  openInput(): ByteStream | undefined;
  /** Makes an artifact of this RxP kind, such as `response_body`. The name is a plain file name. */
  artifact(name: string, kind: string, description?: string): Artifact;
  /**
   * Goes on with an artifact that an interrupted run of this invocation had begun and not finished (see `resumed`): keeps the
   * first `length` bytes of what it had written. Throws `ArtifactError`, with `notResumable`, if there is no such artifact or it
   * is shorter: begin it anew.
   */
  reopenArtifact(name: string, kind: string, length: number, description?: string): Artifact;
  /** Keeps at most 64 KiB, so that a later run of the same invocation can go on from there. */
  checkpoint(state: string | Bytes): Promise<void>;
  /** The last checkpoint of an earlier run of this invocation that was interrupted, because its host died. */
  readonly resumed: Uint8Array | undefined;
  /** The same, as text. */
  readonly resumedText: string | undefined;
  /** This moment on the clock of `deadline`. */
  readonly now: number;
  /** Time until the deadline, 0 once it has passed; undefined if the run has none. */
  readonly remaining: number | undefined;
  /** When the run has to be over, on the clock of `now`. */
  readonly deadline: number | undefined;
  /** Whether the host has asked the run to stop: for loops that compute. What waits throws `Stopped`. */
  readonly stopRequested: boolean;
  /** Time between the request to stop and the forced end of the run. */
  readonly grace: number;
  /** Throws `Stopped` if the host has asked the run to stop. */
  checkStop(): void;
}
