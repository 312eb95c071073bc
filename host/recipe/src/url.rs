//! Templates of URLs, whose host no value decides unless it is a URL itself.

use crate::{
    document::Recipe,
    template::{Part, Placeholder, Template},
    value::Value,
};
use executor_runtime_protocol::PluginDescriptor;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Everything but what RFC 3986 calls unreserved.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Whether the host is the template's own, or that of a URL that an invocation gives.
///
/// # Errors
/// Why it is not.
pub(crate) fn check(template: &Template, descriptor: &PluginDescriptor) -> Result<(), String> {
    let mut parts = template.parts().iter();
    let next = |after: Option<&Part>| match after {
        None => true,
        Some(Part::Text(text)) => text.starts_with(['/', '?', '#']),
        Some(Part::Value(_)) => false,
    };
    match parts.next() {
        Some(Part::Text(text)) => {
            let after = text.split_once("://").map(|(_, after)| after);
            let is_host =
                after.is_some_and(|after| after.contains(['/', '?', '#']) || template.literal().is_some());
            match is_host {
                true => Ok(()),
                false => Err(
                    "does not begin with a whole host: write https://host/ before the first placeholder, or begin with \
                     a key of the type url"
                        .to_owned(),
                ),
            }
        }
        Some(Part::Value(placeholder)) => {
            let name = &placeholder.name;
            if !Recipe::is_url(descriptor, name, placeholder.form) {
                return Err(format!(
                    "begins with {{{{{name}}}}}, which is not a key of type url: only such a key can say which host is \
                     reached"
                ));
            }
            match next(parts.next()) {
                true => Ok(()),
                false => Err(format!(
                    "has something right after {{{{{name}}}}} that could change its host: begin it with /, ? or #"
                )),
            }
        }
        None => Ok(()),
    }
}

/// The URL that a template makes of values, in which each stays in its place. None where one has no value.
///
/// # Errors
/// The placeholder whose value can't stay there, and why.
pub(crate) fn fill(
    template: &Template,
    value: impl Fn(&Placeholder) -> Option<Value>,
) -> Result<Option<String>, (&Placeholder, &'static str)> {
    let mut url = String::new();
    let mut places = Vec::new();
    let parts = template.parts();
    for (index, part) in parts.iter().enumerate() {
        let placeholder = match part {
            Part::Text(text) => {
                url.push_str(text);
                continue;
            }
            Part::Value(placeholder) => placeholder,
        };
        let Some(value) = value(placeholder) else {
            return Ok(None);
        };
        let begins = url.len();
        match (index, parts.get(1)) {
            // Alone, it is the URL.
            (0, None) => url.push_str(value.text()),
            (0, Some(_)) if value.text().contains(['?', '#']) => {
                return Err((
                    placeholder,
                    "has a query or a fragment, after which no path can stand",
                ));
            }
            (0, Some(_)) => url.push_str(value.text().trim_end_matches('/')),
            _ => {
                url.extend(utf8_percent_encode(value.text(), ENCODED));
                places.push((placeholder, begins..url.len()));
            }
        }
    }
    match leaves_its_place(&url, &places) {
        Some(placeholder) => Err((
            placeholder,
            "would be a step to another place in the path, and not a part of it",
        )),
        None => Ok(Some(url)),
    }
}

/// The placeholder that makes a part of the path `.`, `..` or nothing.
fn leaves_its_place<'t>(
    url: &str,
    places: &[(&'t Placeholder, std::ops::Range<usize>)],
) -> Option<&'t Placeholder> {
    let path_end = url.find(['?', '#']).unwrap_or(url.len());
    places
        .iter()
        .filter(|(_, place)| place.end <= path_end)
        .find(|(_, place)| {
            let begins = url[..place.start].rfind('/').map_or(0, |slash| slash + 1);
            let ends = url[place.end..path_end]
                .find('/')
                .map_or(path_end, |slash| place.end + slash);
            let segment = percent_decode_str(&url[begins..ends]).collect::<Vec<u8>>();
            matches!(segment.as_slice(), b"" | b"." | b"..")
        })
        .map(|(placeholder, _)| *placeholder)
}
