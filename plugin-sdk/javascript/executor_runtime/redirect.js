// Where a redirect leads, and with what.

const SECRET_WORDS = [
  "auth",
  "authentication",
  "authorization",
  "cookie",
  "credential",
  "jwt",
  "key",
  "passwd",
  "password",
  "secret",
  "session",
  "sessionid",
  "token",
];
// Names that have such a word and hold no secret.
const NOT_SECRET = [
  "idempotency-key",
  "x-idempotency-key",
  "cache-key",
  "x-cache-key",
  "partition-key",
  "routing-key",
  "sec-websocket-key",
  "surrogate-key",
];
const ABOUT_BODY = ["content-length", "content-type", "content-encoding", "content-language", "content-location"];

export const REWRITES = [301, 302, 303];
export const REDIRECTS = [...REWRITES, 307, 308];

/** The headers of the next request: none about a body that is left out, and no secret for another origin. */
export function headersAfter(headers, { dropsBody, otherOrigin }) {
  return headers.filter(
    ([name]) => !(dropsBody && ABOUT_BODY.includes(name.toLowerCase())) && !(otherOrigin && holdsSecret(name)),
  );
}

/** Whether the name of a header says that it holds a secret: `x-api-key`, `private-token`. A plural counts too. */
export function holdsSecret(given) {
  const name = given.toLowerCase();
  if (NOT_SECRET.includes(name)) return false;
  const words = name.split(/[^a-z0-9]/).map((word) => word.replace(/s$/, ""));
  return words.some((word) => SECRET_WORDS.some((secret) => word.endsWith(secret)));
}
