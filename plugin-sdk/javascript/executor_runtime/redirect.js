// Where a redirect leads, and with what.

// The three lists are those of `plugin-sdk/protocol/src/secret_name.rs`; a test of the SDK for Python compares them.
// How a word in the name of a header ends that holds a secret. A plural counts too.
const SECRET_WORDS = [
  "assertion",
  "auth",
  "authentication",
  "authorization",
  "bearer",
  "cookie",
  "credential",
  "dpop",
  "jwt",
  "key",
  "otp",
  "passcode",
  "passphrase",
  "passwd",
  "password",
  "pwd",
  "secret",
  "sessid",
  "session",
  "sessionid",
  "signature",
  "token",
];
// Words that say so on their own, and not as the end of another, such as `bypass`.
const SECRET_WHOLE_WORDS = [
  "cred",
  "csrf",
  "pass",
  "sid",
  "sig",
  "xsrf",
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
  return name.split(/[^a-z0-9]/).some((word) => {
    const singular = word.replace(/s$/, "");
    return (
      SECRET_WORDS.some((secret) => singular.endsWith(secret)) ||
      SECRET_WHOLE_WORDS.includes(word) ||
      SECRET_WHOLE_WORDS.includes(singular)
    );
  });
}
