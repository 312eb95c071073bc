//! What a recipe sets a metadata key of its base to.

use crate::{
    json,
    template::{Part, Placeholder, Template},
};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The name of the member that stands for all those of an object.
const ALL: &str = "...";

/// How deep arrays and objects may be in one another, as `serde_json` has it for values.
pub(crate) const MAX_DEPTH: usize = 127;

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
    /// It begins as JSON does, and is not JSON for this reason. It may be text, or a mistake: the base's key decides, and
    /// whether a placeholder is between quotes, out of which a value could break.
    NearlyJson { error: String, is_quoted: bool },
    /// It would be JSON if its placeholders stood in strings. As text, a value could add members to it.
    BarePlaceholders,
}

/// A part of a JSON template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    /// A number, true, false or null: JSON text, so that a number stays as it is written.
    Literal(String),
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
            Json::Array(_) | Json::Object(_) => Ok(Self::Json(Node::read(&value.to_string())?)),
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
        let looks = match json::problem(text) {
            None => return Ok(Self::Json(Node::read(text)?)),
            Some(_) if is_json_with_values(&template) => Looks::BarePlaceholders,
            Some(error) => Looks::NearlyJson {
                error,
                is_quoted: has_quoted_placeholder(&template),
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
    json::problem(&with_values(template, "0")).is_none()
}

/// Whether a placeholder stands between quotes.
fn has_quoted_placeholder(template: &Template) -> bool {
    /// A character that Unicode keeps free for such uses.
    const PLACEHOLDER: char = '\u{fdd0}';
    let text = with_values(template, &PLACEHOLDER.to_string());
    json::chars(&text).any(|(char, in_string)| in_string && char == PLACEHOLDER)
}

/// The text with the same value for each placeholder.
fn with_values(template: &Template, value: &str) -> String {
    template
        .parts()
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Value(_) => value,
        })
        .collect()
}

impl Node {
    /// Reads JSON text.
    ///
    /// # Errors
    /// What is wrong with a part of it.
    pub(crate) fn read(json: &str) -> Result<Self, String> {
        Self::read_at(&json::compact(json), MAX_DEPTH)
    }

    /// Reads compact JSON in which arrays and objects may be `depth` deep.
    fn read_at(json: &str, depth: usize) -> Result<Self, String> {
        let deeper = || {
            depth
                .checked_sub(1)
                .ok_or_else(|| format!("JSON that is more than {MAX_DEPTH} arrays and objects deep"))
        };
        if let Some(members) = json::members(json) {
            return Self::object(members, deeper()?);
        }
        if let Some(items) = json::items(json) {
            let depth = deeper()?;
            let items = items.iter().map(|item| Self::read_at(item, depth));
            return Ok(Self::Array(items.collect::<Result<_, _>>()?));
        }
        if json.starts_with('"') {
            return Ok(Self::String(Template::parse(&string(json)?)?));
        }
        Ok(Self::Literal(json.to_owned()))
    }

    /// The object with these members, names and values as compact JSON. Of those with the same name the last one counts.
    fn object(members: Vec<(String, String)>, depth: usize) -> Result<Self, String> {
        let mut read = BTreeMap::new();
        let mut all_of = None;
        for (name, member) in members {
            let name = string(&name)?;
            if name == ALL {
                all_of = Some(all_members(&member)?);
                continue;
            }
            if name.contains("{{") {
                return Err(format!(
                    "a placeholder in the name of a member, '{}'; placeholders stand in values",
                    name.escape_debug()
                ));
            }
            read.insert(name, Self::read_at(&member, depth)?);
        }
        Ok(Self::Object(Object {
            all_of,
            members: read.into_iter().collect(),
        }))
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
fn all_members(member: &str) -> Result<Placeholder, String> {
    let text: String = serde_json::from_str(member).unwrap_or_default();
    match Template::parse(&text)?.only_placeholder() {
        Some(only) => Ok(only.clone()),
        None => Err(format!(
            "'{ALL}' that is not one placeholder, such as \"{ALL}\" = \"{{{{environment}}}}\""
        )),
    }
}

/// The text that a JSON string stands for.
fn string(json: &str) -> Result<String, String> {
    serde_json::from_str(json).map_err(|error| format!("the JSON string {json}, which is no text ({error})"))
}
