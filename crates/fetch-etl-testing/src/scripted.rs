//! An HTTP server that answers each request as a test says: as a service of AWS may answer, and as what is none may.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{self, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// With names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, which is a text.
    pub body: String,
    /// A number of the connection over which it came.
    pub connection: usize,
    /// How many requests came before it.
    pub before: usize,
}

impl Request {
    /// The value of a header, whose name is given in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Response {
    /// A status, headers, and a body that need not be a text.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// A status and a body that comes in small pieces.
    Pieces(u16, Vec<u8>),
    /// The beginning of a response with 1,000 bytes, or nothing at all; then the connection ends.
    Cut(Option<String>),
    /// Nothing, but the connection stays.
    Silence,
}

type Script = dyn Fn(&Request) -> Response + Send + Sync;

/// The server; it stops when it is dropped.
#[derive(Debug)]
pub struct ScriptedServer {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl ScriptedServer {
    /// Listens on this machine, at a free port.
    ///
    /// # Errors
    /// There is none.
    pub async fn start(script: impl Fn(&Request) -> Response + Send + Sync + 'static) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let requests = Arc::<Mutex<Vec<Request>>>::default();
        let (script, log): (Arc<Script>, _) = (Arc::new(script), requests.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let Ok((stream, _)) = listener.accept().await else { return };
                let (script, log) = (script.clone(), log.clone());
                // It ends where the client or the script ends it; the client's error is what a test looks at.
                connections.spawn(async move { serve(stream, number, &*script, &log).await.unwrap_or(()) });
            }
        });
        Ok(Self { address, requests, _tasks: tasks })
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All requests so far.
    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// `None` where the connection ended.
async fn serve(
    stream: TcpStream,
    connection: usize,
    script: &Script,
    log: &Mutex<Vec<Request>>,
) -> Option<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut request = read(&mut stream, connection).await?;
        {
            let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
            request.before = log.len();
            log.push(request.clone());
        }
        match script(&request) {
            Response::Whole(status, headers, body) => {
                let mut response = head(status, &headers);
                response.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
                stream.write_all(&[response.into_bytes(), body].concat()).await.ok()?;
            }
            Response::Pieces(status, body) => write_pieces(&mut stream, status, &body).await?,
            Response::Cut(Some(beginning)) => {
                let response = head(200, &[]) + "content-length: 1000\r\n\r\n" + &beginning;
                stream.write_all(response.as_bytes()).await.ok()?;
                return None;
            }
            Response::Cut(None) => return None,
            Response::Silence => std::future::pending().await,
        }
    }
}

fn head(status: u16, headers: &[(&str, String)]) -> String {
    let mut head = format!("HTTP/1.1 {status} X\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

async fn write_pieces(stream: &mut BufReader<TcpStream>, status: u16, body: &[u8]) -> Option<()> {
    let head = head(status, &[("transfer-encoding", "chunked".to_owned())]) + "\r\n";
    stream.write_all(head.as_bytes()).await.ok()?;
    for piece in body.chunks(100) {
        stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes()).await.ok()?;
        stream.write_all(piece).await.ok()?;
        stream.write_all(b"\r\n").await.ok()?;
        stream.flush().await.ok()?;
        // So that the other side may read it before the next one.
        tokio::task::yield_now().await;
    }
    stream.write_all(b"0\r\n\r\n").await.ok()
}

async fn read(stream: &mut BufReader<TcpStream>, connection: usize) -> Option<Request> {
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.ok()? == 0 {
            return None;
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        // The first line is none.
        if let Some((name, value)) = line.split_once(": ") {
            headers.push((name.to_ascii_lowercase(), value.to_owned()));
        }
    }
    let mut request = Request { headers, body: String::new(), connection, before: 0 };
    let length = request.header("content-length").map_or(Some(0), |text| text.parse().ok())?;
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}
