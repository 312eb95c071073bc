//! An HTTP/1.1 server, on the loopback interface or a Unix socket, that follows a script and remembers what it was asked.

use crate::waiting::LIMIT;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    os::unix::net::{UnixListener, UnixStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// One request.
#[derive(Clone, Debug)]
pub struct Request {
    /// `POST`, in upper case.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The whole body.
    pub body: Vec<u8>,
    /// When it was complete.
    pub at: Instant,
}

impl Request {
    /// `POST /runs`.
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.target)
    }

    /// A header's value; empty without it.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What the server does with one request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers, and keeps the connection.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Writes these bytes and closes the connection.
    Bytes(Vec<u8>),
    /// Writes these bytes, then a piece over and over, each after a pause, until the other side hangs up.
    Endless {
        /// What comes first.
        head: Vec<u8>,
        /// What comes again and again.
        piece: Vec<u8>,
        /// The time between two pieces.
        pause: Duration,
    },
    /// Says nothing until the other side hangs up.
    Silence,
}

impl Answer {
    /// A code and a body.
    pub fn new(code: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Whole(code, Vec::new(), body.into())
    }

    /// 200 and the beginning of a body, which then arrives byte by byte.
    pub fn drip(beginning: &str) -> Self {
        Self::Endless {
            head: format!("HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n{beginning}").into_bytes(),
            piece: b" ".to_vec(),
            pause: Duration::from_millis(100),
        }
    }

    /// An event stream that ends cleanly.
    pub fn events(events: &str) -> Self {
        Self::new(200, events).header("content-type", "text/event-stream; charset=utf-8")
    }

    /// An event stream that breaks off.
    pub fn broken_events(events: &str) -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 100000\r\n\r\n";
        Self::Bytes(format!("{head}{events}").into_bytes())
    }

    /// An event stream that begins with `events`, and never ends: `piece` comes again and again, after a pause each.
    pub fn endless_events(events: &str, piece: &str, pause: Duration) -> Self {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n{events}");
        Self::Endless {
            head: head.into_bytes(),
            piece: piece.as_bytes().to_vec(),
            pause,
        }
    }

    /// The same with a header more.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        if let Self::Whole(_, headers, _) = &mut self {
            headers.push((name, value.to_string()));
        }
        self
    }
}

type Script = dyn Fn(&Request, usize) -> Answer + Send + Sync;

/// A running server; it stops when dropped.
pub struct Scripted {
    authority: String,
    /// Where it listens, if that is a Unix socket.
    socket: Option<PathBuf>,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    seen: Mutex<Vec<Request>>,
    more: Condvar,
    over: AtomicBool,
}

impl Scripted {
    /// Starts a server whose answers `script` gives for each request and its number, from 0.
    ///
    /// # Panics
    /// When the loopback interface has no free port.
    pub fn start(script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::at("127.0.0.1:0", script)
    }

    /// The same at an address.
    ///
    /// # Panics
    /// When it is taken, or not this machine's.
    pub fn at(address: &str, script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).expect("the address is free");
        let authority = listener.local_addr().expect("it is bound").to_string();
        let shared = Shared::of(script);
        accept(&shared, move || {
            let (stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        Self {
            authority,
            socket: None,
            shared,
        }
    }

    /// The same at a Unix socket. What is there is replaced.
    ///
    /// # Panics
    /// When it can't be.
    pub fn unix(path: &Path, script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Self {
        let _ = std::fs::remove_file(path);
        let listener = UnixListener::bind(path).expect("the path can be used");
        let shared = Shared::of(script);
        accept(&shared, move || Ok(listener.accept()?.0));
        Self {
            authority: "localhost".to_owned(),
            socket: Some(path.to_owned()),
            shared,
        }
    }

    /// Answers the requests with these, in order, and all that follow with the last.
    pub fn sequence(answers: Vec<Answer>) -> Self {
        Self::start(move |_, n| answers[n.min(answers.len() - 1)].clone())
    }

    /// The port.
    pub fn port(&self) -> u16 {
        let (_, port) = self.authority.rsplit_once(':').unwrap_or_default();
        port.parse().unwrap_or_default()
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The URL of `target` here.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.authority)
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.seen().clone()
    }

    /// The lines of the requests so far: `POST /runs`.
    pub fn lines(&self) -> Vec<String> {
        self.shared.seen().iter().map(Request::line).collect()
    }

    /// Waits for the request of this number, counted from 1.
    ///
    /// # Panics
    /// When it does not come within a minute.
    pub fn wait_for(&self, count: usize) {
        let seen = self.shared.seen();
        let waited = self
            .shared
            .more
            .wait_timeout_while(seen, LIMIT, |seen| seen.len() < count);
        let (seen, _) = waited.unwrap_or_else(PoisonError::into_inner);
        assert!(seen.len() >= count, "{} of {count} requests came", seen.len());
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        // Wakes the thread that accepts.
        match &self.socket {
            Some(socket) => drop(UnixStream::connect(socket)),
            None => drop(TcpStream::connect(&self.authority)),
        }
    }
}

/// Serves each connection on a thread of its own.
fn accept<S: Stream>(shared: &Arc<Shared>, next: impl Fn() -> std::io::Result<S> + Send + 'static)
where
    for<'a> &'a S: Pausing,
{
    let accepting = Arc::clone(shared);
    std::thread::spawn(move || {
        loop {
            let stream = next();
            if accepting.over.load(Ordering::SeqCst) {
                return;
            }
            if let Ok(stream) = stream {
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || drop(shared.serve(&stream)));
            }
        }
    });
}

impl Shared {
    fn of(script: impl Fn(&Request, usize) -> Answer + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            script: Box::new(script),
            seen: Mutex::default(),
            more: Condvar::new(),
            over: AtomicBool::new(false),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Vec<Request>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serve<S: Stream>(&self, stream: &S) -> std::io::Result<()>
    where
        for<'a> &'a S: Pausing,
    {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read(&mut reader)? {
            let number = {
                let mut seen = self.seen();
                seen.push(request.clone());
                self.more.notify_all();
                seen.len() - 1
            };
            let mut writer = stream;
            match (self.script)(&request, number) {
                Answer::Whole(code, headers, body) => {
                    let mut head = format!("HTTP/1.1 {code} Scripted\r\ncontent-length: {}\r\n", body.len());
                    for (name, value) in headers {
                        head.push_str(&format!("{name}: {value}\r\n"));
                    }
                    head.push_str("\r\n");
                    writer.write_all(&[head.as_bytes(), &body].concat())?;
                }
                Answer::Bytes(bytes) => {
                    writer.write_all(&bytes)?;
                    return stream.close();
                }
                Answer::Endless { head, piece, pause } => {
                    writer.write_all(&head)?;
                    return repeat(stream, &piece, pause);
                }
                Answer::Silence => {
                    std::io::copy(&mut reader, &mut std::io::sink())?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}

/// Writes `piece` over and over, until the other side hangs up.
pub fn repeat(mut stream: impl Pausing, piece: &[u8], pause: Duration) -> std::io::Result<()> {
    loop {
        stream.write_all(piece)?;
        if !pause.is_zero() && stream.pause(pause)? {
            return Ok(());
        }
    }
}

/// A stream that can wait for a while to be closed.
pub trait Pausing: Read + Write {
    /// Sets how long a read may take.
    fn limit_reads(&self, time: Duration) -> std::io::Result<()>;

    /// Waits, at most so long, until the other side hangs up; whether it did.
    fn pause(&mut self, time: Duration) -> std::io::Result<bool> {
        self.limit_reads(time)?;
        match self.read(&mut [0; 1024]) {
            Ok(0) => Ok(true),
            Ok(_) => Ok(false),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A connection.
trait Stream: Send + 'static {
    /// Ends it in both directions.
    fn close(&self) -> std::io::Result<()>;
}

impl Stream for TcpStream {
    fn close(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Both)
    }
}

impl Stream for UnixStream {
    fn close(&self) -> std::io::Result<()> {
        self.shutdown(Shutdown::Both)
    }
}

impl Pausing for &TcpStream {
    fn limit_reads(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

impl Pausing for &UnixStream {
    fn limit_reads(&self, time: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(time))
    }
}

fn read(reader: &mut impl BufRead) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    let (method, target) = (word(), word());
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let mut body = Vec::new();
    if let Some(length) = headers.get("content-length") {
        let length = length.parse().map_err(std::io::Error::other)?;
        reader.take(length).read_to_end(&mut body)?;
    } else if headers.contains_key("transfer-encoding") {
        loop {
            let mut size = String::new();
            reader.read_line(&mut size)?;
            let size = u64::from_str_radix(size.trim(), 16).map_err(std::io::Error::other)?;
            reader.take(size).read_to_end(&mut body)?;
            reader.read_line(&mut String::new())?;
            if size == 0 {
                break;
            }
        }
    }
    Ok(Some(Request {
        method,
        target,
        headers,
        body,
        at: Instant::now(),
    }))
}
