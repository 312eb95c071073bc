//! What a recipe sets a metadata key of its base to.

use crate::template::{Placeholder, Template};
use serde_json::Value as Json;

/// The name of the member that stands for all those of an object.
const ALL: &str = "...";

/// The template of one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Setting {
    /// Text; what stands in it is escaped for the key's type.
    Text(Template),
    /// JSON, in whose strings placeholders stand.
    Json(Node),
}

/// A part of a JSON template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// As it is.
    Literal(Json),
    /// A string; of one placeholder alone, the value.
    String(Template),
    Array(Vec<Node>),
    Object(Object),
}

/// An object of a JSON template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Object {
    /// An object whose members it has, too. Its own come before those of the same name.
    pub(crate) all_of: Option<Placeholder>,
    pub(crate) members: Vec<(String, Node)>,
}

impl Setting {
    /// Reads what a recipe has for a key.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(value: Json) -> Result<Self, String> {
        match value {
            Json::String(text) => match json_in(&text)? {
                Some(json) => Ok(Self::Json(Node::read(json)?)),
                None => Ok(Self::Text(Template::parse(&text)?)),
            },
            Json::Array(_) | Json::Object(_) => Ok(Self::Json(Node::read(value)?)),
            Json::Bool(_) | Json::Number(_) | Json::Null => {
                Ok(Self::Text(Template::parse(&value.to_string())?))
            }
        }
    }

    pub(crate) fn placeholders(&self) -> Vec<&Placeholder> {
        match self {
            Self::Text(template) => template.placeholders().collect(),
            Self::Json(node) => node.placeholders(),
        }
    }

    /// Those that have to be objects.
    pub(crate) fn objects(&self) -> Vec<&Placeholder> {
        match self {
            Self::Text(_) => Vec::new(),
            Self::Json(node) => node.objects(),
        }
    }
}

/// The JSON that a text with placeholders is, if it is meant to be an object or an array.
fn json_in(text: &str) -> Result<Option<Json>, String> {
    let is_meant = text.trim_start().starts_with(['{', '[']) && !text.trim_start().starts_with("{{");
    if !is_meant || !text.contains("{{") {
        return Ok(None);
    }
    match serde_json::from_str(text) {
        Ok(json) => Ok(Some(json)),
        Err(error) => Err(format!(
            "text that looks like JSON and is not ({error}); placeholders stand in strings, as in \
             {{\"n\": \"{{{{my.number}}}}\"}}, which makes a number of a number"
        )),
    }
}

impl Node {
    fn read(json: Json) -> Result<Self, String> {
        Ok(match json {
            Json::String(text) => Self::String(Template::parse(&text)?),
            Json::Array(items) => Self::Array(items.into_iter().map(Self::read).collect::<Result<_, _>>()?),
            Json::Object(members) => {
                let mut read = Vec::new();
                let mut all_of = None;
                for (name, member) in members {
                    if name == ALL {
                        all_of = Some(all_members(member)?);
                        continue;
                    }
                    if name.contains("{{") {
                        return Err(format!(
                            "a placeholder in the name of a member, '{}'; placeholders stand in values",
                            name.escape_debug()
                        ));
                    }
                    read.push((name, Self::read(member)?));
                }
                Self::Object(Object {
                    all_of,
                    members: read,
                })
            }
            literal => Self::Literal(literal),
        })
    }

    fn placeholders(&self) -> Vec<&Placeholder> {
        match self {
            Self::Literal(_) => Vec::new(),
            Self::String(template) => template.placeholders().collect(),
            Self::Array(items) => items.iter().flat_map(Self::placeholders).collect(),
            Self::Object(object) => {
                let members = object
                    .members
                    .iter()
                    .flat_map(|(_, member)| member.placeholders());
                members.chain(&object.all_of).collect()
            }
        }
    }

    fn objects(&self) -> Vec<&Placeholder> {
        match self {
            Self::Literal(_) | Self::String(_) => Vec::new(),
            Self::Array(items) => items.iter().flat_map(Self::objects).collect(),
            Self::Object(object) => {
                let members = object.members.iter().flat_map(|(_, member)| member.objects());
                members.chain(&object.all_of).collect()
            }
        }
    }
}

/// The placeholder of the member that stands for all those of an object.
fn all_members(member: Json) -> Result<Placeholder, String> {
    let text = member.as_str().unwrap_or_default();
    match Template::parse(text)?.only_placeholder() {
        Some(only) => Ok(only.clone()),
        None => Err(format!(
            "'{ALL}' that is not one placeholder, such as \"{ALL}\" = \"{{{{environment}}}}\""
        )),
    }
}
