//! A proxy for faults between a program and its Postgres.
//!
//! A [`PgProxy`] listens on a free port of this machine and forwards to a Postgres. It follows the protocol (version 3) just so
//! far that it knows where a write is committed, and ends the connection there on request, before or after:
//!
//! ```no_run
//! # async fn example(url: &str) -> std::io::Result<()> {
//! use fetch_etl_testing::proxy::{CommitFault, Ending, FaultPlan, PgProxy};
//!
//! let proxy = PgProxy::in_front_of(url).await?;
//! let through_proxy = proxy.url_for(url)?;
//! proxy.inject(FaultPlan::next_commit(CommitFault::After(Ending::Cut)));
//! // … connect to `through_proxy`, write: the row is there, and the client cannot know.
//! proxy.until(|stats| stats.injected.after_commit == 1).await;
//! # Ok(())
//! # }
//! ```
//!
//! # What counts as the commit of a write
//!
//! [`Writes`] says which statements are writes, by default those that write to `etl.ledger`. Their commit is
//!
//! - outside of a transaction the `Sync` after their execution, or the simple query that they are in;
//! - in a transaction the `COMMIT`, prepared or not.
//!
//! Whatever else the client sends passes: pings, queries of the catalog, transactions that only read. Commits in procedures and
//! `COMMIT PREPARED` are not seen. `COPY` is to be sent as a simple query, which is what drivers do.
//!
//! # To stop a program at its commit
//!
//! [`CommitFault::HoldBefore`] and [`CommitFault::HoldAfter`] keep the connection open at that point, and the figures say so at once:
//! `proxy.until(|stats| stats.injected.held_after == 1)` comes back when all is committed and the program cannot know yet, and it
//! can be killed there. A hold ends when the client's socket is closed, and nothing that was withheld is forwarded then.
//!
//! # What the other faults are
//!
//! [`cut_all`](PgProxy::cut_all), [`reset_all`](PgProxy::reset_all), [`stall`](PgProxy::stall), [`delay`](PgProxy::delay) and
//! [`refuse`](PgProxy::refuse) do what they say to whatever is connected, or tries to be.
//!
//! Sessions stay unencrypted: a request for TLS is declined, and [`url_for`](PgProxy::url_for) sees to it that the client
//! accepts that. So the proxy is for databases of tests, and it forwards passwords as it gets them.

mod plan;
mod proto;
mod relay;
mod session;
mod sql;
mod stats;
mod url;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time;

pub use self::plan::{CommitFault, Ending, FaultPlan};
pub use self::sql::Writes;
pub use self::stats::{ConnectionId, Counters, Injected, ProxyStats};

use self::plan::Plans;
use self::stats::Board;

/// How long to wait when connections cannot be accepted, which is for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// One of the two directions of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// What the client sends.
    ToServer,
    /// What the server answers.
    ToClient,
}

/// A proxy in front of a Postgres that injects faults. It ends, and with it all its connections, when it is dropped.
///
/// All of its methods take effect at once, also on connections that are open.
#[derive(Debug)]
pub struct PgProxy {
    addr: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

/// What all connections know.
#[derive(Debug)]
struct Shared {
    upstream: String,
    writes: Writes,
    plans: Plans,
    controls: watch::Sender<Controls>,
    /// Whoever sees a change is to end this way.
    orders: watch::Sender<Ending>,
    /// Whoever sees a change while it is held is to go on.
    releases: watch::Sender<()>,
    board: Board,
}

#[derive(Debug, Clone, Copy, Default)]
struct Controls {
    refusing: bool,
    stalled: bool,
    delays: Delays,
}

#[derive(Debug, Clone, Copy, Default)]
struct Delays {
    to_server: Duration,
    to_client: Duration,
}

impl Delays {
    fn of(&self, direction: Direction) -> Duration {
        match direction {
            Direction::ToServer => self.to_server,
            Direction::ToClient => self.to_client,
        }
    }
}

impl PgProxy {
    /// Starts a proxy in front of the Postgres at `upstream`, which is `host:port`. Writes are those of [`Writes::default`].
    pub async fn start(upstream: impl Into<String>) -> io::Result<Self> {
        Self::start_with(upstream, Writes::default()).await
    }

    /// Starts a proxy for which these statements are writes.
    pub async fn start_with(upstream: impl Into<String>, writes: Writes) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: upstream.into(),
            writes,
            plans: Plans::default(),
            controls: watch::Sender::new(Controls::default()),
            orders: watch::Sender::new(Ending::Cut),
            releases: watch::Sender::new(()),
            board: Board::default(),
        });
        let acceptor = tokio::spawn(accept(listener, shared.clone()));
        Ok(Self { addr, shared, acceptor })
    }

    /// Starts a proxy in front of the Postgres of this URL, which must be reached over TCP.
    pub async fn in_front_of(url: &str) -> io::Result<Self> {
        Self::start(url::address(url).ok_or_else(not_a_url)?).await
    }

    /// Where the proxy listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The URL for a client that is to go through the proxy, where it would else have used `original`.
    pub fn url_for(&self, original: &str) -> io::Result<String> {
        url::redirected(original, &self.addr.to_string()).ok_or_else(not_a_url)
    }

    /// Adds a plan for faults at the commits from now on. Of several plans that hit the same commit, the oldest has it.
    pub fn inject(&self, plan: FaultPlan) {
        self.shared.plans.add(plan);
    }

    /// Forgets all plans. A fault whose commit is already on its way may still come.
    pub fn clear_plans(&self) {
        self.shared.plans.clear();
    }

    /// From now on forwards nothing, in either direction; connections are accepted, and bytes, until buffers are full.
    pub fn stall(&self) {
        self.shared.controls.send_modify(|controls| controls.stalled = true);
    }

    /// Ends the stall; what came during it is forwarded.
    pub fn release(&self) {
        self.shared.controls.send_modify(|controls| controls.stalled = false);
    }

    /// Lets the connections that are held at a commit go on, as if nothing had been.
    pub fn release_held(&self) {
        self.shared.releases.send_replace(());
    }

    /// From now on everything that arrives in this direction waits so long before it goes on; zero ends that.
    pub fn delay(&self, direction: Direction, delay: Duration) {
        self.shared.controls.send_modify(|controls| match direction {
            Direction::ToServer => controls.delays.to_server = delay,
            Direction::ToClient => controls.delays.to_client = delay,
        });
    }

    /// Whether to refuse new connections: they are reset at once, on a port that stays ours.
    pub fn refuse(&self, refusing: bool) {
        self.shared.controls.send_modify(|controls| controls.refusing = refusing);
    }

    /// Ends all open connections with a FIN on both sides, whatever they are about.
    pub fn cut_all(&self) {
        self.shared.orders.send_replace(Ending::Cut);
    }

    /// Ends all open connections with an RST on both sides, whatever they are about.
    pub fn reset_all(&self) {
        self.shared.orders.send_replace(Ending::Reset);
    }

    /// What the proxy has seen and done so far.
    pub fn stats(&self) -> ProxyStats {
        self.shared.board.stats()
    }

    /// Waits until this holds of the figures, so that no test needs to sleep.
    pub async fn until(&self, reached: impl FnMut(&ProxyStats) -> bool) -> ProxyStats {
        self.shared.board.until(reached).await
    }
}

impl Drop for PgProxy {
    fn drop(&mut self) {
        // The connections belong to the acceptor and end with it.
        self.acceptor.abort();
    }
}

fn not_a_url() -> io::Error {
    // A URL holds a password: it is not repeated.
    io::Error::new(io::ErrorKind::InvalidInput, "not the URL of a Postgres that is reached over TCP")
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) if shared.controls.borrow().refusing => refuse(&client, &shared),
                Ok((client, _)) => {
                    let shared = shared.clone();
                    connections.spawn(async move { relay::serve(client, &shared).await });
                }
                Err(_) => time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

fn refuse(client: &TcpStream, shared: &Shared) {
    shared.board.refused();
    // If it cannot be reset, it is closed, which refuses it as well.
    let _ = client.set_zero_linger();
}
