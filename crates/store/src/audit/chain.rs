//! Seals over the audit trail, so that somebody who can write to the file cannot falsify it unnoticed.
//!
//! 1. A row's digest is the SHA-256 of all its columns, each with its type and length ([`row_digest`]).
//! 2. A seal covers the rows that follow the seal before it. It lists their numbers and digests, and its HMAC-SHA-256 covers
//!    this list, its bounds, its time, and the HMAC of the seal before: the seals are one chain ([`mac`]).
//! 3. The tick makes them ([`run`]), and logs the newest HMAC, the head. If rows are cut off together with their seals, the
//!    chain that is left is whole but lacks the head that was logged.
//! 4. [`verify`] walks the chain and names the first row that is not as it was sealed.
//! 5. While the schema is not the one that the migrations make, rows are sealed all the same, so that nobody edits them later. Each such
//!    seal lists the difference first, in place of a row ([`mark`]): what was written meanwhile never looks as if all had been well.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    audit::{
        checkpoint::{self, Checkpoint},
        seal::{self, Seal, SealEnd, key_id},
        trail::{self, RawRow},
    },
    db::{
        Db, DbError, Value,
        schema::{self, Schema},
    },
};
use common::{
    secret::{Digest, Key},
    time::Timestamp,
};

/// Rows that one seal covers at most.
const SEALED: usize = 1_000;
/// Seals that one tick makes at most.
const SEALS: usize = 5;
/// Rows that are read at once: a row can have some 100 KB.
const ROWS: i64 = 100;
/// Rows that one statement holds against the indexes.
const INDEXED: i64 = 5_000;
/// Rows and seals that one request verifies at most.
const VERIFIED: i64 = 50_000;
/// Bytes of a row in a seal's list: its number and its digest.
const LISTED: usize = 8 + 32;
/// The number of an entry that is no row: it marks a seal over rows that were written while the schema was changed.
const MARK: i64 = 0;

/// The keys of the variable `audit_key`: texts with commas or blanks between them, the newest first.
pub fn keys(variable: &str) -> Vec<Key> {
    let texts = variable.split([',', ' ']).filter(|text| !text.is_empty());
    texts.map(|text| Key::derive(text.as_bytes(), "accredit audit seal 1", &[])).collect()
}

/// The digest of a row, as its seal lists it: rows that differ have digests that differ.
pub fn row_digest(row: &RawRow) -> Digest {
    let mut bytes = Vec::with_capacity(512);
    let mut text = |kind: u8, part: &[u8]| {
        bytes.push(kind);
        bytes.extend(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        bytes.extend(part);
    };
    text(0, b"accredit audit row 1");
    for column in &row.columns {
        match column {
            Value::Null => text(1, &[]),
            Value::Integer(number) => text(2, &number.to_be_bytes()),
            Value::Real(number) => text(3, &number.to_be_bytes()),
            Value::Text(part) => text(4, part.as_bytes()),
            Value::Blob(part) => text(5, part),
        }
    }
    Digest::of(&bytes)
}

/// The HMAC of a seal that follows one with `before`.
fn mac(key: &Key, before: Option<&Digest>, seal: &Seal) -> Digest {
    let mut bytes = Vec::with_capacity(120);
    bytes.extend(before.map_or([0; 32], |mac| *mac.bytes()));
    for number in [seal.from_seq, seal.to_seq, seal.sealed_at.millis()] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend(Digest::of(&seal.digests).bytes());
    key.mac(&bytes)
}

/// An entry of a seal's list that holds the beginning of an object's kind and name.
fn mark(object: &str) -> Vec<u8> {
    let mut entry = MARK.to_be_bytes().to_vec();
    entry.extend(object.bytes());
    entry.resize(LISTED, 0);
    entry
}

/// The object that a mark names.
fn marked(text: &[u8]) -> String {
    String::from_utf8_lossy(text).trim_end_matches(['\0', '\u{fffd}']).to_owned()
}

/// Seals the rows that are new, if there is a key; the new head is the last one, for the log.
pub async fn run(db: &Db, keys: &[Key], schema: &Schema, now: Timestamp) -> Result<Option<Head>, DbError> {
    let Some(key) = keys.first() else { return Ok(None) };
    let mut head = None;
    for _ in 0..SEALS {
        match next(db, key, schema, now).await? {
            Some(made) => head = Some(Head { seq: Some(made.to_seq), mac: made.mac }),
            None => break,
        }
    }
    Ok(head)
}

/// Makes one seal; `None`: there is nothing new, or somebody else has sealed it.
///
/// Rows are read without a lock: they never change, and none can come in before those that are there. One statement then
/// decides whether this seal continues the chain.
async fn next(db: &Db, key: &Key, schema: &Schema, now: Timestamp) -> Result<Option<Seal>, DbError> {
    let before = seal::before(db, i64::MAX).await?;
    let sealed_to = before.as_ref().map_or(0, |end| end.to_seq);
    let (mut to_seq, mut digests) = (sealed_to, Vec::new());
    while digests.len() < SEALED * LISTED {
        let rows = trail::raw_rows(db, to_seq, i64::MAX, ROWS).await?;
        let Some(last) = rows.last() else { break };
        to_seq = last.seq;
        for row in &rows {
            digests.extend(row.seq.to_be_bytes());
            digests.extend(row_digest(row).bytes());
        }
    }
    if digests.is_empty() {
        return Ok(None);
    }
    if let Schema::Changed(object) = schema {
        digests.splice(..0, mark(object));
    }
    let mut made =
        Seal { from_seq: sealed_to + 1, to_seq, sealed_at: now, key_id: key_id(key), mac: Digest::of(&[]), digests };
    made.mac = mac(key, before.as_ref().map(|end| &end.mac), &made);
    Ok(seal::insert(db, &made).await?.then_some(made))
}

/// A head as it was logged.
pub struct Head {
    /// The number of the last row that it covers, if it was said.
    pub seq: Option<i64>,
    /// The HMAC.
    pub mac: Digest,
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.seq {
            Some(seq) => write!(f, "{seq} {}", self.mac),
            None => write!(f, "{}", self.mac),
        }
    }
}

impl Head {
    /// Reads `<number> <64 hexadecimal digits>`, or the digits alone.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let (seq, mac) = match text.split_once(' ') {
            Some((seq, mac)) => (Some(seq.parse().ok()?), mac),
            None => (None, text),
        };
        Some(Self { seq, mac: Digest::parse(mac)? })
    }
}

/// The result of verifying.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "AuditReport")]
pub struct Report {
    /// Whether all that was looked at is as it was sealed.
    pub ok: bool,
    /// The number of the first row that can be verified: those before it were deleted by the operator's setting, and a sealed check-point
    /// stands in their place. 1: the trail is whole.
    pub verified_from: i64,
    /// Rows that were looked at.
    pub rows: i64,
    /// The number of the last row that is sealed; 0: none is.
    pub sealed_to: i64,
    /// The newest seal's HMAC.
    pub head: Option<String>,
    /// Rows that are not sealed yet.
    pub unsealed: i64,
    /// Where to go on; null: the whole chain was looked at.
    pub next_from: Option<i64>,
    /// The first thing that is not as it was sealed.
    pub first_bad: Option<Mismatch>,
}

/// Something that is not as it was sealed, or that makes the trail look other than it is.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[schemars(rename = "AuditMismatch")]
pub struct Mismatch {
    /// The row's number; 0: it is about no row.
    pub seq: i64,
    /// The row's id, if it is there and of the asking tenant.
    pub id: Option<String>,
    /// The fault.
    pub what: &'static str,
    /// The object of the schema that it is about: its kind and name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
}

impl Mismatch {
    fn at(seq: i64, what: &'static str) -> Self {
        Self { seq, id: None, what, object: None }
    }

    fn with(seq: i64, what: &'static str, object: String) -> Self {
        Self { seq, id: None, what, object: Some(object) }
    }
}

/// Compares the schema, then walks the chain from the seal that covers the row `from`, at most [`VERIFIED`] rows and seals of it. Rows
/// of other tenants are looked at, but only their numbers are returned.
///
/// A schema that is not as the migrations make it is the first fault. With `from`, the rows are looked at before it is said, so that
/// a bent trail can be read to its end.
pub async fn verify(
    db: &Db,
    keys: &[Key],
    tenant: &str,
    from: Option<i64>,
    head: Option<&Head>,
) -> Result<Report, DbError> {
    let mut fault = schema::look(db).await?.fault().map(|(what, object)| Mismatch::with(0, what, object));
    let is_as_made = fault.is_none();
    let first = from.unwrap_or(i64::MIN);
    let checkpoint = checkpoint::find(db).await?;
    let gone_to = checkpoint.as_ref().map_or(0, |point| point.to_seq);
    let newest = seal::before(db, i64::MAX).await?;
    let sealed_to = newest.as_ref().map_or(0, |end| end.to_seq);
    let mut walk = Walk {
        db,
        ids: keys.iter().map(key_id).collect(),
        keys,
        tenant,
        sealed_to,
        before: seal::before(db, first).await?.or(checkpoint.as_ref().map(Checkpoint::end)),
        rows: Vec::new().into_iter().peekable(),
        read_to: None,
        looked_at: 0,
    };
    let began = walk.sealed();
    let mut next_from = None;
    let mut first_bad = match fault.take_if(|_| from.is_none()) {
        Some(fault) => Some(fault),
        None => at_the_checkpoint(db, keys, tenant, checkpoint.as_ref()).await?,
    };
    if first_bad.is_none() {
        (first_bad, next_from) = walk.on().await?;
    }
    // Of a head from before the check-point nothing is left to compare.
    let is_gone = |head: &&Head| head.seq.is_some_and(|seq| seq <= gone_to);
    if let Some(head) = head.filter(|head| first_bad.is_none() && !is_gone(head))
        && !seal::is_known(db, &head.mac).await?
    {
        let seq = head.seq.map_or(sealed_to + 1, |seq| seq.min(sealed_to + 1));
        first_bad = Some(Mismatch::at(seq, "cut_off"));
    }
    if is_as_made && first_bad.is_none() {
        let below = if began == 0 { i64::MIN } else { began };
        first_bad = unindexed(db, below, walk.sealed()).await?;
    }
    let first_bad = first_bad.or(fault);
    Ok(Report {
        ok: first_bad.is_none(),
        verified_from: gone_to + 1,
        rows: walk.looked_at,
        sealed_to,
        head: newest.map(|end| end.mac.to_string()),
        unsealed: trail::count_above(db, sealed_to).await?,
        next_from: next_from.filter(|_| first_bad.is_none()),
        first_bad,
    })
}

/// What is wrong about the check-point, or stands before it: nothing is left there.
async fn at_the_checkpoint(
    db: &Db,
    keys: &[Key],
    tenant: &str,
    checkpoint: Option<&Checkpoint>,
) -> Result<Option<Mismatch>, DbError> {
    let Some(point) = checkpoint else { return Ok(None) };
    if let Some(what) = point.fault(keys) {
        return Ok(Some(Mismatch::at(point.to_seq, what)));
    }
    let before = trail::raw_rows(db, i64::MIN, point.to_seq, 1).await?;
    let before = before.first().filter(|_| point.to_seq > 0);
    Ok(before.map(|row| Mismatch { id: row.id_within(tenant), ..Mismatch::at(row.seq, "added") }))
}

/// Whether the rows up to `to` are as they were sealed, behind the seal `before`: what is not may not be deleted as if it were.
pub(crate) async fn is_as_sealed(db: &Db, keys: &[Key], before: Option<SealEnd>, to: i64) -> Result<bool, DbError> {
    let ids = keys.iter().map(key_id).collect();
    let rows = Vec::new().into_iter().peekable();
    let mut walk = Walk { db, ids, keys, tenant: "", sealed_to: to, before, rows, read_to: None, looked_at: 0 };
    while walk.sealed() < to {
        let seals = seal::after(db, walk.sealed(), to, ROWS).await?;
        if seals.is_empty() {
            return Ok(false);
        }
        for seal in seals {
            // That the schema was another one for a while was sealed as well, and is said as long as the seal is kept.
            if walk.step(seal).await?.is_some_and(|bad| bad.what != "schema_changed") {
                return Ok(false);
            }
        }
    }
    Ok(true)
}

/// The first row up to `to` that one of the table's indexes does not have: lists and exports would not show it.
async fn unindexed(db: &Db, mut after: i64, to: i64) -> Result<Option<Mismatch>, DbError> {
    while after < to {
        let until = to.min(after.max(0).saturating_add(INDEXED));
        if let Some((seq, index)) = trail::unindexed(db, after, until).await? {
            return Ok(Some(Mismatch::with(seq, "not_indexed", format!("index {index}"))));
        }
        after = until;
    }
    Ok(None)
}

/// A walk along the chain: the last seal that was seen, and the rows that come next.
struct Walk<'a> {
    db: &'a Db,
    keys: &'a [Key],
    ids: Vec<Vec<u8>>,
    tenant: &'a str,
    sealed_to: i64,
    before: Option<SealEnd>,
    rows: std::iter::Peekable<std::vec::IntoIter<RawRow>>,
    read_to: Option<i64>,
    looked_at: i64,
}

impl Walk<'_> {
    /// The last row's number of the seal that was seen last.
    fn sealed(&self) -> i64 {
        self.before.as_ref().map_or(0, |end| end.to_seq)
    }

    /// The next row, left where it is; rows are read across seals, since most seals cover few.
    async fn peek(&mut self) -> Result<Option<&RawRow>, DbError> {
        if self.rows.peek().is_none() {
            // At the very beginning there is no lowest number: a row below 1 was added.
            let after = self.read_to.unwrap_or(self.before.as_ref().map_or(i64::MIN, |end| end.to_seq));
            let rows = trail::raw_rows(self.db, after, self.sealed_to, ROWS).await?;
            self.read_to = Some(rows.last().map_or(self.sealed_to, |row| row.seq));
            self.rows = rows.into_iter().peekable();
        }
        Ok(self.rows.peek())
    }

    /// Walks on, over at most [`VERIFIED`] rows and seals: what is wrong first, or where the next walk begins. Neither: the trail ends here.
    async fn on(&mut self) -> Result<(Option<Mismatch>, Option<i64>), DbError> {
        let mut budget = VERIFIED;
        while self.sealed() < self.sealed_to {
            let seals = seal::after(self.db, self.sealed(), self.sealed_to, ROWS).await?;
            if seals.is_empty() {
                return Ok((Some(Mismatch::at(self.sealed() + 1, "seal_removed")), None));
            }
            for seal in seals {
                if budget <= 0 {
                    return Ok((None, Some(seal.from_seq)));
                }
                budget = budget.saturating_sub(seal.to_seq).saturating_add(seal.from_seq) - 2;
                if let Some(bad) = self.step(seal).await? {
                    return Ok((Some(bad), None));
                }
            }
        }
        Ok((None, None))
    }

    /// Looks at the next seal and its rows.
    async fn step(&mut self, seal: Seal) -> Result<Option<Mismatch>, DbError> {
        let begins = self.sealed() + 1;
        if seal.from_seq != begins {
            return Ok(Some(Mismatch::at(begins, "seal_removed")));
        }
        let place = |id: &[u8]| self.ids.iter().position(|known| known == id);
        let at = place(&seal.key_id);
        let Some((at, key)) = at.and_then(|at| Some((at, self.keys.get(at)?))) else {
            return Ok(Some(Mismatch::at(begins, "unknown_key")));
        };
        // Keys stand newest first. A stolen old key cannot continue the chain.
        let is_older = self.before.as_ref().and_then(|end| place(&end.key_id)).is_some_and(|before| at > before);
        if is_older || !mac(key, self.before.as_ref().map(|end| &end.mac), &seal).matches(&seal.mac) {
            return Ok(Some(Mismatch::at(begins, "seal_changed")));
        }
        let (listed, _) = seal.digests.as_chunks::<LISTED>();
        let (mut expected, mut bent) = (begins, None);
        for entry in listed {
            let Some((number, digest)) = entry.split_first_chunk::<8>() else { continue };
            let number = i64::from_be_bytes(*number);
            if number == MARK {
                bent = Some(Mismatch::with(begins, "schema_changed", marked(digest)));
                continue;
            }
            let row = match self.peek().await? {
                // The database leaves out no number: this row was removed before it was sealed, or since.
                _ if number != expected => return Ok(Some(Mismatch::at(expected, "removed"))),
                Some(row) if row.seq == number => row,
                Some(row) if row.seq < number => return Ok(Some(self.bad("added"))),
                _ => return Ok(Some(Mismatch::at(number, "removed"))),
            };
            if row_digest(row).bytes() != digest {
                return Ok(Some(self.bad("changed")));
            }
            self.rows.next();
            self.looked_at += 1;
            expected = number + 1;
        }
        self.before = Some(SealEnd { to_seq: seal.to_seq, key_id: seal.key_id, mac: seal.mac });
        Ok(bent)
    }

    /// The next row, and what is wrong with it.
    fn bad(&mut self, what: &'static str) -> Mismatch {
        let row = self.rows.peek();
        let id = row.and_then(|row| row.id_within(self.tenant));
        Mismatch { id, ..Mismatch::at(row.map_or(0, |row| row.seq), what) }
    }
}

#[cfg(test)]
mod tests;
