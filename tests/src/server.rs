//! A loopback HTTP/1.1 server that answers as a test says, and counts.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// What the server does with one request.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Writes these bytes and keeps the connection.
    Bytes(Vec<u8>),
    /// Writes nothing.
    Silence,
    /// Writes a head, then one byte of the body every 100 ms.
    Drip,
}

impl Reply {
    /// 200 with a body.
    pub fn ok(body: &str) -> Self {
        Self::Bytes(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }

    /// 302 to `location`.
    pub fn redirect(location: &str) -> Self {
        Self::Bytes(
            format!("HTTP/1.1 302 Found\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n").into_bytes(),
        )
    }

    /// No answer, ever.
    pub fn silence() -> Self {
        Self::Silence
    }

    /// An answer that takes for ever.
    pub fn drip() -> Self {
        Self::Drip
    }
}

/// A running server; it stops when dropped.
pub struct Server {
    port: u16,
    counts: Arc<Counts>,
    accepting: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    requests: AtomicUsize,
    connections: AtomicUsize,
    open: AtomicUsize,
}

impl Server {
    /// Starts a server that answers each request by its path.
    ///
    /// # Panics
    /// When the loopback interface has no free port.
    pub async fn start(answer: impl Fn(&str) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let counts = Arc::new(Counts::default());
        let answer: Arc<dyn Fn(&str) -> Reply + Send + Sync> = Arc::new(answer);
        let accepting = tokio::spawn({
            let counts = Arc::clone(&counts);
            async move {
                while let Ok((stream, _)) = listener.accept().await {
                    let counts = Arc::clone(&counts);
                    let answer = Arc::clone(&answer);
                    tokio::spawn(async move {
                        counts.connections.fetch_add(1, Ordering::SeqCst);
                        counts.open.fetch_add(1, Ordering::SeqCst);
                        let _ = serve(stream, &counts, &*answer).await;
                        counts.open.fetch_sub(1, Ordering::SeqCst);
                    });
                }
            }
        });
        Self {
            port,
            counts,
            accepting,
        }
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The URL of `path` here.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority())
    }

    /// How many requests came.
    pub fn requests(&self) -> usize {
        self.counts.requests.load(Ordering::SeqCst)
    }

    /// How many connections were made.
    pub fn connections(&self) -> usize {
        self.counts.connections.load(Ordering::SeqCst)
    }

    /// Waits until the other side has closed every connection.
    ///
    /// # Panics
    /// When that takes more than 5 s.
    pub async fn wait_until_closed(&self) {
        for _ in 0..500 {
            if self.counts.open.load(Ordering::SeqCst) == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("connections are still open");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(
    mut stream: TcpStream,
    counts: &Counts,
    answer: &(dyn Fn(&str) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let mut received = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = received.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if stream.read_buf(&mut received).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&received[..end]).into_owned();
        received.drain(..end);
        counts.requests.fetch_add(1, Ordering::SeqCst);
        let path = head.split(' ').nth(1).unwrap_or_default();
        match answer(path) {
            Reply::Bytes(bytes) => stream.write_all(&bytes).await?,
            Reply::Silence => {
                while stream.read_buf(&mut received).await? != 0 {}
                return Ok(());
            }
            Reply::Drip => {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n")
                    .await?;
                loop {
                    tokio::select! {
                        read = stream.read_buf(&mut received) => if read? == 0 { return Ok(()); },
                        () = tokio::time::sleep(Duration::from_millis(100)) => {
                            stream.write_all(b".").await?;
                        }
                    }
                }
            }
        }
    }
}
