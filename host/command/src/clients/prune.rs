//! `prune`: has a host forget what ended long ago.

use super::block_on;
use crate::{Format, args::PruneOptions, print_json, style};
use anyhow::Result;
use executor_runtime_client::Pruned;
use std::process::ExitCode;

pub(crate) fn prune(options: &PruneOptions, format: Option<Format>) -> Result<ExitCode> {
    let client = options.server.client()?;
    let pruned = block_on(async { Ok(client.prune(options.older_than, options.captures).await?) })?;
    match Format::or_detect(format) {
        Format::Json => print_json(&pruned)?,
        Format::Human => {
            let text = style::stdout().wrap(&told(&pruned, options.captures), 0, "  ");
            crate::print(format!("{text}\n").as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn told(pruned: &Pruned, captures: bool) -> String {
    let runs = counted(pruned.runs, "run");
    let mut text = format!("removed {runs} from the journal");
    if captures {
        text.push_str(&format!(
            " and {} of their output",
            match pruned.captures {
                1 => "1 directory".to_owned(),
                count => format!("{count} directories"),
            }
        ));
    }
    if pruned.captures_kept > 0 {
        text.push_str(&format!(
            "; left {} whose directory is not, or not only, what the host has made",
            counted(pruned.captures_kept, "run")
        ));
    }
    text
}

fn counted(count: u64, noun: &str) -> String {
    match count {
        1 => format!("1 {noun}"),
        count => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_removed_is_told_in_words() {
        let pruned = |runs, captures, captures_kept| Pruned {
            runs,
            captures,
            captures_kept,
            more: serde_json::Map::new(),
        };
        assert_eq!(told(&pruned(1, 0, 0), false), "removed 1 run from the journal");
        assert_eq!(
            told(&pruned(3, 1, 2), true),
            "removed 3 runs from the journal and 1 directory of their output; left 2 runs whose directory is not, or \
             not only, what the host has made"
        );
    }
}
