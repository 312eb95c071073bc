//! An invocation of a recipe's base, made of one of the recipe.

use crate::{
    document::Recipe,
    json,
    setting::{Node, Object, Setting},
    template::{Form, Name, Part, Placeholder, Template},
    url,
    value::{Secrets, Values},
};
use executor_runtime_protocol::{PluginDescriptor, RuntimeInvocation, ValueType};
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// Why an invocation can't be made; one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unfit(String);

impl Recipe {
    /// The base's invocation. `metadata` is that of `invocation` with the defaults of the recipe's descriptor, which has
    /// checked it.
    ///
    /// # Errors
    /// Which value does not fit where it would stand; or a key of the base's that the invocation sets itself.
    pub fn fill(
        &self,
        base: &PluginDescriptor,
        invocation: &RuntimeInvocation,
        metadata: &BTreeMap<String, String>,
    ) -> Result<RuntimeInvocation, Unfit> {
        self.fill_with(base, invocation, metadata, Secrets::Given)
    }

    /// The same, with something else for secrets.
    pub(crate) fn fill_with(
        &self,
        base: &PluginDescriptor,
        invocation: &RuntimeInvocation,
        metadata: &BTreeMap<String, String>,
        secrets: Secrets,
    ) -> Result<RuntimeInvocation, Unfit> {
        let descriptor = self.descriptor();
        let own = |key: &str| descriptor.metadata.contains_key(key);
        if let Some(key) = invocation
            .metadata
            .keys()
            .find(|key| !own(key) && is_of(base, key))
        {
            let keys: Vec<_> = descriptor.metadata.keys().map(String::as_str).collect();
            let own = match keys.is_empty() {
                true => "it has no keys of its own".to_owned(),
                false => format!("its own keys are {}", keys.join(", ")),
            };
            return Err(Unfit(format!(
                "{key}: found a key of {}, the base, which only the recipe {} itself may set; {own}",
                self.base(),
                descriptor.name,
            )));
        }
        let values = Values {
            invocation,
            descriptor,
            metadata,
            secrets,
        };
        let mut given = invocation.metadata.clone();
        given.retain(|key, _| !own(key));
        for (key, setting) in &self.settings {
            let value_type = base.key(key).map_or(ValueType::String, |spec| spec.value_type);
            let made = match setting {
                Setting::Json(node) => values.json(key, node)?,
                Setting::Text { template, .. } => values.text(key, template, value_type)?,
            };
            if let Some(text) = made {
                given.insert(key.clone(), text);
            }
        }
        Ok(RuntimeInvocation {
            runtime_kind: self.base().clone(),
            metadata: given,
            ..invocation.clone()
        })
    }
}

/// Whether a key is in a namespace of the base's.
fn is_of(base: &PluginDescriptor, key: &str) -> bool {
    let namespace = |key: &str| key.split_once('.').map(|(namespace, _)| namespace.to_owned());
    let asked = namespace(key);
    asked.is_some() && base.metadata.keys().any(|known| namespace(known) == asked)
}

impl Values<'_> {
    /// The JSON text that `node` makes for `key`; None where a value that is all of it is missing, or one in a text.
    fn json(&self, key: &str, node: &Node) -> Result<Option<String>, Unfit> {
        Ok(match node {
            Node::Literal(json) => Some(json.clone()),
            Node::String(template) => match template.only_placeholder() {
                Some(only) => self.get(only).map(|value| json::without_braces(value.json())),
                None => self.quoted(template),
            },
            Node::Array(items) => {
                let mut made = Vec::new();
                for item in items {
                    made.extend(self.json(key, item)?);
                }
                Some(format!("[{}]", made.join(",")))
            }
            Node::Object(object) => {
                let mut made = self.all_of(key, object)?;
                for (name, member) in &object.members {
                    if let Some(member) = self.json(key, member)? {
                        made.insert(Json::from(name.as_str()).to_string(), member);
                    }
                }
                let members: Vec<_> = made
                    .iter()
                    .map(|(name, member)| format!("{name}:{member}"))
                    .collect();
                Some(format!("{{{}}}", members.join(",")))
            }
        })
    }

    /// The JSON string in which the values of the template stand.
    fn quoted(&self, template: &Template) -> Option<String> {
        let pieces: Option<Vec<_>> = template
            .parts()
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(json::within(&Json::from(text.as_str()).to_string()).to_owned()),
                Part::Value(placeholder) => {
                    let value = json::without_braces(&Json::from(self.get(placeholder)?.text()).to_string());
                    Some(json::within(&value).to_owned())
                }
            })
            .collect();
        Some(format!("\"{}\"", pieces?.concat()))
    }

    /// The members of the object that another one takes in: names and values as JSON.
    fn all_of(&self, key: &str, object: &Object) -> Result<BTreeMap<String, String>, Unfit> {
        let Some((placeholder, value)) = object
            .all_of
            .as_ref()
            .and_then(|placeholder| Some((placeholder, self.get(placeholder)?)))
        else {
            return Ok(BTreeMap::new());
        };
        match json::members(value.json()) {
            Some(members) => Ok(members
                .into_iter()
                .map(|(name, member)| (json::without_braces(&name), json::without_braces(&member)))
                .collect()),
            None => Err(unfit(key, placeholder, "is no JSON object")),
        }
    }

    /// The template with the text of its values.
    fn joined(&self, template: &Template) -> Option<String> {
        template
            .parts()
            .iter()
            .map(|part| match part {
                Part::Text(text) => Some(text.clone()),
                Part::Value(placeholder) => Some(self.get(placeholder)?.text().to_owned()),
            })
            .collect()
    }

    fn text(&self, key: &str, template: &Template, value_type: ValueType) -> Result<Option<String>, Unfit> {
        if value_type == ValueType::Url {
            let filled = url::fill(template, |placeholder| self.get(placeholder));
            return filled.map_err(|(placeholder, problem)| unfit(key, placeholder, problem));
        }
        if let (ValueType::Json, Some(only)) = (value_type, template.only_placeholder()) {
            return Ok(self.get(only).map(|value| json::without_braces(value.json())));
        }
        for placeholder in template.placeholders() {
            let Some(value) = self.get(placeholder) else {
                return Ok(None);
            };
            // What is all of it is checked by the base, which would get it like that from any caller.
            let is_all = template.only_placeholder().is_some();
            if !is_all && value.text().contains(char::is_control) {
                let problem = "has a line break or another control character, which can't stand in a text; in JSON it can";
                return Err(unfit(key, placeholder, problem));
            }
            if value_type == ValueType::List && !self.is_list(placeholder) && value.text().contains(',') {
                return Err(unfit(
                    key,
                    placeholder,
                    "has a comma, which would make more than one item of it",
                ));
            }
        }
        Ok(self.joined(template))
    }

    fn is_list(&self, placeholder: &Placeholder) -> bool {
        let Name::Metadata(key) = &placeholder.name else {
            return false;
        };
        let spec = self.descriptor.metadata.get(key);
        placeholder.form == Form::Plain && spec.is_some_and(|spec| spec.value_type == ValueType::List)
    }
}

fn unfit(key: &str, placeholder: &Placeholder, problem: &str) -> Unfit {
    Unfit(format!(
        "{}: it {problem} (it would be a part of {key})",
        placeholder.name
    ))
}

#[cfg(test)]
mod tests;
