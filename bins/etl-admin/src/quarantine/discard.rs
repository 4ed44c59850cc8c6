//! `etl-admin quarantine discard`.

use etl_worker::failure::Failure;
use etl_worker::report;
use etl_worker::settings::Loaded;

use super::Store;
use crate::Outcome;
use crate::cli::DiscardArgs;
use crate::words::messages;

/// Messages of one statement: it stays short, and an interruption costs only what it was doing.
const CHUNK: u32 = 10_000;

pub(super) async fn run(args: DiscardArgs) -> Result<Outcome, Failure> {
    let store = Store::open(Loaded::read(&args.config.inputs())?.sink()?).await?;
    let filter = args.chosen.filter.open();
    let counted = store.quarantine.count(&filter).await.map_err(|error| store.failure(error))?;
    let note = if counted.without_body > 0 {
        format!(
            "{} of them without a sealed body: those messages are in the queue or its dead-letter queue, and open \
             again when they are delivered again\n",
            report::grouped(counted.without_body)
        )
    } else {
        String::new()
    };
    if args.chosen.dry_run {
        return Ok(Outcome::done(format!("would discard {}\n{note}", messages(counted.messages))));
    }
    let mut discarded = 0;
    loop {
        let done = store.quarantine.discard(&filter, CHUNK).await.map_err(|error| {
            let failure = store.failure(error);
            let text = format!("{failure}; {} were discarded before", messages(discarded));
            Failure { text, ..failure }
        })?;
        discarded += done;
        if done < u64::from(CHUNK) {
            return Ok(Outcome::done(format!("discarded {}\n{note}", messages(discarded))));
        }
    }
}
