//! What an invocation asks for, checked.

use crate::directory;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, ResourcesUlimits};
use executor_runtime_sdk::{Invocation, RunError};
use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

/// When the image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pull {
    Missing,
    Always,
    Never,
}

/// A run, as it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) image: String,
    pub(crate) platform: Option<String>,
    pub(crate) pull: Pull,
    pub(crate) credentials_file: Option<PathBuf>,
    /// It has an input payload, which is the command's stdin.
    pub(crate) has_input: bool,
    body: ContainerCreateBody,
}

fn invalid(what: impl Into<String>) -> RunError {
    RunError::rejected("invalid_metadata", what)
}

impl Plan {
    /// Reads the invocation, with what the plugin's config grants and sets.
    pub(crate) fn read(
        invocation: &Invocation,
        config: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, RunError> {
        let image = image(invocation.required("container.image")?)?;
        let flag = |key| Ok::<_, RunError>(invocation.boolean(key)?.unwrap_or(false));
        let positive = |key| invocation.integer(key);
        let network = network(
            invocation.text("container.network").unwrap_or("none"),
            config("networks").as_deref(),
        )?;
        let memory = positive("container.memory_bytes")?;
        let has_input = invocation.input_payload_path.is_some();
        let mut host = HostConfig {
            memory,
            // Swap would be more than was asked for.
            memory_swap: memory,
            nano_cpus: cpus(invocation.number("container.cpus")?)?,
            pids_limit: positive("container.pids")?,
            network_mode: Some(network),
            readonly_rootfs: Some(flag("container.read_only")?),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            ulimits: config("ulimits").as_deref().map(ulimits).transpose()?,
            mounts: Some(Vec::new()),
            ..HostConfig::default()
        };
        let mut working_dir = None;
        if invocation
            .boolean("container.mount_working_directory")?
            .unwrap_or(true)
        {
            let directory = &invocation.working_directory;
            if !Path::new(directory).is_dir() {
                return Err(RunError::rejected(
                    "cwd_not_found",
                    format!("the working directory '{directory}' is no directory"),
                ));
            }
            working_dir = Some(directory.clone());
            let read_only = flag("container.read_only_working_directory")?;
            host.mounts
                .get_or_insert_default()
                .push(mount(Path::new(directory), directory, read_only));
        }
        Ok(Self {
            image: image.clone(),
            platform: invocation.text("container.platform").map(str::to_owned),
            pull: match invocation.text("container.pull") {
                Some("always") => Pull::Always,
                Some("never") => Pull::Never,
                _ => Pull::Missing,
            },
            credentials_file: invocation
                .text("container.credentials_file")
                .map(str::to_owned)
                .or_else(|| config("credentials_file"))
                .map(PathBuf::from),
            has_input,
            body: ContainerCreateBody {
                image: Some(image),
                cmd: Some(invocation.command.clone()),
                entrypoint: entrypoint(invocation)?,
                env: Some(environment(invocation)?),
                user: invocation.text("container.user").map(str::to_owned),
                working_dir,
                open_stdin: Some(has_input),
                stdin_once: Some(has_input),
                attach_stdin: Some(has_input),
                attach_stdout: Some(true),
                attach_stderr: Some(true),
                host_config: Some(host),
                ..ContainerCreateBody::default()
            },
        })
    }

    /// What the daemon is asked to create.
    pub(crate) fn body(&self, run_directory: &Path, labels: HashMap<String, String>) -> ContainerCreateBody {
        let mut body = self.body.clone();
        let mounts = body
            .host_config
            .get_or_insert_default()
            .mounts
            .get_or_insert_default();
        mounts.push(mount(
            &directory::artifacts(run_directory),
            directory::INSIDE,
            false,
        ));
        body.labels = Some(labels);
        body
    }
}

/// A name that is safe in a URL's path, as all names of images are.
fn image(name: &str) -> Result<String, RunError> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-/:@".contains(&byte);
    let is_name = name
        .bytes()
        .next()
        .is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(plain)
        && !name
            .split('/')
            .any(|part| part.is_empty() || part.starts_with('.'));
    if !is_name {
        return Err(invalid(format!(
            "metadata key 'container.image': '{}' is no name of an image",
            name.escape_debug()
        )));
    }
    Ok(name.to_owned())
}

fn network(name: &str, granted: Option<&str>) -> Result<String, RunError> {
    // An empty name is the daemon's word for its default network.
    let mut granted = granted
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|network| !network.is_empty());
    if name == "none" || granted.any(|network| network == name) {
        return Ok(name.to_owned());
    }
    Err(RunError::rejected(
        "network_not_granted",
        format!(
            "network '{}' is not granted: the operator names it in [plugins.container.config] networks",
            name.escape_debug()
        ),
    ))
}

fn cpus(number: Option<f64>) -> Result<Option<i64>, RunError> {
    let Some(number) = number else { return Ok(None) };
    let nano = (number * 1e9).round();
    if !(1e6..=1e15).contains(&nano) {
        return Err(invalid(format!(
            "metadata key 'container.cpus': {number} is not between 0.001 and 1000000"
        )));
    }
    // In these bounds it is a whole number of 64 bits.
    Ok(Some(nano as i64))
}

/// `name=soft:hard`, separated by commas.
fn ulimits(text: &str) -> Result<Vec<ResourcesUlimits>, RunError> {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items
        .map(|item| {
            let parsed = item.split_once('=').and_then(|(name, limits)| {
                let (soft, hard) = limits.split_once(':').unwrap_or((limits, limits));
                Some(ResourcesUlimits {
                    name: Some(name.to_owned()),
                    soft: Some(soft.parse().ok()?),
                    hard: Some(hard.parse().ok()?),
                })
            });
            parsed.ok_or_else(|| {
                RunError::failed(
                    "plugin_config",
                    format!("the plugin's config: ulimits: '{item}' is not like nofile=1024:4096"),
                )
            })
        })
        .collect()
}

fn entrypoint(invocation: &Invocation) -> Result<Option<Vec<String>>, RunError> {
    let Some(value) = invocation.json("container.entrypoint")? else {
        return Ok(None);
    };
    match serde_json::from_value::<Vec<String>>(value) {
        // For the API an empty text means none; an empty list, the image's.
        Ok(parts) if parts.is_empty() => Ok(Some(vec![String::new()])),
        Ok(parts) => Ok(Some(parts)),
        Err(_) => Err(invalid(
            "metadata key 'container.entrypoint' is not a list of strings",
        )),
    }
}

fn environment(invocation: &Invocation) -> Result<Vec<String>, RunError> {
    let mut variables = vec![
        format!("RXP_INVOCATION_ID={}", invocation.invocation_id),
        format!("RXP_ARTIFACTS_DIR={}", directory::INSIDE),
    ];
    for (key, name) in [("traceparent", "TRACEPARENT"), ("tracestate", "TRACESTATE")] {
        if let Some(value) = invocation
            .text(key)
            .filter(|_| !invocation.environment.contains_key("TRACEPARENT"))
        {
            variables.push(format!("{name}={value}"));
        }
    }
    for (name, value) in &invocation.environment {
        if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
            return Err(RunError::rejected(
                "invalid_environment",
                format!("the variable '{}' can't be set", name.escape_debug()),
            ));
        }
        variables.push(format!("{name}={value}"));
    }
    Ok(variables)
}

fn mount(source: &Path, target: &str, read_only: bool) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        read_only: Some(read_only),
        ..Mount::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(invocation: &Invocation, config: &[(&str, &str)]) -> Result<Plan, RunError> {
        Plan::read(invocation, |wanted| {
            let found = config.iter().find(|(key, _)| *key == wanted);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    fn invocation() -> Invocation {
        Invocation::new("container").with("container.image", "alpine:3")
    }

    #[test]
    fn what_is_not_asked_for_is_not_given() {
        let plan = plan(&invocation(), &[]).unwrap();
        let host = plan.body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.privileged, None);
        assert_eq!((host.memory, host.nano_cpus, host.pids_limit), (None, None, None));
        assert_eq!(host.security_opt.unwrap(), ["no-new-privileges"]);
        assert_eq!(plan.pull, Pull::Missing);
    }

    #[test]
    fn a_network_is_the_operators_to_grant() {
        let wanted = invocation().with("container.network", "host");
        let refused = plan(&wanted, &[("networks", "bridge, hosted")]).unwrap_err();
        assert_eq!(refused.kind(), "network_not_granted");
        assert!(plan(&wanted, &[("networks", "bridge, host")]).is_ok());
        assert!(
            plan(
                &invocation().with("container.network", "container:x"),
                &[("networks", "")]
            )
            .is_err()
        );
    }

    #[test]
    fn what_is_no_name_of_an_image_reaches_no_daemon() {
        for name in [
            "",
            "a b",
            "a?b",
            "../x",
            "a/../../containers/json",
            "a//b",
            "-x",
            "a%2fb",
            "a\n",
        ] {
            let refused = plan(&invocation().with("container.image", name), &[]);
            assert_eq!(refused.unwrap_err().kind(), "invalid_metadata", "{name:?}");
        }
        for name in [
            "alpine",
            "localhost:5000/a/b_c-d.e:v1.2",
            "a@sha256:0123456789abcdef",
            "sha256:0123",
        ] {
            assert!(
                plan(&invocation().with("container.image", name), &[]).is_ok(),
                "{name}"
            );
        }
    }

    #[test]
    fn limits_are_the_daemons() {
        let wanted = invocation()
            .with("container.memory_bytes", "67108864")
            .with("container.cpus", "1.5")
            .with("container.pids", "20");
        let host = plan(&wanted, &[("ulimits", "nofile=10:20, core=0")])
            .unwrap()
            .body
            .host_config
            .unwrap();
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(67_108_864), Some(67_108_864))
        );
        assert_eq!((host.nano_cpus, host.pids_limit), (Some(1_500_000_000), Some(20)));
        let ulimits = host.ulimits.unwrap();
        assert_eq!((ulimits[0].soft, ulimits[0].hard), (Some(10), Some(20)));
        assert_eq!((ulimits[1].soft, ulimits[1].hard), (Some(0), Some(0)));
        assert!(plan(&invocation().with("container.cpus", "0"), &[]).is_err());
        assert!(plan(&invocation(), &[("ulimits", "nofile")]).is_err());
    }
}
