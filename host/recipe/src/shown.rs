//! What a recipe sets, for people: templates as the recipe writes them. No value of an invocation is in them, so they can
//! be shown anywhere; what the recipe itself writes out under the name of a secret is left out.

use crate::{
    document::Recipe,
    setting::{Node, Setting},
    template::Template,
};
use executor_runtime_protocol::holds_secret;
use serde_json::{Map, Value as Json};

/// Stands for a secret that is written out.
const HIDDEN: &str = "(hidden)";

impl Recipe {
    /// The base's keys that it sets, each with its template; JSON as JSON text.
    pub fn templates(&self) -> impl Iterator<Item = (&str, String)> {
        self.settings.iter().map(|(key, setting)| {
            let shown = match setting {
                Setting::Text { template, .. } => text(key, template),
                Setting::Json(node) => json(key, node).to_string(),
            };
            (key.as_str(), shown)
        })
    }
}

/// The template of a value that is called `name`.
fn text(name: &str, template: &Template) -> String {
    let written = template.to_string();
    match template.literal() {
        Some(_) if holds_secret(name) => HIDDEN.to_owned(),
        _ => written.split_inclusive(['?', '&']).map(parameter).collect(),
    }
}

/// A piece of a URL's query, `name=value` and what ends it.
fn parameter(piece: &str) -> String {
    let (parameter, end) = match piece.strip_suffix(['?', '&']) {
        Some(parameter) => (parameter, &piece[parameter.len()..]),
        None => (piece, ""),
    };
    match parameter.split_once('=') {
        Some((name, value)) if holds_secret(name) && !value.contains("{{") => {
            format!("{name}={HIDDEN}{end}")
        }
        _ => piece.to_owned(),
    }
}

fn json(name: &str, node: &Node) -> Json {
    match node {
        Node::Literal(literal) => literal.clone(),
        Node::String(template) => text(name, template).into(),
        Node::Array(items) => items.iter().map(|item| json(name, item)).collect(),
        Node::Object(object) => {
            let all_of = object
                .all_of
                .iter()
                .map(|all| ("...".to_owned(), all.to_string().into()));
            let members = object
                .members
                .iter()
                .map(|(name, member)| (name.clone(), json(name, member)));
            Json::Object(all_of.chain(members).collect::<Map<_, _>>())
        }
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
}
