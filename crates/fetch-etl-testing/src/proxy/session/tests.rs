use super::super::plan::{CommitFault, Ending, FaultPlan, Plans};
use super::*;

const INSERT: &[u8] = b"INSERT INTO etl.ledger VALUES ($1)";
const SELECT: &[u8] = b"SELECT 1";

/// A session after its startup.
fn session() -> Session {
    let mut session = Session::new(Writes::default());
    assert!(matches!(ready(&mut session, b'I'), Settled { confirmed: 0, failed: 0, fault: None }));
    session
}

fn ready(session: &mut Session, status: u8) -> Settled {
    match session.server_sends(&FromServer::ReadyForQuery { status }) {
        Disposal::Settled(settled) => settled,
        other => panic!("{other:?}"),
    }
}

fn tag(session: &mut Session, tag: &[u8]) -> Disposal {
    session.server_sends(&FromServer::CommandComplete { tag })
}

fn query(session: &mut Session, sql: &[u8]) -> Option<Commit> {
    session.client_sends(&FromClient::Query { sql })
}

/// Parse, Bind and Execute, without names.
fn execute(session: &mut Session, sql: &[u8]) -> Option<Commit> {
    let messages = [
        FromClient::Parse { statement: b"", sql },
        FromClient::Bind { portal: b"", statement: b"" },
        FromClient::Execute { portal: b"" },
    ];
    messages.iter().fold(None, |found, message| {
        assert_eq!(found, None, "only the last may commit");
        session.client_sends(message)
    })
}

fn sync(session: &mut Session) -> Option<Commit> {
    session.client_sends(&FromClient::Sync)
}

/// A ticket for a fault after a commit.
fn ticket() -> Ticket {
    let plans = Plans::default();
    plans.add(FaultPlan::next_commit(CommitFault::After(Ending::Cut)));
    plans.at_commit().unwrap()
}

#[test]
fn a_statement_outside_of_a_transaction_commits_at_sync() {
    let mut session = session();
    assert_eq!(execute(&mut session, INSERT), None);
    assert_eq!(sync(&mut session), Some(Commit { answer: 2, explicit: false }));
    assert_eq!(sync(&mut session), None, "nothing is left to commit");
}

#[test]
fn what_does_not_write_does_not_count() {
    let mut session = session();
    for sql in [SELECT, b"SELECT count(*) FROM etl.ledger", b"INSERT INTO other VALUES (1)", b""] {
        assert_eq!(execute(&mut session, sql), None);
        assert_eq!(sync(&mut session), None);
        assert_eq!(query(&mut session, sql), None);
    }
    assert_eq!(query(&mut session, b"BEGIN; SELECT 1; COMMIT"), None);
    assert_eq!(session.client_sends(&FromClient::FunctionCall), None);
}

#[test]
fn a_statement_that_is_prepared_once_counts_each_time_until_it_is_closed() {
    let mut session = session();
    session.client_sends(&FromClient::Parse { statement: b"s", sql: INSERT });
    assert_eq!(sync(&mut session), None, "to prepare is not to write");
    for answer in 3..6 {
        session.client_sends(&FromClient::Bind { portal: b"p", statement: b"s" });
        session.client_sends(&FromClient::Execute { portal: b"p" });
        session.client_sends(&FromClient::ClosePortal { name: b"p" });
        assert_eq!(sync(&mut session), Some(Commit { answer, explicit: false }));
    }
    session.client_sends(&FromClient::Execute { portal: b"p" });
    assert_eq!(sync(&mut session), None, "the portal is gone");
    session.client_sends(&FromClient::CloseStatement { name: b"s" });
    session.client_sends(&FromClient::Bind { portal: b"p", statement: b"s" });
    session.client_sends(&FromClient::Execute { portal: b"p" });
    assert_eq!(sync(&mut session), None, "the statement is gone");
}

#[test]
fn a_transaction_commits_at_commit() {
    for by_query in [true, false] {
        let mut session = session();
        assert_eq!(query(&mut session, b"BEGIN"), None);
        ready(&mut session, b'T');
        execute(&mut session, INSERT);
        assert_eq!(sync(&mut session), None);
        ready(&mut session, b'T');
        if by_query {
            assert_eq!(query(&mut session, b"COMMIT"), Some(Commit { answer: 4, explicit: true }));
        } else {
            assert_eq!(execute(&mut session, b"COMMIT"), Some(Commit { answer: 4, explicit: true }));
            assert_eq!(sync(&mut session), None);
        }
        assert_eq!(execute(&mut session, b"COMMIT"), None, "nothing is left to commit");
    }
}

#[test]
fn a_transaction_that_is_rolled_back_does_not_commit() {
    let mut session = session();
    query(&mut session, b"BEGIN");
    query(&mut session, INSERT);
    assert_eq!(query(&mut session, b"ROLLBACK"), None);
    assert_eq!(query(&mut session, b"COMMIT"), None);

    query(&mut session, b"BEGIN; SAVEPOINT a");
    query(&mut session, INSERT);
    query(&mut session, b"ROLLBACK TO a");
    assert!(query(&mut session, b"COMMIT").is_some(), "back to a savepoint is not back to the beginning");
}

#[test]
fn one_query_may_hold_it_all() {
    let mut session = session();
    assert_eq!(query(&mut session, INSERT), Some(Commit { answer: 2, explicit: false }));
    let all = b"BEGIN; INSERT INTO etl.ledger VALUES (';'); COMMIT; SELECT 1";
    assert_eq!(query(&mut session, all), Some(Commit { answer: 3, explicit: true }));
    execute(&mut session, INSERT);
    assert_eq!(query(&mut session, SELECT), Some(Commit { answer: 4, explicit: false }), "ends the request");
}

#[test]
fn a_client_may_be_ahead_of_the_server() {
    let mut session = session();
    query(&mut session, b"BEGIN");
    execute(&mut session, INSERT);
    let commit = execute(&mut session, b"COMMIT").unwrap();
    sync(&mut session);
    session.forwarded(commit, Some(ticket()));

    // The answer to BEGIN is not part of the answer to COMMIT, nor says it that nothing is open.
    assert!(matches!(tag(&mut session, b"BEGIN"), Disposal::Pass));
    assert_eq!(ready(&mut session, b'T').confirmed, 0);
    assert!(matches!(tag(&mut session, b"INSERT 0 1"), Disposal::Hold));
    assert!(matches!(tag(&mut session, b"COMMIT"), Disposal::Hold));
    let settled = ready(&mut session, b'I');
    assert_eq!((settled.confirmed, settled.failed, settled.fault.is_some()), (1, 0, true));
}

#[test]
fn the_servers_status_overrules_only_when_it_is_up_to_date() {
    let mut session = session();
    execute(&mut session, SELECT);
    sync(&mut session);
    execute(&mut session, INSERT);
    ready(&mut session, b'I');
    assert!(sync(&mut session).is_some(), "the status was older than the write");

    query(&mut session, b"CALL begins_somehow()");
    ready(&mut session, b'I');
    ready(&mut session, b'T');
    execute(&mut session, INSERT);
    assert_eq!(sync(&mut session), None, "the server says that a transaction is open");
    ready(&mut session, b'E');
    assert_eq!(query(&mut session, b"COMMIT"), None, "it has failed");
}

#[test]
fn a_commit_that_the_server_refuses_takes_no_fault() {
    let mut session = session();
    let commit = query(&mut session, INSERT).unwrap();
    session.forwarded(commit, Some(ticket()));
    assert!(matches!(session.server_sends(&FromServer::ErrorResponse), Disposal::Hold));
    let settled = ready(&mut session, b'I');
    assert_eq!((settled.confirmed, settled.failed, settled.fault.is_some()), (0, 1, false));

    query(&mut session, b"BEGIN");
    query(&mut session, INSERT);
    let commit = query(&mut session, b"COMMIT").unwrap();
    session.forwarded(commit, Some(ticket()));
    ready(&mut session, b'T');
    ready(&mut session, b'E');
    assert!(matches!(tag(&mut session, b"ROLLBACK"), Disposal::Hold));
    let settled = ready(&mut session, b'I');
    assert_eq!((settled.confirmed, settled.failed, settled.fault.is_some()), (0, 1, false));
}

#[test]
fn a_commit_without_a_fault_is_counted_and_not_held() {
    let mut session = session();
    let commit = query(&mut session, INSERT).unwrap();
    session.forwarded(commit, None);
    assert!(matches!(tag(&mut session, b"INSERT 0 1"), Disposal::Pass));
    assert_eq!(ready(&mut session, b'I').confirmed, 1);
}

#[test]
fn a_copy_is_told_to_begin_even_if_its_answer_is_held() {
    let mut session = session();
    let commit = query(&mut session, b"COPY etl.ledger FROM STDIN").unwrap();
    session.forwarded(commit, Some(ticket()));
    assert!(matches!(session.server_sends(&FromServer::CopyIn), Disposal::Pass));
    assert!(matches!(tag(&mut session, b"COPY 3"), Disposal::Hold));
    assert!(ready(&mut session, b'I').fault.is_some());
}
