//! What a recipe sets, for people: its templates as it writes them, and what they make of an invocation. What is written out
//! is left out where it may be a secret:
//!
//! - under a name that says so: of the key, of a member, of an object or array around it, of a parameter (`token=...`);
//! - as user and password of a URL.
//!
//! Placeholders are shown everywhere. What an invocation gives for one is left out under the same names, and where the
//! placeholder's own name says that it is secret. The names in a value are looked for before it is quoted or encoded, after
//! which they can't be told; those around it, in the finished text.

use crate::Unfit;
use crate::{
    document::Recipe,
    json,
    setting::{MAX_DEPTH, Node, Object, Setting},
    template::{Part, Placeholder, Template},
    value::{HIDDEN, Secrets, names_secret},
};
use executor_runtime_protocol::{PluginDescriptor, RuntimeInvocation, holds_secret};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// What precedes a secret in a header, and is none.
const SCHEMES: [&str; 3] = ["basic", "bearer", "token"];

impl Recipe {
    /// The base's keys that it sets, each with its template; JSON as JSON text.
    pub fn templates(&self) -> impl Iterator<Item = (&str, String)> {
        self.settings.iter().map(|(key, setting)| {
            let is_secret = names_secret(key);
            let shown = match setting {
                Setting::Text { template, .. } => text(template, is_secret),
                Setting::Json(node) => json(node, is_secret),
            };
            (key.as_str(), shown)
        })
    }

    /// The metadata that the base is given, as [`Recipe::fill`] makes it, without what may be secret.
    ///
    /// # Errors
    /// As for [`Recipe::fill`].
    pub fn filled(
        &self,
        base: &PluginDescriptor,
        invocation: &RuntimeInvocation,
        metadata: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, Unfit> {
        // A value that does not fit may be one that is hidden.
        self.fill(base, invocation, metadata)?;
        let filled = self.fill_with(base, invocation, metadata, Secrets::Hidden)?;
        let shown = filled.metadata.into_iter().map(|(key, value)| {
            let shown = text(&Template::of_text(&value), names_secret(&key));
            // A URL has it percent-encoded.
            let shown = shown.replace("%28hidden%29", HIDDEN);
            (key, shown)
        });
        Ok(shown.collect())
    }
}

/// A value without what may be secret in it. JSON stays JSON, and an object stays one.
pub(crate) fn without_secrets(value: &str) -> String {
    text(&Template::of_text(value), false)
}

/// A JSON template as JSON text; `is_secret`: a name above it says so.
fn json(node: &Node, is_secret: bool) -> String {
    match node {
        Node::Literal(_) if is_secret => quoted(HIDDEN),
        Node::Literal(literal) => literal.clone(),
        Node::String(template) => quoted(&text(template, is_secret)),
        Node::Array(items) => {
            let items: Vec<_> = items.iter().map(|item| json(item, is_secret)).collect();
            format!("[{}]", items.join(","))
        }
        Node::Object(object) => {
            let all_of = object.all_of.iter().map(|all| ("...", quoted(&all.to_string())));
            let is_named_secret = is_named_secret(object);
            let members = object.members.iter().map(|(name, node)| {
                let is_secret = is_secret
                    || holds_secret(name) && !is_count(name, node)
                    || is_named_secret && !NAMES.contains(&name.as_str());
                (name.as_str(), json(node, is_secret))
            });
            let members: Vec<_> = all_of
                .chain(members)
                .map(|(name, member)| format!("{}:{member}", quoted(name)))
                .collect();
            format!("{{{}}}", members.join(","))
        }
    }
}

/// Members that name what another member of the same object has: `{"name": "API_TOKEN", "value": "..."}`.
const NAMES: [&str; 2] = ["name", "key"];

/// Whether an object has a member that says that the others are secret.
fn is_named_secret(object: &Object) -> bool {
    object.members.iter().any(|(name, node)| {
        NAMES.contains(&name.as_str())
            && matches!(node, Node::String(template) if template.literal().is_some_and(holds_secret))
    })
}

/// Whether a member is a number of tokens, such as `max_tokens`, and no secret.
fn is_count(name: &str, node: &Node) -> bool {
    let is_number =
        matches!(node, Node::Literal(literal) if literal.starts_with(|first: char| first.is_ascii_digit()));
    is_number && name.to_ascii_lowercase().ends_with("_tokens")
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}

/// A template; `is_secret`: its name or one above it says so.
fn text(template: &Template, is_secret: bool) -> String {
    if let Some(text) = template.literal()
        && (begins_as_json(text) || text.trim_start().starts_with('"'))
        && json::problem(text).is_none()
    {
        return json(&literal(&json::compact(text), MAX_DEPTH), is_secret);
    }
    let mut pieces = Pieces::of(template);
    if is_secret || is_text_with_secret(template) {
        pieces.hide_all();
    } else {
        pieces.hide_parameters();
        pieces.hide_users();
    }
    pieces.shown()
}

/// Compact JSON in which no placeholders stand. Arrays and objects that are more than `depth` deep are hidden.
fn literal(json: &str, depth: usize) -> Node {
    // Half a surrogate pair is JSON, and no text.
    let text =
        |string: &str| serde_json::from_str(string).unwrap_or_else(|_| json::within(string).to_owned());
    if json.starts_with('"') {
        return Node::String(Template::of_text(&text(json)));
    }
    if !begins_as_json(json) {
        return Node::Literal(json.to_owned());
    }
    let Some(depth) = depth.checked_sub(1) else {
        return Node::Literal(quoted(HIDDEN));
    };
    match json::members(json) {
        Some(members) => Node::Object(Object {
            all_of: None,
            members: members
                .iter()
                .map(|(name, member)| (text(name), literal(member, depth)))
                .collect(),
        }),
        None => Node::Array(
            json::items(json)
                .unwrap_or_default()
                .iter()
                .map(|item| literal(item, depth))
                .collect(),
        ),
    }
}

fn begins_as_json(text: &str) -> bool {
    text.trim_start().starts_with(['{', '['])
}

/// Whether a text begins as JSON does, and a word in it says that there is a secret in it.
fn is_text_with_secret(template: &Template) -> bool {
    let parts = template.parts();
    matches!(parts.first(), Some(Part::Text(text)) if begins_as_json(text))
        && parts
            .iter()
            .any(|part| matches!(part, Part::Text(text) if holds_secret(text)))
}

/// The characters and placeholders of a template, each with whether it is hidden.
struct Pieces<'t>(Vec<(Piece<'t>, bool)>);

#[derive(Clone, Copy)]
enum Piece<'t> {
    Char(char),
    Value(&'t Placeholder),
}

impl<'t> Pieces<'t> {
    fn of(template: &'t Template) -> Self {
        let mut pieces = Vec::new();
        for part in template.parts() {
            match part {
                Part::Text(text) => pieces.extend(text.chars().map(|char| (Piece::Char(char), false))),
                Part::Value(placeholder) => pieces.push((Piece::Value(placeholder), false)),
            }
        }
        Self(pieces)
    }

    /// Hides all text but the scheme before a secret, as in `Bearer {{my.token}}`.
    fn hide_all(&mut self) {
        let scheme: String = self.text_from(0).collect();
        let is_scheme = scheme.len() < self.0.len()
            && scheme
                .strip_suffix(' ')
                .is_some_and(|scheme| SCHEMES.iter().any(|known| known.eq_ignore_ascii_case(scheme)));
        let begin = if is_scheme { scheme.len() } else { 0 };
        self.hide(begin..self.0.len());
    }

    /// Hides the values of parameters whose names say so: `token=...`, as far as the next parameter.
    fn hide_parameters(&mut self) {
        let mut name = String::new();
        let mut is_hidden = false;
        for (piece, hidden) in &mut self.0 {
            match piece {
                Piece::Char('&' | '#') => {
                    is_hidden = false;
                    name.clear();
                }
                Piece::Char('=') if !is_hidden => is_hidden = holds_secret(&std::mem::take(&mut name)),
                _ if is_hidden => *hidden = true,
                Piece::Char(char) if char.is_ascii_alphanumeric() || "-_.".contains(*char) => {
                    name.push(*char)
                }
                Piece::Char(_) | Piece::Value(_) => name.clear(),
            }
        }
    }

    /// Hides user and password of URLs: what is between `://` and `@`.
    fn hide_users(&mut self) {
        for begin in 3..self.0.len() {
            if !self.text_from(begin - 3).take(3).eq("://".chars()) {
                continue;
            }
            let ends_host = |piece: &Piece<'_>| matches!(piece, Piece::Char(char) if "/?#\"'".contains(*char) || char.is_whitespace());
            let length = self.0[begin..]
                .iter()
                .position(|(piece, _)| ends_host(piece))
                .unwrap_or(self.0.len() - begin);
            let user = self.0[begin..begin + length]
                .iter()
                .rposition(|(piece, _)| matches!(piece, Piece::Char('@')));
            if let Some(user) = user {
                self.hide(begin..begin + user);
            }
        }
    }

    /// The text from a place to the next placeholder.
    fn text_from(&self, begin: usize) -> impl Iterator<Item = char> {
        self.0[begin..].iter().map_while(|(piece, _)| match piece {
            Piece::Char(char) => Some(*char),
            Piece::Value(_) => None,
        })
    }

    fn hide(&mut self, places: std::ops::Range<usize>) {
        self.0[places].iter_mut().for_each(|(_, hidden)| *hidden = true);
    }

    /// Placeholders are shown, and what is hidden between them is so once.
    fn shown(&self) -> String {
        let mut shown = String::new();
        let mut was_hidden = false;
        for (piece, is_hidden) in &self.0 {
            match piece {
                Piece::Value(placeholder) => shown.push_str(&placeholder.to_string()),
                Piece::Char(_) if *is_hidden && was_hidden => {}
                Piece::Char(_) if *is_hidden => shown.push_str(HIDDEN),
                Piece::Char(char) => shown.push(*char),
            }
            was_hidden = *is_hidden && matches!(piece, Piece::Char(_));
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_shown_and_secrets_that_are_written_out_are_not() {
        let recipe = Recipe::parse(
            "k",
            r#"
            version = "0.1.0"
            summary = "s"
            base = "http"
            metadata."my.url" = { type = "url", help = "h" }
            metadata."my.token" = { type = "string", help = "h" }
            [set]
            "http.url" = "{{ my.url }}/x?api_key=S3CRET&q=1&token={{my.token}}"
            "http.header.authorization" = "Bearer S3CRET"
            "http.header.x-api-key" = "{{my.token|json}}"
            "http.method" = "PUT"
            "http.many" = 5
            [set."http.body"]
            "..." = "{{environment}}"
            name = "n"
            apiKeys = ["S3CRET", "{{my.token}}"]
            [set_text]
            "http.header.x-job" = "[{{invocation_id}}]"
            "#,
        );
        let recipe = recipe.unwrap();
        let shown: Vec<_> = recipe.templates().collect();
        let expected = [
            (
                "http.body",
                r#"{"...":"{{environment}}","apiKeys":["(hidden)","{{my.token}}"],"name":"n"}"#,
            ),
            ("http.header.authorization", "(hidden)"),
            ("http.header.x-api-key", "{{my.token|json}}"),
            ("http.header.x-job", "[{{invocation_id}}]"),
            ("http.many", "5"),
            ("http.method", "PUT"),
            ("http.url", "{{my.url}}/x?api_key=(hidden)&q=1&token={{my.token}}"),
        ];
        assert_eq!(shown, expected.map(|(key, shown)| (key, shown.to_owned())));
    }

    #[test]
    fn a_secret_is_hidden_in_whatever_it_is_written() {
        let head = r#"
            version = "0.1.0"
            summary = "s"
            base = "http"
            metadata."my.token" = { type = "string", help = "h" }
        "#;
        for (set, expected) in [
            // JSON text, with a placeholder and without.
            (
                r#""http.body" = '{"password": "S3CRET", "x": 0.10}'"#,
                r#"{"password":"(hidden)","x":0.10}"#,
            ),
            (
                r#""http.body" = '{"password": "S3CRET", "x": "{{my.token}}"}'"#,
                r#"{"password":"(hidden)","x":"{{my.token}}"}"#,
            ),
            (
                r#""http.body".config = '{"password": "S3CRET"}'"#,
                r#"{"config":"{\"password\":\"(hidden)\"}"}"#,
            ),
            // Text that only looks like it.
            (
                "[set_text]\n\"http.body\" = '{password: S3CRET, x: {{my.token}}}'",
                "(hidden){{my.token}}(hidden)",
            ),
            // Beside a placeholder.
            (
                r#""http.header.authorization" = "Basic S3CRET{{my.token}}""#,
                "(hidden){{my.token}}",
            ),
            (
                r#""http.header.authorization" = "Bearer {{my.token}}""#,
                "Bearer {{my.token}}",
            ),
            (
                r#""http.url" = "http://h/?api_key=S3CRET?{{my.token}}S3CRET&q={{my.token}}#x""#,
                "http://h/?api_key=(hidden){{my.token}}(hidden)&q={{my.token}}#x",
            ),
            // Of any type.
            (r#""http.body".password = 53"#, r#"{"password":"(hidden)"}"#),
            (r#""http.body".password = [true]"#, r#"{"password":["(hidden)"]}"#),
            (r#""http.password" = 53"#, "(hidden)"),
            (r#""http.body".max_tokens = 53"#, r#"{"max_tokens":53}"#),
            // Below a name that says so, or beside it.
            (
                r#""http.body".credentials = { user = "u", value = "S3CRET{{my.token}}" }"#,
                r#"{"credentials":{"user":"(hidden)","value":"(hidden){{my.token}}"}}"#,
            ),
            (
                r#""http.body".env = [{ name = "DB_PASSWORD", value = "S3CRET" }, { name = "A", value = "1" }]"#,
                r#"{"env":[{"name":"DB_PASSWORD","value":"(hidden)"},{"name":"A","value":"1"}]}"#,
            ),
            // In the name of a key, the last part of which is none.
            (r#""http.header.idempotency-key" = "x""#, "x"),
            (r#""http.token.value" = "S3CRET""#, "(hidden)"),
            // Users of URLs.
            (
                r#""http.body".db = "postgres://u:S3CRET@db/x@y""#,
                r#"{"db":"postgres://(hidden)@db/x@y"}"#,
            ),
            (
                r#""http.x" = "a://h/@b c://u:{{my.token}}S3CRET@{{my.token}}:5/""#,
                "a://h/@b c://(hidden){{my.token}}(hidden)@{{my.token}}:5/",
            ),
        ] {
            let table = if set.starts_with('[') { "" } else { "[set]\n" };
            let recipe = Recipe::parse("k", &format!("{head}\n{table}{set}")).unwrap();
            let shown: Vec<_> = recipe.templates().map(|(_, shown)| shown).collect();
            assert_eq!(shown, [expected], "{set}");
        }
    }

    #[test]
    fn what_the_base_is_given_is_shown_without_secrets() {
        let base = PluginDescriptor::from_json(
            br#"{"name": "http", "version": "0.1.0", "kinds": ["http"], "interface": "1.0", "summary": "s",
                 "metadata": {"http.url": {"type": "url", "required": true, "help": "h"},
                              "http.body": {"type": "string", "help": "h"},
                              "http.header.*": {"type": "string", "help": "h"}}}"#,
        )
        .unwrap();
        let recipe = Recipe::parse(
            "k",
            r#"
            version = "0.1.0"
            summary = "s"
            base = "http"
            metadata."my.url" = { type = "url", required = true, help = "h" }
            metadata."my.token" = { type = "string", help = "h" }
            metadata."my.max_tokens" = { type = "integer", help = "h" }
            metadata."my.more" = { type = "json", help = "h" }
            metadata."my.credentials" = { type = "json", help = "h" }
            [set]
            "http.url" = "{{my.url}}/{{my.token}}?sig={{my.max_tokens}}&n={{my.max_tokens}}"
            "http.header.authorization" = "Bearer {{my.token}}"
            "http.header.x-note" = "{{environment.API_KEY}} of {{environment.HOME}}"
            [set."http.body"]
            "..." = "{{my.more}}"
            all = { "..." = "{{my.credentials}}" }
            environment = "{{environment}}"
            first = "{{my.token}}"
            most = "{{my.max_tokens}}"
            password = "{{command}}"
            "#,
        )
        .unwrap();
        let invocation = serde_json::json!({
            "invocation_id": "i", "runtime_name": "r", "runtime_kind": "k", "working_directory": "/w", "command": ["S3CRET"],
            "environment": {"API_KEY": "S3CRET", "HOME": "/h"},
            "metadata": {"my.url": "http://u:S3CRET@h", "my.token": "S3CRET", "my.max_tokens": "5",
                         "my.more": "{\"secret\": \"S3CRET\", \"x\": 0.10}", "my.credentials": "{\"user\": \"S3CRET\"}",
                         "other.token": "S3CRET", "other.key": "S3CRET", "other.name": "n"},
        });
        let invocation = RuntimeInvocation::from_json(invocation.to_string().as_bytes()).unwrap();
        let shown = recipe.filled(&base, &invocation, &invocation.metadata).unwrap();
        let expected = [
            (
                "http.body",
                r#"{"all":{"(hidden)":"(hidden)"},"environment":{"API_KEY":"(hidden)","HOME":"/h"},"first":"(hidden)","most":5,"password":["(hidden)"],"secret":"(hidden)","x":0.10}"#,
            ),
            ("http.header.authorization", "(hidden)"),
            ("http.header.x-note", "(hidden) of /h"),
            ("http.url", "http://(hidden)@h/(hidden)?sig=(hidden)&n=5"),
            ("other.key", "(hidden)"),
            ("other.name", "n"),
            ("other.token", "(hidden)"),
        ];
        assert_eq!(
            shown,
            BTreeMap::from(expected.map(|(key, shown)| (key.to_owned(), shown.to_owned())))
        );
    }

    #[test]
    fn a_secret_in_a_value_is_hidden_however_the_value_is_written() {
        let base = PluginDescriptor::from_json(
            br#"{"name": "http", "version": "0.1.0", "kinds": ["http"], "interface": "1.0", "summary": "s",
                 "metadata": {"http.url": {"type": "url", "help": "h"},
                              "http.body": {"type": "string", "help": "h"},
                              "http.header.*": {"type": "string", "help": "h"}}}"#,
        )
        .unwrap();
        let head = r#"
            version = "0.1.0"
            summary = "s"
            base = "http"
            metadata."my.callback" = { type = "url", help = "h" }
            metadata."my.db" = { type = "string", help = "h" }
            metadata."my.more" = { type = "json", help = "h" }
            metadata."my.text" = { type = "json", help = "h" }
        "#;
        let deep = format!("{}\"S3CRET\"{}", "[".repeat(200), "]".repeat(200));
        let invocation = serde_json::json!({
            "invocation_id": "i", "runtime_name": "r", "runtime_kind": "k", "working_directory": "/w", "command": ["true"],
            "environment": {"API_KEY": "S3CRET", "CONFIG": r#"{"password":"S3CRET"}"#, "DEEP": deep, "HOME": "/h"},
            "metadata": {"my.callback": "http://h/?token=S3CRET", "my.db": "postgres://u:S3CRET@h/d",
                         "my.more": r#"{"password": "S3CRET", "db": "a://u:S3CRET@h", "...": "{{x}}", "n": 0.10}"#,
                         "my.text": r#""{\"password\":\"S3CRET\"}""#},
        });
        let invocation = RuntimeInvocation::from_json(invocation.to_string().as_bytes()).unwrap();
        const ENVIRONMENT: &str = r#"{"API_KEY":"(hidden)","CONFIG":"{\"password\":\"(hidden)\"}","DEEP":"#;
        const MORE: &str = r#"{"password":"(hidden)","db":"a://(hidden)@h","...":"{{x}}","n":0.10}"#;
        for (set, expected) in [
            (
                r#""http.header.x-env" = "v={{environment}}""#,
                format!("v={ENVIRONMENT}"),
            ),
            (
                r#""http.header.x-env" = "env {{environment|json}}""#,
                format!("env {ENVIRONMENT}"),
            ),
            (
                r#""http.header.x-env" = "env {{environment|shell}}""#,
                format!("env '{ENVIRONMENT}"),
            ),
            (
                r#""http.header.x-env" = "env {{environment.CONFIG}}""#,
                r#"env {"password":"(hidden)"}"#.to_owned(),
            ),
            (
                r#""http.header.x-env" = "env {{environment.DEEP}}""#,
                format!("env {}\"(hidden)\"{}", "[".repeat(127), "]".repeat(127)),
            ),
            (
                r#""http.body".run = "run --env {{environment|shell}} --cfg {{my.more|shell}}""#,
                r#"{"run":"run --env '{\"API_KEY\":\"(hidden)\","#.to_owned(),
            ),
            (
                r#""http.body".run = "--config={{my.more}}""#,
                serde_json::json!({ "run": format!("--config={MORE}") }).to_string(),
            ),
            (
                r#""http.header.x-more" = "v {{my.more|json}} {{my.text}}""#,
                format!(r#"v {MORE} "{{\"password\":\"(hidden)\"}}""#),
            ),
            (
                r#""http.url" = "http://h/?cb={{my.callback}}&cfg={{my.text}}""#,
                "http://h/?cb=http%3A%2F%2Fh%2F%3Ftoken%3D(hidden)&cfg=%22%7B%5C%22password%5C%22%3A%5C%22(hidden)%5C%22%7D%22"
                    .to_owned(),
            ),
            (
                r#""http.url" = "http://h/?db={{my.db}}&cfg={{environment.CONFIG}}""#,
                "http://h/?db=postgres%3A%2F%2F(hidden)%40h%2Fd&cfg=%7B%22password%22%3A%22(hidden)%22%7D".to_owned(),
            ),
        ] {
            let recipe = Recipe::parse("k", &format!("{head}\n[set]\n{set}")).unwrap();
            let mut shown = recipe.filled(&base, &invocation, &invocation.metadata).unwrap();
            let (_, shown) = shown.pop_first().unwrap();
            assert!(shown.starts_with(&expected), "{set}: {shown}");
            assert!(!shown.contains("S3CRET"), "{set}: {shown}");
        }
    }
}
