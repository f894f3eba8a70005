//! The migrations: what `migrate` applies, and what `schema` reads to know what a database is made of.

/// The statements of every file of `migrations`, in order, without comments (`build.rs`); the version of a database is how many files it
/// has seen. A static, not a constant: the texts would stand in a component once for each place that names them.
pub(super) static ALL: &[&[&str]] = &include!(concat!(env!("OUT_DIR"), "/migrations.rs"));

/// The version of a database that has seen every file.
pub(super) fn newest() -> i64 {
    i64::try_from(ALL.len()).unwrap_or(i64::MAX)
}
