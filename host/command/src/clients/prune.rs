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
    let mut text = match pruned.runs {
        1 => "removed 1 run from the journal".to_owned(),
        runs => format!("removed {runs} runs from the journal"),
    };
    if captures {
        text.push_str(&format!(" and {} of their output", directories(pruned.captures)));
    }
    if pruned.captures_kept > 0 {
        text.push_str(&format!(
            "; left {}, or files in them, that the host does not know as its own",
            directories(pruned.captures_kept)
        ));
    }
    text
}

fn directories(count: u64) -> String {
    match count {
        1 => "1 directory".to_owned(),
        count => format!("{count} directories"),
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
            "removed 3 runs from the journal and 1 directory of their output; left 2 directories, or files in \
             them, that the host does not know as its own"
        );
    }
}
