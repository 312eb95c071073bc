//! The file of a recipe.

use crate::{
    json,
    setting::{Looks, Node, Setting},
    template::{Field, Form, Name, Part, Placeholder, Template},
    url,
};
use executor_runtime_protocol::{
    INTERFACE_VERSION, PluginDescriptor, Problem, RuntimeKind, ValueType, closest, printable,
};
use serde::Deserialize;
use serde_json::Value as Json;
use std::collections::{BTreeMap, BTreeSet};
use toml::Spanned;

/// A kind that is made of another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Recipe {
    descriptor: PluginDescriptor,
    base: RuntimeKind,
    pub(crate) settings: BTreeMap<String, Setting>,
    /// Which of them are under `[set_text]`.
    texts: BTreeSet<String>,
    /// Which of them are tables with a header of their own, `[set."http.body"]`.
    tables: BTreeSet<String>,
}

/// Why a text is not a recipe, or not one for its base; a sentence that goes after the file's path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidRecipe(String);

/// The file as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: toml::Value,
    summary: toml::Value,
    base: String,
    #[serde(default)]
    metadata: BTreeMap<String, toml::Value>,
    #[serde(default)]
    set: Option<BTreeMap<String, Spanned<toml::Value>>>,
    #[serde(default)]
    set_text: BTreeMap<String, toml::Value>,
}

/// How text becomes JSON with values in it.
const IN_STRINGS: &str =
    "placeholders stand in strings, as in {\"n\": \"{{my.number}}\"}, which makes a number of a number";
const ELSE_TEXT: &str = "if it is meant as text that is not read as JSON, write it under [set_text]";

/// The table of the keys that invocations give.
const METADATA: &str = "metadata";

/// The tables of templates.
const SET: &str = "set";
const SET_TEXT: &str = "set_text";

impl Recipe {
    /// Reads the text of the file `KIND.kind.toml`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(kind: &str, text: &str) -> Result<Self, InvalidRecipe> {
        let own = RuntimeKind::new(kind).ok_or_else(|| {
            InvalidRecipe(format!(
                "is called '{}', which is not a runtime kind: a lower-case letter, then at most 63 of a-z, 0-9 and _",
                kind.escape_debug()
            ))
        })?;
        let Document {
            version,
            summary,
            base,
            metadata,
            set,
            set_text,
        } = toml::from_str(text).map_err(|error| InvalidRecipe(not_understood(text, &error)))?;
        if set.is_none() && set_text.is_empty() {
            return Err(InvalidRecipe(
                "has no [set]: it sets no key of its base".to_owned(),
            ));
        }
        let set = set.unwrap_or_default();
        let told =
            |name: &str, value| json(value).map_err(|problem| InvalidRecipe(format!("{name} has {problem}")));
        let (version, summary) = (told("version", version)?, told("summary", summary)?);
        if let Some(key) = metadata.keys().find(|key| !key.contains('.')) {
            let problem = "has no dot in it: write a key with dots in quotes, as in [metadata.\"build.ref\"]";
            return Err(in_table(METADATA, key, problem));
        }
        let metadata: BTreeMap<_, _> = metadata
            .into_iter()
            .map(|(key, value)| Ok((key.clone(), told(&format!("[{METADATA}] \"{key}\""), value)?)))
            .collect::<Result<_, _>>()?;
        let descriptor = serde_json::json!({
            "name": kind.replace('_', "-"),
            "version": version,
            "kinds": [own],
            "interface": INTERFACE_VERSION,
            "summary": summary,
            "metadata": metadata,
        });
        let descriptor =
            PluginDescriptor::from_json(descriptor.to_string().as_bytes()).map_err(|invalid| {
                let problems: Vec<_> = invalid.problems.iter().map(in_file).collect();
                InvalidRecipe(problems.join("; "))
            })?;
        let base = RuntimeKind::new(&base).ok_or_else(|| InvalidRecipe(not_a_kind(&base)))?;
        let texts: BTreeSet<_> = set_text.keys().cloned().collect();
        if let Some(key) = set.keys().find(|key| texts.contains(*key)) {
            return Err(in_table(SET_TEXT, key, "is under [set], too"));
        }
        // The place of such a table is that of its header; an inline one begins with a brace.
        let has_header = |value: &Spanned<toml::Value>| {
            value.as_ref().is_table() && text[value.span().start..].starts_with('[')
        };
        let tables = set.iter().filter(|(_, value)| has_header(value));
        let tables = tables.map(|(key, _)| key.clone()).collect();
        let templates = set.into_iter().map(|(key, value)| {
            let setting = json(value.into_inner()).and_then(Setting::read);
            (SET, key, setting)
        });
        let plain = set_text.into_iter().map(|(key, value)| {
            let setting = match value {
                toml::Value::String(text) => Setting::plain(&text),
                other => Err(format!(
                    "a value of the type {}: only text stands here, other values under [{SET}]",
                    other.type_str()
                )),
            };
            (SET_TEXT, key, setting)
        });
        let settings = templates
            .chain(plain)
            .map(|(table, key, setting)| match setting {
                Ok(setting) => Ok((key, setting)),
                Err(problem) => Err(in_table(table, &key, &format!("has {problem}"))),
            })
            .collect::<Result<_, _>>()?;
        let recipe = Self {
            descriptor,
            base,
            settings,
            texts,
            tables,
        };
        recipe.check()?;
        Ok(recipe)
    }

    /// What it says of itself, as any plugin does.
    pub fn descriptor(&self) -> &PluginDescriptor {
        &self.descriptor
    }

    /// The kind that does the work.
    pub fn base(&self) -> &RuntimeKind {
        &self.base
    }

    /// What can be checked without the base.
    fn check(&self) -> Result<(), InvalidRecipe> {
        for (key, spec) in &self.descriptor.metadata {
            if key.ends_with('*') {
                return Err(InvalidRecipe(format!(
                    "declares {key}: the keys of a recipe have full names"
                )));
            }
            if key.starts_with("environment.") {
                return Err(InvalidRecipe(format!(
                    "declares {key}: {{{{environment.NAME}}}} is a variable of the invocation; choose another name"
                )));
            }
            if !spec.placeholders.is_empty() {
                return Err(InvalidRecipe(format!(
                    "declares placeholders for {key}: what an invocation gives is a value, and no template"
                )));
            }
        }
        for (key, setting) in &self.settings {
            for placeholder in setting.placeholders() {
                if let Name::Metadata(name) = &placeholder.name
                    && !self.descriptor.metadata.contains_key(name)
                {
                    let declared = self.descriptor.metadata.keys().map(String::as_str);
                    let meant = closest(name, declared)
                        .map_or_else(String::new, |meant| format!("; did you mean {{{{{meant}}}}}?"));
                    let problem = format!("has {{{{{name}}}}}, which [metadata] does not declare{meant}");
                    return Err(self.in_setting(key, &problem));
                }
            }
            for placeholder in setting.objects() {
                if !self.can_be_object(placeholder) {
                    let name = &placeholder.name;
                    let problem = format!(
                        "has \"...\" = \"{{{{{name}}}}}\", which is no object: there can be {{{{environment}}}}, or a key of \
                         the type json"
                    );
                    return Err(self.in_setting(key, &problem));
                }
            }
        }
        Ok(())
    }

    fn can_be_object(&self, placeholder: &Placeholder) -> bool {
        let may_be = match &placeholder.name {
            Name::Field(field) => *field == Field::Environment,
            Name::Environment(_) => false,
            Name::Metadata(key) => {
                let spec = self.descriptor.metadata.get(key);
                spec.is_some_and(|spec| spec.value_type == ValueType::Json)
            }
        };
        may_be && placeholder.form == Form::Plain
    }

    /// Whether this base can be given what the recipe sets.
    ///
    /// # Errors
    /// What does not fit.
    pub fn check_base(&self, base: &PluginDescriptor) -> Result<(), InvalidRecipe> {
        for (key, setting) in &self.settings {
            let Some(spec) = base.key(key) else {
                return Err(self.in_setting(key, &self.unknown(key, base)));
            };
            self.check_members(key, setting, base)?;
            let is_json_text = self.is_json_text(base, key);
            match setting {
                Setting::Text {
                    looks: Looks::BarePlaceholders,
                    ..
                } if spec.value_type == ValueType::String => {
                    let hint = match is_json_text {
                        true => String::new(),
                        false => format!("; {ELSE_TEXT}"),
                    };
                    let problem = format!("has text that would be JSON, but {IN_STRINGS}{hint}");
                    return Err(self.in_setting(key, &problem));
                }
                Setting::Text {
                    looks: Looks::NearlyJson { error, .. },
                    ..
                } if is_json_text => {
                    let problem = format!("has text that looks like JSON and is not ({error}); {IN_STRINGS}");
                    return Err(self.in_setting(key, &problem));
                }
                Setting::Text {
                    looks:
                        Looks::NearlyJson {
                            error,
                            is_quoted: true,
                        },
                    ..
                } if spec.value_type == ValueType::String => {
                    let problem = format!("has text that looks like JSON and is not ({error}); {ELSE_TEXT}");
                    return Err(self.in_setting(key, &problem));
                }
                Setting::Text { template, .. } if is_json_text && is_mixed(template, spec.value_type) => {
                    return Err(self.in_setting(key, &self.no_text(base, key)));
                }
                Setting::Text { template, .. } if spec.value_type == ValueType::Url => {
                    let checked = url::check(template, &self.descriptor);
                    checked.map_err(|problem| self.in_setting(key, &problem))?;
                }
                Setting::Json(_) if !matches!(spec.value_type, ValueType::Json | ValueType::String) => {
                    let problem = format!("is JSON, and the key's type is {}", spec.value_type.as_str());
                    return Err(self.in_setting(key, &problem));
                }
                Setting::Text { .. } | Setting::Json(_) => {}
            }
            if spec.required {
                self.check_always_there(key, setting)?;
            }
        }
        let required = base.metadata.iter().filter(|(_, spec)| spec.required);
        for (key, spec) in required {
            if !self.settings.contains_key(key) {
                return Err(InvalidRecipe(format!(
                    "does not set {key}, which {} needs ({})",
                    self.base, spec.help
                )));
            }
        }
        self.check_literals(base)
    }

    /// A key of the base in a table `[set."http.body"]` would be sent as a member of the body. It was most likely added at the
    /// end of the file, which is where such a table is. Deeper ones, and those of an inline table, are meant as members.
    fn check_members(
        &self,
        key: &str,
        setting: &Setting,
        base: &PluginDescriptor,
    ) -> Result<(), InvalidRecipe> {
        let Setting::Json(Node::Object(object)) = setting else {
            return Ok(());
        };
        let misplaced = object
            .members
            .iter()
            .find(|(name, _)| self.tables.contains(key) && base.key(name).is_some());
        match misplaced {
            None => Ok(()),
            Some((name, _)) => Err(InvalidRecipe(format!(
                "[{SET}.\"{key}\"] has \"{name}\", which is a key of {}: write it under [{SET}], above [{SET}.\"{key}\"]; or, \
                 if it is meant as a member, write \"{key}\" as an inline table or as JSON text",
                self.base
            ))),
        }
    }

    fn in_setting(&self, key: &str, problem: &str) -> InvalidRecipe {
        let table = if self.texts.contains(key) { SET_TEXT } else { SET };
        in_table(table, key, problem)
    }

    /// Whether the text of this key is read as JSON: because of its type, or because a key `..._format` of the base says so.
    fn is_json_text(&self, base: &PluginDescriptor, key: &str) -> bool {
        if base
            .key(key)
            .is_some_and(|spec| spec.value_type == ValueType::Json)
        {
            return true;
        }
        let format_key = format!("{key}_format");
        let Some(format) = base.metadata.get(&format_key) else {
            return false;
        };
        let is_raw = match self.settings.get(&format_key) {
            Some(Setting::Text { template, .. }) => template.literal() == Some("raw"),
            _ => format.default.as_deref() == Some("raw"),
        };
        format.one_of.iter().any(|known| known == "json") && !is_raw
    }

    /// Why a template of this key, which is read as JSON, can't be text: a value could add members to it.
    fn no_text(&self, base: &PluginDescriptor, key: &str) -> String {
        if base
            .key(key)
            .is_some_and(|spec| spec.value_type == ValueType::Json)
        {
            return "is text in which values stand, and the key's type is json: write a table".to_owned();
        }
        let format = format!("{key}_format");
        let has_raw = base
            .key(&format)
            .is_some_and(|spec| spec.one_of.iter().any(|known| known == "raw"));
        let or_raw = match has_raw {
            true => format!(", or set \"{format}\" to \"raw\""),
            false => String::new(),
        };
        format!(
            "is text in which values stand, and {} reads it as JSON: write a table{or_raw}",
            self.base
        )
    }

    /// A key that the base needs is made of values that are always there.
    fn check_always_there(&self, key: &str, setting: &Setting) -> Result<(), InvalidRecipe> {
        for placeholder in setting.placeholders() {
            let optional = match &placeholder.name {
                Name::Metadata(name) => self
                    .descriptor
                    .metadata
                    .get(name)
                    .is_some_and(|spec| !spec.required && spec.default.is_none()),
                Name::Environment(_) => true,
                Name::Field(field) => !field.is_always_there(),
            };
            if optional && matches!(setting, Setting::Text { .. }) {
                let name = &placeholder.name;
                let problem = format!(
                    "is needed by {}, and {{{{{name}}}}} may have no value: make it required, or give it a default",
                    self.base
                );
                return Err(self.in_setting(key, &problem));
            }
        }
        Ok(())
    }

    /// Whether the invocation decides how the text of this key is read.
    fn is_format_open(&self, key: &str) -> bool {
        self.settings
            .get(&format!("{key}_format"))
            .is_some_and(|format| !format.placeholders().is_empty())
    }

    /// What has no placeholder is a value that the base takes.
    fn check_literals(&self, base: &PluginDescriptor) -> Result<(), InvalidRecipe> {
        let literals = self.settings.iter().filter_map(|(key, setting)| match setting {
            Setting::Text { template, .. } => Some((key.clone(), template.literal()?.to_owned())),
            Setting::Json(_) => None,
        });
        let literals: BTreeMap<String, String> = literals.collect();
        for (key, text) in &literals {
            if self.is_json_text(base, key)
                && !self.is_format_open(key)
                && let Some(error) = json::problem(text)
            {
                let problem = format!(
                    "has text that is not JSON ({error}), as which {} reads it",
                    self.base
                );
                return Err(self.in_setting(key, &problem));
            }
        }
        let problems = base.check_metadata(&literals).err().unwrap_or_default();
        match problems
            .iter()
            .find(|problem| literals.contains_key(&problem.key))
        {
            None => Ok(()),
            Some(problem) => {
                let problem = format!("is {}, and has to be {}", problem.found, problem.expected);
                Err(self.in_setting(problem_key(&problems), &problem))
            }
        }
    }

    fn unknown(&self, key: &str, base: &PluginDescriptor) -> String {
        if !key.contains('.') {
            return format!(
                "is not a key of {}: write a key with dots in quotes, as in \"http.url\" = \"..\"",
                self.base
            );
        }
        let meant = closest(key, base.metadata.keys().map(String::as_str))
            .map_or_else(String::new, |meant| format!("; did you mean \"{meant}\"?"));
        format!("is not a key of {}{meant}", self.base)
    }

    /// Whether a placeholder is a URL of the invocation's, which grants access to its host.
    pub(crate) fn is_url(descriptor: &PluginDescriptor, name: &Name, form: Form) -> bool {
        let Name::Metadata(key) = name else {
            return false;
        };
        form == Form::Plain
            && descriptor
                .metadata
                .get(key)
                .is_some_and(|spec| spec.value_type == ValueType::Url)
    }
}

/// Whether values stand beside text or beside each other. Spaces around a value are no text, unless it is to be a value of
/// the type json, which is made of the placeholder alone.
fn is_mixed(template: &Template, value_type: ValueType) -> bool {
    let is_space = |part: &Part| matches!(part, Part::Text(text) if text.trim().is_empty());
    match template.placeholders().count() {
        0 => false,
        1 if value_type == ValueType::Json => template.only_placeholder().is_none(),
        1 => !template
            .parts()
            .iter()
            .all(|part| is_space(part) || matches!(part, Part::Value(_))),
        _ => true,
    }
}

fn problem_key(problems: &[executor_runtime_protocol::MetadataProblem]) -> &str {
    problems.first().map_or("", |problem| problem.key.as_str())
}

/// A problem of the descriptor, in the words of the file that it was made of: `/metadata/build.ref/typ` is `typ` in the table
/// `[metadata."build.ref"]`.
fn in_file(problem: &Problem) -> String {
    let Some(place) = problem.pointer.strip_prefix("/metadata/") else {
        return problem.to_string();
    };
    let (key, within) = match place.split_once('/') {
        Some((key, within)) => (key, format!(" \"{within}\"")),
        None => (place, String::new()),
    };
    let Problem { found, expected, .. } = problem;
    format!(
        "[{METADATA}.\"{}\"]{}: found {found}, expected {expected}",
        printable(key),
        printable(&within)
    )
}

/// What is wrong with a base. Plugins have names with dashes, which kinds have not.
fn not_a_kind(base: &str) -> String {
    let hint = match RuntimeKind::new(&base.to_lowercase().replace('-', "_")) {
        Some(kind) => format!("; a kind is written like '{kind}'"),
        None => String::new(),
    };
    format!("base '{}' is not a runtime kind{hint}", base.escape_debug())
}

fn in_table(table: &str, key: &str, problem: &str) -> InvalidRecipe {
    InvalidRecipe(format!("[{table}] \"{key}\" {problem}"))
}

/// What the file has, as JSON has it.
fn json(value: toml::Value) -> Result<Json, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Float(number) => match serde_json::Number::from_f64(number) {
            Some(number) => Json::Number(number),
            None => return Err(format!("{number}, which JSON has no number for")),
        },
        toml::Value::Boolean(flag) => flag.into(),
        toml::Value::Datetime(time) => {
            return Err(format!(
                "the date or time {time}, which JSON does not have: write it as text, in quotes"
            ));
        }
        toml::Value::Array(items) => items.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(members) => Json::Object(
            members
                .into_iter()
                .map(|(name, member)| Ok((name, json(member)?)))
                .collect::<Result<_, String>>()?,
        ),
    })
}

/// An error of the TOML parser, with its line.
fn not_understood(text: &str, error: &toml::de::Error) -> String {
    let at = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = text.as_bytes()[..at]
        .iter()
        .filter(|&&byte| byte == b'\n')
        .count()
        + 1;
    let message = error.message().replace("unknown field", "unknown key");
    let message = message.replace("missing field", "missing key");
    if message.starts_with("missing key") {
        return format!("{message}: it stands at the top of the file, before any table");
    }
    if message == "duplicate key" {
        let place = text.lines().nth(line - 1).unwrap_or_default().trim();
        let again = match (
            place.starts_with('['),
            error.span().and_then(|span| text.get(span)),
        ) {
            (true, _) => format!("{place} is there already: put its keys under the first one"),
            (false, Some(key)) => format!("{key} is there already: a table has each key once"),
            (false, None) => message,
        };
        return format!("line {line}: {again}");
    }
    let mut names = message.split('`').skip(1).step_by(2);
    let hint = match names.next() {
        Some(unknown) if message.starts_with("unknown key") => match closest(unknown, names) {
            _ if unknown.contains('.') => format!("; a key of the base stands under [{SET}]"),
            Some(meant) => format!("; did you mean `{meant}`?"),
            None => String::new(),
        },
        _ => String::new(),
    };
    format!("line {line}: {message}{hint}")
}
