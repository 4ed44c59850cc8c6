//! The control interface: what tests and benchmarks want of the server that SQS has no call for.
//!
//! | request | effect |
//! |---|---|
//! | `GET /control/queues/{name}/faults` | the plan at work and the faults so far |
//! | `PUT /control/queues/{name}/faults` | puts the plan in the body to work |
//! | `DELETE /control/queues/{name}/faults` | ends all faults |
//! | `GET /control/queues/{name}/stats` | the figures of the queue |

use hyper::{Method, StatusCode};
use serde::Serialize;
use serde_json::{Value, json};

use crate::error::SqsError;
use crate::fault::{FaultCounts, FaultPlan};
use crate::queue::Queue;
use crate::registry::Registry;

/// The answer to each request that concerns faults.
#[derive(Serialize)]
struct Faults {
    plan: FaultPlan,
    injected: FaultCounts,
}

/// What a request is answered with.
pub(crate) struct Controlled {
    pub(crate) status: StatusCode,
    pub(crate) body: Value,
}

impl Controlled {
    pub(crate) fn refused(status: StatusCode, reason: impl Into<String>) -> Self {
        Self { status, body: json!({ "error": reason.into() }) }
    }
}

/// The part of a path that follows the one by which control requests are known.
pub(crate) fn path(path: &str) -> Option<&str> {
    path.strip_prefix("/control/")
}

/// Does what a control request asks for.
pub(crate) fn respond(registry: &Registry, method: &Method, path: &str, body: &[u8]) -> Controlled {
    let target = path.strip_prefix("queues/").and_then(|path| path.split_once('/'));
    let Some((name, resource @ ("faults" | "stats"))) = target else {
        let known = "there are /control/queues/{name}/faults and /control/queues/{name}/stats";
        return Controlled::refused(StatusCode::NOT_FOUND, known);
    };
    let Ok(queue) = registry.get(name) else {
        return Controlled::refused(StatusCode::NOT_FOUND, SqsError::no_such_queue().message);
    };
    match (method.as_str(), resource) {
        ("GET", "stats") => answer(&queue.stats()),
        ("GET", _) => answer(&faults(&queue)),
        ("PUT", "faults") => match serde_json::from_slice(body) {
            Ok(plan) => replace(&queue, plan),
            Err(error) => {
                Controlled::refused(StatusCode::BAD_REQUEST, format!("this is no plan of faults: {error}"))
            }
        },
        ("DELETE", "faults") => replace(&queue, FaultPlan::default()),
        _ => Controlled::refused(StatusCode::METHOD_NOT_ALLOWED, "faults: GET, PUT, DELETE; stats: GET"),
    }
}

fn replace(queue: &Queue, plan: FaultPlan) -> Controlled {
    queue.set_faults(plan);
    answer(&faults(queue))
}

fn faults(queue: &Queue) -> Faults {
    Faults { plan: queue.fault_plan(), injected: queue.stats().faults }
}

fn answer(body: &impl Serialize) -> Controlled {
    match serde_json::to_value(body) {
        Ok(body) => Controlled { status: StatusCode::OK, body },
        // Numbers and names are all there is; a probability is checked to be a number.
        Err(error) => Controlled::refused(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}
