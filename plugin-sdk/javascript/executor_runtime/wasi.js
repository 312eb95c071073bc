// The real host, by the bindings that componentize-js makes. Only there inside a component.
//
// A resource that is closed before its children traps (a body before its stream), and the engine closes what is forgotten in
// any order. So what is open is kept here until it is closed, in its order.

import * as host from "executor-runtime:plugin/host@1.0.0";
import { handle } from "wasi:http/outgoing-handler@0.2.12";
import { Fields, OutgoingBody, OutgoingRequest, httpErrorCode } from "wasi:http/types@0.2.12";
import { ArtifactError } from "./artifact.js";
import { HttpError, Interrupted } from "./http.js";
import { close, now, wait } from "./reactor.js";

const NANOS = 1_000_000_000;
const METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"];
const decoder = new TextDecoder();
const encoder = new TextEncoder();
const open = new Set();

/** Resources that are closed together, the first one first. */
class Open {
  #resources;
  #waits = new Set();

  constructor(...resources) {
    this.#resources = resources;
    open.add(this);
  }

  get isClosed() {
    return this.#resources.length === 0;
  }

  /** As `wait`, and over when this is closed. */
  async wait(resources, limit) {
    let endWait;
    const result = await wait(resources, limit, (end) => {
      endWait = end;
      this.#waits.add(end);
    });
    this.#waits.delete(endWait);
    if (result === "stop") throw new Interrupted();
    if (result === "late") throw new HttpError("timeout", "timed out");
    return result ?? [];
  }

  /** They are someone else's from now on. */
  release() {
    this.#resources = [];
    open.delete(this);
  }

  close() {
    const resources = this.#resources;
    this.release();
    for (const end of this.#waits) end();
    resources.forEach(close);
  }
}

/** What an error of the bindings is about. */
const payload = (error) => {
  if (error === null || typeof error !== "object" || !("payload" in error)) throw error;
  return error.payload;
};

export class WasiHost {
  log(level, message) {
    host.log(level, message);
  }

  progress(fraction, message) {
    host.progress(fraction, message);
  }

  now() {
    return now();
  }

  remaining() {
    const nanos = host.remaining();
    return nanos === undefined ? undefined : Number(nanos) / NANOS;
  }

  stopRequested() {
    return host.stopRequested();
  }

  grace() {
    return Number(host.grace()) / NANOS;
  }

  async waitStop(seconds) {
    return (await wait([], { until: now() + seconds, heedsStop: true })) === "stop";
  }

  config(key) {
    return host.config(key);
  }

  openInput() {
    try {
      const stream = host.openInput();
      return stream === undefined ? undefined : new InputStream(stream);
    } catch (error) {
      throw new Error(String(payload(error)));
    }
  }

  createArtifact(name, kind, description) {
    try {
      return new Sink(host.createArtifact(name, kind, description));
    } catch (error) {
      throw artifactError(name, payload(error));
    }
  }

  reopenArtifact(name, kind, description, length) {
    try {
      return new Sink(host.reopenArtifact(name, kind, description, BigInt(length)));
    } catch (error) {
      throw artifactError(name, payload(error));
    }
  }

  checkpoint(state) {
    try {
      host.checkpoint(state);
    } catch (error) {
      throw new Error(String(payload(error)));
    }
  }

  resumed() {
    return host.resumed();
  }

  send(exchange) {
    return send(exchange);
  }
}

function artifactError(name, { tag, val }) {
  switch (tag) {
    case "not-resumable":
      return new ArtifactError(`artifact '${name}' can't be gone on with: ${val}`, { notResumable: true });
    case "invalid-name":
      return new ArtifactError(`'${name}' can't be the name of an artifact: expected letters, digits, '.', '_' and '-'`);
    case "duplicate-name":
      return new ArtifactError(`this run has made an artifact '${name}' before`);
    case "too-many":
      return new ArtifactError(`this run has made ${val} artifacts, which is as many as the host allows`);
    default:
      return new ArtifactError(`artifact '${name}' can't be written: ${val}`);
  }
}

class InputStream {
  #stream;
  #open;

  constructor(stream) {
    this.#stream = stream;
    this.#open = new Open(stream);
  }

  async read(size) {
    while (!this.#open.isClosed) {
      try {
        const data = this.#stream.blockingRead(BigInt(size));
        if (data.length > 0) return data;
      } catch (error) {
        const { tag, val } = payload(error);
        if (tag === "closed") return undefined;
        throw new Error(`the input can't be read: ${val.toDebugString()}`);
      }
    }
    return undefined;
  }

  close() {
    this.#open.close();
  }
}

class Sink {
  #artifact;
  #stream;
  #open;

  constructor(artifact) {
    this.#artifact = artifact;
    this.#stream = artifact.body();
    this.#open = new Open(this.#stream, artifact);
  }

  async write(data) {
    try {
      for (let rest = data; rest.length > 0; ) {
        const room = Number(this.#stream.checkWrite());
        if (room === 0) {
          await this.#open.wait([this.#stream], { heedsStop: false });
        } else {
          this.#stream.write(rest.subarray(0, room));
          rest = rest.subarray(room);
        }
      }
    } catch (error) {
      payload(error);
      throw new ArtifactError("the artifact can't be written: it is longer than the host allows, or the disk is full");
    }
  }

  async finish() {
    try {
      this.#stream.blockingFlush();
    } catch (error) {
      payload(error);
      throw new ArtifactError("the artifact can't be written to its end");
    }
    this.#open.release();
    close(this.#stream);
    try {
      return Number(host.Artifact.finish(this.#artifact));
    } catch (error) {
      throw new ArtifactError(String(payload(error)));
    }
  }

  drop() {
    this.#open.close();
  }
}

/** The body of a request, while it is written. */
class Upload {
  #body;
  #stream;
  #open;
  #pieces;

  constructor(request, body) {
    this.#body = request.body();
    this.#stream = this.#body.write();
    this.#open = new Open(this.#stream, this.#body);
    this.#pieces = body;
    if (body instanceof Uint8Array) {
      // As much of it as the host takes before it begins to send.
      const taken = Math.min(body.length, Number(this.#stream.checkWrite()));
      if (taken > 0) this.#stream.write(body.subarray(0, taken));
      this.#pieces = [body.subarray(taken)];
    }
  }

  /** Writes what is left; false if the server has answered before that, and wants no more. */
  async write(future, limit) {
    for await (let piece of this.#pieces) {
      while (piece.length > 0) {
        const room = Number(this.#stream.checkWrite());
        if (room > 0) {
          this.#stream.write(piece.subarray(0, room));
          piece = piece.subarray(room);
        } else if ((await this.#open.wait([this.#stream, future], limit)).includes(1)) {
          return false;
        }
      }
    }
    this.#stream.flush();
    this.#open.release();
    close(this.#stream);
    OutgoingBody.finish(this.#body, undefined);
    return true;
  }

  close() {
    this.#open.close();
  }
}

async function send(exchange) {
  const request = outgoing(exchange);
  const upload = exchange.body === undefined ? undefined : new Upload(request, exchange.body);
  let future;
  try {
    future = handle(request, undefined);
  } catch (error) {
    throw httpError(payload(error), exchange.authority);
  }
  const waiting = new Open(future);
  let response;
  let unfinished;
  try {
    if (upload !== undefined && !(await written(upload, future, exchange.limit))) unfinished = upload;
    response = await receive(future, waiting, exchange);
  } catch (error) {
    upload?.close();
    throw error;
  } finally {
    waiting.close();
  }
  return new Answer(response, unfinished, exchange);
}

async function written(upload, future, limit) {
  try {
    return await upload.write(future, limit);
  } catch (error) {
    // Why the host takes no more is in its answer; what is not the host's goes up.
    payload(error);
    return false;
  }
}

function outgoing({ method, scheme, authority, target, headers }) {
  const refused = (what) => new HttpError("invalid_request", `the request can't be sent: the host refused ${what}`);
  let fields;
  try {
    fields = Fields.fromList(headers.map(([name, value]) => [name, encoder.encode(value)]));
  } catch {
    throw refused("its headers");
  }
  const request = new OutgoingRequest(fields);
  const known = METHODS.includes(method);
  try {
    request.setMethod(known ? { tag: method.toLowerCase() } : { tag: "other", val: method });
    request.setScheme({ tag: scheme === "https" ? "HTTPS" : "HTTP" });
    request.setAuthority(authority);
    request.setPathWithQuery(target);
  } catch {
    throw refused(`${method} ${scheme}://${authority}${target}`);
  }
  return request;
}

async function receive(future, waiting, { limit, authority }) {
  for (;;) {
    const answer = future.get();
    if (answer !== undefined) {
      // A result in a result: the outer one is for an answer that was taken before.
      if (answer.val.tag === "ok") return answer.val.val;
      throw httpError(answer.val.val, authority);
    }
    await waiting.wait([future], limit);
  }
}

class Answer {
  #exchange;
  #stream;
  #open;
  #unfinished;

  constructor(response, unfinished, exchange) {
    this.status = response.status();
    const fields = response.headers();
    this.headers = fields.entries().map(([name, value]) => [name, decoder.decode(value)]);
    close(fields);
    this.#exchange = exchange;
    const body = response.consume();
    this.#stream = body.stream();
    this.#open = new Open(this.#stream, body, response);
    this.#unfinished = unfinished;
  }

  async read(size) {
    while (!this.#open.isClosed) {
      try {
        const data = this.#stream.read(BigInt(size));
        if (data.length > 0) return data;
      } catch (error) {
        const { tag, val } = payload(error);
        const failure = tag === "closed" ? undefined : broken(val, this.#exchange.authority);
        this.close();
        if (failure !== undefined) throw failure;
        return undefined;
      }
      await this.#open.wait([this.#stream], this.#exchange.limit);
    }
    return undefined;
  }

  close() {
    this.#open.close();
    this.#unfinished?.close();
    this.#unfinished = undefined;
  }
}

function broken(error, authority) {
  const code = httpErrorCode(error);
  if (code !== undefined) return httpError(code, authority);
  const text = error.toDebugString();
  return new HttpError("network", `${authority} closed the connection before its answer was complete: ${text}`);
}

/** In the same words as the SDK for Rust. */
function httpError({ tag, val }, authority) {
  const words = tag.replaceAll("-", " ").toLowerCase();
  const detail = typeof val === "string" ? val : words;
  const network = (message, transient = false) => new HttpError("network", message, { transient });
  switch (tag) {
    case "HTTP-request-denied":
    case "destination-IP-prohibited":
      return new HttpError("egress_denied", `this plugin may not reach ${authority}`);
    case "DNS-timeout":
    case "DNS-error":
    case "destination-not-found":
      return network(`no address was found for ${authority}: ${val?.rcode ?? "the name is not known"}`, true);
    case "connection-refused":
      return network(`connection refused by ${authority}`, true);
    case "destination-unavailable":
    case "destination-IP-unroutable":
    case "connection-timeout":
      return network(`${authority} can't be reached: ${words}`, true);
    case "connection-terminated":
    case "HTTP-response-incomplete":
      return network(`${authority} closed the connection before its answer was complete`, true);
  }
  if (tag.startsWith("TLS")) return network(`TLS: no secure connection to ${authority}: ${detail}`);
  if (tag.startsWith("HTTP-request")) return new HttpError("invalid_request", `the request can't be sent: ${words}`);
  if (tag.startsWith("HTTP-response") || tag === "HTTP-protocol-error") {
    return network(`${authority} sent an invalid HTTP response: ${detail}`);
  }
  return network(`${authority}: ${detail}`);
}
