//! Seals over the audit trail, so that whoever can write to the file still cannot bend it unseen.
//!
//! 1. A row's digest is the SHA-256 of all its columns, each with its type and length ([`row_digest`]).
//! 2. A seal covers the rows that follow the seal before it. It lists their numbers and digests, and its HMAC-SHA-256 covers
//!    this list, its bounds, its time, and the HMAC of the seal before: the seals are one chain ([`mac`]).
//! 3. The tick makes them ([`run`]), and logs the newest HMAC, the head. Who cuts rows off together with their seals leaves a
//!    chain that is whole but lacks the head that was logged.
//! 4. [`verify`] walks the chain and names the first row that is not as it was sealed.

use serde::Serialize;

use crate::{
    db::{Db, DbError, Value},
    secret::{Digest, Key},
    store::{
        audit::{self, Whole},
        seal::{self, End, Seal},
    },
    time::Timestamp,
};

/// Rows that one seal covers at most.
const SEALED: usize = 1_000;
/// Seals that one tick makes at most.
const SEALS: usize = 5;
/// Rows that are read at once: a row can have some 100 KB.
const ROWS: i64 = 100;
/// Rows and seals that one request verifies at most.
const VERIFIED: i64 = 50_000;
/// Bytes of a row in a seal's list: its number and its digest.
const LISTED: usize = 8 + 32;

/// The digest of a row: nothing that differs has the same.
fn row_digest(row: &Whole) -> Digest {
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

/// What a seal says of its key: nothing from which the key could be known.
fn key_id(key: &Key) -> Vec<u8> {
    key.mac(b"key id").bytes().iter().take(8).copied().collect()
}

/// Seals the rows that are new, if there is a key; the new head is the last one, for the log.
pub async fn run(db: &Db, keys: &[Key], now: Timestamp) -> Result<Option<Head>, DbError> {
    let Some(key) = keys.first() else { return Ok(None) };
    let mut head = None;
    for _ in 0..SEALS {
        match next(db, key, now).await? {
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
async fn next(db: &Db, key: &Key, now: Timestamp) -> Result<Option<Seal>, DbError> {
    let before = seal::before(db, i64::MAX).await?;
    let sealed_to = before.as_ref().map_or(0, |end| end.to_seq);
    let (mut to_seq, mut digests) = (sealed_to, Vec::new());
    while digests.len() < SEALED * LISTED {
        let rows = audit::whole(db, to_seq, i64::MAX, ROWS).await?;
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

/// What verifying has found.
#[derive(Serialize)]
pub struct Report {
    /// Whether all that was looked at is as it was sealed.
    pub ok: bool,
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
    pub first_bad: Option<Bad>,
}

/// Something that is not as it was sealed.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Bad {
    /// The row's number.
    pub seq: i64,
    /// The row's id, if it is there and of the asking tenant.
    pub id: Option<String>,
    /// What is wrong.
    pub what: &'static str,
}

impl Bad {
    fn at(seq: i64, what: &'static str) -> Self {
        Self { seq, id: None, what }
    }
}

/// Walks the chain from the seal that covers the row `from`, at most [`VERIFIED`] rows and seals of it. Rows of other
/// tenants are looked at, but only numbers are said of them.
pub async fn verify(db: &Db, keys: &[Key], tenant: &str, from: i64, head: Option<&Head>) -> Result<Report, DbError> {
    let newest = seal::before(db, i64::MAX).await?;
    let sealed_to = newest.as_ref().map_or(0, |end| end.to_seq);
    let mut walk = Walk {
        db,
        ids: keys.iter().map(key_id).collect(),
        keys,
        tenant,
        sealed_to,
        before: seal::before(db, from).await?,
        rows: Vec::new().into_iter().peekable(),
        read_to: None,
        looked_at: 0,
    };
    let mut next_from = None;
    let mut first_bad = 'walk: {
        let mut budget = VERIFIED;
        while walk.sealed() < sealed_to {
            let seals = seal::after(db, walk.sealed(), sealed_to, ROWS).await?;
            if seals.is_empty() {
                break 'walk Some(Bad::at(walk.sealed() + 1, "seal_removed"));
            }
            for seal in seals {
                if budget <= 0 {
                    next_from = Some(seal.from_seq);
                    break 'walk None;
                }
                budget = budget.saturating_sub(seal.to_seq).saturating_add(seal.from_seq) - 2;
                if let Some(bad) = walk.step(seal).await? {
                    break 'walk Some(bad);
                }
            }
        }
        None
    };
    if let Some(head) = head.filter(|_| first_bad.is_none())
        && !seal::is_known(db, &head.mac).await?
    {
        let seq = head.seq.map_or(sealed_to + 1, |seq| seq.min(sealed_to + 1));
        first_bad = Some(Bad::at(seq, "cut_off"));
    }
    Ok(Report {
        ok: first_bad.is_none(),
        rows: walk.looked_at,
        sealed_to,
        head: newest.map(|end| end.mac.to_string()),
        unsealed: audit::count_above(db, sealed_to).await?,
        next_from: next_from.filter(|_| first_bad.is_none()),
        first_bad,
    })
}

/// A walk along the chain: what was seen last, and the rows that come next.
struct Walk<'a> {
    db: &'a Db,
    keys: &'a [Key],
    ids: Vec<Vec<u8>>,
    tenant: &'a str,
    sealed_to: i64,
    before: Option<End>,
    rows: std::iter::Peekable<std::vec::IntoIter<Whole>>,
    read_to: Option<i64>,
    looked_at: i64,
}

impl Walk<'_> {
    /// The last row's number of the seal that was seen last.
    fn sealed(&self) -> i64 {
        self.before.as_ref().map_or(0, |end| end.to_seq)
    }

    /// The next row, left where it is; rows are read across seals, since most seals cover few.
    async fn peek(&mut self) -> Result<Option<&Whole>, DbError> {
        if self.rows.peek().is_none() {
            // At the very beginning there is no lowest number: a row below 1 was added.
            let after = self.read_to.unwrap_or(self.before.as_ref().map_or(i64::MIN, |end| end.to_seq));
            let rows = audit::whole(self.db, after, self.sealed_to, ROWS).await?;
            self.read_to = Some(rows.last().map_or(self.sealed_to, |row| row.seq));
            self.rows = rows.into_iter().peekable();
        }
        Ok(self.rows.peek())
    }

    /// Looks at the next seal and its rows.
    async fn step(&mut self, seal: Seal) -> Result<Option<Bad>, DbError> {
        let begins = self.sealed() + 1;
        if seal.from_seq != begins {
            return Ok(Some(Bad::at(begins, "seal_removed")));
        }
        let place = |id: &[u8]| self.ids.iter().position(|known| known == id);
        let at = place(&seal.key_id);
        let Some((at, key)) = at.and_then(|at| Some((at, self.keys.get(at)?))) else {
            return Ok(Some(Bad::at(begins, "unknown_key")));
        };
        // Keys stand newest first. Who got hold of an old one cannot go on with it.
        let is_older = self.before.as_ref().and_then(|end| place(&end.key_id)).is_some_and(|before| at > before);
        if is_older || !mac(key, self.before.as_ref().map(|end| &end.mac), &seal).matches(&seal.mac) {
            return Ok(Some(Bad::at(begins, "seal_changed")));
        }
        let (listed, _) = seal.digests.as_chunks::<LISTED>();
        let mut expected = begins;
        for entry in listed {
            let Some((number, digest)) = entry.split_first_chunk::<8>() else { continue };
            let number = i64::from_be_bytes(*number);
            let row = match self.peek().await? {
                // None is left out by the database: this one was gone before it was sealed, or is since.
                _ if number != expected => return Ok(Some(Bad::at(expected, "removed"))),
                Some(row) if row.seq == number => row,
                Some(row) if row.seq < number => return Ok(Some(self.bad("added"))),
                _ => return Ok(Some(Bad::at(number, "removed"))),
            };
            if row_digest(row).bytes() != digest {
                return Ok(Some(self.bad("changed")));
            }
            self.rows.next();
            self.looked_at += 1;
            expected = number + 1;
        }
        self.before = Some(End { to_seq: seal.to_seq, key_id: seal.key_id, mac: seal.mac });
        Ok(None)
    }

    /// The next row, and what is wrong with it.
    fn bad(&mut self, what: &'static str) -> Bad {
        let row = self.rows.peek();
        Bad { seq: row.map_or(0, |row| row.seq), id: row.and_then(|row| row.id_within(self.tenant)), what }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{settings::Settings, testing::TestApp};

    const TENANT: &str = "ten_main";

    fn keys(setting: &str) -> Vec<Key> {
        Settings::read(|name| (name == "audit_key").then(|| setting.to_owned())).unwrap().audit_keys
    }

    async fn rows(t: &TestApp, count: usize) {
        let tx = t.db().begin(crate::db::Purpose::Durable).await.unwrap();
        for _ in 0..count {
            let sql = "INSERT INTO audit (id, at, tenant_id, user_id, action, object_id, outcome, after)
                       SELECT 'aud_' || n, n, iif(n % 2, 'ten_main', 'ten_other'), 'usr_a', 'x.y', 'agt_a', 'done', '{}'
                       FROM (SELECT ifnull(max(seq), 0) + 1 AS n FROM audit)";
            tx.execute(sql, vec![]).await.unwrap();
        }
        tx.commit().await.unwrap();
    }

    async fn seal(t: &TestApp, setting: &str) -> Option<String> {
        run(t.db(), &keys(setting), t.now()).await.unwrap().map(|head| head.to_string())
    }

    /// Ten rows under three seals, and the head.
    async fn sealed() -> (TestApp, String) {
        let t = TestApp::new(crate::router::Router::default());
        let mut head = None;
        for count in [3, 4, 3] {
            rows(&t, count).await;
            t.wait(1);
            head = seal(&t, "key").await;
        }
        (t, head.unwrap())
    }

    async fn verified(t: &TestApp, setting: &str, from: i64, head: Option<&str>) -> Report {
        let head = head.map(|head| Head::parse(head).unwrap());
        verify(t.db(), &keys(setting), TENANT, from, head.as_ref()).await.unwrap()
    }

    async fn first_bad(t: &TestApp, head: Option<&str>) -> Option<(i64, Option<String>, &'static str)> {
        let report = verified(t, "key", i64::MIN, head).await;
        assert_eq!(report.ok, report.first_bad.is_none());
        report.first_bad.map(|bad| (bad.seq, bad.id, bad.what))
    }

    /// What somebody does who can write to the file.
    async fn bend(t: &TestApp, statements: &[&str]) {
        let triggers =
            t.texts("SELECT name FROM sqlite_schema WHERE type = 'trigger' AND tbl_name LIKE 'audit%'").await;
        for name in triggers {
            t.execute(&format!("DROP TRIGGER {name}")).await.unwrap();
        }
        for statement in statements {
            t.execute(statement).await.unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_new_is_sealed_and_nothing_else() {
        let t = TestApp::new(crate::router::Router::default());
        assert_eq!(seal(&t, "").await, None);
        rows(&t, 2).await;
        assert_eq!(seal(&t, "").await, None, "no key");
        assert_eq!(t.number("SELECT count(*) FROM audit_seals").await, 0);
        let first = seal(&t, "key").await.unwrap();
        assert!(first.starts_with("2 ") && first.len() == 2 + 64, "{first}");
        assert_eq!(seal(&t, "key").await, None, "nothing is new");
        rows(&t, 1).await;
        let report = verified(&t, "key", i64::MIN, Some(&first)).await;
        let expected = serde_json::json!({
            "ok": true, "rows": 2, "sealed_to": 2, "head": &first[2..], "unsealed": 1, "next_from": null, "first_bad": null,
        });
        assert_eq!(serde_json::to_value(report).unwrap(), expected);
    }

    /// A backlog is sealed in bounded steps, and verified in bounded requests that can be continued.
    #[tokio::test]
    async fn a_long_trail_is_sealed_and_verified_in_parts() {
        let t = TestApp::new(crate::router::Router::default());
        rows(&t, 5_100).await;
        assert!(seal(&t, "key").await.unwrap().starts_with("5000 "));
        assert!(seal(&t, "key").await.unwrap().starts_with("5100 "));
        assert_eq!(t.number("SELECT count(*) FROM audit_seals").await, 6);
        let whole = verified(&t, "key", i64::MIN, None).await;
        assert_eq!((whole.ok, whole.rows, whole.next_from), (true, 5_100, None));
        let rest = verified(&t, "key", 4_321, None).await;
        assert_eq!((rest.ok, rest.rows, rest.next_from), (true, 1_100, None), "from the seal that covers the row");
        let none = verified(&t, "key", 5_101, None).await;
        assert_eq!((none.ok, none.rows, none.next_from), (true, 0, None));
    }

    /// R31: an edited row is found and named, whichever column was edited; of another tenant by its number alone.
    #[tokio::test]
    async fn an_edited_row_is_found() {
        for (edit, what) in [
            ("action = 'x.z'", "changed"),
            ("after = NULL", "changed"),
            ("after = CAST(x'ff' AS TEXT)", "changed"),
            ("user_id = '', agent_id = 'usr_a'", "changed"),
            ("at = at + 1", "changed"),
            ("count = 2", "changed"),
        ] {
            let (t, head) = sealed().await;
            assert_eq!(first_bad(&t, Some(&head)).await, None);
            bend(&t, &[&format!("UPDATE audit SET {edit} WHERE seq IN (5, 9)")]).await;
            assert_eq!(first_bad(&t, None).await, Some((5, Some("aud_5".to_owned()), what)), "{edit}");
            bend(&t, &["UPDATE audit SET action = 'x.z' WHERE seq = 4"]).await;
            assert_eq!(first_bad(&t, None).await, Some((4, None, "changed")), "another tenant's row");
        }
    }

    /// R31: a removed row is found, in the middle, at the beginning and at the end.
    #[tokio::test]
    async fn a_removed_row_is_found() {
        for seq in [1, 5, 7, 10] {
            let (t, _) = sealed().await;
            bend(&t, &[&format!("DELETE FROM audit WHERE seq = {seq}")]).await;
            assert_eq!(first_bad(&t, None).await, Some((seq, None, "removed")));
        }
        let (t, _) = sealed().await;
        bend(&t, &["DELETE FROM audit WHERE seq > 6"]).await;
        assert_eq!(first_bad(&t, None).await, Some((7, None, "removed")));
    }

    /// R31: a row that was removed before it could be sealed leaves a gap, which is found too.
    #[tokio::test]
    async fn a_row_that_was_removed_before_it_was_sealed_is_found() {
        let (t, _) = sealed().await;
        rows(&t, 3).await;
        bend(&t, &["DELETE FROM audit WHERE seq = 12"]).await;
        seal(&t, "key").await.unwrap();
        assert_eq!(first_bad(&t, None).await, Some((12, None, "removed")));
        let behind = verified(&t, "key", 14, None).await;
        assert!(behind.ok, "what follows can be verified from there");
    }

    /// R31: two rows that changed places are found.
    #[tokio::test]
    async fn reordered_rows_are_found() {
        let (t, _) = sealed().await;
        bend(
            &t,
            &[
                "UPDATE audit SET seq = 100 WHERE seq = 5",
                "UPDATE audit SET seq = 5 WHERE seq = 7",
                "UPDATE audit SET seq = 7 WHERE seq = 100",
            ],
        )
        .await;
        assert_eq!(first_bad(&t, None).await, Some((5, Some("aud_7".to_owned()), "changed")));
    }

    /// R31: a row that was put in before the first one is found.
    #[tokio::test]
    async fn an_added_row_is_found() {
        let (t, _) = sealed().await;
        let row = "INSERT INTO audit (seq, id, at, tenant_id, action, outcome) VALUES (-3, 'aud_x', 1, 'ten_main', 'x', 'done')";
        t.execute(row).await.unwrap();
        assert_eq!(first_bad(&t, None).await, Some((-3, Some("aud_x".to_owned()), "added")));
    }

    /// R31: the end cut off together with its seals leaves a chain that is whole; the head that was logged is not in it.
    #[tokio::test]
    async fn a_tail_that_was_cut_with_its_seals_is_found_by_the_head() {
        let (t, head) = sealed().await;
        bend(&t, &["DELETE FROM audit WHERE seq > 7", "DELETE FROM audit_seals WHERE from_seq > 7"]).await;
        assert_eq!(first_bad(&t, None).await, None, "nothing tells without the head");
        assert_eq!(first_bad(&t, Some(&head)).await, Some((8, None, "cut_off")));
        assert_eq!(first_bad(&t, Some(&head[3..])).await, Some((8, None, "cut_off")));
        // Nor does it help to go on behind the cut, as if nothing had been.
        bend(&t, &["UPDATE sqlite_sequence SET seq = 7 WHERE name = 'audit'"]).await;
        rows(&t, 6).await;
        seal(&t, "key").await.unwrap();
        assert_eq!(first_bad(&t, None).await, None);
        assert_eq!(first_bad(&t, Some(&head)).await, Some((10, None, "cut_off")), "at or before the head");
        // Everything cut.
        bend(&t, &["DELETE FROM audit", "DELETE FROM audit_seals"]).await;
        assert_eq!(first_bad(&t, Some(&head)).await, Some((1, None, "cut_off")));
    }

    /// R31: seals that were bent are found: removed in the middle, moved, changed in any column, made with another key.
    #[tokio::test]
    async fn a_bent_seal_is_found() {
        for (statement, seq, what) in [
            ("DELETE FROM audit_seals WHERE from_seq = 4", 4, "seal_removed"),
            ("DELETE FROM audit_seals WHERE from_seq = 1", 1, "seal_removed"),
            ("UPDATE audit_seals SET sealed_at = sealed_at + 1 WHERE from_seq = 4", 4, "seal_changed"),
            ("UPDATE audit_seals SET mac = zeroblob(32) WHERE from_seq = 4", 4, "seal_changed"),
            ("UPDATE audit_seals SET digests = zeroblob(160) WHERE from_seq = 4", 4, "seal_changed"),
            ("UPDATE audit_seals SET to_seq = 6 WHERE from_seq = 4", 4, "seal_changed"),
            ("UPDATE audit_seals SET key_id = zeroblob(8) WHERE from_seq = 4", 4, "unknown_key"),
        ] {
            let (t, _) = sealed().await;
            bend(&t, &[statement]).await;
            assert_eq!(first_bad(&t, None).await, Some((seq, None, what)), "{statement}");
        }
        let (t, _) = sealed().await;
        assert_eq!(verified(&t, "guessed", i64::MIN, None).await.first_bad, Some(Bad::at(1, "unknown_key")));
    }

    /// R31: seals are insert-only, and there is one chain, whoever seals.
    #[tokio::test]
    async fn a_seal_cannot_be_changed_removed_replaced_or_doubled() {
        let (t, head) = sealed().await;
        for bent in [
            "UPDATE audit_seals SET sealed_at = 1",
            "UPDATE OR REPLACE audit_seals SET from_seq = 1",
            "DELETE FROM audit_seals",
            "INSERT OR REPLACE INTO audit_seals SELECT * FROM audit_seals",
            "REPLACE INTO audit_seals SELECT from_seq, to_seq, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
            "INSERT INTO audit_seals SELECT 12, 13, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
            "INSERT INTO audit_seals SELECT NULL, 13, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
            "INSERT OR REPLACE INTO audit_seals SELECT 11, 7, 1, key_id, mac, digests FROM audit_seals WHERE from_seq = 4",
        ] {
            assert!(t.execute(bent).await.is_err(), "{bent}");
        }
        assert_eq!(t.texts("SELECT from_seq || '-' || to_seq FROM audit_seals").await, ["1-3", "4-7", "8-10"]);
        assert_eq!(first_bad(&t, Some(&head)).await, None);
    }

    /// Two hosts that read the same newest seal: one of them seals, the other one finds it done.
    #[tokio::test]
    async fn two_who_seal_at_once_make_one_chain() {
        let (t, _) = sealed().await;
        rows(&t, 1).await;
        let end = seal::before(t.db(), i64::MAX).await.unwrap().unwrap();
        let made = |at: i64| Seal {
            from_seq: end.to_seq + 1,
            to_seq: end.to_seq + 1,
            sealed_at: Timestamp::from_millis(at),
            key_id: vec![0; 8],
            mac: Digest::of(b"x"),
            digests: vec![0; LISTED],
        };
        assert!(seal::insert(t.db(), &made(1)).await.unwrap());
        assert!(!seal::insert(t.db(), &made(2)).await.unwrap());
        assert_eq!(t.number("SELECT sealed_at FROM audit_seals WHERE from_seq = 11").await, 1);
    }

    /// A new key goes on with the chain; the old one verifies what it sealed, and cannot go on.
    #[tokio::test]
    async fn a_key_can_be_replaced_and_the_old_one_cannot_come_back() {
        let (t, _) = sealed().await;
        rows(&t, 2).await;
        let head = seal(&t, "new key").await.unwrap();
        assert!(verified(&t, "new key", i64::MIN, Some(&head)).await.ok);
        assert_eq!(verified(&t, "new", i64::MIN, None).await.first_bad, Some(Bad::at(1, "unknown_key")));
        rows(&t, 1).await;
        seal(&t, "key").await.unwrap();
        for from in [i64::MIN, 13] {
            let bad = verified(&t, "new key", from, None).await.first_bad;
            assert_eq!(bad, Some(Bad::at(13, "seal_changed")));
        }
    }

    #[test]
    fn a_head_is_read_as_it_is_logged() {
        let mac = Digest::of(b"x");
        let logged = Head { seq: Some(12), mac }.to_string();
        assert_eq!(Head::parse(&logged).map(|head| (head.seq, head.mac)), Some((Some(12), mac)));
        assert_eq!(Head::parse(&format!(" {mac} ")).map(|head| (head.seq, head.mac)), Some((None, mac)));
        for bad in ["", "12", "x y", &format!("x {mac}"), &format!("1  {mac}"), &mac.to_string()[1..]] {
            assert!(Head::parse(bad).is_none(), "{bad}");
        }
    }

    /// Columns cannot run into each other, and what differs in type differs.
    #[test]
    fn rows_that_differ_have_digests_that_differ() {
        let blob = |text: &str| Value::Blob(text.into());
        let digest = |columns: Vec<Value>| row_digest(&Whole { seq: 1, columns });
        let all = [
            digest(vec![blob("ab"), blob("c")]),
            digest(vec![blob("a"), blob("bc")]),
            digest(vec![blob("abc"), blob("")]),
            digest(vec![blob("abc"), Value::Null]),
            digest(vec![blob("abc")]),
            digest(vec![Value::Integer(0)]),
            digest(vec![Value::Null]),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(all.iter().skip(at + 1).all(|other| other != one), "{at}");
        }
    }
}
