//! Nothing that core prints of a message holds any value of it.

use std::sync::Arc;

use fetch_etl_core::{Delivery, Pii, Receipt, UnixMillis};
use fetch_etl_testing::FakeMasker;
use proptest::prelude::*;

use super::support::stage;

/// Stands in every value, and in every name that came with the message.
const CANARY: &str = "canary";
/// The same for values that are numbers.
const NUMBER: &str = "8357120946";

fn field(name: &'static str) -> impl Strategy<Value = String> {
    let value = prop_oneof![
        60 => "[ -!#-Z^-~é\u{1F600}]{0,16}".prop_map(|text| format!("\"{text}{CANARY}\"")),
        4 => "[0-9]{1,3}(\\.[0-9]{1,3}){0,3}".prop_map(|text| format!("\"{text}\"")),
        1 => Just(format!("\"{}{CANARY}\"", "x".repeat(200))),
        1 => Just(format!("\"\\u0000{CANARY}\"")),
        1 => Just(format!("{NUMBER}.5")),
        1 => Just(format!("-{NUMBER}")),
        1 => Just(format!("[\"{CANARY}\",{NUMBER}]")),
        1 => Just(format!("{{\"{CANARY}\":\"{CANARY}\"}}")),
        // No JSON: what a parser would quote.
        1 => Just(format!("\"{CANARY}")),
        1 => Just(CANARY.to_owned()),
        1 => Just(format!("\"\\x{CANARY}\"")),
    ];
    let name = prop_oneof![60 => Just(name.to_owned()), 1 => Just(format!("{name}-{CANARY}"))];
    (name, value).prop_map(|(name, value)| format!("\"{name}\":{value}"))
}

/// `app_version` cannot hold the canary and be valid, so it is a plain one most of the time.
fn version() -> impl Strategy<Value = String> {
    prop_oneof![9 => Just("\"app_version\":\"2.3.0\"".to_owned()), 1 => field("app_version")]
}

fn body() -> impl Strategy<Value = String> {
    let fields = (
        field("user_id"),
        version(),
        field("device_type"),
        field("ip"),
        field("locale"),
        field("device_id"),
        prop::option::weighted(0.1, field(CANARY)),
        prop::option::weighted(0.1, field("ip")),
    );
    let object = fields.prop_map(|(a, b, c, d, e, f, unknown, again)| {
        let fields: Vec<_> = [a, b, c, d, e, f].into_iter().chain(unknown).chain(again).collect();
        format!("{{{}}}", fields.join(","))
    });
    let object = object.boxed();
    prop_oneof![
        10 => object.clone(),
        1 => object.prop_map(|object| format!("{object} {CANARY}")),
        1 => Just(format!("\"{CANARY}\"")),
        1 => Just(format!("login of {CANARY}")),
    ]
}

fn key() -> impl Strategy<Value = Option<String>> {
    prop_oneof![
        2 => Just(None),
        2 => Just(Some(CANARY.to_owned())),
        1 => Just(Some(format!("{CANARY}\0"))),
        1 => Just(Some(CANARY.repeat(50))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn nothing_that_is_printed_holds_a_value(body in body(), key in key()) {
        let delivery = Delivery {
            id: "id-1".into(),
            key: key.map(Into::into),
            attempt: 1,
            sent_at: Some(UnixMillis::new(0)),
            trace: None,
            body: Pii::new(body.into_bytes()),
            receipt: Receipt::new(format!("receipt-{CANARY}")),
        };
        let mut shown = vec![format!("{delivery:?} {delivery:#?}")];
        let staged = stage(delivery, Arc::new(FakeMasker));
        let batch = &staged.batch;
        shown.push(format!("{staged:?} {batch:?} {:?} {:?}", batch.rows(), batch.rejects()));
        shown.extend(batch.rows().iter().map(|row| format!("{row:#?} {:#?} {:?}", row.row(), row.key())));
        for reject in batch.rejects() {
            shown.push(format!("{reject:#?} {} {:?} {:?}", reject.reject(), reject.reject(), reject.key()));
        }
        // Unless both outcomes occur, this looks at nothing: `rows_and_rejects_both_occur` sees to that.
        for shown in shown {
            prop_assert!(!shown.contains(CANARY) && !shown.contains(NUMBER), "{}", shown);
        }
    }
}

#[test]
fn rows_and_rejects_both_occur() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let (mut rows, mut rejects) = (0, 0);
    for _ in 0..500 {
        let body = body().new_tree(&mut runner).expect("a message").current();
        let staged = stage(super::support::delivery(body), Arc::new(FakeMasker));
        rows += staged.batch.rows().len();
        rejects += staged.batch.rejects().len();
    }
    assert!(rows > 100 && rejects > 100, "{rows} rows, {rejects} rejects");
}
