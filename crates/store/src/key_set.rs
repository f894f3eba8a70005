//! Table `key_sets`: the public keys of others, as one component fetches them for another one, which asks by a row here.

use common::{json, time::Timestamp};
use serde_json::Value as Json;

use crate::{
    args,
    db::{Affected, Db, DbError, FromRow, Reads, Row, Rows},
};

/// How long a set counts, seconds.
pub const LIFE: i64 = 3_600;
/// How soon after a try there is another one, seconds: nobody makes this server ask more often, whatever tokens say.
pub const AGAIN: i64 = 60;
/// How long a set is kept that nobody asks for, seconds.
pub const KEPT: i64 = 7 * 86_400;

/// Where a set comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// What the issuer says of itself names it (OpenID Connect Discovery 1.0).
    Issuer(String),
    /// It is at this URL.
    Jwks(String),
}

impl Source {
    /// The text for a column.
    pub fn to_column(&self) -> String {
        match self {
            Self::Issuer(url) => format!("issuer {url}"),
            Self::Jwks(url) => format!("jwks {url}"),
        }
    }

    /// Reads the text of a column.
    pub fn stored(text: &str) -> Option<Self> {
        match text.split_once(' ')? {
            ("issuer", url) => Some(Self::Issuer(url.to_owned())),
            ("jwks", url) => Some(Self::Jwks(url.to_owned())),
            _ => None,
        }
    }
}

/// The keys of another one that signs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// They are fetched.
    From(Source),
    /// An admin has pasted them, or they stand in the document of a client.
    Pasted(Vec<Json>),
}

impl Keys {
    /// The texts of their two columns: the source, and the keys.
    pub fn to_columns(&self) -> (Option<String>, Option<String>) {
        match self {
            Self::From(source) => (Some(source.to_column()), None),
            Self::Pasted(keys) => (None, Some(json::to_text(&Json::Array(keys.clone())))),
        }
    }

    /// The URL of the set, if it is known by one.
    pub fn jwks_uri(&self) -> Option<&str> {
        match self {
            Self::From(Source::Jwks(url)) => Some(url),
            _ => None,
        }
    }
}

/// From the two columns; `None`: both are empty.
impl FromRow for Option<Keys> {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let (source, pasted) = (row.take::<Option<String>>()?, row.take::<Option<String>>()?);
        match (source, pasted) {
            (None, None) => Ok(None),
            (Some(text), None) => {
                Source::stored(&text).map(|source| Some(Keys::From(source))).ok_or(DbError::Row("not a source of keys"))
            }
            (_, Some(text)) => match json::parse(&text) {
                Some(Json::Array(keys)) => Ok(Some(Keys::Pasted(keys))),
                _ => Err(DbError::Row("not a list of keys")),
            },
        }
    }
}

/// A set as it is known.
#[derive(Debug)]
pub struct KeySet {
    /// The keys, as they were served; none if they were never fetched.
    pub keys: Vec<Json>,
    /// When they were fetched.
    pub fetched_at: Option<Timestamp>,
    /// When they were last asked for.
    pub tried_at: Timestamp,
    /// Whether that try still runs.
    pub is_awaited: bool,
    /// Why it failed.
    pub failure: Option<String>,
}

impl KeySet {
    /// Whether the keys count at this moment. Another host, whose clock is a little ahead, may have fetched them.
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        self.fetched_at.is_some_and(|at| at <= now.plus_seconds(AGAIN) && now < at.plus_seconds(LIFE))
    }
}

impl FromRow for KeySet {
    fn from_row(row: &mut Row) -> Result<Self, DbError> {
        let keys = row.take::<Option<String>>()?.and_then(|text| json::parse(&text));
        let keys = keys.and_then(|keys| keys.as_array().cloned()).unwrap_or_default();
        Ok(Self { keys, fetched_at: row.take()?, tried_at: row.take()?, is_awaited: row.take()?, failure: row.take()? })
    }
}

/// The set of a source.
pub async fn find(reads: &dyn Rows, source: &Source) -> Result<Option<KeySet>, DbError> {
    let sql = "SELECT keys, fetched_at, tried_at, wanted_at IS NOT NULL OR ended_at IS NULL AS runs, failure FROM key_sets WHERE source = ?1";
    reads.optional(sql, args![source.to_column()]).await
}

/// Asks for the set of a source. `false`: it was asked for a moment ago.
pub async fn want(db: &Db, source: &Source, now: Timestamp) -> Result<bool, DbError> {
    let sql = "INSERT INTO key_sets (source, wanted_at, tried_at) VALUES (?1, ?2, ?2)
               ON CONFLICT (source) DO UPDATE SET wanted_at = ?2, tried_at = ?2, ended_at = NULL WHERE tried_at <= ?3 OR tried_at > ?4
               RETURNING 1";
    let rows = db
        .hot::<Affected>(sql, args![source.to_column(), now, now.plus_seconds(-AGAIN), now.plus_seconds(AGAIN)])
        .await?;
    Ok(!rows.is_empty())
}

/// Takes the sources whose sets somebody waits for, so that each is fetched once.
pub async fn take(db: &Db, most: i64) -> Result<Vec<Source>, DbError> {
    let sql = "UPDATE key_sets SET wanted_at = NULL
               WHERE source IN (SELECT source FROM key_sets WHERE wanted_at IS NOT NULL ORDER BY wanted_at LIMIT ?1) RETURNING source";
    let taken: Vec<String> = db.hot(sql, args![most]).await?;
    Ok(taken.iter().filter_map(|text| Source::stored(text)).collect())
}

/// Ends a try: keeps the keys, or why there are none. Those that were fetched before count on until their end.
pub async fn put(db: &Db, source: &Source, outcome: Result<&Json, &str>, now: Timestamp) -> Result<(), DbError> {
    let (keys, failure) = (outcome.ok().map(json::to_text), outcome.err());
    let sql = "UPDATE key_sets SET keys = ifnull(?2, keys), fetched_at = iif(?2 IS NULL, fetched_at, ?4), ended_at = ?4, failure = ?3
               WHERE source = ?1 RETURNING 1";
    db.hot::<Affected>(sql, args![source.to_column(), keys, failure, now]).await.map(drop)
}

/// Purges sets that nobody has asked for in a while.
pub async fn purge(db: &Db, now: Timestamp, most: i64) -> Result<(), DbError> {
    let sql = "DELETE FROM key_sets WHERE source IN (SELECT source FROM key_sets WHERE tried_at <= ?1 LIMIT ?2)";
    db.hot::<Affected>(sql, args![now.plus_seconds(-KEPT), most]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::TestDb;

    /// R169: a set is asked for at most once a minute, is taken by one that fetches it, and counts for an hour.
    #[tokio::test]
    async fn a_set_is_fetched_once_a_minute_and_counts_for_an_hour() {
        let t = TestDb::new();
        let source = Source::Issuer("https://a.example".to_owned());
        assert_eq!(Source::stored(&source.to_column()), Some(source.clone()));
        assert!(want(t.db(), &source, t.now()).await.unwrap());
        assert!(!want(t.db(), &source, t.now()).await.unwrap());
        assert!(find(t.db(), &source).await.unwrap().unwrap().is_awaited);
        assert_eq!(take(t.db(), 8).await.unwrap(), std::slice::from_ref(&source));
        assert_eq!(take(t.db(), 8).await.unwrap(), []);
        assert!(find(t.db(), &source).await.unwrap().unwrap().is_awaited);
        put(t.db(), &source, Err("its host does not answer"), t.now()).await.unwrap();
        let failed = find(t.db(), &source).await.unwrap().unwrap();
        assert!(!failed.is_awaited && !failed.is_fresh(t.now()) && failed.failure.is_some());
        t.wait(AGAIN);
        assert!(want(t.db(), &source, t.now()).await.unwrap());
        take(t.db(), 8).await.unwrap();
        put(t.db(), &source, Ok(&json!([{ "kid": "a" }])), t.now()).await.unwrap();
        let known = find(t.db(), &source).await.unwrap().unwrap();
        assert!(known.is_fresh(t.now()) && known.failure.is_none());
        assert_eq!(known.keys, [json!({ "kid": "a" })]);
        t.wait(AGAIN);
        assert!(want(t.db(), &source, t.now()).await.unwrap());
        put(t.db(), &source, Err("its host answered 500"), t.now()).await.unwrap();
        let kept = find(t.db(), &source).await.unwrap().unwrap();
        assert!(kept.is_fresh(t.now()) && kept.keys.len() == 1, "until its end");
        t.wait(LIFE);
        assert!(!find(t.db(), &source).await.unwrap().unwrap().is_fresh(t.now()));
        purge(t.db(), t.now(), 10).await.unwrap();
        assert!(find(t.db(), &source).await.unwrap().is_some());
        t.wait(KEPT);
        purge(t.db(), t.now(), 10).await.unwrap();
        assert!(find(t.db(), &source).await.unwrap().is_none());
    }
}
