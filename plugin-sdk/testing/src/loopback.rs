//! An HTTP server on the loopback interface that answers as a test says, and remembers what it was asked.
//!
//! Real sockets, one thread a connection, HTTP/1.1 with keep-alive. Needs nothing but the standard library.

use std::{
    collections::VecDeque,
    io::{self, BufRead, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

/// A request as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// `GET`.
    pub method: String,
    /// Path and query: `/runs?x=1`.
    pub target: String,
    /// Names in lower case, in the order they came in.
    pub headers: Vec<(String, String)>,
    /// The whole body, put together if it came in chunks.
    pub body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: usize,
}

impl Received {
    /// The first header of that name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(header, _)| header.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }
}

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Sends a response.
    Response {
        /// Its status.
        status: u16,
        /// Its headers, `content-length` aside.
        headers: Vec<(String, String)>,
        /// Its body.
        body: Vec<u8>,
    },
    /// Sends nothing and keeps the connection open.
    Silence,
    /// Sends a head that promises a long body, then a byte of it after each pause.
    Drip(Duration),
    /// Sends these bytes, and closes the connection.
    Raw(Vec<u8>),
    /// Closes the connection.
    Close,
}

impl Answer {
    /// A response with a text.
    pub fn status(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Response {
            status,
            headers: Vec::new(),
            body: body.into(),
        }
    }

    /// 200 with JSON text.
    pub fn json(body: &str) -> Self {
        Self::status(200, body).header("content-type", "application/json")
    }

    /// A redirect.
    pub fn redirect(status: u16, location: &str) -> Self {
        Self::status(status, "").header("location", location)
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        if let Self::Response { headers, .. } = &mut self {
            headers.push((name.to_owned(), value.to_owned()));
        }
        self
    }
}

type Script = Box<dyn Fn(&Received) -> Answer + Send + Sync>;

/// A running server. It stops when it is dropped.
///
/// ```ignore
/// let server = Loopback::answering([Answer::status(202, ""), Answer::json(r#"{"status": "done"}"#)]);
/// let url = server.url("/runs");
/// // ... run something against `url` ...
/// assert_eq!(server.requests()[0].method, "POST");
/// ```
pub struct Loopback {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    script: Script,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: Vec<Received>,
    open: Vec<TcpStream>,
    connections: usize,
    over: bool,
}

impl Loopback {
    /// A server that gives these answers in turn, and the last one from then on.
    ///
    /// # Panics
    /// Without an answer, or if the loopback interface can't be used.
    pub fn answering(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers: VecDeque<Answer> = answers.into_iter().collect();
        assert!(!answers.is_empty(), "a server has at least one answer");
        let answers = Mutex::new(answers);
        Self::new(move |_| {
            let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
            match answers.len() {
                1 => answers[0].clone(),
                _ => answers.pop_front().unwrap_or(Answer::Close),
            }
        })
    }

    /// A server that answers what `script` says.
    ///
    /// # Panics
    /// If the loopback interface can't be used.
    pub fn new(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener =
            TcpListener::bind("127.0.0.1:0").unwrap_or_else(|error| panic!("no loopback: {error}"));
        let address = listener
            .local_addr()
            .unwrap_or_else(|error| panic!("no loopback: {error}"));
        let shared = Arc::new(Shared {
            script: Box::new(script),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener));
        Self { address, shared }
    }

    /// A URL of this server.
    pub fn url(&self, target: &str) -> String {
        format!("http://{}{target}", self.address)
    }

    /// Its address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The requests so far.
    pub fn requests(&self) -> Vec<Received> {
        self.shared.state().requests.clone()
    }

    /// Waits until there are so many requests; whether they came within `time`.
    pub fn wait_for_requests(&self, count: usize, time: Duration) -> bool {
        let until = Instant::now() + time;
        let mut state = self.shared.state();
        while state.requests.len() < count {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.shared.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        let open = {
            let mut state = self.shared.state();
            state.over = true;
            std::mem::take(&mut state.open)
        };
        for stream in open {
            let _ = stream.shutdown(Shutdown::Both);
        }
        // Wakes the accepting thread, which then ends.
        let _ = TcpStream::connect(self.address);
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn accept(self: &Arc<Self>, listener: &TcpListener) {
        for stream in listener.incoming().flatten() {
            let connection = {
                let mut state = self.state();
                if state.over {
                    return;
                }
                let Ok(second) = stream.try_clone() else { continue };
                state.open.push(second);
                state.connections += 1;
                state.connections - 1
            };
            let serving = Arc::clone(self);
            thread::spawn(move || {
                // A client that goes away is the client's business.
                let _ = serving.serve(&stream, connection);
                let _ = stream.shutdown(Shutdown::Both);
            });
        }
    }

    fn serve(&self, stream: &TcpStream, connection: usize) -> io::Result<()> {
        let mut reader = BufReader::new(stream);
        while let Some(request) = read_request(&mut reader, connection)? {
            let answer = (self.script)(&request);
            let head_only = request.method == "HEAD";
            self.state().requests.push(request);
            self.changed.notify_all();
            if !give(stream, &answer, head_only)? {
                return Ok(());
            }
        }
        Ok(())
    }
}

fn read_request(reader: &mut impl BufRead, connection: usize) -> io::Result<Option<Received>> {
    let first = read_line(reader)?;
    let mut words = first.split(' ');
    let (Some(method), Some(target)) = (words.next().filter(|word| !word.is_empty()), words.next()) else {
        return Ok(None);
    };
    let mut request = Received {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: Vec::new(),
        body: Vec::new(),
        connection,
    };
    loop {
        let line = read_line(reader)?;
        let Some((name, value)) = line.split_once(':') else {
            break;
        };
        request
            .headers
            .push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    if request.header("transfer-encoding").is_some() {
        loop {
            let size = read_line(reader)?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default(), 16)
                .map_err(io::Error::other)?;
            reader.take(size).read_to_end(&mut request.body)?;
            read_line(reader)?;
            if size == 0 {
                break;
            }
        }
    } else if let Some(length) = request.header("content-length") {
        let length = length.parse().map_err(io::Error::other)?;
        reader.take(length).read_to_end(&mut request.body)?;
    }
    Ok(Some(request))
}

fn read_line(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    Ok(line.trim_end().to_owned())
}

/// Gives an answer; whether the connection stays open.
fn give(mut stream: &TcpStream, answer: &Answer, head_only: bool) -> io::Result<bool> {
    match answer {
        Answer::Response {
            status,
            headers,
            body,
        } => {
            let mut head = format!("HTTP/1.1 {status} -\r\n");
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            if !matches!(status, 204 | 304) {
                head.push_str(&format!("content-length: {}\r\n", body.len()));
            }
            head.push_str("\r\n");
            let mut bytes = head.into_bytes();
            if !head_only {
                bytes.extend_from_slice(body);
            }
            stream.write_all(&bytes)?;
            Ok(true)
        }
        Answer::Silence => {
            // Until the client or the server closes it.
            let mut rest = Vec::new();
            stream.read_to_end(&mut rest)?;
            Ok(false)
        }
        Answer::Drip(pause) => {
            stream.write_all(b"HTTP/1.1 200 -\r\ncontent-length: 1000000\r\n\r\n")?;
            loop {
                stream.write_all(b".")?;
                thread::sleep(*pause);
            }
        }
        Answer::Raw(bytes) => {
            stream.write_all(bytes)?;
            Ok(false)
        }
        Answer::Close => Ok(false),
    }
}
