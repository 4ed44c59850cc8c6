//! What the proxy has seen and done.

use std::collections::BTreeMap;

use tokio::sync::watch;

use super::plan::{CommitFault, Ending};

/// The number of a connection, in the order of acceptance.
pub type ConnectionId = u64;

/// What went over one connection, or over all.
///
/// Every commit that was seen is then withheld by a fault, confirmed, or failed; or it is still on its way, or its
/// connection broke before it was answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Commits of writes that a client has sent.
    pub commits_seen: u64,
    /// Commits of writes that the server has confirmed, whether or not the client came to know.
    pub commits_confirmed: u64,
    /// Commits of writes that the server has refused.
    pub commits_failed: u64,
    /// Bytes forwarded to the server.
    pub bytes_to_server: u64,
    /// Bytes forwarded to the client.
    pub bytes_to_client: u64,
}

/// How many faults there have been, of each kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Injected {
    /// Connections that ended before the commit of a write was forwarded.
    pub before_commit: u64,
    /// Connections that ended after the commit of a write, before the client saw its answer.
    pub after_commit: u64,
    /// Commits of writes that were withheld, counted as soon as they are.
    pub held_before: u64,
    /// Commits of writes whose answers were withheld, counted as soon as the server has confirmed them.
    pub held_after: u64,
    /// Connections cut by [`PgProxy::cut_all`](super::PgProxy::cut_all).
    pub cut: u64,
    /// Connections reset by [`PgProxy::reset_all`](super::PgProxy::reset_all).
    pub reset: u64,
    /// Connections refused because of [`PgProxy::refuse`](super::PgProxy::refuse).
    pub refused: u64,
}

/// What a [`PgProxy`](super::PgProxy) has seen and done so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProxyStats {
    /// Connections that were accepted, without those that were refused.
    pub accepted: u64,
    /// Connections that ended because Postgres could not be reached.
    pub unreachable: u64,
    /// Connections that ended because what came was not the protocol.
    pub protocol_errors: u64,
    /// How many directions of connections have bytes that stand at the stall.
    pub stalled: u64,
    /// How many connections are held at a commit.
    pub held: u64,
    /// The faults.
    pub injected: Injected,
    /// The sum over all connections, open or not.
    pub total: Counters,
    /// The connections that are open.
    pub open: BTreeMap<ConnectionId, Counters>,
}

/// Where the figures are kept, and where tests wait for them.
#[derive(Debug, Default)]
pub(super) struct Board(watch::Sender<ProxyStats>);

impl Board {
    pub(super) fn stats(&self) -> ProxyStats {
        self.0.borrow().clone()
    }

    pub(super) async fn until(&self, mut reached: impl FnMut(&ProxyStats) -> bool) -> ProxyStats {
        let mut stats = self.0.subscribe();
        // The sender is `self`, so that the channel cannot close under the wait.
        match stats.wait_for(|stats| reached(stats)).await {
            Ok(stats) => stats.clone(),
            Err(_) => self.stats(),
        }
    }

    pub(super) fn refused(&self) {
        self.0.send_modify(|stats| stats.injected.refused += 1);
    }

    /// Counts a connection as open until the entry is dropped.
    pub(super) fn accepted(&self) -> Entry<'_> {
        let mut id = 0;
        self.0.send_modify(|stats| {
            stats.accepted += 1;
            id = stats.accepted;
            stats.open.insert(id, Counters::default());
        });
        Entry { board: self, id }
    }
}

/// An open connection on the board.
#[derive(Debug)]
pub(super) struct Entry<'a> {
    board: &'a Board,
    id: ConnectionId,
}

impl<'a> Entry<'a> {
    /// Changes the connection's counters and the sum alike.
    pub(super) fn count(&self, change: impl Fn(&mut Counters)) {
        self.board.0.send_modify(|stats| {
            change(&mut stats.total);
            if let Some(own) = stats.open.get_mut(&self.id) {
                change(own);
            }
        });
    }

    pub(super) fn unreachable(&self) {
        self.board.0.send_modify(|stats| stats.unreachable += 1);
    }

    pub(super) fn protocol_error(&self) {
        self.board.0.send_modify(|stats| stats.protocol_errors += 1);
    }

    pub(super) fn faulted(&self, fault: CommitFault) {
        self.board.0.send_modify(|stats| match fault {
            CommitFault::Before(_) => stats.injected.before_commit += 1,
            CommitFault::After(_) => stats.injected.after_commit += 1,
            CommitFault::HoldBefore => stats.injected.held_before += 1,
            CommitFault::HoldAfter => stats.injected.held_after += 1,
        });
    }

    /// Counts the connection as held until the guard is dropped.
    pub(super) fn held(&self, fault: CommitFault) -> Held<'a> {
        self.board.0.send_modify(|stats| stats.held += 1);
        self.faulted(fault);
        Held { board: self.board }
    }

    pub(super) fn ended(&self, ending: Ending) {
        self.board.0.send_modify(|stats| match ending {
            Ending::Cut => stats.injected.cut += 1,
            Ending::Reset => stats.injected.reset += 1,
        });
    }

    /// Counts a direction as stalled until the guard is dropped.
    pub(super) fn stalled(&self) -> Stalled<'a> {
        self.board.0.send_modify(|stats| stats.stalled += 1);
        Stalled { board: self.board }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        self.board.0.send_modify(|stats| _ = stats.open.remove(&self.id));
    }
}

/// A connection that is held at a commit.
#[derive(Debug)]
pub(super) struct Held<'a> {
    board: &'a Board,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.board.0.send_modify(|stats| stats.held -= 1);
    }
}

/// Bytes that stand at the stall.
#[derive(Debug)]
pub(super) struct Stalled<'a> {
    board: &'a Board,
}

impl Drop for Stalled<'_> {
    fn drop(&mut self) {
        self.board.0.send_modify(|stats| stats.stalled -= 1);
    }
}
