//! The trait of a store for rows.

use std::sync::Arc;

use async_trait::async_trait;

use crate::{Batch, SinkError};

/// What became of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WriteReport {
    /// Rows that were new and are stored now.
    pub inserted: u64,
    /// Rows whose key was in the ledger already, or earlier in the same batch: not stored again.
    pub duplicates: u64,
    /// Rejected messages that the quarantine knows now, new or again.
    pub quarantined: u64,
    /// Of the rows, new or not: those of persons who were erased. They are stored without their masks, and nothing of them goes
    /// to the vault.
    pub erased: u64,
}

/// A store for rows.
///
/// # Contract
/// - **Durable.** `Ok` means that everything in the batch is stored and survives a crash of this process and of the store.
/// - **Atomic.** All of the batch, or nothing of it: an error means that nothing was stored, or that the outcome is unknown
///   (the connection was cut while committing); the pipeline writes the same batch again then.
/// - **Idempotent by key.** A row whose key was stored before, in whichever batch, is not stored again and counts as a
///   duplicate. Two rows of one batch with equal keys count once.
/// - **Honest.** `inserted + duplicates` is the number of rows and `quarantined` the number of rejects.
/// - **Careful with what is sealed.** Of the rejects with one key [`Batch::rejects_by_key`] says which one counts. A reject
///   without a sealed body does not take away the one that is kept for its key.
/// - **Complete.** What inserted rows have for the vault ([`Masked::vault_entries`](crate::Masked::vault_entries)) is stored with
///   them, and nothing that other rows have; a sink that has no vault refuses such a batch with a fatal error.
/// - **Classified.** Errors have a class; a [`BadRow`](crate::ErrorClass::BadRow) means that the batch would pass without
///   some row of it.
///
/// The contract suite in `fetch-etl-testing` checks all of it, for every sink, also one of your own.
///
/// The pipeline drives: it calls `write` from several tasks at once, never with an empty batch, and does not cancel it before
/// the shutdown's deadline. After a fatal error it calls nothing any more.
///
/// A sink takes masked records only:
///
/// ```compile_fail,E0308
/// # use fetch_etl_core::{Sink, login::LoginRow};
/// async fn unmasked(sink: &dyn Sink<LoginRow>, rows: Vec<LoginRow>) {
///     let _ = sink.write(&rows).await;
/// }
/// ```
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait Sink<R: Send + Sync + 'static>: Send + Sync {
    /// Stores a batch: rows, and what the quarantine keeps of rejected messages.
    ///
    /// # Errors
    /// Nothing of the batch is known to be stored.
    async fn write(&self, batch: &Batch<R>) -> Result<WriteReport, SinkError>;
}

#[async_trait]
impl<R: Send + Sync + 'static, T: Sink<R> + ?Sized> Sink<R> for Box<T> {
    async fn write(&self, batch: &Batch<R>) -> Result<WriteReport, SinkError> {
        (**self).write(batch).await
    }
}

#[async_trait]
impl<R: Send + Sync + 'static, T: Sink<R> + ?Sized> Sink<R> for Arc<T> {
    async fn write(&self, batch: &Batch<R>) -> Result<WriteReport, SinkError> {
        (**self).write(batch).await
    }
}
