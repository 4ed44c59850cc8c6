use fetch_etl_secrets::{SecretError, SecretSource};

/// Part of every secret of these tests, and of nothing else.
pub(crate) const CANARY: &str = "hunter2";

pub(crate) async fn secret(source: &dyn SecretSource) -> String {
    source.fetch().await.unwrap().expose().to_owned()
}

/// Asks in vain, and looks at the error as everybody may who sees it.
pub(crate) async fn refusal(source: &dyn SecretSource) -> SecretError {
    let error = source.fetch().await.unwrap_err();
    let shown = format!("{error} {error:?} {}", source.describe());
    assert!(!shown.contains(CANARY) && !shown.contains('\n'), "{shown}");
    assert!(std::error::Error::source(&error).is_none(), "a cause would be printed behind the line");
    error
}
