//! Which names stand for secrets: those of headers, query parameters and JSON members.

// The three lists are those of the SDKs for other languages; a test of the SDK for Python compares them.

/// How a word ends that says so: `x-api-key`, `x-accesskey`, `private-token`. A plural counts too.
const SECRET_WORDS: [&str; 22] = [
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

/// Words that say so on their own, and not as the end of another, such as `bypass`.
const SECRET_WHOLE_WORDS: [&str; 6] = ["cred", "csrf", "pass", "sid", "sig", "xsrf"];

/// Names that have such a word and hold no secret. The first two keep a repeated request from being carried out twice,
/// also by the server that a redirect leads to.
const NOT_SECRET: [&str; 8] = [
    "idempotency-key",
    "x-idempotency-key",
    "cache-key",
    "x-cache-key",
    "partition-key",
    "routing-key",
    "sec-websocket-key",
    "surrogate-key",
];

/// Whether a value with this name is a secret, as far as the name tells: `Authorization`, `x-api-key`, `apiKeys`.
pub fn holds_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_secret = |word: &str| {
        let singular = word.strip_suffix('s').unwrap_or(word);
        SECRET_WORDS.iter().any(|secret| singular.ends_with(secret))
            || SECRET_WHOLE_WORDS.contains(&word)
            || SECRET_WHOLE_WORDS.contains(&singular)
    };
    !NOT_SECRET.contains(&name.as_str()) && name.split(|c: char| !c.is_ascii_alphanumeric()).any(is_secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_a_name_tell_whether_it_holds_a_secret() {
        for (name, expected) in [
            ("authorization", true),
            ("proxy-authorization", true),
            ("x-auth", true),
            ("cookie", true),
            ("x-api-key", true),
            ("x-apikey", true),
            ("ocp-apim-subscription-key", true),
            ("api_keys", true),
            ("private-token", true),
            ("x-authtoken", true),
            ("x-amz-security-token", true),
            ("x-session-id", true),
            ("x-sessionid", true),
            ("client-secret", true),
            ("x-credentials", true),
            ("x-passphrase", true),
            ("x-user-pwd", true),
            ("x-pass", true),
            ("x-totp", true),
            ("x-bearer", true),
            ("dpop", true),
            ("x-hub-signature-256", true),
            ("x-phpsessid", true),
            ("x-sid", true),
            ("x-csrf", true),
            ("client-assertion", true),
            ("x-bypass", false),
            ("x-inside", false),
            ("x-design", false),
            ("x-sacred", false),
            ("x-passthrough", false),
            ("x-signal", false),
            ("idempotency-key", false),
            ("x-idempotency-key", false),
            ("surrogate-key", false),
            ("author", false),
            ("x-authored-by", false),
            ("keywords", false),
            ("keep-alive", false),
            ("x-tokenizer", false),
            ("content-type", false),
            ("x-request-id", false),
        ] {
            assert_eq!(holds_secret(name), expected, "{name}");
        }
    }
}
