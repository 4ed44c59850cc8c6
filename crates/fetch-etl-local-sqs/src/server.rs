//! The server: its making, its life, its end.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use fastrand::Rng;
use tokio::net::{TcpListener, ToSocketAddrs};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::clock::Clock;
use crate::config::QueueConfig;
use crate::error::SqsError;
use crate::handle::QueueHandle;
use crate::http;
use crate::registry::{ACCOUNT, Registry};
use crate::service::Service;
use crate::settings::RedrivePolicy;

/// An SQS-compatible server in memory. See the [crate's page](crate) for what it does and what it leaves out.
#[derive(Debug)]
pub struct LocalSqs(());

impl LocalSqs {
    /// Begins to describe a server.
    pub fn builder() -> Builder {
        Builder { queues: Vec::new(), clock: None, region: "us-east-1".to_owned(), seed: None }
    }
}

/// Describes a server.
#[derive(Clone, Debug)]
pub struct Builder {
    queues: Vec<QueueConfig>,
    clock: Option<Clock>,
    region: String,
    seed: Option<u64>,
}

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The address could not be bound.
    #[error("failed to listen: {0}")]
    Listen(#[from] io::Error),
    /// A queue was configured as SQS would not have it.
    #[error("failed to create the queue {queue}: {reason}")]
    Queue {
        /// The queue's name.
        queue: String,
        /// What SQS has against it.
        reason: String,
    },
}

impl Builder {
    /// Adds a queue.
    #[must_use]
    pub fn queue(mut self, queue: QueueConfig) -> Self {
        self.queues.push(queue);
        self
    }

    /// Lets the server live by another clock than the machine's.
    #[must_use]
    pub fn clock(mut self, clock: Clock) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The region in the ARNs of the queues; `us-east-1` by default. Clients may use any region.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = region.into();
        self
    }

    /// Makes message ids and receipt handles the same in each run that does the same. They are random by default.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Creates the queues, binds the address (port 0 for any free one) and serves until the returned server is shut
    /// down or dropped.
    ///
    /// # Errors
    /// The address cannot be bound, or a queue is configured outside of the limits of SQS.
    pub async fn bind(self, address: impl ToSocketAddrs) -> Result<RunningServer, StartError> {
        let rng = self.seed.map_or_else(Rng::new, Rng::with_seed);
        let registry = Registry::new(self.clock.unwrap_or_else(Clock::system), self.region, rng);
        create_queues(&registry, &self.queues)?;
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let service = Arc::new(Service { registry, shutdown: shutdown.clone() });
        let tasks = TaskTracker::new();
        tasks.spawn(http::serve(listener, Arc::clone(&service), tasks.clone()));
        Ok(RunningServer { address, service, tasks, shutdown: shutdown.drop_guard() })
    }
}

/// Dead-letter queues can stand before or after the queues that name them, or nowhere.
fn create_queues(registry: &Registry, configs: &[QueueConfig]) -> Result<(), StartError> {
    let failed = |queue: &str, error: SqsError| StartError::Queue {
        queue: queue.to_owned(),
        reason: error.to_string(),
    };
    for config in configs {
        let create = || {
            if registry.get(&config.name).is_ok() {
                return Err(SqsError::invalid_parameter("It is configured twice."));
            }
            registry.create(&config.name, config.settings()?, &BTreeMap::new())
        };
        create().map_err(|error| failed(&config.name, error))?;
    }
    for config in configs {
        let Some((target, max_receive_count)) = &config.dead_letter else { continue };
        let link = || {
            registry.create(target, Default::default(), &BTreeMap::new())?;
            let policy = RedrivePolicy::text(&registry.arn(target), *max_receive_count);
            let queue = registry.get(&config.name)?;
            registry.set_attributes(&queue, &BTreeMap::from([("RedrivePolicy", policy.as_str())]))
        };
        link().map_err(|error| failed(&config.name, error))?;
    }
    Ok(())
}

/// A server that accepts connections. It stops when this is dropped; [`shutdown`](Self::shutdown) also waits for it.
#[derive(Debug)]
pub struct RunningServer {
    address: SocketAddr,
    service: Arc<Service>,
    tasks: TaskTracker,
    shutdown: DropGuard,
}

impl RunningServer {
    /// The address that the server listens on, with the port it got.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint to give to an SDK. A server that listens on all addresses is reached through the loopback one.
    pub fn url(&self) -> String {
        let mut address = self.address;
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                Ipv4Addr::LOCALHOST.into()
            } else {
                Ipv6Addr::LOCALHOST.into()
            });
        }
        format!("http://{address}")
    }

    /// The URL that a queue of this name has, whether it exists or not.
    pub fn queue_url(&self, name: &str) -> String {
        format!("{}/{ACCOUNT}/{name}", self.url())
    }

    /// The names of all queues, in order.
    pub fn queue_names(&self) -> Vec<String> {
        let (names, _) = self.service.registry.list("", None, usize::MAX);
        names.iter().map(ToString::to_string).collect()
    }

    /// The queue of this name, for the process itself; `None` if there is none.
    pub fn queue(&self, name: &str) -> Option<QueueHandle> {
        self.service.registry.get(name).ok().map(QueueHandle::new)
    }

    /// Stops accepting, ends long polls with no messages, lets the calls that are under way be answered, and waits
    /// until all connections are closed.
    pub async fn shutdown(self) {
        drop(self.shutdown);
        self.tasks.close();
        self.tasks.wait().await;
    }
}
