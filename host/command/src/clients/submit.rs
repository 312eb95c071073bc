//! `submit`: hands an invocation to a host that serves.

use super::{block_on, logs, progress};
use crate::{
    Format,
    args::SubmitOptions,
    exit,
    live::Seen,
    print, print_json, prompt,
    run::{self, View},
    shown, style,
};
use anyhow::{Context, Result, bail};
use executor_runtime::protocol::RuntimeInvocation;
use executor_runtime_client::{Client, ClientError, Submitted, Waited};
use std::{
    io::{self, IsTerminal},
    process::ExitCode,
};

pub(crate) fn submit(options: &SubmitOptions, format: Option<Format>) -> Result<ExitCode> {
    let view = view(options, format)?;
    let shows_answer = view.follow && !view.quiet;
    let Some(given) = prompt::given(&options.source, &options.prompt, None, shows_answer)? else {
        return Ok(exit::UNUSABLE.into());
    };
    let mut invocation = given.invocation;
    make_absolute(&mut invocation)?;
    if options.source.print_invocation {
        print_json(&invocation)?;
        return Ok(ExitCode::SUCCESS);
    }
    let client = options.server.client()?;
    block_on(async {
        let submitted = client.submit(&invocation, options.queue_timeout).await?;
        if !options.wait && !options.follow {
            tell(&submitted, view.format)?;
            return Ok(ExitCode::SUCCESS);
        }
        if view.has_notes() && view.format == Format::Human {
            note_id(&submitted);
        }
        let code = wait(&client, &invocation, &view, options.propagate_exit_code).await?;
        Ok(code.into())
    })
}

/// With `--follow` stdout is the run's: on a terminal the summary comes after it, elsewhere only failures are told.
fn view(options: &SubmitOptions, format: Option<Format>) -> Result<View> {
    if !options.follow {
        return Ok(View {
            format: Format::or_detect(format),
            follow: false,
            quiet: false,
        });
    }
    if format == Some(Format::Json) {
        bail!(
            "--follow writes the output of the run to stdout, where the JSON would be; give --wait instead"
        );
    }
    Ok(View {
        format: Format::Human,
        follow: true,
        quiet: !io::stdout().is_terminal(),
    })
}

/// The host has another directory. What is relative is relative to ours, as in `run`.
fn make_absolute(invocation: &mut RuntimeInvocation) -> Result<()> {
    let paths = [
        Some(&mut invocation.working_directory),
        invocation.input_payload_path.as_mut(),
        invocation.output_result_path.as_mut(),
        invocation.artifact_directory.as_mut(),
    ];
    for path in paths.into_iter().flatten().filter(|path| !path.is_empty()) {
        let absolute = std::path::absolute(&*path).context("the current directory can't be found")?;
        let Some(text) = absolute.to_str() else {
            bail!(
                "the path '{}' can't be written as JSON because it is not valid UTF-8",
                absolute.display()
            );
        };
        *path = text.to_owned();
    }
    Ok(())
}

fn tell(submitted: &Submitted, format: Format) -> Result<()> {
    let run = &submitted.run;
    if format == Format::Json {
        return print_json(run);
    }
    if !submitted.is_new {
        say!("note: the host has had this run already ({})", run.status);
    }
    print(format!("{}\n", shown::value(&run.invocation_id)).as_bytes())?;
    Ok(())
}

/// Tells a person what the run goes by.
fn note_id(submitted: &Submitted) {
    let style = style::stderr();
    let id = shown::value(&submitted.run.invocation_id);
    let text = format!("submitted {id}; Ctrl-C ends this command, and not the run");
    tell!("{}", style.wrap(&text, 0, "  "));
}

/// Waits for the end of the run and prints what is to be printed; tells how this process exits.
async fn wait(client: &Client, invocation: &RuntimeInvocation, view: &View, propagate: bool) -> Result<u8> {
    let id = &invocation.invocation_id;
    let ended = async {
        let seen = match view.follow {
            true => followed(client, id).await?,
            false => Seen::default(),
        };
        anyhow::Ok((client.wait(id, None).await?, seen))
    };
    // A program shows its progress itself.
    let kind = invocation.runtime_kind.as_str();
    let (waited, seen) = if view.has_notes() && view.format == Format::Human && kind != "subprocess" {
        progress::beside(client, id, kind, ended).await?
    } else {
        ended.await?
    };
    match waited {
        Waited::Ended(result) => Ok(run::delivered(&result, None, propagate, || {
            run::print(&result, invocation.artifact_directory.as_deref(), view, seen)
        })),
        // It was waited for without a limit.
        Waited::Unfinished(_) => Ok(exit::UNFINISHED),
    }
}

/// Shows the output of the run; nothing if it keeps none.
async fn followed(client: &Client, id: &str) -> Result<Seen> {
    match logs::follow(client, id).await {
        Ok(seen) => Ok(seen),
        Err(error) => match error.downcast_ref::<ClientError>() {
            Some(ClientError::Refused { problem, .. }) if problem.status == 404 => Ok(Seen::default()),
            _ => Err(error),
        },
    }
}
