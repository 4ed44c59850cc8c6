//! A constraint that a user added refuses some rows of a batch: they are isolated, and cost no other row anything.

use std::sync::Arc;

use fetch_etl_core::login::LoginSchema;
use fetch_etl_core::pipeline::{Pipeline, PipelineConfig};
use fetch_etl_core::{MessageKey, Pii, SealError, SealedBody, Sealer};
use fetch_etl_testing::{FakeMasker, InMemorySource, SourceSettings};
use tokio_util::sync::CancellationToken;

use crate::support::{Bench, good};

const CHECK: &str = "ALTER TABLE user_logins ADD COLUMN theirs INTEGER CHECK (user_id <> 'refused')";
const CODE: &str = "275";
const MESSAGES: u32 = 1_024;

/// Keeps nothing: only the way of a sealed body matters, which is out of the queue.
struct EmptySealer;

impl Sealer for EmptySealer {
    fn seal(&self, _: &MessageKey, _: &Pii<[u8]>) -> Result<SealedBody, SealError> {
        Ok(SealedBody::new("test", Vec::new()))
    }
}

/// One batch of 1,024 rows of which the table refuses so many: what it costs in writes, and what it leaves.
async fn writes_with(bad: u32) -> u64 {
    let bench = Bench::open().await;
    bench.execute(CHECK).await;
    let one_receive = SourceSettings { max_receive: MESSAGES as usize, ..SourceSettings::default() };
    let source = Arc::new(InMemorySource::with(one_receive));
    for n in 0..MESSAGES {
        // Spread over the batch, so that each costs as much as it can.
        let refused = bad > 0 && n % (MESSAGES / bad) == 7;
        let user = if refused { "refused".to_owned() } else { format!("user {n}") };
        source.send(good("m").body.replace("user of m", &user));
    }
    let config = PipelineConfig { writers: 1, until_empty: true, ..PipelineConfig::default() };
    let pipeline =
        Pipeline::new(config, source.clone(), LoginSchema, Arc::new(FakeMasker), bench.sink.clone())
            .with_sealer(Arc::new(EmptySealer));
    let stats = pipeline.stats();
    let summary = pipeline.run(CancellationToken::new()).await.unwrap();
    assert_eq!((summary.inserted, summary.quarantined), (u64::from(MESSAGES - bad), u64::from(bad)));
    assert_eq!((summary.in_flight, source.left()), (0, 0));
    assert_eq!(bench.one::<i64>("SELECT count(*) FROM user_logins").await, i64::from(MESSAGES - bad));
    let codes = format!(
        "SELECT count(*) FROM etl_quarantine WHERE reason = 'refused_by_sink' AND sink_code = '{CODE}'"
    );
    assert_eq!(bench.one::<i64>(&codes).await, i64::from(bad));
    stats.writes.get()
}

#[tokio::test]
async fn k_bad_rows_of_n_cost_k_log_n_writes() {
    assert_eq!(writes_with(0).await, 1);
    for bad in [1, 4, 16] {
        let writes = writes_with(bad).await;
        // To find one takes two writes for each of the ten halvings, at most, and one more stores it as a reject.
        let most = u64::from(bad) * (2 * 10 + 1) + 1;
        assert!(writes <= most, "{writes} writes for {bad} bad rows, of at most {most}");
    }
}
