// HTTP of `TestHost`: by the sockets of node.

import http from "node:http";
import https from "node:https";
import { HttpError, Interrupted } from "./http.js";

/** The exchanges of a run, which the request to stop interrupts. */
export class Sockets {
  #open = new Set();

  /** Ends each wait that heeds the request to stop. */
  interrupt() {
    for (const exchange of this.#open) if (exchange.heedsStop) exchange.end("stop");
  }

  /** Closes what the run has left open. */
  close() {
    for (const exchange of this.#open) exchange.end("closed");
  }

  /** Sends a request, and waits for the head of its answer. `stopAt` is a moment of the clock `now`. */
  async send({ method, scheme, authority, target, headers, body, limit }, now, stopAt) {
    const stops = limit.heedsStop && stopAt <= limit.until;
    const until = stops ? stopAt : limit.until;
    const exchange = { heedsStop: limit.heedsStop };
    const url = new URL(`${scheme}://${authority}`);
    const request = (scheme === "https" ? https : http).request({
      agent: false,
      method,
      path: target,
      host: url.hostname.replace(/^\[|\]$/g, ""),
      port: url.port,
      headers: headers.map(([name, value]) => [name, Buffer.from(value).toString("latin1")]).flat().concat("host", authority),
    });
    exchange.end = (why) => {
      exchange.why ??= why;
      clearTimeout(exchange.timer);
      this.#open.delete(exchange);
      request.destroy();
    };
    exchange.failure = (error) => {
      if (exchange.why === "stop") return new Interrupted();
      if (exchange.why === "late") return new HttpError("timeout", "timed out");
      return failure(error, authority);
    };
    this.#open.add(exchange);
    // A timer may ring up to a millisecond early by the run's clock, and takes no more than 24 days.
    const watch = () => {
      const left = (until - now()) * 1000;
      if (left <= 0) exchange.end(stops ? "stop" : "late");
      else exchange.timer = setTimeout(watch, Math.min(Math.ceil(left), 2 ** 31 - 1));
    };
    if (until !== Infinity) watch();
    try {
      const answered = new Promise((resolve, reject) => {
        request.on("response", resolve);
        request.on("error", (error) => reject(exchange.failure(error)));
        request.on("close", () => reject(exchange.failure(new Error("closed"))));
      });
      // Also if writing the body fails before it is waited for.
      answered.catch(() => {});
      await Promise.race([write(request, body), answered]);
      return new Answer(await answered, exchange);
    } catch (error) {
      exchange.end("closed");
      throw error;
    }
  }
}

async function write(request, body) {
  if (body === undefined || body instanceof Uint8Array) {
    request.end(body);
    return;
  }
  for await (const piece of body) {
    if (request.destroyed) return;
    if (!request.write(piece)) {
      await new Promise((resolve) => {
        request.once("drain", resolve);
        request.once("close", resolve);
      });
    }
  }
  request.end();
}

class Answer {
  #exchange;
  #pieces;
  #rest = new Uint8Array();

  constructor(response, exchange) {
    this.status = response.statusCode;
    const raw = response.rawHeaders;
    this.headers = raw.flatMap((name, index) =>
      index % 2 === 0 ? [[name.toLowerCase(), Buffer.from(raw[index + 1], "latin1").toString()]] : [],
    );
    this.#exchange = exchange;
    this.#pieces = response[Symbol.asyncIterator]();
  }

  async read(size) {
    if (this.#exchange.why === "closed") return undefined;
    if (this.#rest.length === 0) {
      let piece;
      try {
        piece = await this.#pieces.next();
      } catch (error) {
        const failure = this.#exchange.failure(error);
        this.close();
        throw failure;
      }
      if (piece.done) {
        this.close();
        return undefined;
      }
      this.#rest = new Uint8Array(piece.value);
    }
    const data = this.#rest.subarray(0, size);
    this.#rest = this.#rest.subarray(data.length);
    return data;
  }

  close() {
    this.#exchange.end("closed");
  }
}

/** In the words of the real host. */
function failure(error, authority) {
  const transient = true;
  const code = String(error.code ?? "");
  if (code === "ECONNREFUSED") {
    return new HttpError("network", `connection refused by ${authority}`, { transient });
  }
  if (["ENOTFOUND", "EAI_AGAIN"].includes(code)) {
    return new HttpError("network", `no address was found for ${authority}: ${code}`, { transient });
  }
  if (["ECONNRESET", "EPIPE", ""].includes(code)) {
    return new HttpError("network", `${authority} closed the connection before its answer was complete`, { transient });
  }
  if (code.startsWith("HPE_")) {
    return new HttpError("network", `${authority} sent an invalid HTTP response: ${error.message}`);
  }
  if (/^(CERT_|DEPTH_|ERR_SSL|ERR_TLS|SELF_|UNABLE_|EPROTO)/.test(code)) {
    return new HttpError("network", `TLS: no secure connection to ${authority}: ${error.message}`);
  }
  return new HttpError("network", `${authority} can't be reached: ${error.message}`, { transient });
}
