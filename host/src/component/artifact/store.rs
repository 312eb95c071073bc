//! Where a run's artifacts are, what they may be called, and which of them are in the result.

use super::stream::{Artifact, Finished};
use crate::component::limits::Limits;
use executor_runtime_protocol::{ArtifactDescriptor, RuntimeInvocation};
use sha2::{Digest, Sha256};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Where captured files go when the invocation names no directory for them.
const DEFAULT_BASE: &str = ".executor_runtime";

const MAX_NAME: usize = 128;
const MAX_CHECKPOINT: usize = 64 * 1024;

/// Why an artifact can't be created.
#[derive(Debug, thiserror::Error)]
pub(in crate::component) enum CreateError {
    #[error("artifact name {0:?} is not 1 to {MAX_NAME} of `A-Z a-z 0-9 . _ -`, or begins with a dot")]
    InvalidName(String),
    #[error("artifact {0:?} exists already in this run")]
    DuplicateName(String),
    #[error("this run has made {0} artifacts, as many as it may")]
    TooMany(u32),
    #[error("can't create artifact file `{}`: {error}", .path.display())]
    Unwritable { path: PathBuf, error: io::Error },
}

/// The artifacts of one run. Clones are the same.
#[derive(Clone, Debug)]
pub(in crate::component) struct ArtifactStore(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `<base>/<invocation id>`; made when the first file is.
    directory: PathBuf,
    max_count: u32,
    max_bytes: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    names: BTreeSet<String>,
    kept: Vec<ArtifactDescriptor>,
}

impl ArtifactStore {
    pub(in crate::component) fn new(invocation: &RuntimeInvocation, limits: &Limits) -> Self {
        let base = match &invocation.artifact_directory {
            Some(directory) => PathBuf::from(directory),
            None => Path::new(&invocation.working_directory).join(DEFAULT_BASE),
        };
        Self(Arc::new(Shared {
            directory: base.join(directory_name(&invocation.invocation_id)),
            max_count: limits.artifacts,
            max_bytes: limits.artifact_bytes,
            state: Mutex::default(),
        }))
    }

    /// Begins a new artifact. Blocks on the file system.
    pub(in crate::component) fn create(
        &self,
        name: String,
        kind: String,
        description: String,
    ) -> Result<Artifact, CreateError> {
        if !is_valid_name(&name) {
            return Err(CreateError::InvalidName(name));
        }
        {
            let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
            if state.names.len() >= self.0.max_count as usize {
                return Err(CreateError::TooMany(self.0.max_count));
            }
            if !state.names.insert(name.clone()) {
                return Err(CreateError::DuplicateName(name));
            }
        }
        let directory = self.0.directory.join("artifacts");
        let path = directory.join(&name);
        // A name never begins with a dot, so that an unfinished file is nobody's artifact.
        let partial = directory.join(format!(".{name}.partial"));
        let file = fs::create_dir_all(&directory)
            .and_then(|()| create_file(&partial))
            .map_err(|error| CreateError::Unwritable {
                path: path.clone(),
                error,
            })?;
        let descriptor = ArtifactDescriptor {
            artifact_id: name,
            path: path.to_string_lossy().into_owned(),
            kind: if kind.is_empty() {
                "artifact".to_owned()
            } else {
                kind
            },
            description,
            metadata: BTreeMap::new(),
        };
        Ok(Artifact::new(
            file,
            partial,
            path,
            descriptor,
            self.0.max_bytes,
        ))
    }

    /// Lists a finished artifact in the result.
    pub(in crate::component) fn keep(&self, finished: Finished) {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.kept.push(finished.descriptor);
    }

    /// The artifacts that were finished so far, in that order.
    pub(in crate::component) fn kept(&self) -> Vec<ArtifactDescriptor> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut state.kept)
    }

    /// Keeps `bytes` for a later run of the same invocation. Blocks on the file system.
    pub(in crate::component) fn checkpoint(&self, bytes: &[u8]) -> Result<(), String> {
        if bytes.len() > MAX_CHECKPOINT {
            return Err(format!(
                "the checkpoint has {} bytes; at most {MAX_CHECKPOINT} are kept",
                bytes.len()
            ));
        }
        let path = self.0.directory.join("checkpoint");
        let partial = self.0.directory.join(".checkpoint.partial");
        fs::create_dir_all(&self.0.directory)
            .and_then(|()| io::Write::write_all(&mut create_file(&partial)?, bytes))
            .and_then(|()| fs::rename(&partial, &path))
            .map_err(|error| format!("can't keep the checkpoint in `{}`: {error}", path.display()))
    }
}

fn create_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_CLOEXEC)
        .open(path)
}

fn is_valid_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The name of the directory for `id`: everything but `[A-Za-z0-9._-]` and a leading dot percent-encoded;
/// cut and given a digest over 200 bytes, so that no id names a path outside the base.
fn directory_name(id: &str) -> String {
    const MAX: usize = 200;
    let mut name = String::with_capacity(id.len());
    for (at, byte) in id.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if plain || (byte == b'.' && at > 0) {
            name.push(char::from(byte));
        } else {
            // Writing to a string can't fail.
            let _ = write!(name, "%{byte:02X}");
        }
    }
    if name.len() > MAX {
        let digest = crate::component::digest::hex(&Sha256::digest(id.as_bytes())[..16]);
        name.truncate(MAX - digest.len() - 1);
        name.push('-');
        name.push_str(&digest);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_names_a_path_outside_the_base() {
        assert_eq!(directory_name("run-1_a.b"), "run-1_a.b");
        assert_eq!(directory_name(".."), "%2E.");
        assert_eq!(directory_name("../x y"), "%2E.%2Fx%20y");
        let long = directory_name(&"é".repeat(500));
        assert_eq!(long.len(), 200);
        assert_ne!(long, directory_name(&"é".repeat(501)));
    }

    #[test]
    fn names_are_plain_file_names() {
        for good in ["a", "response_body", "a.b-C_9"] {
            assert!(is_valid_name(good), "{good}");
        }
        for bad in ["", ".a", "a/b", "ä", &"x".repeat(129)] {
            assert!(!is_valid_name(bad), "{bad}");
        }
    }
}
