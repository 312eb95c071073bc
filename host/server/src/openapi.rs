//! The OpenAPI document, made of the code: of the routes, the documents, and the protocol's own schemas.

use crate::{
    api::{Api, typed},
    documents::{Health, Kind, Kinds, PruneRequest, Pruned, RunEvent, RunList, RunStatus, RunSummary},
    problem::Problem,
    routes,
};
use axum::{extract::State, response::Response};
use executor_runtime_protocol::schema;
use http::StatusCode;
use serde_json::{Value, json};
use std::sync::OnceLock;
use utoipa::OpenApi as _;

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "executor-runtime",
        description = "Submits runs to a host, follows them, and reads what became of them. Fields and events that a client \
                       does not know are to be ignored: within /v1 there may come more, and none go. Over TCP, any request \
                       may also be answered with 401 (no token), 403 (sent by a web page) or 421 (a host name that is not \
                       this host's)."
    ),
    components(schemas(
        Health, Kind, Kinds, Problem, PruneRequest, Pruned, RunEvent, RunList, RunStatus, RunSummary
    )),
    tags(
        (name = "runs", description = "Runs, from submission to result"),
        (name = "files", description = "What runs have written"),
        (name = "host", description = "The host itself"),
    )
)]
struct Base;

/// Read the OpenAPI document
#[utoipa::path(
    get, path = "/openapi.json", tag = "host",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Value, content_type = "application/json"))
)]
pub(crate) async fn document(State(_): State<Api>) -> Response {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let text = DOCUMENT.get_or_init(|| format!("{:#}\n", describe()));
    typed(StatusCode::OK, "application/json", text.as_str())
}

/// The document as JSON.
pub(crate) fn describe() -> Value {
    let mut api = Base::openapi();
    api.paths = routes::all().paths;
    // A document of texts, numbers and the like is always JSON.
    let mut api = serde_json::to_value(api).unwrap_or_default();
    api["security"] = json!([{}, {"token": []}]);
    // With `wait` it is the one, without it the other.
    api["paths"]["/v1/runs"]["post"]["responses"]["200"]["content"]["application/json"]["schema"] = json!({"anyOf": [
        {"$ref": "#/components/schemas/RuntimeResult"},
        {"$ref": "#/components/schemas/RunSummary"},
    ]});
    let components = &mut api["components"];
    components["securitySchemes"] = json!({
        "token": {
            "type": "http", "scheme": "bearer",
            "description": "Needed over TCP, for all but /healthz. Over the Unix socket the user counts.",
        },
    });
    for (name, schema) in [
        ("RuntimeInvocation", schema::invocation()),
        ("RuntimeResult", schema::result()),
    ] {
        add_schema(&mut components["schemas"], name, schema);
    }
    api
}

/// Adds a schema that stands alone, and what it refers to, to the schemas of a document.
fn add_schema(schemas: &mut Value, name: &str, mut schema: Value) {
    let mut definitions = Value::Null;
    if let Some(fields) = schema.as_object_mut() {
        fields.remove("$schema");
        definitions = fields.remove("$defs").unwrap_or_default();
    }
    redirect(&mut schema);
    schemas[name] = schema;
    for (name, definition) in definitions.as_object_mut().into_iter().flatten() {
        redirect(definition);
        schemas[name] = definition.take();
    }
}

/// Makes references into the definitions of a schema refer to those of the document.
fn redirect(schema: &mut Value) {
    match schema {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get_mut("$ref")
                && let Some(name) = reference.strip_prefix("#/$defs/")
            {
                *reference = format!("#/components/schemas/{name}");
            }
            fields.values_mut().for_each(redirect);
        }
        Value::Array(values) => values.iter_mut().for_each(redirect),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_document_is_whole() {
        let document = describe();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
