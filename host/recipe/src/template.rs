//! Text with `{{placeholders}}`.

use std::fmt;

/// Text in which placeholders stand for values of an invocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// As it is.
    Text(String),
    Value(Placeholder),
}

/// `{{name}}`, or `{{name|form}}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Placeholder {
    pub(crate) name: Name,
    pub(crate) form: Form,
}

/// What a placeholder stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Name {
    /// A metadata key that the recipe declares.
    Metadata(String),
    /// A field of the invocation.
    Field(Field),
    /// One of the invocation's environment variables.
    Environment(String),
}

/// The fields of an invocation that a template may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    InvocationId,
    RuntimeName,
    WorkingDirectory,
    Command,
    Environment,
    TimeoutSeconds,
}

impl Field {
    const ALL: [(&str, Self); 6] = [
        ("command", Self::Command),
        ("environment", Self::Environment),
        ("invocation_id", Self::InvocationId),
        ("runtime_name", Self::RuntimeName),
        ("timeout_seconds", Self::TimeoutSeconds),
        ("working_directory", Self::WorkingDirectory),
    ];

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find_map(|(known, field)| (*known == name).then_some(*field))
    }

    /// Whether every invocation has it.
    pub(crate) fn is_always_there(self) -> bool {
        self != Self::TimeoutSeconds
    }

    fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find_map(|(name, field)| (*field == self).then_some(*name))
            .unwrap_or_default()
    }
}

/// How a value is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As its place asks for.
    Plain,
    /// As words of a POSIX shell.
    Shell,
    /// As JSON text.
    Json,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Metadata(key) => f.write_str(key),
            Self::Field(field) => f.write_str(field.name()),
            Self::Environment(name) => write!(f, "environment.{name}"),
        }
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let form = match self.form {
            Form::Plain => "",
            Form::Shell => "|shell",
            Form::Json => "|json",
        };
        write!(f, "{{{{{}{form}}}}}", self.name)
    }
}

/// As it may be written in a recipe.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Value(placeholder) => placeholder.fmt(f),
        })
    }
}

impl Template {
    /// Text without placeholders, whatever stands in it.
    pub(crate) fn of_text(text: &str) -> Self {
        Self(vec![Part::Text(text.to_owned())])
    }

    /// Reads the text of a template.
    ///
    /// # Errors
    /// What is wrong with a placeholder.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, inside)) = rest.split_once("{{") {
            if !before.is_empty() {
                parts.push(Part::Text(before.to_owned()));
            }
            let (inner, after) = inside
                .split_once("}}")
                .ok_or_else(|| format!("a placeholder that is not closed: {{{{{}", clipped(inside)))?;
            parts.push(Part::Value(Placeholder::parse(inner)?));
            rest = after;
        }
        if !rest.is_empty() || parts.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self(parts))
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.0
    }

    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Value(placeholder) => Some(placeholder),
            Part::Text(_) => None,
        })
    }

    /// The placeholder that is all of it.
    pub(crate) fn only_placeholder(&self) -> Option<&Placeholder> {
        match self.0.as_slice() {
            [Part::Value(placeholder)] => Some(placeholder),
            _ => None,
        }
    }

    /// Its text, if it has no placeholder.
    pub(crate) fn literal(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }
}

impl Placeholder {
    fn parse(inner: &str) -> Result<Self, String> {
        let (name, form) = match inner.split_once('|') {
            None => (inner, Form::Plain),
            Some((name, form)) => match form.trim() {
                "shell" => (name, Form::Shell),
                "json" => (name, Form::Json),
                other => {
                    return Err(format!(
                        "the form '{}' in {{{{{}}}}}; the forms are shell and json",
                        clipped(other),
                        clipped(inner)
                    ));
                }
            },
        };
        let name = name.trim();
        let name = if let Some(variable) = name.strip_prefix("environment.") {
            Name::Environment(variable.to_owned())
        } else if let Some(field) = Field::named(name) {
            Name::Field(field)
        } else if name.contains('.') {
            Name::Metadata(name.to_owned())
        } else {
            let fields: Vec<_> = Field::ALL.iter().map(|(name, _)| *name).collect();
            return Err(format!(
                "the unknown placeholder {{{{{}}}}}; there are {}, environment.NAME, and the keys under [metadata]",
                clipped(inner),
                fields.join(", ")
            ));
        };
        Ok(Self { name, form })
    }
}

/// The beginning of a text, for messages.
fn clipped(text: &str) -> String {
    text.chars()
        .take(40)
        .collect::<String>()
        .escape_debug()
        .to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(name: Name, form: Form) -> Part {
        Part::Value(Placeholder { name, form })
    }

    #[test]
    fn placeholders_stand_between_text() {
        let template = Template::parse("a{{ my.key }}}b {{command|shell}}").unwrap();
        assert_eq!(
            template.parts(),
            [
                Part::Text("a".to_owned()),
                value(Name::Metadata("my.key".to_owned()), Form::Plain),
                Part::Text("}b ".to_owned()),
                value(Name::Field(Field::Command), Form::Shell),
            ]
        );
        assert_eq!(Template::parse("").unwrap().literal(), Some(""));
        assert_eq!(Template::parse("{run_id}}").unwrap().literal(), Some("{run_id}}"));
        let one = Template::parse("{{environment.HOME | json}}").unwrap();
        let only = one.only_placeholder().unwrap();
        assert_eq!(only.name, Name::Environment("HOME".to_owned()));
        assert_eq!(only.form, Form::Json);
    }

    #[test]
    fn what_is_no_placeholder_is_told() {
        for (text, words) in [
            ("x{{a.b", "not closed: {{a.b"),
            (
                "{{nothing}}",
                "the unknown placeholder {{nothing}}; there are command, environment,",
            ),
            (
                "{{command|xml}}",
                "the form 'xml' in {{command|xml}}; the forms are shell and json",
            ),
            ("{{}}", "the unknown placeholder {{}}"),
        ] {
            let problem = Template::parse(text).unwrap_err();
            assert!(problem.contains(words), "{problem}");
        }
    }
}
