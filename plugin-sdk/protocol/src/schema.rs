//! The published JSON Schemas (draft 2020-12), generated from the types. They accept exactly the documents
//! that `from_json` accepts, as far as a schema can say it; the tests hold the two against each other and
//! against RxP's own schemas.

use crate::{
    InterfaceVersion, PluginDescriptor, RuntimeInvocation, RuntimeKind, RuntimeResult, SCHEMA_VERSION,
    Timestamp,
};
use schemars::{
    JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema, transform::RecursiveTransform,
};
use serde_json::{Value, json};
use std::borrow::Cow;

/// The schema of a [`RuntimeInvocation`] as it is read: RxP 0.1 with more runtime kinds and with defaults.
pub fn invocation() -> Value {
    generate::<RuntimeInvocation>()
}

/// The schema of a [`RuntimeResult`]: RxP 0.1 with more runtime kinds.
pub fn result() -> Value {
    generate::<RuntimeResult>()
}

/// The schema of a [`PluginDescriptor`], `plugin.json`. Rules that join several fields (a default must be
/// valid for its type, say) are beyond it.
pub fn descriptor() -> Value {
    generate::<PluginDescriptor>()
}

fn generate<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .with_transform(RecursiveTransform(unwrap_description))
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

/// Undoes the line breaks that a description has in the source.
fn unwrap_description(schema: &mut Schema) {
    if let Some(Value::String(text)) = schema.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}

/// Adds RxP's two constant fields; in a document that is read they have defaults.
pub(crate) fn with_optional_envelope(contract_kind: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| add_envelope(schema, contract_kind)
}

/// Adds RxP's two constant fields and requires every field.
pub(crate) fn with_required_envelope(contract_kind: &'static str) -> impl FnMut(&mut Schema) {
    move |schema| {
        add_envelope(schema, contract_kind);
        let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
        let Some(properties) = properties else { return };
        for field in ["schema_version", "contract_kind"] {
            if let Some(field) = properties[field].as_object_mut() {
                field.remove("default");
            }
        }
        let names: Vec<Value> = properties.keys().map(|name| json!(name)).collect();
        schema.insert("required".into(), names.into());
    }
}

fn add_envelope(schema: &mut Schema, contract_kind: &'static str) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        for (name, value) in [
            ("schema_version", SCHEMA_VERSION),
            ("contract_kind", contract_kind),
        ] {
            let field = json!({"type": "string", "const": value, "default": value});
            properties.insert(name.into(), field);
        }
    }
}

/// Adds the reference to a schema, by which editors check and complete the document. It means nothing to a host.
pub(crate) fn with_schema_reference(schema: &mut Schema) {
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let field = json!({"type": "string", "description": "The JSON Schema of this document, for editors; ignored."});
        properties.insert("$schema".into(), field);
    }
}

/// Takes the null from fields that can be absent and not null.
pub(crate) fn without_nulls(schema: &mut Schema) {
    let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
    for field in properties.into_iter().flat_map(|fields| fields.values_mut()) {
        let types = field.get("type").and_then(Value::as_array);
        if let Some(only) = types.and_then(|types| types.iter().find(|name| *name != "null")) {
            field["type"] = only.clone();
        }
    }
}

/// JSON Schema's integer: what counts is the value, whatever its spelling and size.
pub(crate) fn positive_integer_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["integer", "null"], "exclusiveMinimum": 0})
}

pub(crate) fn integer_or_null(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["integer", "null"]})
}

impl JsonSchema for RuntimeKind {
    fn schema_name() -> Cow<'static, str> {
        "RuntimeKind".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "Which runner executes it. Extends RxP 0.1, which knows only the kinds given as \
                            examples: a plugin may bring a kind of any name that fits the pattern.",
            "pattern": "^[a-z][a-z0-9_]{0,63}$",
            "examples": Self::RXP,
        })
    }
}

impl JsonSchema for Timestamp {
    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}

impl JsonSchema for InterfaceVersion {
    fn schema_name() -> Cow<'static, str> {
        "InterfaceVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A version of the plugin interface.",
            "pattern": "^(0|[1-9][0-9]*)\\.(0|[1-9][0-9]*)$",
            "examples": [crate::INTERFACE_VERSION],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The fields and the required fields of an object's schema.
    fn fields(schema: &Value) -> (Vec<&str>, Vec<&str>) {
        let properties = schema["properties"].as_object().unwrap();
        let required = schema["required"].as_array().unwrap();
        let mut required: Vec<_> = required.iter().filter_map(Value::as_str).collect();
        required.sort_unstable();
        (properties.keys().map(String::as_str).collect(), required)
    }

    #[test]
    fn an_invocation_marks_its_extension_and_its_defaults() {
        let schema = invocation();
        assert_eq!(schema["additionalProperties"], false);
        let (all, required) = fields(&schema);
        assert_eq!(all.len(), 13);
        assert_eq!(
            required,
            [
                "command",
                "invocation_id",
                "runtime_kind",
                "runtime_name",
                "working_directory"
            ]
        );
        let properties = &schema["properties"];
        for (field, default) in [
            ("schema_version", json!("0.1")),
            ("contract_kind", json!("runtime_invocation")),
            ("environment", json!({})),
            ("metadata", json!({})),
            ("timeout_seconds", Value::Null),
            ("input_payload_path", Value::Null),
            ("output_result_path", Value::Null),
            ("artifact_directory", Value::Null),
        ] {
            assert_eq!(properties[field].get("default"), Some(&default), "{field}");
        }
        assert_eq!(properties["runtime_kind"]["$ref"], "#/$defs/RuntimeKind");
        let kind = &schema["$defs"]["RuntimeKind"];
        assert_eq!(kind["examples"], json!(RuntimeKind::RXP));
        assert!(kind["description"].as_str().unwrap().contains("Extends RxP 0.1"));
    }

    #[test]
    fn a_result_requires_every_field() {
        let schema = result();
        for object in [&schema, &schema["$defs"]["ArtifactDescriptor"]] {
            assert_eq!(object["additionalProperties"], false);
            let (all, required) = fields(object);
            assert_eq!(all, required);
        }
    }

    #[test]
    fn descriptions_are_text_and_not_rustdoc() {
        for schema in [invocation(), result(), descriptor()] {
            let text = schema.to_string();
            assert!(!text.contains("::") && !text.contains("[`"), "{text}");
        }
    }
}
