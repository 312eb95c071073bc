//! Serving, from the first connection to the last answer.

use crate::{
    api::{Api, Phase, Shared},
    auth::{self, Guard},
    connection,
    listen::{Listener, Notifier, Plan},
    options::Options,
    routes,
};
use anyhow::{Context, Result, bail};
use axum::{
    Router,
    extract::{Request, State},
    middleware::{self, Next},
    response::Response,
};
use executor_runtime::{CancelReason, Host, Termination};
use executor_runtime_service::{Attempts, Journal, Runs, RunsOptions, Service};
use sd_notify::NotifyState;
use std::{
    io::{IsTerminal, Write},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Connections at one place, at most. Further ones wait until one ends.
const MAX_CONNECTIONS: usize = 4096;
/// The same, as a share of the descriptors that this process may have: one of so many.
const SHARE_OF_DESCRIPTORS: u64 = 4;
/// How long to wait where a connection can't be accepted, for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(5);
/// How long runs that were killed may take to be recorded.
const LAST_RESULTS: Duration = Duration::from_secs(5);

/// Serves until a signal ends it; returns the exit status.
///
/// # Errors
/// Why it can't serve.
pub fn serve(mut options: Options) -> Result<u8> {
    let (plan, notifier) = Plan::new(&options.endpoints)?;
    let directory = crate::state::directory(options.state_directory.as_deref())?;
    let start = std::mem::replace(&mut options.start, Box::new(|| bail!("it was started before")));
    let (host, runtime) = start()?;
    let journal = Journal::open(&directory)?;
    let served = runtime.block_on(run(&options, plan, &notifier, host, journal));
    // Work that was given up does not hold this process.
    runtime.shutdown_background();
    served
}

async fn run(options: &Options, plan: Plan, notifier: &Notifier, host: Host, journal: Journal) -> Result<u8> {
    // A terminal that is closed ends what it had started; to a service it is the request to read its files again.
    let termination = match std::io::stderr().is_terminal() {
        true => Termination::watch(),
        false => Termination::watch_all_but_hangup(),
    };
    let termination = termination.context("signals can't be watched for")?;
    // Before any run goes on: another host may be there already.
    let tls = plan.tls();
    let listeners = plan.open().await?;
    let places: Vec<_> = listeners.iter().map(ToString::to_string).collect();
    let service = Service::new(host, options.limits.clone());
    let queue = RunsOptions {
        max_queued: options.max_queued,
        attempts: Attempts::default(),
    };
    let changes = (options.follow_changes)(service.clone());
    let runs = Runs::open(service, journal, queue).await?;
    let housekeeping = tokio::spawn({
        let (runs, retention) = (runs.clone(), options.retention);
        async move {
            let certificates = async {
                match &tls {
                    Some(tls) => tls.follow_changes().await,
                    None => std::future::pending().await,
                }
            };
            tokio::join!(changes, runs.retain(retention), certificates);
        }
    });
    let (phase, watched) = watch::channel(Phase::Serving);
    let api = Arc::new(Shared::new(runs.clone(), watched));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(
            listener,
            Arc::clone(&api),
            options.endpoints.allow_hosts.clone(),
        ));
    }
    tell(&format!("serving on {}", places.join(", ")));
    notifier.tell(&NotifyState::Ready);
    let status = until_told(options.drain, &runs, &phase, notifier, &termination).await;
    // Clients that wait are answered now.
    let _ = phase.send(Phase::Ended);
    tokio::select! {
        _ = timeout(LAST_ANSWERS, async { while accepting.join_next().await.is_some() {} }) => {}
        () = termination.token().raised(CancelReason::Immediate) => {}
    }
    housekeeping.abort();
    // Nothing is left of the runs; the helper processes go now.
    drop(runs.service().host().shut_down());
    Ok(status)
}

/// Waits for a signal, and then for the runs. Returns the exit status.
async fn until_told(
    drain: bool,
    runs: &Runs,
    phase: &watch::Sender<Phase>,
    notifier: &Notifier,
    termination: &Termination,
) -> u8 {
    termination.token().raised(CancelReason::Requested).await;
    let _ = phase.send(Phase::Closing);
    notifier.tell(&NotifyState::Stopping);
    runs.close();
    let running = runs.counts().running;
    let s = if running == 1 { "" } else { "s" };
    if drain {
        tell(&format!(
            "ending once {running} run{s} ended; a second signal ends at once"
        ));
    } else {
        tell(&format!(
            "ending: {running} run{s} cancelled; a second signal ends at once"
        ));
        runs.cancel_running(CancelReason::Requested);
    }
    tokio::select! {
        biased;
        () = termination.token().raised(CancelReason::Immediate) => {}
        () = runs.idle() => return 0,
    }
    runs.cancel_running(CancelReason::Immediate);
    // What can't be recorded now is for the next host to find out.
    if runs.trouble().is_none() {
        let _ = timeout(LAST_RESULTS, runs.idle()).await;
    }
    let signal = termination.signal().unwrap_or(libc::SIGTERM);
    u8::try_from(128 + signal).unwrap_or(1)
}

/// Tells a person something. There is no one to tell if that fails.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// Accepts connections until this process ends, and waits for them.
async fn accept(listener: Listener, api: Api, allow_hosts: Vec<String>) {
    let router = router(&listener, Arc::clone(&api), &allow_hosts);
    let slots = Arc::new(Semaphore::new(max_connections()));
    let mut connections = JoinSet::new();
    let mut ending = api.ending();
    loop {
        // Those that have ended are let go of.
        while connections.try_join_next().is_some() {}
        let next = async {
            let slot = Arc::clone(&slots).acquire_owned().await;
            (slot, listener.accept().await)
        };
        let (slot, accepted) = tokio::select! {
            next = next => next,
            () = ending.reached() => break,
        };
        match accepted {
            Ok(Some(incoming)) => {
                let served = connection::serve(incoming, router.clone(), api.ending());
                connections.spawn(async move {
                    served.await;
                    drop(slot);
                });
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("a connection can't be accepted: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    // Its file goes, so that no one comes any more.
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The routes, and what a request has to have to get there.
fn router(listener: &Listener, api: Api, allow_hosts: &[String]) -> Router {
    let routes = routes::all().router.with_state(Arc::clone(&api));
    let guarded = match listener {
        Listener::Unix { .. } => routes.layer(middleware::from_fn(auth::local)),
        Listener::Tcp { address, token, .. } => {
            let guard = Arc::new(Guard::new(Arc::clone(token), *address, allow_hosts));
            routes.layer(middleware::from_fn_with_state(guard, auth::guarded))
        }
    };
    guarded.layer(middleware::from_fn_with_state(api, count))
}

async fn count(State(api): State<Api>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    api.requests.count(response.status().as_u16());
    response
}

fn max_connections() -> usize {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` is valid.
    let got = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    let share = match got {
        0 => usize::try_from(limit.rlim_cur / SHARE_OF_DESCRIPTORS).unwrap_or(MAX_CONNECTIONS),
        _ => MAX_CONNECTIONS,
    };
    share.clamp(16, MAX_CONNECTIONS)
}
