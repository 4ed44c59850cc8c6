//! Everything that our tables hold, as text: for whoever looks for something that should not be there.

use fetch_etl_core::SinkError;
use futures_util::TryStreamExt as _;
use sqlx::PgConnection;

use crate::PostgresSink;
use crate::error::Failure;

impl PostgresSink {
    /// Reads all rows of all our tables, `user_logins` and those of the schema `etl`, in the text format of COPY: a row a line, cells
    /// with tabs between them, bytes in hex. Each piece is given to `each` with its table's name; a piece may end anywhere. Nothing is
    /// held in memory, and there is no limit of time.
    ///
    /// # Errors
    /// Something could not be read.
    pub async fn read_as_text(&self, mut each: impl FnMut(&str, &[u8])) -> Result<(), SinkError> {
        let mut connection = self.sessions.connect_alone().await?;
        for table in tables(&mut connection).await.map_err(without_rows)? {
            // The name comes quoted from the database.
            let statement = format!("COPY (SELECT * FROM {table}) TO STDOUT");
            let mut pieces = connection.copy_out_raw(&statement).await.map_err(without_rows)?;
            while let Some(piece) = pieces.try_next().await.map_err(without_rows)? {
                each(&table, &piece);
            }
        }
        Ok(())
    }
}

/// Their names, quoted where they need to be; partitions are read with their table.
async fn tables(connection: &mut PgConnection) -> sqlx::Result<Vec<String>> {
    sqlx::query_scalar(
        "SELECT oid::regclass::text FROM pg_class
        WHERE relkind IN ('r', 'p') AND NOT relispartition
            AND (oid = to_regclass('user_logins') OR relnamespace = to_regnamespace('etl'))
        ORDER BY 1",
    )
    .fetch_all(connection)
    .await
}

fn without_rows(error: sqlx::Error) -> SinkError {
    Failure::from(error).without_rows()
}
