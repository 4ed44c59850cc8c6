//! The limits: starts a [part](crate::parts) and watches it.

use fetch_etl_harness::{LocalQueue, Running};
use fetch_etl_testing::postgres::TestDatabase;

use crate::Result;
use crate::load::Values;
use crate::parts::{self, Line, MaskMethod, QueuePlace, SinkWay, Task, Took};
use crate::report::{CLIENT, OBSERVER, Run};
use crate::rig::{Rig, USER_LOGINS, succeeded};
use crate::watch::{Until, Watched, drain};

fn start(task: &Task, environment: Vec<(String, String)>) -> Result<Running> {
    let task = (parts::TASK.to_owned(), serde_json::to_string(task)?);
    Ok(Running::start(&std::env::current_exe()?, [parts::COMMAND], environment.into_iter().chain([task])))
}

fn place(queue: &LocalQueue, messages: u64) -> QueuePlace {
    QueuePlace { endpoint: queue.endpoint().to_owned(), url: queue.url().to_owned(), messages }
}

/// The queue emptied by a part.
async fn emptied(rig: &Rig, queue: &LocalQueue, task: Task) -> Result<Run> {
    let part = start(&task, queue.worker_environment())?;
    let watched = Watched::of(rig).and_queue(queue).and_clients([part.id()]);
    let run = drain(queue, &watched, rig.scale.messages, Until::Empty).await;
    succeeded("the part", &part.wait())?;
    run
}

/// Receive and delete by bare HTTP: what the queue can do.
pub(crate) async fn queue(rig: &Rig) -> Result<Run> {
    let queue = rig.queue(rig.scale.messages, Values::New)?;
    let place = place(&queue, rig.scale.messages);
    emptied(rig, &queue, Task::Queue { place }).await
}

/// Receive and delete through the worker's source.
pub(crate) async fn source(rig: &Rig, by_sdk: bool) -> Result<Run> {
    let queue = rig.queue(rig.scale.messages, Values::New)?;
    let place = place(&queue, rig.scale.messages);
    emptied(rig, &queue, Task::Source { place, by_sdk }).await
}

/// All steps by bare means.
pub(crate) async fn pipeline(rig: &Rig) -> Result<Run> {
    let database = bare_database(rig).await?;
    let queue = rig.queue(rig.scale.messages, Values::New)?;
    rig.settle().await?;
    let (place, database_url) = (place(&queue, rig.scale.messages), database.url().to_owned());
    let run = emptied(rig, &queue, Task::Pipeline { place, database_url }).await?;
    all_stored(&database, rig.scale.messages).await?;
    Ok(run)
}

/// Rows stored by bare means.
pub(crate) async fn sink(rig: &Rig, way: SinkWay) -> Result<Run> {
    let database = bare_database(rig).await?;
    rig.settle().await?;
    let task = Task::Sink { rows: rig.scale.messages, way, database_url: database.url().to_owned() };
    let run = by_itself(rig, &task)?;
    all_stored(&database, run.messages).await?;
    Ok(run)
}

/// Decoding and masking on one core.
pub(crate) fn mask(rig: &Rig, method: MaskMethod) -> Result<Run> {
    // A message takes a microsecond or two, and the clock of /proc goes in hundredths of a second.
    by_itself(rig, &Task::Mask { messages: rig.scale.messages * 10, method })
}

/// The pipeline without source and sink.
pub(crate) fn core(rig: &Rig) -> Result<Run> {
    by_itself(rig, &Task::Core { messages: rig.scale.messages * 10 })
}

/// A part that says itself when what is measured begins and ends.
fn by_itself(rig: &Rig, task: &Task) -> Result<Run> {
    let mut part = start(task, Vec::new())?;
    let watched = Watched::of(rig).and_clients([part.id()]);
    // A part that fails before it says anything ends this with its own last words.
    let Line::Begin = serde_json::from_str(&part.read_line())? else {
        return Err("it ended before it began".into());
    };
    let before = watched.look();
    let line = part.read_line();
    let after = watched.look();
    let Line::End(Took { messages, seconds, cpu_seconds }) = serde_json::from_str(&line)? else {
        return Err("it began twice".into());
    };
    succeeded("the part", &part.wait())?;
    let mut run = after.since(&before, messages);
    run.seconds = seconds;
    run.cpu_seconds.insert(CLIENT.to_owned(), cpu_seconds);
    run.cpu_seconds.remove(OBSERVER);
    Ok(run)
}

async fn bare_database(rig: &Rig) -> Result<TestDatabase> {
    let database = rig.database().await;
    let mut connection = database.connect().await;
    sqlx::raw_sql(USER_LOGINS).execute(&mut connection).await?;
    sqlx::raw_sql(parts::LEDGER).execute(&mut connection).await?;
    Ok(database)
}

/// What is not all there has no speed.
pub(crate) async fn all_stored(database: &TestDatabase, messages: u64) -> Result<()> {
    let rows = count_rows(database).await?;
    if rows == messages { Ok(()) } else { Err(format!("{rows} rows of {messages} messages").into()) }
}

pub(crate) async fn count_rows(database: &TestDatabase) -> Result<u64> {
    let mut connection = database.connect().await;
    let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM user_logins").fetch_one(&mut connection).await?;
    Ok(rows.unsigned_abs())
}
