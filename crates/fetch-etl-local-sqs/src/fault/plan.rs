//! What is to go wrong in a queue, as people and programs say it.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{CallAction, FaultKind};

/// How often a fault of one kind happens.
///
/// In text `0.2` or, at most three times, `1x3`; in JSON `0.2` or `{"probability": 1, "at-most": 3}`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RuleText", into = "RuleText")]
pub struct Rule {
    probability: f64,
    at_most: Option<u64>,
}

impl Rule {
    /// With this probability at each opportunity.
    ///
    /// # Errors
    /// It is no number between 0 and 1.
    pub fn new(probability: f64) -> Result<Self, PlanError> {
        if (0.0..=1.0).contains(&probability) {
            Ok(Self { probability, at_most: None })
        } else {
            Err(PlanError::Probability(probability.to_string()))
        }
    }

    /// Not more often than this under one plan.
    #[must_use]
    pub fn at_most(mut self, times: u64) -> Self {
        self.at_most = Some(times);
        self
    }

    /// The probability, from 0 to 1.
    pub fn probability(&self) -> f64 {
        self.probability
    }

    /// How often it can happen; `None` for any number of times.
    pub fn limit(&self) -> Option<u64> {
        self.at_most
    }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum RuleText {
    Unlimited(f64),
    Limited {
        probability: f64,
        #[serde(rename = "at-most")]
        at_most: u64,
    },
}

impl TryFrom<RuleText> for Rule {
    type Error = PlanError;

    fn try_from(text: RuleText) -> Result<Self, PlanError> {
        match text {
            RuleText::Unlimited(probability) => Self::new(probability),
            RuleText::Limited { probability, at_most } => Ok(Self::new(probability)?.at_most(at_most)),
        }
    }
}

impl From<Rule> for RuleText {
    fn from(rule: Rule) -> Self {
        match rule.at_most {
            None => Self::Unlimited(rule.probability),
            Some(at_most) => Self::Limited { probability: rule.probability, at_most },
        }
    }
}

impl FromStr for Rule {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        let (probability, times) =
            text.split_once('x').map_or((text, None), |(probability, times)| (probability, Some(times)));
        let rule =
            Self::new(probability.parse().map_err(|_| PlanError::Probability(probability.to_owned()))?)?;
        match times {
            None => Ok(rule),
            Some(times) => {
                Ok(rule.at_most(times.parse().map_err(|_| PlanError::WholeNumber(times.to_owned()))?))
            }
        }
    }
}

/// What is to go wrong in a queue.
///
/// Whether a fault happens at the n-th opportunity for it depends on the seed, the queue's name, the kind and n, and on
/// nothing else: kinds do not disturb each other, nor do queues, nor the time.
///
/// ```
/// use fetch_etl_local_sqs::{FaultKind, FaultPlan};
///
/// # fn main() -> Result<(), fetch_etl_local_sqs::PlanError> {
/// let plan = FaultPlan::new(7).with(FaultKind::Redeliver, 0.2)?.times(FaultKind::CutAfter, 1.0, 3)?;
/// assert_eq!("redeliver=0.2,cut-after=1x3".parse::<FaultPlan>()?.seed(7), plan);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct FaultPlan {
    pub(super) seed: u64,
    pub(super) faults: BTreeMap<FaultKind, Rule>,
    slow_ms: SlowMs,
    sends: bool,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    calls: BTreeSet<CallAction>,
}

/// How late a slow answer is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
struct SlowMs(u64);

impl Default for SlowMs {
    fn default() -> Self {
        Self(1_000)
    }
}

impl FaultPlan {
    /// A plan under which nothing goes wrong yet. Equal seeds make the same things go wrong.
    pub fn new(seed: u64) -> Self {
        Self { seed, ..Self::default() }
    }

    /// The same plan with another seed.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Lets a fault happen with this probability at each opportunity.
    ///
    /// # Errors
    /// The probability is no number between 0 and 1.
    pub fn with(mut self, kind: FaultKind, probability: f64) -> Result<Self, PlanError> {
        self.faults.insert(kind, Rule::new(probability)?);
        Ok(self)
    }

    /// As [`with`](Self::with), but not more often than `times`.
    ///
    /// # Errors
    /// The probability is no number between 0 and 1.
    pub fn times(mut self, kind: FaultKind, probability: f64, times: u64) -> Result<Self, PlanError> {
        self.faults.insert(kind, Rule::new(probability)?.at_most(times));
        Ok(self)
    }

    /// By how much slow answers, and slow effects, are late, in whole milliseconds; one second by default.
    #[must_use]
    pub fn slow_by(mut self, delay: Duration) -> Self {
        self.slow_ms = SlowMs(u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Whether sends suffer too. They do not by default: the client of a send whose answer is lost sends again, which
    /// makes two messages of one, and a count of what came out cannot tell that from a consumer's mistake.
    #[must_use]
    pub fn sends(mut self, suffer: bool) -> Self {
        self.sends = suffer;
        self
    }

    /// Keeps the faults for whole calls to calls of these actions; with none named they befall receives, deletes and changes
    /// of visibility, and sends if [`sends`](Self::sends) says so. To name sends is to say so for their calls.
    ///
    /// Other calls are no opportunities: the n-th call of these actions suffers under a seed whatever else is called.
    #[must_use]
    pub fn only_calls(mut self, actions: impl IntoIterator<Item = CallAction>) -> Self {
        self.calls = actions.into_iter().collect();
        self
    }

    /// How often a fault happens; `None` if it is not in the plan.
    pub fn rule(&self, kind: FaultKind) -> Option<Rule> {
        self.faults.get(&kind).copied()
    }

    /// Whether nothing goes wrong under this plan.
    pub fn is_empty(&self) -> bool {
        self.faults.is_empty()
    }

    pub(crate) fn slow_ms(&self) -> u64 {
        self.slow_ms.0
    }

    pub(crate) fn befalls_sends(&self) -> bool {
        self.sends
    }

    /// Whether the faults for whole calls befall calls of this action.
    pub(crate) fn befalls(&self, action: CallAction) -> bool {
        if !self.calls.is_empty() {
            return self.calls.contains(&action);
        }
        match action {
            CallAction::Receive | CallAction::Delete | CallAction::ChangeVisibility => true,
            CallAction::Send => self.sends,
            // Those that look at or empty queues: whoever sets up or watches a test relies on them.
            CallAction::GetUrl
            | CallAction::GetAttributes
            | CallAction::SetAttributes
            | CallAction::Purge => false,
        }
    }

    pub(crate) fn befalls_calls(&self) -> bool {
        self.faults.keys().any(|kind| kind.befalls_calls())
    }

    fn apply(mut self, setting: &str) -> Result<Self, PlanError> {
        let (key, value) =
            setting.split_once('=').ok_or_else(|| PlanError::NotASetting(setting.to_owned()))?;
        let whole_number = || value.parse().map_err(|_| PlanError::WholeNumber(value.to_owned()));
        match key {
            "slow-ms" => self.slow_ms = SlowMs(whole_number()?),
            "seed" => self.seed = whole_number()?,
            "sends" => {
                self.sends = value.parse().map_err(|_| PlanError::TrueOrFalse(value.to_owned()))?;
            }
            "calls" => {
                for action in value.split('+') {
                    self.calls.insert(action.parse()?);
                }
            }
            kind => drop(self.faults.insert(kind.parse()?, value.parse()?)),
        }
        Ok(self)
    }
}

/// Reads `kind=probability[,…]`, with `slow-ms=N`, `sends=true`, `calls=receive+delete` and `seed=N` between them.
impl FromStr for FaultPlan {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        text.split(',').try_fold(Self::default(), Self::apply)
    }
}

/// Why a text or a number is no plan of faults.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PlanError {
    /// There is no fault of this name.
    #[error("unknown fault {0:?}; there are {names}, and the settings slow-ms, sends, calls and seed", names = names())]
    UnknownKind(String),
    /// Not a number between 0 and 1.
    #[error("a probability is a number from 0 to 1, perhaps with a limit as in 1x3, not {0:?}")]
    Probability(String),
    /// Not a whole number.
    #[error("expected a whole number, not {0:?}")]
    WholeNumber(String),
    /// There is no action of this name.
    #[error("unknown call {0:?}; there are {calls}, joined with +", calls = calls())]
    UnknownCall(String),
    /// Neither true nor false.
    #[error("expected true or false, not {0:?}")]
    TrueOrFalse(String),
    /// Not of the form KIND=PROBABILITY.
    #[error("{0:?} is not KIND=PROBABILITY")]
    NotASetting(String),
}

fn names() -> String {
    FaultKind::ALL.map(FaultKind::name).join(", ")
}

fn calls() -> String {
    CallAction::ALL.map(CallAction::name).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_the_same_in_code_in_text_and_in_json() {
        let built = FaultPlan::new(9)
            .with(FaultKind::Redeliver, 0.2)
            .and_then(|plan| plan.times(FaultKind::Slow, 1.0, 3))
            .unwrap()
            .slow_by(Duration::from_millis(250))
            .sends(true);
        let text = "redeliver=0.2,slow=1x3,slow-ms=250,sends=true,seed=9";
        assert_eq!(text.parse(), Ok(built.clone()));
        let json = r#"{"seed":9,"faults":{"redeliver":0.2,"slow":{"probability":1.0,"at-most":3}},"slow-ms":250,"sends":true}"#;
        assert_eq!(serde_json::to_string(&built).unwrap(), json);
        assert_eq!(serde_json::from_str::<FaultPlan>(json).unwrap(), built);
        assert_eq!(serde_json::from_str::<FaultPlan>("{}").unwrap(), FaultPlan::new(0));
    }

    #[test]
    fn calls_are_named_in_code_in_text_and_in_json() {
        use CallAction::{Delete, GetAttributes, Receive, Send};
        let built = FaultPlan::new(0).with(FaultKind::Throttle, 1.0).unwrap().only_calls([Receive, Delete]);
        for text in ["throttle=1,calls=receive+delete", "calls=delete,throttle=1,calls=receive"] {
            assert_eq!(text.parse(), Ok(built.clone()), "{text}");
        }
        let json = r#"{"seed":0,"faults":{"throttle":1.0},"slow-ms":1000,"sends":false,"calls":["receive","delete"]}"#;
        assert_eq!(serde_json::to_string(&built).unwrap(), json);
        assert_eq!(serde_json::from_str::<FaultPlan>(json).unwrap(), built);
        assert!(serde_json::from_str::<FaultPlan>(r#"{"calls":["deletes"]}"#).is_err());

        let befallen = |plan: &FaultPlan| CallAction::ALL.map(|action| plan.befalls(action));
        assert_eq!(befallen(&built), [true, true, false, false, false, false, false, false]);
        let all = built.clone().only_calls([]);
        assert_eq!(befallen(&all), [true, true, true, false, false, false, false, false]);
        assert_eq!(befallen(&all.sends(true)), [true, true, true, true, false, false, false, false]);
        let others = built.only_calls([Send, GetAttributes]);
        assert_eq!(befallen(&others), [false, false, false, true, false, true, false, false]);
    }

    #[test]
    fn mistakes_are_named() {
        for (text, error) in [
            ("redeliver", PlanError::NotASetting("redeliver".into())),
            ("", PlanError::NotASetting(String::new())),
            ("resend=1", PlanError::UnknownKind("resend".into())),
            ("keep=20%", PlanError::Probability("20%".into())),
            ("keep=1.1", PlanError::Probability("1.1".into())),
            ("keep=-0.1", PlanError::Probability("-0.1".into())),
            ("keep=NaN", PlanError::Probability("NaN".into())),
            ("keep=1x", PlanError::WholeNumber(String::new())),
            ("slow-ms=soon", PlanError::WholeNumber("soon".into())),
            ("sends=yes", PlanError::TrueOrFalse("yes".into())),
            ("calls=delete+", PlanError::UnknownCall(String::new())),
            ("calls=DeleteMessage", PlanError::UnknownCall("DeleteMessage".into())),
        ] {
            assert_eq!(text.parse::<FaultPlan>(), Err(error), "{text}");
        }
        for json in
            [r#"{"faults":{"keep":2}}"#, r#"{"faults":{"resend":1}}"#, r#"{"fault":{}}"#, r#"{"seed":-1}"#]
        {
            assert!(serde_json::from_str::<FaultPlan>(json).is_err(), "{json}");
        }
    }
}
