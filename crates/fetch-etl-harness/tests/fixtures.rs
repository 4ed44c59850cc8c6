//! All sample and hostile messages: every row and every reason, compared one by one.

use std::collections::BTreeMap;

use fetch_etl_harness::{Masking, Opinion, Sent, StoredRow, rejects, rows};
use serde::Deserialize;

use super::support::Stage;

#[derive(Deserialize)]
struct Hostile {
    name: String,
    body: String,
    expect: String,
}

#[tokio::test]
async fn with_plain_sha512_every_fixture_becomes_what_it_should() {
    every_fixture(Masking::Sha512).await;
}

#[tokio::test]
async fn with_a_key_every_fixture_becomes_what_it_should() {
    every_fixture(Masking::keyed()).await;
}

async fn every_fixture(masking: Masking) {
    let stage = Stage::new(masking, 30).await;
    let hostile: Vec<Hostile> =
        serde_json::from_str(include_str!("../../../fixtures/hostile.json")).expect("the fixtures are valid");
    // SQS takes no empty message, so this one cannot come out of it; the core's own tests cover it.
    let (empty, hostile): (Vec<_>, Vec<_>) = hostile.into_iter().partition(|case| case.body.is_empty());
    assert_eq!(empty.len(), 1);
    let logins = include_str!("../../../fixtures/logins.jsonl").lines().filter(|line| !line.is_empty());
    let sent_logins = stage.queue.send(logins.map(str::to_owned)).await;
    let sent_hostile = stage.queue.send(hostile.iter().map(|case| case.body.clone())).await;
    assert_eq!(sent_logins.len(), 100);

    let first = stage.worker(&["--until-empty"]).wait();
    first.assert_code(0);
    let mut connection = stage.database.connect().await;
    let stored = rows(&mut connection).await;
    let reasons: BTreeMap<_, _> =
        rejects(&mut connection).await.into_iter().map(|r| (r.key, r.reason)).collect();
    let is_stored =
        |sent: &Sent| stored.iter().filter(|row| row.message_id.as_ref() == Some(&sent.id)).count();

    for (case, sent) in hostile.iter().zip(&sent_hostile) {
        let (row, reason) = (is_stored(sent), reasons.get(&sent.id).map(String::as_str));
        let expected = if case.expect == "row" { (1, None) } else { (0, Some(case.expect.as_str())) };
        assert_eq!((row, reason), expected, "{}", case.name);
    }
    let wrong_type: Vec<_> = sent_logins.iter().filter_map(|sent| reasons.get(&sent.id)).collect();
    assert_eq!(wrong_type, ["missing_field"], "one of the hundred samples is of another type");
    assert_eq!(sent_logins.iter().map(is_stored).sum::<usize>(), 99);

    let sent = [sent_logins, sent_hostile].concat();
    check_masks(&stage.masking, &sent, &stored);
    second_run_adds_nothing(&stage, &stored).await;

    let rejected = reasons.len();
    assert!(
        first.stdout.lines().any(|line| line.starts_with(&format!("{rejected} rejected messages are left"))),
        "the summary says how many messages were left in the queue: {}",
        first.stdout
    );
    assert_eq!(stage.queue.depth().await.0 + stage.queue.depth().await.1, rejected as u64);
    no_value_was_printed(&sent, &format!("{}{}", first.stdout, first.stderr));
}

fn check_masks(masking: &Masking, sent: &[Sent], stored: &[StoredRow]) {
    if let Some(opinion) = Opinion::ask(masking, sent) {
        assert_eq!(opinion.rows(), stored.len());
        return opinion.assert_rows(stored);
    }
    eprintln!("no Python 3 here: masks are compared with the vectors only");
    let known =
        |n: usize, value: &str| stored.iter().filter(|row| row.columns[n].as_deref() == Some(value)).count();
    let vectors: serde_json::Value =
        serde_json::from_str(include_str!("../../../fixtures/mask-vectors.json")).expect("valid vectors");
    let method = if matches!(masking, Masking::Sha512) { "sha512" } else { "hmac_sha512" };
    let mut compared = 0;
    for vector in vectors["vectors"].as_array().expect("a list of vectors") {
        let column = if vector["field"] == "ip" { 2 } else { 3 };
        compared += known(column, vector[method].as_str().expect("a mask"));
    }
    assert!(compared > 0, "no stored mask is one of the vectors");
}

/// Rejects are still in the queue; whatever comes again adds no row.
async fn second_run_adds_nothing(stage: &Stage, before: &[StoredRow]) {
    stage.worker(&["--until-empty"]).wait().assert_code(0);
    let after = rows(&mut stage.database.connect().await).await;
    assert_eq!(after, before);
}

fn no_value_was_printed(sent: &[Sent], printed: &str) {
    for Sent { body, .. } in sent {
        let Ok(serde_json::Value::Object(event)) = serde_json::from_str(body) else { continue };
        for field in ["ip", "device_id", "user_id"] {
            let Some(value) = event.get(field).and_then(|value| value.as_str()) else { continue };
            assert!(value.len() < 4 || !printed.contains(value), "a value of {field} was printed");
        }
    }
}
