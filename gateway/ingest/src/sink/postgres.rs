//! PostgreSQL.
pub(crate) fn explain(error: &sqlx::Error) -> String {
    error.to_string()
}
