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

/// Whether a value with this name is a secret, as far as the name tells: `Authorization`, `x-api-key`, `accessKeyId`.
pub fn holds_secret(name: &str) -> bool {
    let is_secret = |word: &str| {
        let singular = word.strip_suffix('s').unwrap_or(word);
        SECRET_WORDS.iter().any(|secret| singular.ends_with(secret))
            || SECRET_WHOLE_WORDS.contains(&word)
            || SECRET_WHOLE_WORDS.contains(&singular)
    };
    let has_secret = |name: &str| name.split(|c: char| !c.is_ascii_alphanumeric()).any(is_secret);
    let lower = name.to_ascii_lowercase();
    let kebab = kebab_case(name);
    // A name in upper and lower case is read both ways: `sessID` is one word, `accessKeyId` is three.
    !NOT_SECRET.contains(&lower.as_str())
        && !NOT_SECRET.contains(&kebab.as_str())
        && (has_secret(&lower) || has_secret(&kebab))
}

/// The name in lower case, with `-` where its case begins a word: `access-key-id`, `api-key` for `APIKey`.
fn kebab_case(name: &str) -> String {
    let mut kebab = String::with_capacity(name.len() + 4);
    let mut chars = name.chars().peekable();
    let mut before = None::<char>;
    while let Some(char) = chars.next() {
        let begins = char.is_ascii_uppercase()
            && before.is_some_and(|before| {
                let after = chars.peek();
                before.is_ascii_lowercase()
                    || before.is_ascii_digit()
                    || before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase)
            });
        if begins {
            kebab.push('-');
        }
        kebab.push(char.to_ascii_lowercase());
        before = Some(char);
    }
    kebab
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
            ("accessKeyId", true),
            ("privateKeyPem", true),
            ("dbPasswordOld", true),
            ("SSHKeyFile", true),
            ("OAuth2TokenUrl", true),
            ("DB_PASSWORD_OLD", true),
            ("sessID", true),
            ("Authorization", true),
            ("x-bypass", false),
            ("x-inside", false),
            ("x-design", false),
            ("x-sacred", false),
            ("x-passthrough", false),
            ("x-signal", false),
            ("idempotency-key", false),
            ("x-idempotency-key", false),
            ("surrogate-key", false),
            ("Idempotency-Key", false),
            ("idempotencyKey", false),
            ("partitionKey", false),
            ("author", false),
            ("authoredBy", false),
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
