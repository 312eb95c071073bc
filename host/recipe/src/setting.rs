//! What a recipe sets a metadata key of its base to.

use crate::template::{Part, Placeholder, Template};
use serde::de::IgnoredAny;
use serde_json::Value as Json;

/// The name of the member that stands for all those of an object.
const ALL: &str = "...";

/// The template of one key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Setting {
    /// Text; what stands in it is escaped for the key's type.
    Text { template: Template, looks: Looks },
    /// JSON, in whose strings placeholders stand.
    Json(Node),
}

/// What a text with placeholders looks like. An object or an array whose placeholders stand in strings is no text, but JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Looks {
    /// Nothing but text, or the recipe says that it is.
    Text,
    /// It begins as JSON does, and is not JSON for this reason. It may be text, or a mistake: the base's key decides.
    NearlyJson(String),
    /// It would be JSON if its placeholders stood in strings. As text, a value could add members to it.
    BarePlaceholders,
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
    /// Reads what a recipe has for a key under `[set]`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn read(value: Json) -> Result<Self, String> {
        match value {
            Json::String(text) => Self::of_text(&text),
            Json::Array(_) | Json::Object(_) => Ok(Self::Json(Node::read(value)?)),
            Json::Bool(_) | Json::Number(_) | Json::Null => Self::plain(&value.to_string()),
        }
    }

    /// Text, whatever it looks like.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn plain(text: &str) -> Result<Self, String> {
        Ok(Self::Text {
            template: Template::parse(text)?,
            looks: Looks::Text,
        })
    }

    fn of_text(text: &str) -> Result<Self, String> {
        let template = Template::parse(text)?;
        let begins_as_json = matches!(template.parts().first(), Some(Part::Text(text)) if text.trim_start().starts_with(['{', '[']));
        if !begins_as_json || template.literal().is_some() {
            return Ok(Self::Text {
                template,
                looks: Looks::Text,
            });
        }
        let looks = match serde_json::from_str(text) {
            Ok(json) => return Ok(Self::Json(Node::read(json)?)),
            Err(error) => match is_json_with_values(&template) {
                true => Looks::BarePlaceholders,
                false => Looks::NearlyJson(error.to_string()),
            },
        };
        Ok(Self::Text { template, looks })
    }

    pub(crate) fn placeholders(&self) -> Vec<&Placeholder> {
        match self {
            Self::Text { template, .. } => template.placeholders().collect(),
            Self::Json(node) => node.placeholders(),
        }
    }

    /// Those that have to be objects.
    pub(crate) fn objects(&self) -> Vec<&Placeholder> {
        match self {
            Self::Text { .. } => Vec::new(),
            Self::Json(node) => node.objects(),
        }
    }
}

/// Whether a text is JSON once a number stands for each placeholder.
fn is_json_with_values(template: &Template) -> bool {
    let filled: String = template
        .parts()
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Value(_) => "0",
        })
        .collect();
    serde_json::from_str::<IgnoredAny>(&filled).is_ok()
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
