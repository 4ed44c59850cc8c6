//! All queues of a server, by name.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use fastrand::Rng;

use crate::clock::Clock;
use crate::error::{ErrorKind, SqsError};
use crate::queue::Queue;
use crate::settings::{Settings, check_queue_name};

/// The account that every queue belongs to, as in other local servers.
pub(crate) const ACCOUNT: &str = "000000000000";

type Queues = BTreeMap<Arc<str>, Arc<Queue>>;

pub(crate) struct Registry {
    pub(crate) clock: Clock,
    region: String,
    queues: RwLock<Queues>,
    /// Seeds the generators of the queues, so that one seed fixes every id and handle of the server.
    seeds: RwLock<Rng>,
    calls_may_fail: Arc<AtomicBool>,
}

impl Registry {
    pub(crate) fn new(clock: Clock, region: String, rng: Rng) -> Self {
        Self {
            clock,
            region,
            queues: RwLock::default(),
            seeds: RwLock::new(rng),
            calls_may_fail: Arc::default(),
        }
    }

    /// Whether any queue ever had faults that befall whole calls. While none had, no call is looked at for them.
    pub(crate) fn calls_may_fail(&self) -> bool {
        self.calls_may_fail.load(Ordering::Relaxed)
    }

    pub(crate) fn arn(&self, queue: &str) -> String {
        format!("arn:aws:sqs:{}:{ACCOUNT}:{queue}", self.region)
    }

    /// The queue of this name or URL. Only the last part of a URL counts, so that it does not matter by which host
    /// name, port or account a client knows this server.
    pub(crate) fn get(&self, name_or_url: &str) -> Result<Arc<Queue>, SqsError> {
        let name = name_or_url.rsplit('/').next().unwrap_or_default();
        self.read().get(name).cloned().ok_or_else(SqsError::no_such_queue)
    }

    /// Creates a queue, or returns the one that is there if it has all of the named attributes.
    ///
    /// The real service refuses a name for 60 s after its queue was deleted; here it is free at once.
    pub(crate) fn create(
        &self,
        name: &str,
        settings: Settings,
        named: &BTreeMap<&str, &str>,
    ) -> Result<Arc<Queue>, SqsError> {
        check_queue_name(name)?;
        let mut queues = self.write();
        if let Some(existing) = queues.get(name) {
            let difference = existing.with(|state, _| state.settings.first_difference(&settings, named))?;
            return match difference {
                None => Ok(Arc::clone(existing)),
                Some(attribute) => Err(SqsError::new(
                    ErrorKind::QueueNameExists,
                    format!(
                        "A queue already exists with the same name and a different value for attribute {attribute}"
                    ),
                )),
            };
        }
        if let Some(policy) = &settings.redrive {
            check_target(&queues, &policy.target)?;
        }
        let rng = self.seeds.write().unwrap_or_else(PoisonError::into_inner).fork();
        let queue = Arc::new(Queue::new(
            name,
            self.arn(name),
            settings,
            self.clock.clone(),
            rng,
            Arc::clone(&self.calls_may_fail),
        ));
        queues.insert(Arc::clone(&queue.name), Arc::clone(&queue));
        Ok(queue)
    }

    pub(crate) fn set_attributes(
        &self,
        queue: &Queue,
        attributes: &BTreeMap<&str, &str>,
    ) -> Result<(), SqsError> {
        let queues = self.read();
        queue.with(|state, now| {
            let mut settings = state.settings.clone();
            settings.update(attributes.iter().map(|(name, value)| (*name, *value)))?;
            if let Some(policy) =
                settings.redrive.as_ref().filter(|_| attributes.contains_key("RedrivePolicy"))
            {
                check_target(&queues, &policy.target)?;
            }
            state.settings = settings;
            state.modified_at = now;
            Ok(())
        })?
    }

    pub(crate) fn delete(&self, name: &str) -> Result<(), SqsError> {
        let removed = self.write().remove(name).ok_or_else(SqsError::no_such_queue)?;
        removed.delete();
        Ok(())
    }

    /// Up to `limit` names that begin with `prefix`, in order, after the name `after`; and whether there are more.
    pub(crate) fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> (Vec<Arc<str>>, bool) {
        let queues = self.read();
        let start = after.map_or(Bound::Included(prefix), |after| Bound::Excluded(after.max(prefix)));
        let mut names = queues
            .range::<str, _>((start, Bound::Unbounded))
            .map(|(name, _)| Arc::clone(name))
            .take_while(|name| name.starts_with(prefix));
        let page = names.by_ref().take(limit).collect();
        (page, names.next().is_some())
    }

    fn read(&self) -> RwLockReadGuard<'_, Queues> {
        self.queues.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Queues> {
        self.queues.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check_target(queues: &Queues, target: &str) -> Result<(), SqsError> {
    if queues.contains_key(target) {
        return Ok(());
    }
    Err(SqsError::invalid_parameter(
        "Value for parameter RedrivePolicy is invalid. Reason: Dead letter target does not exist.",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> Registry {
        Registry::new(Clock::system(), "us-east-1".into(), Rng::with_seed(1))
    }

    #[test]
    fn queues_are_found_by_name_and_by_any_url() {
        let registry = registry();
        registry.create("logins", Settings::default(), &BTreeMap::new()).unwrap();
        for known_as in ["logins", "http://localhost:9324/000000000000/logins", "https://elsewhere/1/logins"]
        {
            assert_eq!(&*registry.get(known_as).unwrap().name, "logins");
        }
        for unknown in ["", "login", "http://localhost:9324/logins/", "http://localhost/0/Logins"] {
            assert_eq!(registry.get(unknown).err(), Some(SqsError::no_such_queue()), "{unknown}");
        }
    }

    #[test]
    fn pages_follow_each_other_without_gap_or_overlap() {
        let registry = registry();
        for name in ["b1", "a2", "a1", "a3", "c1"] {
            registry.create(name, Settings::default(), &BTreeMap::new()).unwrap();
        }
        let names = |(page, more): (Vec<Arc<str>>, bool)| {
            (page.iter().map(|n| n.to_string()).collect::<Vec<_>>(), more)
        };
        assert_eq!(names(registry.list("a", None, 2)), (vec!["a1".into(), "a2".into()], true));
        assert_eq!(names(registry.list("a", Some("a2"), 2)), (vec!["a3".into()], false));
        assert_eq!(names(registry.list("b", Some("a2"), 2)), (vec!["b1".into()], false));
        assert_eq!(registry.list("", None, 1000).0.len(), 5);
        assert_eq!(registry.list("d", None, 10), (vec![], false));
    }

    #[test]
    fn a_dead_letter_target_must_exist() {
        let registry = registry();
        let policy = format!(r#"{{"deadLetterTargetArn":"{}","maxReceiveCount":2}}"#, registry.arn("dead"));
        let named = BTreeMap::from([("RedrivePolicy", policy.as_str())]);
        let mut settings = Settings::default();
        settings.update([("RedrivePolicy", policy.as_str())]).unwrap();
        let refused = registry.create("logins", settings.clone(), &named);
        assert_eq!(refused.err().map(|e| e.kind), Some(ErrorKind::InvalidParameterValue));
        registry.create("dead", Settings::default(), &BTreeMap::new()).unwrap();
        let logins = registry.create("logins", settings, &named).unwrap();
        registry.delete("dead").unwrap();
        let refused = registry.set_attributes(&logins, &named);
        assert_eq!(refused.err().map(|e| e.kind), Some(ErrorKind::InvalidParameterValue));
        assert_eq!(registry.set_attributes(&logins, &BTreeMap::from([("DelaySeconds", "1")])), Ok(()));
    }
}
