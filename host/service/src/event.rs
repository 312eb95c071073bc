//! What followers of a run are told.

use executor_runtime::protocol::Timestamp;
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value};

/// What events about an artifact name it by.
pub(crate) const ARTIFACT_ID: &str = "artifact_id";

/// What some events tell the newest state of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subject {
    kind: EventKind,
    /// Which one, of artifacts.
    artifact: Box<str>,
}

/// Something that happened in a run. As JSON it is one object: `sequence`, `time` and `type`, and what else belongs to an
/// event of that type.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRecord {
    /// Counted from 1 in each run. It only grows, and leaves numbers out.
    pub sequence: u64,
    /// When it happened.
    pub time: Timestamp,
    /// What happened.
    pub kind: EventKind,
    /// What else belongs to it.
    pub body: Map<String, Value>,
}

impl Serialize for EventRecord {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("sequence", &self.sequence)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("type", self.kind.as_str())?;
        for (key, value) in &self.body {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

macro_rules! event_kinds {
    ($( $(#[doc = $doc:literal])+ $variant:ident => $name:literal; )+) => {
        /// The types of events. More may come: a follower ignores those that it does not know.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum EventKind {
            $( $(#[doc = $doc])+ $variant, )+
        }

        impl EventKind {
            /// Each type, with its documentation.
            pub const ALL: &'static [(Self, &'static str)] = &[
                $( (Self::$variant, concat!($($doc),+)), )+
            ];

            /// Its name in documents.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $( Self::$variant => $name, )+
                }
            }
        }
    };
}

event_kinds! {
    /// The run is in the journal. It is the first event.
    Accepted => "accepted";
    /// It has begun; `resumed` says whether it goes on from where an earlier host had it.
    Started => "started";
    /// There is more output: `stdout` and `stderr` are how many bytes there are. The next one takes its place.
    Output => "output";
    /// How far it is: `fraction` from 0 to 1 or null, and a `message`. The next one takes its place.
    Progress => "progress";
    /// A plugin has logged a line: `level` and `message`, its number in the run (`line`), and how many just before it were
    /// `left_out`, because there were too many. The newest 200 are kept.
    Log => "log";
    /// A checkpoint of so many `bytes` was stored, from which the run goes on if the host dies. The next one takes its place.
    Checkpoint => "checkpoint";
    /// There is more of an artifact: `artifact_id`, how many `bytes` there are, and whether it is `finished`. The next one about
    /// the same artifact takes its place.
    Artifact => "artifact";
    /// It was told to stop, and is ended by force after `grace_seconds`.
    Stopping => "stopping";
    /// It has ended: `status`, `exit_code`, `error_kind`, `error_summary`. It is the last event.
    Ended => "ended";
}

impl EventKind {
    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::ALL.iter().find(|(kind, _)| kind.as_str() == name);
        found.map(|(kind, _)| *kind)
    }

    /// What an event of this type tells the state of: it takes the place of the one before that tells of the same. None of a
    /// type of which each event stays.
    pub(crate) fn subject(self, body: &Map<String, Value>) -> Option<Subject> {
        let of = match self {
            Self::Output | Self::Progress | Self::Checkpoint => "",
            Self::Artifact => body.get(ARTIFACT_ID)?.as_str()?,
            Self::Accepted | Self::Started | Self::Log | Self::Stopping | Self::Ended => return None,
        };
        Some(Subject {
            kind: self,
            artifact: of.into(),
        })
    }
}
