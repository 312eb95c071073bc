// Files: those that a run leaves behind, and the one that it was given.

import { Failed } from "./outcome.js";

const encoder = new TextEncoder();

export class ArtifactError extends Failed {
  name = "ArtifactError";

  constructor(summary, { notResumable = false } = {}) {
    super("artifact", summary);
    this.notResumable = notResumable;
  }
}

/** Bytes, or text as UTF-8. */
export function toBytes(data) {
  if (typeof data === "string") return encoder.encode(data);
  if (data instanceof Uint8Array) return data;
  if (data instanceof ArrayBuffer) return new Uint8Array(data);
  if (ArrayBuffer.isView(data)) return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  throw new TypeError(`expected text or bytes, found ${data === null ? "null" : typeof data}`);
}

/** Calls to a sink, one after the other: also those that are not awaited. */
export class Artifact {
  #sink;
  #last = Promise.resolve();
  #isFinished = false;

  constructor(sink) {
    this.#sink = sink;
  }

  #then(call) {
    const next = this.#last.then(call);
    this.#last = next;
    // An error is that of the last call, and of each after it.
    next.catch(() => {});
    return next;
  }

  #end() {
    if (this.#isFinished) throw new TypeError("the artifact is finished");
    this.#isFinished = true;
  }

  write(data) {
    if (this.#isFinished) throw new TypeError("the artifact is finished");
    // What is written is what it was when `write` was called.
    const bytes = toBytes(data).slice();
    return this.#then(async () => {
      await this.#sink.write(bytes);
      return bytes.length;
    });
  }

  finish() {
    this.#end();
    return this.#then(() => this.#sink.finish());
  }

  drop() {
    if (this.#isFinished) return;
    this.#isFinished = true;
    const drop = () => this.#sink.drop();
    this.#last = this.#last.then(drop, drop);
  }

  /** Waits for the calls that were made. */
  settled() {
    return this.#last;
  }
}

/** Bytes that are read as they come. `read(size)` gives some of them, and undefined at the end. */
export class Bytes {
  #source;

  constructor(source) {
    this.#source = source;
  }

  async *[Symbol.asyncIterator]() {
    for (let piece; (piece = await this.#source.read(65536)); ) yield piece;
  }

  async bytes(limit = Infinity) {
    const pieces = [];
    let length = 0;
    for (let piece; length < limit; ) {
      piece = await this.#source.read(Math.min(65536, limit - length));
      if (!piece) break;
      pieces.push(piece);
      length += piece.length;
    }
    const all = new Uint8Array(length);
    let offset = 0;
    for (const piece of pieces) {
      all.set(piece, offset);
      offset += piece.length;
    }
    return all;
  }

  async arrayBuffer() {
    return (await this.bytes()).buffer;
  }

  async text() {
    return new TextDecoder().decode(await this.bytes());
  }

  async json() {
    return JSON.parse(await this.text());
  }

  async *lines() {
    const decoder = new TextDecoder();
    let rest = "";
    for await (const piece of this) {
      const lines = (rest + decoder.decode(piece, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) yield line.replace(/\r$/, "");
    }
    rest += decoder.decode();
    if (rest !== "") yield rest;
  }

  async copyTo(artifact) {
    let length = 0;
    for await (const piece of this) length += await artifact.write(piece);
    return length;
  }

  close() {
    this.#source.close();
  }
}
