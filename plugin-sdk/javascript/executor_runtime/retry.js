// When a request is sent again.

// Those that may well succeed the next time.
const PASSING = [408, 425, 429, 500, 502, 503, 504];
const IDEMPOTENT = ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE"];

const DEFAULTS = { times: 0, firstWait: 0.5, longestWait: 60, anyMethod: false };

export class Retry {
  constructor(given) {
    const options = typeof given === "number" ? { times: given } : (given ?? {});
    for (const name of Object.keys(options)) {
      if (!(name in DEFAULTS)) throw new TypeError(`retry has no option '${name}'`);
    }
    Object.assign(this, DEFAULTS, options);
  }

  /** Whether a request with this method may be sent twice. */
  repeats(method) {
    return this.anyMethod || IDEMPOTENT.includes(method);
  }

  /** How long to wait after so many retries; undefined if there is to be no other. */
  wait(retries, asked) {
    if (retries >= this.times || asked > this.longestWait) return undefined;
    const backoff = Math.min(this.firstWait * 2 ** Math.min(retries, 60), this.longestWait);
    return Math.max(backoff * (1 - Math.random() / 2), asked);
  }
}

/** Whether the server may answer otherwise the next time. */
export const mayPass = (status) => PASSING.includes(status);

/**
 * What `Retry-After` asks for (RFC 9110, section 10.2.3), 0 if nothing: seconds, or a date, which is seen from the server's
 * own clock where it tells it (`Date`).
 */
export function retryAfter(headers) {
  const value = (headers.get("retry-after") ?? "").trim();
  if (/^[0-9]+$/.test(value)) return Number(value);
  const then = date(value);
  if (then === undefined) return 0;
  const now = date(headers.get("date") ?? "") ?? Date.now();
  return Math.max(0, (then - now) / 1000);
}

function date(text) {
  // Anything else is one for Date.parse: "-1", for example.
  const moment = /^[A-Za-z]+,? /.test(text.trim()) ? Date.parse(text) : NaN;
  return Number.isNaN(moment) ? undefined : moment;
}
