//! `logs`: what a run has printed, byte for byte.

use super::block_on;
use crate::{Unwritten, args::LogsOptions, live::Seen};
use anyhow::Result;
use executor_runtime_client::{Client, Output, OutputStream};
use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

pub(crate) fn logs(options: &LogsOptions) -> Result<ExitCode> {
    let client = options.server.client()?;
    block_on(async {
        if options.both {
            both(&client, &options.id, options.follow).await?;
            return Ok(ExitCode::SUCCESS);
        }
        let stream = match options.stderr {
            true => OutputStream::Stderr,
            false => OutputStream::Stdout,
        };
        let output = match options.follow {
            true => client.follow(&options.id, stream, options.offset),
            false => client.output(&options.id, stream, options.offset),
        };
        copy(output, io::stdout()).await?;
        Ok(ExitCode::SUCCESS)
    })
}

/// Writes stdout to stdout and stderr to stderr.
async fn both(client: &Client, id: &str, follow: bool) -> Result<()> {
    if follow {
        self::follow(client, id).await?;
        return Ok(());
    }
    copy(client.output(id, OutputStream::Stdout, 0), io::stdout()).await?;
    copy(client.output(id, OutputStream::Stderr, 0), io::stderr()).await?;
    Ok(())
}

/// The same, until the run has ended; returns what was written.
pub(super) async fn follow(client: &Client, id: &str) -> Result<Seen> {
    let of = |stream| client.follow(id, stream, 0);
    let (stdout, stderr) = tokio::try_join!(
        copy(of(OutputStream::Stdout), io::stdout()),
        copy(of(OutputStream::Stderr), io::stderr()),
    )?;
    let is_cut =
        |written: &Written, is_terminal: bool| is_terminal && written.last.is_some_and(|last| last != b'\n');
    Ok(Seen {
        bytes: Some([stdout.bytes, stderr.bytes]),
        within_line: is_cut(&stdout, io::stdout().is_terminal())
            || is_cut(&stderr, io::stderr().is_terminal()),
    })
}

/// What was written of a stream.
#[derive(Debug, Default)]
struct Written {
    bytes: u64,
    last: Option<u8>,
}

/// Writes all of it.
async fn copy(mut output: Output, mut to: impl Write) -> Result<Written> {
    let mut written = Written::default();
    while let Some(piece) = output.next().await? {
        to.write_all(&piece)
            .and_then(|()| to.flush())
            .map_err(Unwritten)?;
        written.bytes += piece.len() as u64;
        written.last = piece.last().copied();
    }
    Ok(written)
}
