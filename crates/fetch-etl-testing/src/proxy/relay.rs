//! One connection: a client on one side, the server on the other.

use std::convert::Infallible;
use std::future::pending;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time;

use super::plan::{CommitFault, Ending, Ticket};
use super::proto::{Framer, FromClient, Head, Piece, ProtocolError};
use super::session::{Commit, Disposal, Session};
use super::stats::Entry;
use super::{Controls, Direction, Shared};

/// How much is read at a time.
const CHUNK: usize = 16 * 1024;
/// How much of an answer is held back at most; the beginning of a longer one goes to the client, but never its end.
const HOLD_LIMIT: usize = 1024 * 1024;
/// "I do not do TLS", or GSSAPI.
const DECLINE: &[u8] = b"N";

/// Why a connection is at its end.
enum End {
    /// One of the peers went away.
    Natural,
    /// A fault at a commit, which ends the connection this way.
    Fault(CommitFault, Ending),
    Unreachable,
    Protocol,
}

impl From<io::Error> for End {
    fn from(_: io::Error) -> Self {
        Self::Natural
    }
}

impl From<ProtocolError> for End {
    fn from(_: ProtocolError) -> Self {
        Self::Protocol
    }
}

/// Serves one client until either side ends, a fault strikes, or an order comes to end.
pub(super) async fn serve(mut client: TcpStream, shared: &Shared) {
    let mut upstream = None;
    let entry = shared.board.accepted();
    let mut orders = shared.orders.subscribe();
    let ending = tokio::select! {
        biased;
        ending = ordered(&mut orders) => {
            entry.ended(ending);
            ending
        }
        end = relay(&mut client, &mut upstream, shared, &entry) => match end {
            End::Natural => Ending::Cut,
            End::Fault(fault, ending) => {
                entry.faulted(fault);
                ending
            }
            // What a client sees when it connects in vain.
            End::Unreachable => {
                entry.unreachable();
                Ending::Reset
            }
            End::Protocol => {
                entry.protocol_error();
                Ending::Cut
            }
        },
    };
    // Counted before the peers can notice, so that whoever sees the effect finds the figures.
    drop(entry);
    end(client, upstream, ending).await;
}

/// Resolves when all connections are told to end.
async fn ordered(orders: &mut watch::Receiver<Ending>) -> Ending {
    match orders.changed().await {
        Ok(()) => *orders.borrow_and_update(),
        // Nobody is left to give orders.
        Err(_) => pending().await,
    }
}

async fn end(client: TcpStream, upstream: Option<TcpStream>, ending: Ending) {
    match ending {
        Ending::Reset => {
            // A socket that cannot be told to reset is closed instead: there is nothing better to do.
            let _ = client.set_zero_linger();
            if let Some(upstream) = &upstream {
                let _ = upstream.set_zero_linger();
            }
        }
        Ending::Cut => {
            let upstream = async {
                if let Some(upstream) = upstream {
                    finish(upstream).await;
                }
            };
            tokio::join!(finish(client), upstream);
        }
    }
}

/// Sends a FIN and reads until the peer's. To close with unread bytes would send an RST.
async fn finish(mut stream: TcpStream) {
    let mut scrap = [0; 1024];
    if stream.shutdown().await.is_ok() {
        while matches!(stream.read(&mut scrap).await, Ok(1..)) {}
    }
}

async fn relay(
    client: &mut TcpStream,
    upstream: &mut Option<TcpStream>,
    shared: &Shared,
    entry: &Entry<'_>,
) -> End {
    let _ = client.set_nodelay(true);
    let (client_rx, client_tx) = client.split();
    let mut from_client = Inbox::new(client_rx, Framer::of_client(), shared, entry, Direction::ToServer);
    let (startup, mut client_tx) = match open(&mut from_client, client_tx).await {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    let Ok(connected) = TcpStream::connect(shared.upstream.as_str()).await else { return End::Unreachable };
    let _ = connected.set_nodelay(true);
    let (server_rx, mut server_tx) = upstream.insert(connected).split();
    let from_server = Inbox::new(server_rx, Framer::of_server(), shared, entry, Direction::ToClient);

    let session = Mutex::new(Session::new(shared.writes.clone()));
    let link = Link { session, shared, entry, client_gone: watch::Sender::new(false) };
    let to_server = async {
        link.send_to_server(&mut server_tx, &startup).await;
        link.pump_to_server(from_client, &mut server_tx).await
    };
    tokio::select! {
        Err(end) = to_server => end,
        Err(end) = link.pump_to_client(from_server, &mut client_tx) => end,
    }
}

/// Declines encryption as often as it is asked for, up to the message that the server is to see first.
async fn open<'a>(inbox: &mut Inbox<'_>, mut client: WriteHalf<'a>) -> Result<(Vec<u8>, WriteHalf<'a>), End> {
    loop {
        let declined = match inbox.next()? {
            Some(Piece::Head(head)) => match head.client_message() {
                FromClient::EncryptionRequest => true,
                _ => return Ok((head.bytes().to_vec(), client)),
            },
            Some(Piece::Rest(_)) => false,
            None => {
                if !inbox.fill().await? {
                    return Err(End::Natural);
                }
                false
            }
        };
        if declined {
            client.write_all(DECLINE).await?;
        }
    }
}

/// The two directions of a connection, and what they both know.
struct Link<'a> {
    session: Mutex<Session>,
    shared: &'a Shared,
    entry: &'a Entry<'a>,
    /// Whether the client has closed its end, which ends a hold.
    client_gone: watch::Sender<bool>,
}

/// What would commit and is not to be forwarded, at least not now.
struct Withheld {
    ticket: Ticket,
    commit: Commit,
    bytes: Vec<u8>,
}

impl Link<'_> {
    async fn pump_to_server(
        &self,
        mut inbox: Inbox<'_>,
        server: &mut WriteHalf<'_>,
    ) -> Result<Infallible, End> {
        let mut out = Vec::with_capacity(CHUNK);
        loop {
            let withheld = self.gather_for_server(&mut inbox, &mut out)?;
            self.send_to_server(server, &out).await;
            out.clear();
            if let Some(Withheld { ticket, commit, bytes }) = withheld {
                let released = self.hold_or_end(ticket);
                tokio::select! {
                    result = released => result?,
                    () = inbox.end() => return Err(End::Natural),
                }
                self.session().forwarded(commit, None);
                out.extend(bytes);
                continue;
            }
            if !inbox.fill().await? {
                self.client_gone.send_replace(true);
                // The server has the last word; if it is gone already, the other direction knows.
                let _ = server.shutdown().await;
                return pending().await;
            }
        }
    }

    /// Moves what may be forwarded to `out`; `Some` if the rest must not be, because it commits.
    fn gather_for_server(&self, inbox: &mut Inbox<'_>, out: &mut Vec<u8>) -> Result<Option<Withheld>, End> {
        while let Some(piece) = inbox.next()? {
            match piece {
                Piece::Head(head) => {
                    if let Some((ticket, commit)) = self.client_sends(&head) {
                        return Ok(Some(Withheld { ticket, commit, bytes: head.bytes().to_vec() }));
                    }
                    out.extend_from_slice(head.bytes());
                }
                Piece::Rest(bytes) => out.extend_from_slice(bytes),
            }
        }
        Ok(None)
    }

    /// `Some` if this message is not to be forwarded.
    fn client_sends(&self, head: &Head<'_>) -> Option<(Ticket, Commit)> {
        let mut session = self.session();
        let commit = session.client_sends(&head.client_message())?;
        self.entry.count(|counters| counters.commits_seen += 1);
        let ticket = self.shared.plans.at_commit();
        match ticket.as_ref().map(Ticket::fault) {
            Some(CommitFault::Before(_) | CommitFault::HoldBefore) => ticket.map(|ticket| (ticket, commit)),
            Some(CommitFault::After(_) | CommitFault::HoldAfter) | None => {
                session.forwarded(commit, ticket);
                None
            }
        }
    }

    /// Comes back when a hold is released; with an error if the fault is to end the connection.
    async fn hold_or_end(&self, ticket: Ticket) -> Result<(), End> {
        let fault = ticket.used();
        match fault {
            CommitFault::Before(ending) | CommitFault::After(ending) => Err(End::Fault(fault, ending)),
            CommitFault::HoldBefore | CommitFault::HoldAfter => {
                // Subscribed before it is counted, so that whoever sees the count can release.
                let mut releases = self.shared.releases.subscribe();
                let _held = self.entry.held(fault);
                // The proxy owns the sender, and its end ends this connection too.
                let _ = releases.changed().await;
                Ok(())
            }
        }
    }

    /// Does not come back if the server takes no more: its last words, in the other direction, are to reach the client.
    async fn send_to_server(&self, server: &mut WriteHalf<'_>, bytes: &[u8]) {
        self.entry.count(|counters| counters.bytes_to_server += bytes.len() as u64);
        if server.write_all(bytes).await.is_err() {
            pending::<()>().await;
        }
    }

    async fn pump_to_client(
        &self,
        mut inbox: Inbox<'_>,
        client: &mut WriteHalf<'_>,
    ) -> Result<Infallible, End> {
        let mut out = Outbox::default();
        loop {
            let fault = self.gather_for_client(&mut inbox, &mut out)?;
            self.send_to_client(client, &mut out).await?;
            if let Some((ticket, last)) = fault {
                let mut client_gone = self.client_gone.subscribe();
                tokio::select! {
                    result = self.hold_or_end(ticket) => result?,
                    _ = client_gone.wait_for(|gone| *gone) => return Err(End::Natural),
                }
                out.put(&last, false);
                continue;
            }
            if !inbox.fill().await? {
                // The answer will not come, and what the server said instead is as good as without a fault.
                out.release();
                self.send_to_client(client, &mut out).await?;
                return Err(End::Natural);
            }
        }
    }

    /// Moves what came to `out`; `Some`, with the answer's last message, if it and what is held must not reach the client.
    fn gather_for_client(
        &self,
        inbox: &mut Inbox<'_>,
        out: &mut Outbox,
    ) -> Result<Option<(Ticket, Vec<u8>)>, End> {
        while let Some(piece) = inbox.next()? {
            match piece {
                Piece::Head(head) => {
                    let disposal = self.session().server_sends(&head.server_message());
                    let hold = matches!(disposal, Disposal::Hold);
                    if let Disposal::Settled(settled) = disposal {
                        self.entry.count(|counters| {
                            counters.commits_confirmed += settled.confirmed;
                            counters.commits_failed += settled.failed;
                        });
                        if let Some(ticket) = settled.fault {
                            return Ok(Some((ticket, head.bytes().to_vec())));
                        }
                    }
                    out.put(head.bytes(), hold);
                }
                Piece::Rest(bytes) => out.put_more(bytes),
            }
        }
        Ok(None)
    }

    async fn send_to_client(&self, client: &mut WriteHalf<'_>, out: &mut Outbox) -> io::Result<()> {
        let bytes = out.ready();
        // First, so that a client that has its answer finds it counted.
        self.entry.count(|counters| counters.bytes_to_client += bytes.len() as u64);
        client.write_all(bytes).await?;
        out.sent();
        Ok(())
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes for the client, of which the last may be held back.
#[derive(Debug, Default)]
struct Outbox {
    bytes: Vec<u8>,
    /// Where what is held back begins.
    ready: usize,
    holding: bool,
}

impl Outbox {
    fn put(&mut self, bytes: &[u8], hold: bool) {
        self.holding = hold;
        self.put_more(bytes);
    }

    /// More of the same message.
    fn put_more(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        if !self.holding || self.bytes.len() > HOLD_LIMIT {
            self.release();
        }
    }

    fn release(&mut self) {
        self.ready = self.bytes.len();
    }

    fn ready(&self) -> &[u8] {
        self.bytes.get(..self.ready).unwrap_or_default()
    }

    fn sent(&mut self) {
        self.bytes.drain(..self.ready);
        self.ready = 0;
    }
}

/// What arrives from one peer, after the delay and the stall.
struct Inbox<'a> {
    from: ReadHalf<'a>,
    framer: Framer,
    chunk: Box<[u8]>,
    taken: usize,
    filled: usize,
    /// What was read while waiting for the end.
    ahead: Vec<u8>,
    controls: watch::Receiver<Controls>,
    direction: Direction,
    entry: &'a Entry<'a>,
}

impl<'a> Inbox<'a> {
    fn new(
        from: ReadHalf<'a>,
        framer: Framer,
        shared: &Shared,
        entry: &'a Entry<'a>,
        direction: Direction,
    ) -> Self {
        let chunk = vec![0; CHUNK].into_boxed_slice();
        let controls = shared.controls.subscribe();
        Self { from, framer, chunk, taken: 0, filled: 0, ahead: Vec::new(), controls, direction, entry }
    }

    /// The next piece of what has been read; `None` if more must be read first.
    fn next(&mut self) -> Result<Option<Piece<'_>>, ProtocolError> {
        let mut input = self.chunk.get(self.taken..self.filled).unwrap_or_default();
        let piece = self.framer.next(&mut input)?;
        self.taken = self.filled - input.len();
        Ok(piece)
    }

    /// Reads once everything has been taken; false at the end.
    async fn fill(&mut self) -> io::Result<bool> {
        self.taken = 0;
        self.filled = 0;
        self.filled = if self.ahead.is_empty() {
            self.from.read(&mut self.chunk).await?
        } else {
            let ahead = self.ahead.len().min(self.chunk.len());
            for (to, from) in self.chunk.iter_mut().zip(self.ahead.drain(..ahead)) {
                *to = from;
            }
            ahead
        };
        if self.filled > 0 {
            self.pass().await;
        }
        Ok(self.filled > 0)
    }

    /// Waits for the peer's end, without giving out what comes before it. Cancel-safe.
    async fn end(&mut self) {
        // Whoever sends so much does not wait for its commit: its end can wait for the hold's.
        while self.ahead.len() < HOLD_LIMIT {
            if !matches!(self.from.read_buf(&mut self.ahead).await, Ok(1..)) {
                return;
            }
        }
        pending::<()>().await;
    }

    /// Waits as long as the bytes in hand are not to go on.
    async fn pass(&mut self) {
        let Controls { delays, stalled, .. } = *self.controls.borrow();
        let delay = delays.of(self.direction);
        if !delay.is_zero() {
            time::sleep(delay).await;
        }
        if stalled || self.controls.borrow().stalled {
            let _stalled = self.entry.stalled();
            // The proxy owns the sender, and its end ends this connection too.
            let _ = self.controls.wait_for(|controls| !controls.stalled).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_stays_until_something_passes() {
        let mut out = Outbox::default();
        out.put(b"ab", false);
        out.put(b"cd", true);
        out.put_more(b"e");
        assert_eq!(out.ready(), b"ab");
        out.sent();
        assert_eq!(out.ready(), b"");
        out.put(b"f", false);
        assert_eq!(out.ready(), b"cdef");
        out.sent();
        assert_eq!((out.ready(), out.bytes.len()), (&b""[..], 0));
    }

    #[test]
    fn no_more_is_held_than_the_limit() {
        let mut out = Outbox::default();
        out.put(b"D", true);
        out.put_more(&vec![b'x'; HOLD_LIMIT - 1]);
        assert_eq!(out.ready().len(), 0);
        out.put_more(b"y");
        assert_eq!(out.ready().len(), HOLD_LIMIT + 1);
        out.sent();
        out.put(b"C", true);
        assert_eq!(out.ready().len(), 0, "and then it begins anew");
    }
}
