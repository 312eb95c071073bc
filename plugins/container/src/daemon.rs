//! The daemon: where it is, and what goes wrong with it.

use bollard::{
    API_DEFAULT_VERSION, Docker,
    errors::Error,
    query_parameters::{KillContainerOptions, RemoveContainerOptions},
};
use std::{env, fmt, path::Path};

/// How long the daemon may take to begin an answer, in seconds: as long as it takes to pull an image. A run that is told to
/// stop does not wait for it.
const ANSWER_SECONDS: u64 = 24 * 3600;

/// Where the daemon is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A Unix socket.
    Socket(String),
    /// A TCP address, `host:port`. Nothing is encrypted.
    Tcp(String),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{path}"),
            Self::Tcp(host) => write!(f, "tcp://{host}"),
        }
    }
}

/// Why the daemon does not do what it was asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum Trouble {
    /// It has answered, with this code.
    #[error("{message}")]
    Refused { code: u16, message: String },
    /// It can't be reached, or the connection broke.
    #[error("{0}")]
    Unreachable(String),
    /// It is not to be found.
    #[error("{0}")]
    NoAddress(String),
}

impl Trouble {
    /// There is no such container, image or network.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Refused { code: 404, .. })
    }

    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, Self::Refused { .. })
    }
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::DockerResponseServerError {
                status_code: code,
                message,
            } => Self::Refused {
                code,
                message: message.trim().to_owned(),
            },
            Error::DockerStreamError { error } => Self::Refused {
                code: 500,
                message: error.trim().to_owned(),
            },
            // Such as a state that only one daemon knows.
            unreadable @ Error::JsonDataError { .. } => Self::Refused {
                code: 500,
                message: unreadable.to_string(),
            },
            other => Self::Unreachable(with_causes(&other)),
        }
    }
}

/// An error with what caused it: the client's own words are few.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

impl Address {
    /// The one that the plugin's config names (`host`), else `$DOCKER_HOST`, else the first socket that is there.
    pub(crate) fn choose(configured: Option<String>) -> Result<Self, Trouble> {
        let named = configured.or_else(|| env::var("DOCKER_HOST").ok().filter(|host| !host.is_empty()));
        if let Some(named) = named {
            return Self::parse(&named);
        }
        let rootless = env::var("XDG_RUNTIME_DIR").map(|folder| format!("{folder}/podman/podman.sock"));
        let sockets = rootless
            .into_iter()
            .chain(["/run/podman/podman.sock", "/var/run/docker.sock"].map(str::to_owned));
        let mut looked_for = Vec::new();
        for socket in sockets {
            if Path::new(&socket).exists() {
                return Ok(Self::Socket(socket));
            }
            looked_for.push(socket);
        }
        Err(Trouble::NoAddress(format!(
            "there is no daemon: set DOCKER_HOST, or start one of podman or Docker (looked for {})",
            looked_for.join(", ")
        )))
    }

    pub(crate) fn parse(text: &str) -> Result<Self, Trouble> {
        match text.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => Ok(Self::Socket(path.to_owned())),
            Some(("tcp" | "http", host)) if !host.is_empty() => {
                Ok(Self::Tcp(host.trim_end_matches('/').to_owned()))
            }
            _ => Err(Trouble::NoAddress(format!(
                "the daemon's address '{}' can't be used: it is unix:///path/of/socket or tcp://host:port",
                text.escape_debug()
            ))),
        }
    }

    /// A client of a daemon that answers.
    pub(crate) async fn connect(&self) -> Result<Docker, Trouble> {
        let docker = match self {
            Self::Socket(path) => Docker::connect_with_unix(path, ANSWER_SECONDS, API_DEFAULT_VERSION),
            Self::Tcp(host) => {
                Docker::connect_with_http(&format!("tcp://{host}"), ANSWER_SECONDS, API_DEFAULT_VERSION)
            }
        };
        let at = |trouble: Trouble| match trouble {
            Trouble::Unreachable(why) => {
                Trouble::Unreachable(format!("the daemon at {self} can't be reached: {why}"))
            }
            other => other,
        };
        let docker = docker.map_err(|error| at(error.into()))?;
        // The client names no version in its requests, so a daemon answers by its own.
        docker.ping().await.map_err(|error| at(error.into()))?;
        Ok(docker)
    }
}

/// Sends a signal to a container.
pub(crate) async fn signal(docker: &Docker, name: &str, signal: &str) -> Result<(), Trouble> {
    let options = KillContainerOptions {
        signal: signal.to_owned(),
    };
    docker
        .kill_container(name, Some(options))
        .await
        .map_err(Trouble::from)
}

/// Kills and removes a container, with its volumes; whether it was there.
pub(crate) async fn remove(docker: &Docker, name: &str) -> Result<bool, Trouble> {
    match signal(docker, name, "KILL").await {
        Err(trouble) if trouble.is_missing() => return Ok(false),
        // One that does not run is not to be killed.
        Ok(()) | Err(Trouble::Refused { .. }) => {}
        Err(trouble) => return Err(trouble),
    }
    remove_ended(docker, name).await
}

/// Removes a container that has ended; whether it was there.
pub(crate) async fn remove_ended(docker: &Docker, name: &str) -> Result<bool, Trouble> {
    let options = RemoveContainerOptions {
        force: true,
        v: true,
        ..RemoveContainerOptions::default()
    };
    match docker
        .remove_container(name, Some(options))
        .await
        .map_err(Trouble::from)
    {
        Ok(()) => Ok(true),
        Err(trouble) if trouble.is_missing() => Ok(false),
        // It is being removed already.
        Err(Trouble::Refused { code: 409, .. }) => Ok(true),
        Err(trouble) => Err(trouble),
    }
}
