use std::fmt;
use std::ops::Range;

use crate::Canary;
use crate::kinds::{self, Draft, Kind};
use crate::maker::Maker;

/// Messages full of canaries, the same ones for the same seed. `Debug` shows no value.
#[derive(Clone)]
pub struct Canaries {
    name: &'static str,
    tag: String,
    messages: Vec<Message>,
    canaries: Vec<Canary>,
}

impl Canaries {
    /// Logins: two good ones, then a bad one, and so on, of all kinds in turn. They are named `logins` in findings.
    pub fn new(seed: u64, messages: u32) -> Self {
        Self::made_of(&kinds::MIXED, "logins", seed, messages)
    }

    pub(crate) fn made_of(kinds: &[&[Kind]], name: &'static str, seed: u64, messages: u32) -> Self {
        let mut maker = Maker::new(seed);
        let mut made = Self { name, tag: maker.tag().to_owned(), messages: Vec::new(), canaries: Vec::new() };
        for number in 0..messages as usize {
            let list = kinds[number % kinds.len()];
            // A list that has several turns in a round goes on where it stopped, and not by the same kind each time.
            let kind = &list[number / kinds.len() % list.len()];
            made.add(Draft::new(&mut maker, number as u32, kind));
        }
        made
    }

    fn add(&mut self, draft: Draft<'_>) {
        let first = self.canaries.len() as u32;
        let finished = draft.finish();
        for mut canary in finished.canaries {
            canary.number = self.canaries.len() as u32;
            self.canaries.push(canary);
        }
        self.messages.push(Message {
            number: self.messages.len() as u32,
            kind: finished.kind.name,
            expected: finished.kind.expected,
            body: finished.body,
            attributes: finished.attributes,
            canaries: first..self.canaries.len() as u32,
        });
    }

    /// The name of the set in findings.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What all texts of this set end with, for those who want to search by hand.
    pub fn tag(&self) -> &str {
        &self.tag
    }

    /// The messages, in the order of their numbers.
    pub fn messages(&self) -> impl ExactSizeIterator<Item = &Message> {
        self.messages.iter()
    }

    /// All canaries, in the order of their numbers.
    pub fn all(&self) -> &[Canary] {
        &self.canaries
    }

    /// The canaries of one message of this set.
    pub fn of(&self, message: &Message) -> &[Canary] {
        let Range { start, end } = message.canaries;
        &self.canaries[start as usize..end as usize]
    }

    /// How many messages must become rows.
    pub fn rows(&self) -> u64 {
        self.count(|expected| expected == Expected::Row)
    }

    /// How many messages must be rejected.
    pub fn rejects(&self) -> u64 {
        self.count(|expected| matches!(expected, Expected::Reject(_)))
    }

    fn count(&self, is_counted: impl Fn(Expected) -> bool) -> u64 {
        self.messages.iter().filter(|message| is_counted(message.expected)).count() as u64
    }
}

impl fmt::Debug for Canaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canaries")
            .field("name", &self.name)
            .field("messages", &self.messages.len())
            .field("canaries", &self.canaries.len())
            .finish_non_exhaustive()
    }
}

/// What must become of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expected {
    /// A row.
    Row,
    /// A reject with this reason, as the quarantine names it.
    Reject(&'static str),
    /// Neither: the worker is to die of it.
    Nothing,
}

/// A message. `Debug` shows its kind, and no value.
#[derive(Clone)]
pub struct Message {
    number: u32,
    kind: &'static str,
    expected: Expected,
    body: String,
    attributes: Vec<(String, String)>,
    canaries: Range<u32>,
}

impl Message {
    /// Its place in the set, from 0.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// What is special about it, in a few words.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What must become of it.
    pub fn expected(&self) -> Expected {
        self.expected
    }

    /// What to send. Some are bodies that SendMessage of SQS would refuse.
    pub fn body(&self) -> &str {
        &self.body
    }

    /// Message attributes of the type String to send with it: name and value.
    pub fn attributes(&self) -> &[(String, String)] {
        &self.attributes
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("number", &self.number)
            .field("kind", &self.kind)
            .field("expected", &self.expected)
            .finish_non_exhaustive()
    }
}
