//! The control interface and the flags.

use std::io::{self, Write};
use std::net::UdpSocket;

use fetch_etl_local_sqs::{FaultKind, LocalSqs, QueueConfig};
use serde_json::{Value, json};

use crate::process;
use crate::raw::Connection;
use crate::support::{client, receive_from, start};

const FAULTS: &str = "/control/queues/logins/faults";

#[tokio::test]
async fn a_plan_is_put_read_and_deleted_and_the_counts_stay() {
    let setup = start().await;
    let mut connection = Connection::open(setup.server.addr()).await;
    let none = connection.control("GET", FAULTS, "").await;
    assert_eq!((none.status, none.header("content-type")), (200, Some("application/json")));
    assert_eq!(none.json()["plan"], json!({"seed":0,"faults":{},"slow-ms":1000,"sends":false}));
    assert_eq!(none.json()["injected"].as_object().unwrap().len(), FaultKind::ALL.len());

    let plan = r#"{"seed":7,"faults":{"internal-error":{"probability":1,"at-most":2},"redeliver":0.25}}"#;
    let put = connection.control("PUT", FAULTS, plan).await;
    assert_eq!(put.status, 200);
    let expected = r#"internal-error=1x2,redeliver=0.25,seed=7"#;
    assert_eq!(setup.queue.fault_plan(), expected.parse().unwrap());
    for _ in 0..2 {
        assert!(setup.client.receive_message().queue_url(&setup.url).send().await.is_err());
    }
    setup.receive().await;
    let body = connection.control("GET", FAULTS, "").await.json();
    let shown = json!({"redeliver":0.25,"internal-error":{"probability":1.0,"at-most":2}});
    assert_eq!((&body["plan"]["faults"], &body["injected"]["internal-error"]), (&shown, &json!(2)));

    let plan = r#"{"faults":{"cut-before":1},"calls":["delete"]}"#;
    let body = connection.control("PUT", FAULTS, plan).await.json();
    assert_eq!((&body["plan"]["calls"], body["plan"]["seed"].as_u64()), (&json!(["delete"]), Some(0)));

    let deleted = connection.control("DELETE", FAULTS, "").await.json();
    assert_eq!((&deleted["plan"]["faults"], &deleted["injected"]["internal-error"]), (&json!({}), &json!(2)));
    assert!(setup.queue.fault_plan().is_empty());
}

#[tokio::test]
async fn the_figures_are_those_of_the_handle() {
    let setup = start().await;
    setup.queue.send_many(["a", "b"]).unwrap();
    setup.receive().await;
    let mut connection = Connection::open(setup.server.addr()).await;
    let stats = connection.control("GET", "/control/queues/logins/stats", "").await.json();
    assert_eq!(stats, serde_json::to_value(setup.queue.stats()).unwrap());
    assert_eq!((&stats["in-flight"], &stats["sent"]), (&json!(2), &json!(2)));
}

#[tokio::test]
async fn mistakes_are_refused_by_name_and_change_nothing() {
    let setup = start().await;
    setup.queue.faults("keep=1".parse().unwrap());
    let mut connection = Connection::open(setup.server.addr()).await;
    for (method, path, body, status, said) in [
        ("PUT", FAULTS, r#"{"faults":{"resend":1}}"#, 400, "resend"),
        ("PUT", FAULTS, r#"{"faults":{"keep":1.5}}"#, 400, "from 0 to 1"),
        ("PUT", FAULTS, r#"{"fault":{}}"#, 400, "unknown field"),
        ("PUT", FAULTS, "", 400, "no plan"),
        ("PUT", FAULTS, r#"{"calls":["deletes"]}"#, 400, "deletes"),
        ("POST", FAULTS, "{}", 405, "GET, PUT, DELETE"),
        ("DELETE", "/control/queues/logins/stats", "", 405, "stats: GET"),
        ("GET", "/control/queues/nowhere/faults", "", 404, "does not exist"),
        ("GET", "/control/queues/logins", "", 404, "there are"),
        ("GET", "/control/", "", 404, "there are"),
    ] {
        let refused = connection.control(method, path, body).await;
        assert_eq!(refused.status, status, "{method} {path} {body}");
        let error = refused.json()["error"].as_str().unwrap().to_owned();
        assert!(error.contains(said), "{method} {path} {body}: {error}");
    }
    assert_eq!(setup.queue.fault_plan(), "keep=1".parse().unwrap());
}

#[tokio::test]
async fn other_machines_are_refused() {
    let server = LocalSqs::builder().queue(QueueConfig::new("logins")).bind("0.0.0.0:0").await.unwrap();
    // Nothing is sent: connecting only asks the routing table for the address of this machine that others know.
    let outside = UdpSocket::bind("0.0.0.0:0")
        .and_then(|socket| socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr()))
        .map(|address| address.ip())
        .ok()
        .filter(|address| !address.is_loopback());
    let Some(outside) = outside else {
        let _ = writeln!(io::stderr(), "NOT RUN: this machine has no address but the loopback one");
        return;
    };
    let mut connection = Connection::open((outside, server.addr().port()).into()).await;
    let refused = connection.control("PUT", FAULTS, r#"{"faults":{"keep":1}}"#).await;
    assert_eq!(refused.status, 403);
    assert!(server.queue("logins").unwrap().fault_plan().is_empty());
}

#[tokio::test]
async fn flags_put_plans_to_work_from_the_first_call_on() {
    let arguments =
        ["--queue=logins", "--queue=other", "--fault=logins:internal-error=1x1,keep=0.5", "--fault-seed=9"];
    let (child, ready) = process::start(&arguments).await;
    let endpoint = ready["endpoint"].as_str().unwrap();
    let client = client(endpoint);
    let url = |queue: &str| ready["queues"][queue].as_str().unwrap().to_owned();
    assert!(receive_from(&client, &url("other")).await.is_empty());
    assert!(client.receive_message().queue_url(url("logins")).send().await.is_err());
    assert!(receive_from(&client, &url("logins")).await.is_empty());

    let address = endpoint.strip_prefix("http://").unwrap().parse().unwrap();
    let body: Value = Connection::open(address).await.control("GET", FAULTS, "").await.json();
    assert_eq!((&body["plan"]["seed"], &body["plan"]["faults"]["keep"]), (&json!(9), &json!(0.5)));
    assert_eq!(body["injected"]["internal-error"], 1);
    process::stop(child, "-TERM").await;
}
