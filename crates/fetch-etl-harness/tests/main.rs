//! End to end: the real worker, the local queue as a process of its own, a real Postgres.

#[cfg(test)]
mod account;
#[cfg(test)]
mod conservation;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod fatal;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod outages;
#[cfg(test)]
mod passwords;
#[cfg(test)]
mod quarantine;
#[cfg(test)]
mod rotation;
#[cfg(test)]
mod stop;
#[cfg(test)]
mod support;
