//! Which commits are hit, and how.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How a connection comes to its end, on both of its sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// With a FIN: the peer reads an end of file.
    Cut,
    /// With an RST: the peer's next read or write fails.
    Reset,
}

/// What happens at the commit of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitFault {
    /// What came before is forwarded, what would commit is not, and the connection ends: nothing is committed.
    Before(Ending),
    /// The commit is forwarded, and the connection ends when the server has answered it, before the client sees the
    /// answer: all is committed, and the client cannot know.
    After(Ending),
    /// What came before is forwarded, what would commit is withheld, and the connection stays open until it is
    /// [released](super::PgProxy::release_held), which forwards it, or ends, which commits nothing.
    HoldBefore,
    /// The commit is forwarded, and its answer withheld; the connection stays open until it is
    /// [released](super::PgProxy::release_held), which forwards the answer, or ends.
    HoldAfter,
}

/// Which commits of writes get a fault.
///
/// A plan is reproducible: which commits it hits depends on their number since it was injected, and on its seed.
///
/// ```
/// use fetch_etl_testing::proxy::{CommitFault, Ending, FaultPlan};
///
/// let plan = FaultPlan::with_probability(0.2, 42, CommitFault::After(Ending::Cut)).at_most(200);
/// # let _ = plan;
/// ```
#[derive(Debug, Clone)]
pub struct FaultPlan {
    rule: Rule,
    fault: CommitFault,
    limit: Option<u64>,
}

#[derive(Debug, Clone)]
enum Rule {
    EveryNth(NonZeroU64),
    Probability { p: f64, rng: fastrand::Rng },
}

impl FaultPlan {
    /// The next commit.
    pub fn next_commit(fault: CommitFault) -> Self {
        Self::every_nth(NonZeroU64::MIN, fault).at_most(1)
    }

    /// Every `n`th commit.
    pub fn every_nth(n: NonZeroU64, fault: CommitFault) -> Self {
        Self { rule: Rule::EveryNth(n), fault, limit: None }
    }

    /// Each commit with probability `p`, by a generator of random numbers with this seed.
    pub fn with_probability(p: f64, seed: u64, fault: CommitFault) -> Self {
        Self { rule: Rule::Probability { p, rng: fastrand::Rng::with_seed(seed) }, fault, limit: None }
    }

    /// Stops after this many faults.
    pub fn at_most(mut self, faults: u64) -> Self {
        self.limit = Some(faults);
        self
    }
}

/// The plans in force, shared by all connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Plans(Arc<Mutex<Vec<Armed>>>);

#[derive(Debug)]
struct Armed {
    plan: Arc<()>,
    rule: Rule,
    fault: CommitFault,
    seen: u64,
    /// How many faults it may still hand out; those that came to nothing are handed back.
    left: Option<u64>,
    /// How many it has handed out that were not settled yet.
    pending: u64,
}

impl Armed {
    fn new(plan: FaultPlan) -> Self {
        let FaultPlan { rule, fault, limit } = plan;
        Self { plan: Arc::default(), rule, fault, seen: 0, left: limit, pending: 0 }
    }

    /// Whether the rule hits this commit. To be asked about every commit, or else it would not be reproducible.
    fn hits(&mut self) -> bool {
        self.seen += 1;
        let hit = match &mut self.rule {
            Rule::EveryNth(n) => self.seen % *n == 0,
            Rule::Probability { p, rng } => rng.f64() < *p,
        };
        hit && self.left != Some(0)
    }
}

impl Plans {
    pub(super) fn add(&self, plan: FaultPlan) {
        self.lock().push(Armed::new(plan));
    }

    pub(super) fn clear(&self) {
        self.lock().clear();
    }

    /// To be called once for every commit of a write. Of several plans that hit, the oldest has it.
    pub(super) fn at_commit(&self) -> Option<Ticket> {
        let mut hit: Option<Ticket> = None;
        for armed in self.lock().iter_mut() {
            if armed.hits() && hit.is_none() {
                armed.left = armed.left.map(|left| left - 1);
                armed.pending += 1;
                hit = Some(Ticket {
                    plans: self.clone(),
                    plan: armed.plan.clone(),
                    fault: armed.fault,
                    used: false,
                });
            }
        }
        hit
    }

    fn settle(&self, plan: &Arc<()>, used: bool) {
        let mut plans = self.lock();
        if let Some(armed) = plans.iter_mut().find(|armed| Arc::ptr_eq(&armed.plan, plan)) {
            armed.pending -= 1;
            if !used {
                armed.left = armed.left.map(|left| left + 1);
            }
        }
        plans.retain(|armed| armed.left != Some(0) || armed.pending > 0);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Armed>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A fault that was decided on. It goes back to its plan unless it is used: a commit that the server refused, or that was
/// never answered, does not count as one that was cut off after it.
#[derive(Debug)]
pub(super) struct Ticket {
    plans: Plans,
    plan: Arc<()>,
    fault: CommitFault,
    used: bool,
}

impl Ticket {
    pub(super) fn fault(&self) -> CommitFault {
        self.fault
    }

    /// The fault happens now.
    pub(super) fn used(mut self) -> CommitFault {
        self.used = true;
        self.fault
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.plans.settle(&self.plan, self.used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEFORE: CommitFault = CommitFault::Before(Ending::Cut);
    const AFTER: CommitFault = CommitFault::After(Ending::Reset);

    fn nth(n: u64) -> NonZeroU64 {
        NonZeroU64::new(n).unwrap()
    }

    /// What happens at so many commits, each fault being used.
    fn faults(plans: &Plans, commits: usize) -> Vec<Option<CommitFault>> {
        (0..commits).map(|_| plans.at_commit().map(Ticket::used)).collect()
    }

    #[test]
    fn the_next_commit_is_hit_once() {
        let plans = Plans::default();
        assert_eq!(faults(&plans, 2), [None, None]);
        plans.add(FaultPlan::next_commit(BEFORE));
        assert_eq!(faults(&plans, 3), [Some(BEFORE), None, None]);
        assert!(plans.lock().is_empty(), "a plan that is through is forgotten");
    }

    #[test]
    fn every_nth_commit_is_hit_up_to_the_limit() {
        let plans = Plans::default();
        plans.add(FaultPlan::every_nth(nth(3), AFTER).at_most(2));
        let hits: Vec<usize> = faults(&plans, 12)
            .iter()
            .enumerate()
            .filter_map(|(index, fault)| fault.map(|_| index + 1))
            .collect();
        assert_eq!(hits, [3, 6]);
    }

    #[test]
    fn the_oldest_plan_goes_first_and_the_others_keep_count() {
        let plans = Plans::default();
        plans.add(FaultPlan::every_nth(nth(2), BEFORE));
        plans.add(FaultPlan::every_nth(nth(3), AFTER));
        let (b, a) = (Some(BEFORE), Some(AFTER));
        assert_eq!(faults(&plans, 9), [None, b, a, b, None, b, None, b, a]);
        plans.clear();
        assert_eq!(faults(&plans, 6), [None; 6]);
    }

    #[test]
    fn a_seed_gives_the_same_faults_again() {
        let run = |seed| {
            let plans = Plans::default();
            plans.add(FaultPlan::with_probability(0.25, seed, BEFORE));
            faults(&plans, 4000)
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
        let hits = run(7).iter().flatten().count();
        assert!((800..1200).contains(&hits), "{hits} of 4000 at p = 0.25");
    }

    #[test]
    fn a_probability_of_nothing_or_of_nonsense_hits_nothing() {
        for p in [0.0, -1.0, f64::NAN] {
            let plans = Plans::default();
            plans.add(FaultPlan::with_probability(p, 1, BEFORE));
            assert_eq!(faults(&plans, 50), [None; 50]);
        }
    }

    #[test]
    fn a_fault_that_came_to_nothing_is_still_due() {
        let plans = Plans::default();
        plans.add(FaultPlan::next_commit(AFTER));
        let ticket = plans.at_commit();
        assert!(ticket.is_some() && plans.at_commit().is_none(), "one at a time");
        drop(ticket);
        assert_eq!(faults(&plans, 2), [Some(AFTER), None]);
    }

    #[test]
    fn a_fault_outlives_its_plan() {
        let plans = Plans::default();
        plans.add(FaultPlan::next_commit(AFTER));
        let ticket = plans.at_commit().unwrap();
        plans.clear();
        plans.add(FaultPlan::next_commit(BEFORE));
        assert_eq!(ticket.used(), AFTER);
        assert_eq!(faults(&plans, 2), [Some(BEFORE), None]);
    }
}
