//! Where in a session the commits of writes are, and which answer of the server belongs to which.
//!
//! The client is ahead of the server: it may send many statements before the first is answered. So the state of the
//! transaction is foretold from what the client sends, and set right by what the server says whenever it has caught up.

use std::collections::{HashMap, VecDeque};

use super::plan::Ticket;
use super::proto::{FromClient, FromServer};
use super::sql::{Verb, Writes, statements, verb};

/// One session of one client.
#[derive(Debug)]
pub(super) struct Session {
    writes: Writes,
    prepared: HashMap<Vec<u8>, Statement>,
    portals: HashMap<Vec<u8>, Statement>,
    transaction: Transaction,
    /// How many `ReadyForQuery` the client will have asked for. The startup is the first.
    asked: u64,
    /// How many of them the server has sent.
    answered: u64,
    awaited: VecDeque<Awaited>,
    reply: Reply,
}

#[derive(Debug, Clone, Copy)]
struct Statement {
    verb: Verb,
    writes: bool,
}

#[derive(Debug, Default)]
struct Transaction {
    /// Between BEGIN and its end.
    explicit: bool,
    /// It has failed, so that COMMIT will roll it back.
    failed: bool,
    /// A write was executed in it.
    dirty: bool,
    /// Something was executed that no `Sync` has followed yet, so that the server's status is behind.
    ahead: bool,
}

/// A commit of a write, in a message that was not yet forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Commit {
    /// Which `ReadyForQuery` ends its answer.
    answer: u64,
    /// By COMMIT, not by the end of a statement outside of a transaction.
    explicit: bool,
}

#[derive(Debug)]
struct Awaited {
    commit: Commit,
    ticket: Option<Ticket>,
}

/// What the server said since its last `ReadyForQuery`.
#[derive(Debug, Default)]
struct Reply {
    failed: bool,
    committed: bool,
}

/// What to do with a message of the server.
#[derive(Debug)]
pub(super) enum Disposal {
    /// Forward it, and whatever was held.
    Pass,
    /// Keep it back: it is part of an answer that the client may not come to see.
    Hold,
    /// The answers to this many commits are complete.
    Settled(Settled),
}

/// What became of commits.
#[derive(Debug, Default)]
pub(super) struct Settled {
    pub(super) confirmed: u64,
    pub(super) failed: u64,
    /// A commit was confirmed that is to be followed by this.
    pub(super) fault: Option<Ticket>,
}

impl Session {
    pub(super) fn new(writes: Writes) -> Self {
        Self {
            writes,
            prepared: HashMap::new(),
            portals: HashMap::new(),
            transaction: Transaction::default(),
            asked: 1,
            answered: 0,
            awaited: VecDeque::new(),
            reply: Reply::default(),
        }
    }

    /// Takes note of a message of the client; `Some` if to forward it is to commit a write.
    pub(super) fn client_sends(&mut self, message: &FromClient<'_>) -> Option<Commit> {
        match *message {
            FromClient::Parse { statement, sql } => {
                let parsed = self.statement(sql);
                self.prepared.insert(statement.to_vec(), parsed);
            }
            FromClient::Bind { portal, statement } => match self.prepared.get(statement).copied() {
                Some(bound) => _ = self.portals.insert(portal.to_vec(), bound),
                None => _ = self.portals.remove(portal),
            },
            FromClient::CloseStatement { name } => _ = self.prepared.remove(name),
            FromClient::ClosePortal { name } => _ = self.portals.remove(name),
            FromClient::Execute { portal } => {
                let statement = self.portals.get(portal).copied();
                let statement = statement.unwrap_or(Statement { verb: Verb::Other, writes: false });
                let explicit = self.transaction.execute(statement);
                return explicit.then_some(Commit { answer: self.asked + 1, explicit: true });
            }
            FromClient::Sync => {
                self.asked += 1;
                return self.end_of_request(false);
            }
            FromClient::Query { sql } => {
                self.asked += 1;
                let mut explicit = false;
                for sql in statements(sql) {
                    let statement = self.statement(sql);
                    explicit |= self.transaction.execute(statement);
                }
                return self.end_of_request(explicit);
            }
            FromClient::FunctionCall => {
                self.asked += 1;
                return self.end_of_request(false);
            }
            FromClient::EncryptionRequest
            | FromClient::CancelRequest
            | FromClient::Startup
            | FromClient::Other => {}
        }
        None
    }

    /// The commit will be forwarded; its answer is awaited, and followed by this fault.
    pub(super) fn forwarded(&mut self, commit: Commit, ticket: Option<Ticket>) {
        self.awaited.push_back(Awaited { commit, ticket });
    }

    /// Takes note of a message of the server.
    pub(super) fn server_sends(&mut self, message: &FromServer<'_>) -> Disposal {
        match *message {
            FromServer::ErrorResponse => self.reply.failed = true,
            FromServer::CommandComplete { tag: b"COMMIT" } => self.reply.committed = true,
            FromServer::ReadyForQuery { status } => return self.ready(status),
            // A client that waits for this one would never come to the end of its statement.
            FromServer::CopyIn => return Disposal::Pass,
            FromServer::CommandComplete { .. } | FromServer::Other => {}
        }
        let current = self.answered + 1;
        let held = |awaited: &Awaited| awaited.ticket.is_some() && awaited.commit.answer == current;
        if self.awaited.iter().any(held) { Disposal::Hold } else { Disposal::Pass }
    }

    fn statement(&self, sql: &[u8]) -> Statement {
        Statement { verb: verb(sql), writes: self.writes.matches(sql) }
    }

    /// The server commits what is outside of a transaction.
    fn end_of_request(&mut self, explicit: bool) -> Option<Commit> {
        let implicit = self.transaction.end_of_request();
        if !self.transaction.explicit {
            self.portals.clear();
        }
        (explicit || implicit).then_some(Commit { answer: self.asked, explicit })
    }

    fn ready(&mut self, status: u8) -> Disposal {
        self.answered += 1;
        let reply = std::mem::take(&mut self.reply);
        if self.answered >= self.asked {
            self.transaction.caught_up(status);
        }
        let mut settled = Settled::default();
        while let Some(awaited) = self.awaited.pop_front_if(|awaited| awaited.commit.answer <= self.answered)
        {
            if reply.confirms(awaited.commit, status) {
                settled.confirmed += 1;
                settled.fault = settled.fault.or(awaited.ticket);
            } else {
                settled.failed += 1;
            }
        }
        Disposal::Settled(settled)
    }
}

impl Transaction {
    /// True if this ends an explicit transaction and makes its writes durable.
    fn execute(&mut self, statement: Statement) -> bool {
        self.ahead = true;
        self.dirty |= statement.writes;
        match statement.verb {
            Verb::Begin => self.explicit = true,
            Verb::Commit => {
                let ended = std::mem::replace(self, Self { ahead: true, ..Self::default() });
                return ended.dirty && !ended.failed;
            }
            Verb::Rollback => *self = Self { ahead: true, ..Self::default() },
            Verb::Other => {}
        }
        false
    }

    /// True if there was a write outside of an explicit transaction.
    fn end_of_request(&mut self) -> bool {
        self.ahead = false;
        !self.explicit && std::mem::take(&mut self.dirty)
    }

    /// The server has answered all, and tells its state.
    fn caught_up(&mut self, status: u8) {
        if !self.ahead {
            self.explicit = status != b'I';
            self.failed = status == b'E';
            self.dirty &= self.explicit;
        }
    }
}

impl Reply {
    fn confirms(&self, commit: Commit, status: u8) -> bool {
        // COMMIT of a failed transaction says ROLLBACK.
        if commit.explicit { self.committed } else { !self.failed && status == b'I' }
    }
}

#[cfg(test)]
mod tests;
