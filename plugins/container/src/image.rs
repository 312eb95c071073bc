//! Images: pulling them, with credentials, and what one is.

use crate::{daemon::Trouble, plan::Plan};
use bollard::{
    Docker,
    auth::DockerCredentials,
    query_parameters::{CreateImageOptions, InspectContainerOptions},
};
use executor_runtime_sdk::{Context, RunError};
use futures_util::StreamExt;
use serde_json::Value;
use std::{fs, path::Path};

/// The registry of an image that names none.
const DEFAULT_REGISTRY: &str = "docker.io";
/// What `docker login` calls that one.
const DEFAULT_REGISTRY_KEY: &str = "https://index.docker.io/v1/";

/// Pulls the image.
pub(crate) async fn pull(docker: &Docker, plan: &Plan, ctx: &Context) -> Result<(), RunError> {
    let credentials = match &plan.credentials_file {
        Some(file) => credentials(file, &plan.image)?,
        None => None,
    };
    let has_tag = plan.image.contains('@')
        || plan
            .image
            .rsplit('/')
            .next()
            .is_some_and(|name| name.contains(':'));
    let options = CreateImageOptions {
        from_image: Some(plan.image.clone()),
        // Without one, all that there are would be pulled.
        tag: (!has_tag).then(|| "latest".to_owned()),
        platform: plan.platform.clone().unwrap_or_default(),
        ..CreateImageOptions::default()
    };
    ctx.progress(None, &format!("pulling {}", plan.image));
    let mut pulling = std::pin::pin!(docker.create_image(Some(options), None, credentials));
    while let Some(step) = pulling.next().await {
        match step.map_err(Trouble::from) {
            Ok(step) => {
                if let Some(status) = step.status.filter(|status| !status.trim().is_empty()) {
                    ctx.progress(None, &format!("pulling {}: {}", plan.image, status.trim()));
                }
            }
            Err(trouble) => return Err(not_pulled(&plan.image, &trouble)),
        }
    }
    Ok(())
}

fn not_pulled(image: &str, trouble: &Trouble) -> RunError {
    let text = format!("image '{image}' can't be pulled: {trouble}");
    let lower = text.to_lowercase();
    let is_missing = trouble.is_missing()
        || ["manifest unknown", "name unknown"]
            .iter()
            .any(|words| lower.contains(words));
    match trouble {
        _ if is_missing => RunError::rejected("image_not_found", text),
        Trouble::Refused { .. } => RunError::failed("pull_failed", text),
        _ => RunError::failed("daemon_lost", text),
    }
}

/// The credentials for an image's registry, out of a file as `docker login` and `podman login` write it; None if it has none.
fn credentials(file: &Path, image: &str) -> Result<Option<DockerCredentials>, RunError> {
    let broken = |why: &dyn std::fmt::Display| {
        RunError::rejected(
            "credentials_file",
            format!("the credentials file '{}' can't be used: {why}", file.display()),
        )
    };
    let text = fs::read(file).map_err(|error| broken(&error))?;
    // Not the parser's words: they may repeat what is in the file.
    let json: Value = serde_json::from_slice(&text).map_err(|_| broken(&"it is not JSON"))?;
    let registry = registry(image);
    let keys = match registry {
        DEFAULT_REGISTRY => vec![DEFAULT_REGISTRY_KEY, DEFAULT_REGISTRY, "index.docker.io"],
        other => vec![other],
    };
    let Some(entry) = keys.into_iter().find_map(|key| json["auths"].get(key)) else {
        return Ok(None);
    };
    let field = |name: &str| entry[name].as_str().map(str::to_owned);
    Ok(Some(
        DockerCredentials {
            username: field("username"),
            password: field("password"),
            auth: field("auth"),
            identitytoken: field("identitytoken"),
            registrytoken: field("registrytoken"),
            serveraddress: Some(registry.to_owned()),
            ..DockerCredentials::default()
        }
        .with_split_auth(|| broken(&"an auth is not base64 of user:password"))?,
    ))
}

trait SplitAuth: Sized {
    /// With user and password out of `auth`, which daemons don't look at.
    fn with_split_auth(self, error: impl FnOnce() -> RunError) -> Result<Self, RunError>;
}

impl SplitAuth for DockerCredentials {
    fn with_split_auth(mut self, error: impl FnOnce() -> RunError) -> Result<Self, RunError> {
        let Some(auth) = self.auth.take() else {
            return Ok(self);
        };
        let decoded = base64(&auth).and_then(|bytes| String::from_utf8(bytes).ok());
        let Some((user, password)) = decoded.as_deref().and_then(|text| text.split_once(':')) else {
            return Err(error());
        };
        self.username.get_or_insert_with(|| user.to_owned());
        self.password.get_or_insert_with(|| password.to_owned());
        Ok(self)
    }
}

/// RFC 4648, section 4.
fn base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    Some(bytes)
}

fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => first,
        _ => DEFAULT_REGISTRY,
    }
}

/// What an image is, for the receipt.
#[derive(Debug, Default)]
pub(crate) struct Identity {
    /// The digest of its configuration.
    pub(crate) id: Option<String>,
    /// The digest by which a registry has it.
    pub(crate) digest: Option<String>,
}

/// Asks for the image that a container was made of, which was called `image` then.
pub(crate) async fn identity(docker: &Docker, container: &str, image: &str) -> Identity {
    let inspected = docker
        .inspect_container(container, None::<InspectContainerOptions>)
        .await;
    let made_of = inspected.ok().and_then(|container| container.image);
    let made_of = made_of.unwrap_or_else(|| image.to_owned());
    let Ok(found) = docker.inspect_image(&made_of).await else {
        return Identity::default();
    };
    let digests = found.repo_digests.unwrap_or_default();
    let id = found.id.map(|id| {
        if id.contains(':') {
            id
        } else {
            format!("sha256:{id}")
        }
    });
    Identity {
        id,
        digest: digests
            .iter()
            .find_map(|digest| Some(digest.split_once('@')?.1.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_those_of_the_images_registry() {
        let file = tempfile::NamedTempFile::new().unwrap();
        // anna:secret, bert:a:b
        fs::write(
            &file,
            r#"{"auths": {"registry.example:5000": {"auth": "YW5uYTpzZWNyZXQ="},
                "https://index.docker.io/v1/": {"auth": "YmVydDphOmI="}, "x.example": {"identitytoken": "t"},
                "broken.example": {"auth": "%"}}}"#,
        )
        .unwrap();
        let of = |image: &str| credentials(file.path(), image).unwrap();
        let found = of("registry.example:5000/a/b:1").unwrap();
        assert_eq!(
            (found.username.as_deref(), found.password.as_deref()),
            (Some("anna"), Some("secret"))
        );
        let found = of("library/alpine").unwrap();
        assert_eq!(
            (found.username.as_deref(), found.password.as_deref()),
            (Some("bert"), Some("a:b"))
        );
        assert_eq!(of("x.example/a").unwrap().identitytoken.as_deref(), Some("t"));
        assert_eq!(of("other.example/a"), None);
        assert_eq!(
            credentials(file.path(), "broken.example/a").unwrap_err().kind(),
            "credentials_file"
        );
        fs::write(&file, "secret").unwrap();
        let refused = credentials(file.path(), "alpine").unwrap_err();
        assert!(!refused.summary().contains("secret"), "{refused}");
    }
}
