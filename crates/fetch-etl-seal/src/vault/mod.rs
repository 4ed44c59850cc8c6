//! The vault: first-seen values, sealed so that who holds the private key can have them back.

mod known;
mod opener;
mod sealer;
mod value;

pub use known::MAX_KNOWN_AGE;
pub use opener::VaultOpener;
pub use sealer::VaultSealer;
