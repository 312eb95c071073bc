//! A host that serves, and a client that can be as careful or as careless as a test needs.

use crate::{Finished, Scene, Watchdog, eventually, status_field};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    fmt,
    io::{self, BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, ChildStderr, Command},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// How long a client waits for bytes before the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A host that serves.
pub struct Serving {
    child: Option<Child>,
    watchdog: Option<Watchdog>,
    said: Arc<Mutex<String>>,
    socket: PathBuf,
}

impl Serving {
    /// Starts `serve` on a Unix socket of the scene, with these further options, and waits until it serves.
    #[track_caller]
    pub fn start(scene: &Scene, options: &[&str]) -> Self {
        Self::started(scene, &mut command(scene, options))
    }

    /// The same for a prepared command, whose socket is that of the scene.
    #[track_caller]
    pub fn started(scene: &Scene, command: &mut Command) -> Self {
        let mut child = command.spawn().expect("it starts");
        let watchdog = Watchdog::over(&child);
        let said = Arc::default();
        listen_to(child.stderr.take().expect("stderr is a pipe"), Arc::clone(&said));
        let mut serving = Self {
            child: Some(child),
            watchdog: Some(watchdog),
            said,
            socket: socket(scene),
        };
        eventually("the host saying that it serves", || {
            let ended = serving.child.as_mut().is_some_and(|child| {
                let status = child.try_wait().expect("it can be waited for");
                status.is_some()
            });
            assert!(!ended, "the host has ended: {}", serving.said());
            serving.said().contains("serving on ").then_some(())
        });
        serving
    }

    /// What it has said on stderr so far.
    pub fn said(&self) -> String {
        self.said.lock().expect("no thread panics with it").clone()
    }

    /// The address of TCP that it said it serves at.
    #[track_caller]
    pub fn address(&self) -> SocketAddr {
        let said = self.said();
        let (_, after) = said
            .split_once("http://")
            .or_else(|| said.split_once("https://"))
            .expect("it serves over TCP");
        let address = after.split([',', '\n', ' ']).next().unwrap_or_default();
        address.parse().expect("an address")
    }

    /// Its process.
    pub fn pid(&self) -> i32 {
        self.child.as_ref().expect("it was not ended").id() as i32
    }

    /// How much memory it takes, in bytes.
    pub fn resident(&self) -> usize {
        let field = status_field(self.pid(), "VmRSS").expect("it is running");
        let kilobytes: usize = field.trim_end_matches(" kB").trim().parse().expect("a number");
        kilobytes * 1024
    }

    /// The Unix socket that it serves on.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Connects to the Unix socket.
    #[track_caller]
    pub fn connect(&self) -> Connection {
        Connection::unix(&self.socket)
    }

    /// One request over the Unix socket, on a connection of its own.
    #[track_caller]
    pub fn request(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut connection = self.connect();
        // It may be answered before all of it was read.
        let _ = connection.try_send(method, path, &[], body.as_bytes());
        connection.answer()
    }

    /// `GET`.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "")
    }

    /// `POST`.
    #[track_caller]
    pub fn post(&self, path: &str, body: &str) -> Answer {
        self.request("POST", path, body)
    }

    /// Sends a signal.
    pub fn signal(&self, signal: i32) {
        // SAFETY: no memory is involved.
        unsafe { libc::kill(self.pid(), signal) };
    }

    /// Waits for its end, which has to come by itself.
    #[track_caller]
    pub fn finish(mut self) -> Finished {
        let start = std::time::Instant::now();
        let child = self.child.take().expect("it was not ended");
        let output = child.wait_with_output().expect("it can be waited for");
        if let Some(watchdog) = self.watchdog.take() {
            watchdog.assert_in_time();
        }
        let mut finished = Finished::new(output, start.elapsed());
        finished.stderr = self.said();
        finished
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The socket that hosts of a scene serve on.
pub fn socket(scene: &Scene) -> PathBuf {
    scene.path("api.sock")
}

/// `serve` on a Unix socket of the scene, not started.
pub fn command(scene: &Scene, options: &[&str]) -> Command {
    let (socket, state) = (socket(scene), scene.path("state"));
    let mut arguments = vec!["serve", "--socket", text(&socket), "--state-dir", text(&state)];
    arguments.extend(options);
    let mut command = scene.host(&arguments);
    command.env_remove("XDG_RUNTIME_DIR").env_remove("XDG_STATE_HOME");
    command
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a UTF-8 path")
}

fn listen_to(stderr: ChildStderr, said: Arc<Mutex<String>>) {
    thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            let mut said = said.lock().expect("no thread panics with it");
            said.push_str(&line);
            said.push('\n');
        }
    });
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    /// The status code.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
}

/// A whole answer.
#[derive(Clone)]
pub struct Answer {
    /// Status and headers.
    pub head: Head,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The status code.
    pub fn status(&self) -> u16 {
        self.head.status
    }

    /// A header, which has to be there.
    #[track_caller]
    pub fn header(&self, name: &str) -> &str {
        match self.head.headers.get(name) {
            Some(value) => value,
            None => panic!("no {name} in {self:?}"),
        }
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// It has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status(), status, "{self:?}");
        self
    }

    /// It is a problem of this status, as the standard has it; returns the detail.
    #[track_caller]
    pub fn expect_problem(&self, status: u16) -> String {
        assert_eq!(self.status(), status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        assert!(problem["title"].is_string(), "{problem}");
        problem["detail"].as_str().unwrap_or_default().to_owned()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = &self.body[..self.body.len().min(2000)];
        write!(f, "{:?} {}", self.head, String::from_utf8_lossy(start))
    }
}

trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

/// A connection to a host.
pub struct Connection {
    stream: BufReader<Box<dyn Stream>>,
    /// How the body that is being read goes on.
    rest: Rest,
}

/// What is left of a body.
enum Rest {
    /// So many bytes.
    Bytes(u64),
    /// Pieces, each with its length.
    Chunks,
    /// All until the connection ends.
    UntilEnd,
    /// Nothing.
    Nothing,
}

impl Connection {
    /// To a Unix socket.
    #[track_caller]
    pub fn unix(path: &Path) -> Self {
        Self::try_unix(path).expect("it accepts connections")
    }

    /// To a Unix socket whose host may be gone.
    ///
    /// # Errors
    /// When it does not accept a connection.
    pub fn try_unix(path: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self::over(stream))
    }

    /// Over TCP.
    #[track_caller]
    pub fn tcp(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("it accepts connections");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can be set");
        stream.set_write_timeout(Some(PATIENCE)).expect("it can be set");
        Self::over(stream)
    }

    /// Over any stream.
    pub fn over(stream: impl Read + Write + Send + 'static) -> Self {
        Self {
            stream: BufReader::with_capacity(1 << 16, Box::new(stream)),
            rest: Rest::Nothing,
        }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// When the other side has had enough.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Sends a request. `Host` is `localhost` unless it is among the headers.
    #[track_caller]
    pub fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        self.try_send(method, path, headers, body)
            .expect("the request is taken");
    }

    /// The same, where the other side may have had enough.
    ///
    /// # Errors
    /// When it has.
    pub fn try_send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> io::Result<()> {
        let mut head = format!("{method} {path} HTTP/1.1\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += "Host: localhost\r\n";
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let request = [head.as_bytes(), body].concat();
        self.write(&request)
    }

    /// Reads the head of an answer.
    ///
    /// # Errors
    /// When the connection ends, or nothing comes.
    pub fn try_head(&mut self) -> io::Result<Head> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status: {line:?}")))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        self.rest = if headers
            .get("transfer-encoding")
            .is_some_and(|coding| coding == "chunked")
        {
            Rest::Chunks
        } else if let Some(length) = headers.get("content-length") {
            Rest::Bytes(length.parse().map_err(io::Error::other)?)
        } else {
            Rest::UntilEnd
        };
        Ok(Head { status, headers })
    }

    /// The same, which has to come.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        self.try_head().expect("an answer")
    }

    /// Reads a whole answer.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.try_answer().expect("an answer")
    }

    /// The same, which need not come.
    ///
    /// # Errors
    /// When the connection ends, or nothing comes.
    pub fn try_answer(&mut self) -> io::Result<Answer> {
        let head = self.try_head()?;
        let mut body = Vec::new();
        while let Some(piece) = self.piece()? {
            body.extend(piece);
        }
        Ok(Answer { head, body })
    }

    /// The next piece of a body; none at its end.
    ///
    /// # Errors
    /// When the connection ends before the body does, or nothing comes.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        let most = match self.rest {
            Rest::Nothing | Rest::Bytes(0) => return Ok(None),
            Rest::Bytes(left) => left.min(1 << 16),
            Rest::UntilEnd => 1 << 16,
            Rest::Chunks => {
                let line = self.line()?;
                let length = u64::from_str_radix(line.trim(), 16).map_err(io::Error::other)?;
                let mut piece = vec![0; usize::try_from(length).map_err(io::Error::other)?];
                self.stream.read_exact(&mut piece)?;
                self.line()?;
                if piece.is_empty() {
                    self.rest = Rest::Nothing;
                    return Ok(None);
                }
                return Ok(Some(piece));
            }
        };
        let mut piece = vec![0; most as usize];
        let count = self.stream.read(&mut piece)?;
        piece.truncate(count);
        match &mut self.rest {
            Rest::Bytes(_) if count == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Rest::Bytes(left) => *left -= count as u64,
            _ if count == 0 => return Ok(None),
            _ => {}
        }
        Ok(Some(piece))
    }

    /// Whether the other side has ended the connection.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.stream.fill_buf(), Ok([]) | Err(_))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if (&mut self.stream).take(1 << 20).read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end_matches(['\r', '\n']).to_owned())
    }
}

/// An event of a stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number.
    pub id: u64,
    /// What happened.
    pub kind: String,
    /// The event as JSON.
    pub data: Value,
}

/// A stream of events that is being followed.
pub struct Following {
    connection: Connection,
    buffered: String,
}

impl Following {
    /// Follows the events of a run after one that was seen.
    #[track_caller]
    pub fn start(mut connection: Connection, run: &str, last: Option<u64>) -> Self {
        let last = last.map(|id| id.to_string());
        let headers: Vec<_> = last.iter().map(|id| ("Last-Event-ID", id.as_str())).collect();
        connection.send("GET", &format!("/v1/runs/{run}/events"), &headers, b"");
        let head = connection.head();
        assert_eq!(head.status, 200, "{head:?}");
        assert_eq!(head.headers["content-type"], "text/event-stream");
        Self {
            connection,
            buffered: String::new(),
        }
    }
}

impl Iterator for Following {
    type Item = Event;

    /// The next event; none at the end of the stream.
    #[track_caller]
    fn next(&mut self) -> Option<Event> {
        loop {
            while let Some((text, rest)) = self.buffered.split_once("\n\n") {
                let event = parsed(text);
                self.buffered = rest.to_owned();
                if event.is_some() {
                    return event;
                }
            }
            let piece = self.connection.piece().expect("the stream ends in good order")?;
            self.buffered += &String::from_utf8(piece).expect("events are text");
        }
    }
}

#[track_caller]
fn parsed(text: &str) -> Option<Event> {
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.map(str::trim_start)
    };
    Some(Event {
        id: field("id:")?.parse().expect("ids are numbers"),
        kind: field("event:").expect("each event has a type").to_owned(),
        data: serde_json::from_str(field("data:").expect("each event has data")).expect("JSON"),
    })
}
