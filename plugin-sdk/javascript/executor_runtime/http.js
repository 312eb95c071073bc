// The HTTP client: what is common to the real host and `TestHost`.
//
// - Redirects are followed, up to 20: after 301, 302 and 303 with GET and without the body (HEAD stays HEAD), after 307 and
//   308 with the same method and body. To another origin no header goes that holds a secret. From https to http none is
//   followed.
// - Whatever waits throws `Stopped` when the run is to stop.
// - An answer with an error status is an answer.

import { Bytes, toBytes } from "./artifact.js";
import { REDIRECTS, REWRITES, headersAfter } from "./redirect.js";
import { Retry, mayPass, retryAfter } from "./retry.js";

const MAX_REDIRECTS = 20;
const USER_AGENT = "executor-runtime-sdk-javascript/1.0.0";
// Headers that belong to the connection, not to the request.
const FORBIDDEN = [
  "connection",
  "host",
  "http2-settings",
  "keep-alive",
  "proxy-authenticate",
  "proxy-authorization",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
];
const OPTIONS = ["method", "headers", "params", "body", "json", "retry", "timeout", "redirects"];

export class HttpError extends Error {
  name = "HttpError";

  constructor(kind, message, { transient = false } = {}) {
    super(message);
    this.kind = kind;
    this.transient = transient;
  }
}

/** A URL as it may be shown: its query, its fragment and a password in it may be secrets. */
export function withoutQuery(url) {
  const [start] = url.split(/[?#]/, 1);
  const authority = start.indexOf("//") + 2;
  const path = authority < 2 ? -1 : start.indexOf("/", authority);
  const end = path < 0 ? start.length : path;
  const at = authority < 2 ? -1 : start.lastIndexOf("@", end);
  return at < authority ? start : start.slice(0, authority) + start.slice(at + 1);
}

const unsendable = (why) => new HttpError("invalid_request", `the request can't be sent: ${why}`);
const unfollowable = (why) => new HttpError("redirect", `a redirect that can't be followed: ${why}`);

/** A host's word for a wait that the request to stop ended; authors see `Stopped`. */
export class Interrupted extends Error {}

/** Headers by their names, in any case. */
export class Headers {
  #list;

  constructor(list) {
    this.#list = list;
  }

  /** The value; those of several with one name are joined by a comma. */
  get(name) {
    const values = this.#list.filter(([other]) => other.toLowerCase() === name.toLowerCase());
    return values.length === 0 ? undefined : values.map(([, value]) => value).join(", ");
  }

  has(name) {
    return this.get(name) !== undefined;
  }

  /** Each header, in the order in which they came. */
  [Symbol.iterator]() {
    return this.#list[Symbol.iterator]();
  }
}

export class Response extends Bytes {
  constructor(answer, url) {
    super(answer);
    this.status = answer.status;
    this.url = url;
    this.headers = new Headers(answer.headers);
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  raiseForStatus() {
    if (!this.ok) {
      this.close();
      throw new HttpError("http_status", `${withoutQuery(this.url)} answered ${this.status}`);
    }
    return this;
  }

  async json() {
    const text = await this.text();
    try {
      return JSON.parse(text);
    } catch (error) {
      throw new HttpError("network", `${withoutQuery(this.url)} sent no JSON: ${error.message}`);
    }
  }
}

/** Sends a request for a context, and sends it again as the options say. */
export async function fetch(context, address, options = {}, { afterStop = false } = {}) {
  for (const name of Object.keys(options)) {
    if (!OPTIONS.includes(name)) throw new TypeError(`ctx.fetch has no option '${name}': it has ${OPTIONS.join(", ")}`);
  }
  const request = makeRequest(address, options);
  const retry = new Retry(options.retry);
  const canRepeat = retry.repeats(request.method) && !isStream(request.body);
  for (let retries = 0; ; retries += 1) {
    let response;
    let failure;
    try {
      response = await follow(context, request, options, limitOf(context, options.timeout, afterStop));
    } catch (error) {
      if (!(error instanceof HttpError)) throw error;
      failure = error;
    }
    let wait;
    if (canRepeat && response !== undefined && mayPass(response.status)) {
      wait = retry.wait(retries, retryAfter(response.headers));
    } else if (canRepeat && failure?.transient) {
      wait = retry.wait(retries, 0);
    }
    if (wait === undefined || !hasTimeFor(context, wait)) {
      if (failure !== undefined) throw failure;
      return response;
    }
    const why = failure?.message ?? `${withoutQuery(response.url)} answered ${response.status}`;
    response?.close();
    context.log(`trying again in ${wait.toFixed(1)} s: ${why}`, "debug");
    await context.sleep(wait);
  }
}

/** Whether there is time for another attempt after a wait. */
const hasTimeFor = (context, wait) => wait < (context.remaining ?? Infinity) && !context.stopRequested;

function makeRequest(address, { method, headers, params, body, json }) {
  const url = parse(String(address));
  for (const [key, value] of Object.entries(params ?? {})) {
    for (const one of Array.isArray(value) ? value : [value]) url.searchParams.append(key, String(one));
  }
  const sent = checkedHeaders(headers ?? {});
  const has = (name) => sent.some(([other]) => other.toLowerCase() === name);
  if (!has("user-agent")) sent.push(["user-agent", USER_AGENT]);
  const add = (name, value) => has(name) || sent.push([name, value]);
  let payload = body;
  if (json !== undefined) {
    if (body !== undefined) throw new TypeError("give either body or json");
    payload = JSON.stringify(json);
    add("content-type", "application/json");
  } else if (body instanceof URLSearchParams) {
    payload = body.toString();
    add("content-type", "application/x-www-form-urlencoded");
  }
  if (payload === null) payload = undefined;
  if (payload !== undefined && !isStream(payload)) {
    payload = toBytes(payload);
    add("content-length", String(payload.length));
  }
  return { method: (method ?? "GET").toUpperCase(), url, headers: sent, body: payload };
}

/** Whether a body comes piece by piece, and so only once. */
function isStream(body) {
  const isWhole = typeof body !== "object" || body === null || ArrayBuffer.isView(body) || body instanceof ArrayBuffer;
  return !isWhole && (Symbol.asyncIterator in body || Symbol.iterator in body);
}

function checkedHeaders(given) {
  const pairs = Symbol.iterator in given ? [...given] : Object.entries(given);
  return pairs.map(([name, value]) => {
    if (FORBIDDEN.includes(name.toLowerCase())) throw unsendable(`the header '${name}' is the host's to set`);
    if (!/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) || /[\r\n\0]/.test(value)) {
      throw unsendable(`the header ${JSON.stringify(name)} is not valid`);
    }
    return [name, String(value)];
  });
}

function parse(address) {
  let url;
  try {
    url = new URL(address);
  } catch {
    throw unsendable(`'${withoutQuery(address)}' is no absolute http or https URL`);
  }
  if (!["http:", "https:"].includes(url.protocol)) {
    throw unsendable(`'${withoutQuery(address)}' is no absolute http or https URL`);
  }
  if (url.username !== "" || url.password !== "") throw unsendable("its URL has a user name in it; use a header");
  return url;
}

/** How long an exchange may wait: a moment of the host's clock, and whether the request to stop ends it. */
function limitOf(context, timeout, afterStop) {
  const until = timeout === undefined ? Infinity : context.now + timeout;
  if (afterStop) return { until: Math.min(until, context._lastMoment()), heedsStop: false };
  if (context.stopRequested) throw context._stopped("an HTTP request");
  return { until, heedsStop: true };
}

async function follow(context, request, options, limit) {
  const redirects = options.redirects ?? MAX_REDIRECTS;
  let { method, url, headers, body } = request;
  for (let followed = 0; ; ) {
    const answer = await send(context, { method, url, headers, body, limit });
    const target = new Headers(answer.headers).get("location");
    if (!REDIRECTS.includes(answer.status) || target === undefined || redirects === 0) {
      return new Response(answer, shown(url));
    }
    answer.close();
    followed += 1;
    if (followed > redirects) throw new HttpError("redirect", `more than ${redirects} redirects`);
    const following = location(url, target);
    const dropsBody = REWRITES.includes(answer.status);
    if (dropsBody) {
      method = method === "HEAD" ? "HEAD" : "GET";
      body = undefined;
    } else if (isStream(body)) {
      throw unfollowable("the body was sent and is not kept");
    }
    headers = headersAfter(headers, { dropsBody, otherOrigin: following.origin !== url.origin });
    url = following;
  }
}

const shown = (url) => url.href.replace(/#.*$/, "");

function location(url, target) {
  let following;
  try {
    following = parse(new URL(target, url).href);
  } catch {
    throw unfollowable(`to '${withoutQuery(target)}', which is no URL`);
  }
  if (url.protocol === "https:" && following.protocol === "http:") {
    throw unfollowable(`from https to '${withoutQuery(following.href)}', which would send the request on unencrypted`);
  }
  return following;
}

/** One request, as it is sent; its answer may throw `Interrupted` in each of its reads. */
async function send(context, { method, url, headers, body, limit }) {
  const exchange = {
    method,
    scheme: url.protocol.slice(0, -1),
    authority: url.host,
    target: url.pathname + url.search,
    headers,
    body: isStream(body) ? pieces(body) : body,
    limit,
  };
  const doing = `${method} ${exchange.authority}`;
  const interruptible = async (call) => {
    try {
      return await call();
    } catch (error) {
      throw error instanceof Interrupted ? context._stopped(doing) : error;
    }
  };
  const answer = await interruptible(() => context._host.send(exchange));
  return {
    status: answer.status,
    headers: answer.headers,
    read: (size) => interruptible(() => answer.read(size)),
    close: () => answer.close(),
  };
}

async function* pieces(body) {
  for await (const piece of body) yield toBytes(piece);
}
