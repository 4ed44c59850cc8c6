//! TLS, by both transports: whom they trust, what they say of whom they do not, and that nothing is lost meanwhile.
//!
//! Whom a process trusts it reads from its environment, once. So the test runs itself again, with `SSL_CERT_FILE`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::{env, fs};

use fetch_etl_core::ErrorClass::Retryable;
use fetch_etl_core::{Delivery, MessageSource, SourceError};
use fetch_etl_sqs::{ConnectErrorKind, SqsConfig, SqsSource};
use rcgen::{CertificateParams, date_time_ymd};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::authority::{Authority, Key};
use crate::support::{Local, TRANSPORTS, committed, text};

/// Where the process that is started finds the key of the authority that it trusts.
const KEY_FILE: &str = "FETCH_ETL_TEST_AUTHORITY_KEY";

const HANDSHAKE_FAILED: &str = "the TLS handshake failed";

#[test]
fn an_authority_of_ones_own_is_named_by_ssl_cert_file() {
    let directory = tempfile::tempdir().unwrap();
    let [certificate, key_file] = ["authority.pem", "authority.key"].map(|name| directory.path().join(name));
    let key = Key::new();
    fs::write(&key_file, key.to_pkcs8()).unwrap();
    fs::write(&certificate, Authority::new(key).pem).unwrap();
    let mut client = Command::new(env::current_exe().unwrap());
    client.args(["--exact", "tls::a_client_that_trusts_one_authority", "--ignored", "--nocapture"]);
    client.env("SSL_CERT_FILE", certificate).env(KEY_FILE, key_file).env_remove("SSL_CERT_DIR");
    // Not through the proxy that the machine's environment may name.
    client.env("NO_PROXY", "localhost").env_remove("no_proxy");
    let output = client.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let went_well = output.status.success() && said.contains("1 passed");
    assert!(went_well, "{said}\n{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test]
#[ignore = "an_authority_of_ones_own_is_named_by_ssl_cert_file starts it, as a process of its own"]
async fn a_client_that_trusts_one_authority() {
    let key_file = PathBuf::from(env::var_os(KEY_FILE).expect("it is started by the test"));
    let fronts = Fronts::new(&key_file);
    for (shown, what) in &fronts.bad {
        for transport in TRANSPORTS {
            let local = Local::start().await;
            let front = Front::start(local.server.addr(), fronts.good.clone()).await;
            let config = || SqsConfig { endpoint_url: Some(front.url()), transport, ..local.config() };
            let source = SqsSource::connect(config()).await.unwrap();
            local.queue.send_many(["a", "b"]).unwrap();
            source.ack(committed(take(&source, "a").await).await).await.unwrap();
            let b = committed(take(&source, "b").await).await;
            local.queue.send_many(["c"]).unwrap();

            front.show(shown.clone()).await;
            let error = refused(&source).await;
            let expected = format!("ReceiveMessage: {HANDSHAKE_FAILED}: {what}");
            assert_eq!((error.class(), error.to_string()), (Retryable, expected), "{transport:?}");
            let failure = source.ack(b).await.unwrap_err();
            let expected = format!("DeleteMessageBatch: {HANDSHAKE_FAILED}: {what}");
            assert_eq!((failure.error.class(), failure.to_string()), (Retryable, expected), "{transport:?}");
            let error = SqsSource::connect(config()).await.unwrap_err();
            assert_eq!((error.kind(), error.class()), (ConnectErrorKind::Unreachable, Retryable));
            let address = front.url().replace("https://", "");
            assert_eq!(error.to_string(), format!("cannot reach {address}: {HANDSHAKE_FAILED}: {what}"));

            front.show(fronts.good.clone()).await;
            source.ack(failure.unacked).await.unwrap();
            source.ack(committed(take(&source, "c").await).await).await.unwrap();
            let stats = local.queue.stats();
            assert_eq!((stats.deleted, stats.ready, stats.in_flight), (3, 0, 0), "{transport:?}");
        }
    }
}

async fn take(source: &SqsSource, expected: &str) -> Vec<Delivery> {
    let taken = source.receive(1).await.unwrap();
    assert_eq!(taken.iter().map(text).collect::<Vec<_>>(), [expected]);
    taken
}

/// The error of a receive over a new connection. One that was open fails first, if the client does not know yet that it is closed.
async fn refused(source: &SqsSource) -> SourceError {
    loop {
        let error = source.receive(1).await.unwrap_err();
        assert_eq!(error.class(), Retryable, "{error}");
        if error.to_string().contains(HANDSHAKE_FAILED) {
            return error;
        }
    }
}

/// What a server shows to its clients, and what is said of those that are bad.
struct Fronts {
    good: Shown,
    bad: Vec<(Shown, &'static str)>,
}

impl Fronts {
    fn new(key_file: &Path) -> Self {
        let trusted = Authority::new(Key::read(&fs::read(key_file).unwrap()));
        // Of the same name.
        let other = Authority::new(Key::new());
        let shown = |authority: &Authority, name| Shown::Certificate(authority.server(name, |_| {}));
        let over = |params: &mut CertificateParams| params.not_after = date_time_ymd(2001, 1, 1);
        let to_come = |params: &mut CertificateParams| params.not_before = date_time_ymd(2999, 1, 1);
        let untrusted = "the certificate is of no authority trusted here (SSL_CERT_FILE names them)";
        let out_of_date = "the certificate has expired, or is not valid yet";
        Self {
            good: shown(&trusted, "localhost"),
            bad: vec![
                (shown(&other, "localhost"), untrusted),
                (shown(&trusted, "queue.invalid"), "the certificate is for another name"),
                (Shown::Certificate(trusted.server("localhost", over)), out_of_date),
                (Shown::Certificate(trusted.server("localhost", to_come)), out_of_date),
                (Shown::NoTls, "what answers does not speak TLS"),
            ],
        }
    }
}

#[derive(Clone)]
enum Shown {
    Certificate(Arc<ServerConfig>),
    /// It is a plain HTTP server.
    NoTls,
}

/// Speaks TLS before a server that does not.
struct Front {
    address: SocketAddr,
    changes: mpsc::Sender<(Shown, oneshot::Sender<()>)>,
    _tasks: JoinSet<()>,
}

impl Front {
    async fn start(server: SocketAddr, mut shown: Shown) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (changes, mut changed) = mpsc::channel::<(_, oneshot::Sender<()>)>(1);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    Some((now, done)) = changed.recv() => {
                        shown = now;
                        // What is open was opened to somebody else.
                        connections.shutdown().await;
                        done.send(()).unwrap();
                        continue;
                    }
                };
                let Ok((stream, _)) = accepted else { return };
                let shown = shown.clone();
                connections.spawn(async move { serve(stream, server, shown).await.unwrap_or_default() });
            }
        });
        Self { address, changes, _tasks: tasks }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}", self.address.port())
    }

    /// From now on to every client: nothing that was open stays so.
    async fn show(&self, shown: Shown) {
        let (done, is_done) = oneshot::channel();
        self.changes.send((shown, done)).await.unwrap();
        is_done.await.unwrap();
    }
}

async fn serve(mut stream: TcpStream, server: SocketAddr, shown: Shown) -> std::io::Result<()> {
    match shown {
        Shown::Certificate(config) => {
            let mut stream = TlsAcceptor::from(config).accept(stream).await?;
            copy_bidirectional(&mut stream, &mut TcpStream::connect(server).await?).await?;
        }
        Shown::NoTls => {
            let _ = stream.read(&mut vec![0; 16 * 1024]).await?;
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await?;
            stream.shutdown().await?;
            // Until the client has read it: closing at once could take it away.
            let _ = stream.read_to_end(&mut Vec::new()).await?;
        }
    }
    Ok(())
}
