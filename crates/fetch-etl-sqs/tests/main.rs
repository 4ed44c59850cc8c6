//! `SqsSource` over the real wire: against `fetch-etl-local-sqs`, and against a server whose answers each test writes itself.

// A test crate is all test; clippy knows it by this attribute only.
#[cfg(test)]
mod authority;
#[cfg(test)]
mod connecting;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod differential;
#[cfg(test)]
mod failing;
#[cfg(test)]
mod logs;
#[cfg(test)]
mod pipeline;
#[cfg(test)]
mod posture;
#[cfg(test)]
mod receiving;
#[cfg(test)]
mod redrive;
#[cfg(test)]
mod scripted;
#[cfg(test)]
mod settling;
#[cfg(test)]
mod signature;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod transports;
