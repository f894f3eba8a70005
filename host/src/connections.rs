//! The connections that are open: how many there may be, each client's share of them, and which one ends when there is no room.
//!
//! A connection waits for its client while it is idle, while a request is not whole, and while the client does not read. These can
//! be held open without effort, so they make room for others; a connection whose request is being answered never does.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use tokio::sync::Notify;

/// How long a connection has waited at least before it makes room: its request may be on its way.
const MIN_WAIT: Duration = Duration::from_secs(1);

/// What `Visit::waiting` holds while the connection does not wait, and once it has to end.
const BUSY: u64 = u64::MAX - 1;
const ENDED: u64 = u64::MAX;

/// All open connections.
pub(crate) struct Connections {
    most: usize,
    share: usize,
    /// Clients without a share, such as proxies.
    trusted: Vec<IpNet>,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    visits: HashMap<u64, (Option<IpAddr>, Arc<Visit>)>,
    shares: HashMap<IpAddr, usize>,
}

/// A connection that counts until this is dropped.
pub(crate) struct Admitted {
    connections: Arc<Connections>,
    number: u64,
    /// What the connection is doing.
    pub(crate) visit: Arc<Visit>,
}

/// What a connection is doing, shared by its socket and its requests.
pub(crate) struct Visit {
    began: Instant,
    requests: AtomicU32,
    is_answering: AtomicBool,
    is_long: AtomicBool,
    /// When the last answer was complete, in milliseconds since `began`.
    answered: AtomicU64,
    /// Since when the connection waits for its client, in milliseconds since `began`; or [`BUSY`]; or [`ENDED`].
    waiting: AtomicU64,
    end: Notify,
}

impl Connections {
    /// Room for `most` connections, of which each client has at most `share`, unless it is trusted.
    pub(crate) fn new(most: usize, share: usize, trusted: Vec<IpNet>) -> Self {
        Self { most, share, trusted, open: Mutex::default() }
    }

    /// Admits a connection. `None`: there is no room, and no connection that waits for its client for long enough.
    pub(crate) fn admit(self: &Arc<Self>, peer: IpAddr) -> Option<Admitted> {
        let client = self.client(peer);
        let mut open = self.lock();
        let share = client.and_then(|client| open.shares.get(&client)).copied().unwrap_or(0);
        // A client that holds a good part of its share may not keep others out by being quick.
        let heavy = self.share.div_ceil(4).max(2);
        let has_room = (share < self.share || open.end_oldest(client, usize::MAX))
            && (open.visits.len() < self.most || open.end_oldest(None, heavy));
        if !has_room {
            return None;
        }
        let visit = Arc::new(Visit::new());
        let number = open.next;
        open.next += 1;
        open.visits.insert(number, (client, visit.clone()));
        if let Some(client) = client {
            *open.shares.entry(client).or_default() += 1;
        }
        Some(Admitted { connections: self.clone(), number, visit })
    }

    /// How many are open, and how many may be.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.lock().visits.len(), self.most)
    }

    /// The client whose share counts: an IPv4 address, or the network of an IPv6 address. `None`: it is trusted.
    fn client(&self, peer: IpAddr) -> Option<IpAddr> {
        let peer = peer.to_canonical();
        if self.trusted.iter().any(|trusted| trusted.contains(&peer)) {
            return None;
        }
        Some(match peer {
            IpAddr::V4(_) => peer,
            // A single client commands a whole /64.
            IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    /// Ends a connection that waits for its client, of one client or of all: the one that has waited for the longest time, of the
    /// clients that have the most connections. `false`: none has waited for long enough.
    fn end_oldest(&mut self, of: Option<IpAddr>, heavy: usize) -> bool {
        let now = Instant::now();
        loop {
            let of_client = self.visits.iter().filter(|(_, (client, _))| of.is_none() || *client == of);
            let waiting = of_client.filter_map(|(number, (client, visit))| {
                let held = client.and_then(|client| self.shares.get(&client)).copied().unwrap_or(0);
                Some((Reverse(held), visit.waiting_since()?, *number))
            });
            let Some((Reverse(held), since, number)) = waiting.min() else { return false };
            if held < heavy && now.saturating_duration_since(since) < MIN_WAIT {
                return false;
            }
            // Otherwise it has just become busy.
            if self.visits.get(&number).is_some_and(|(_, visit)| visit.end()) {
                self.remove(number);
                return true;
            }
        }
    }

    fn remove(&mut self, number: u64) {
        let Some((Some(client), _)) = self.visits.remove(&number) else { return };
        if let Some(share) = self.shares.get_mut(&client) {
            *share = share.saturating_sub(1);
            if *share == 0 {
                self.shares.remove(&client);
            }
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.connections.lock().remove(self.number);
    }
}

impl Visit {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            requests: AtomicU32::new(0),
            is_answering: AtomicBool::new(false),
            is_long: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            end: Notify::new(),
        }
    }

    /// Requests so far.
    pub(crate) fn requests(&self) -> u32 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Whether a request is being answered.
    pub(crate) fn is_answering(&self) -> bool {
        self.is_answering.load(Ordering::Relaxed)
    }

    /// Whether the answer takes so long that it is for a client that stays alone.
    pub(crate) fn is_long(&self) -> bool {
        self.is_long.load(Ordering::Relaxed)
    }

    /// When the last answer was complete.
    pub(crate) fn idle_since(&self) -> Instant {
        self.began + Duration::from_millis(self.answered.load(Ordering::Relaxed))
    }

    /// The connection waits for its client from now on.
    pub(crate) fn wait(&self) {
        self.set_waiting(self.now());
    }

    /// The connection does not wait for its client.
    pub(crate) fn work(&self) {
        self.set_waiting(BUSY);
    }

    /// Returns when the connection has to make room.
    pub(crate) async fn ended(&self) {
        self.end.notified().await;
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).map_or(BUSY, |now| now.min(BUSY - 1))
    }

    fn set_waiting(&self, waiting: u64) {
        let set = |now| (now != ENDED).then_some(waiting);
        // A connection that has to end stays so.
        _ = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, set);
    }

    fn waiting_since(&self) -> Option<Instant> {
        let waiting = self.waiting.load(Ordering::Acquire);
        (waiting < BUSY).then(|| self.began + Duration::from_millis(waiting))
    }

    /// Ends the connection, unless it does not wait any more.
    fn end(&self) -> bool {
        let end = |waiting| (waiting < BUSY).then_some(ENDED);
        let is_ended = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, end).is_ok();
        if is_ended {
            self.end.notify_one();
        }
        is_ended
    }
}

/// A request that is being answered, from its head to the end of its answer.
pub(crate) struct Answering(Arc<Visit>);

impl Answering {
    /// A request whose head is there. If the request `is_whole`, the connection does not wait for its client from now on.
    pub(crate) fn new(visit: Arc<Visit>, is_whole: bool) -> Self {
        visit.requests.fetch_add(1, Ordering::Relaxed);
        visit.is_answering.store(true, Ordering::Relaxed);
        if is_whole {
            visit.work()
        } else {
            visit.wait()
        }
        Self(visit)
    }

    /// The answer takes long: it ends with a client that sends nothing more.
    pub(crate) fn take_long(&self) {
        self.0.is_long.store(true, Ordering::Relaxed);
    }

    /// A body that is still to come: dropped, it is whole, or nobody reads it any more.
    pub(crate) fn receiving(&self) -> Receiving {
        Receiving { number: self.0.requests(), visit: self.0.clone() }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let now = self.0.now();
        self.0.answered.store(now, Ordering::Relaxed);
        self.0.is_answering.store(false, Ordering::Relaxed);
        self.0.is_long.store(false, Ordering::Relaxed);
        self.0.set_waiting(now);
    }
}

/// The body of a request that is being received.
pub(crate) struct Receiving {
    visit: Arc<Visit>,
    number: u32,
}

impl Drop for Receiving {
    fn drop(&mut self) {
        // The answer may have been complete before.
        if self.visit.is_answering() && self.visit.requests() == self.number {
            self.visit.work();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ADA: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const BOB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    fn connections(trusted: &[&str]) -> Arc<Connections> {
        Arc::new(Connections::new(4, 2, trusted.iter().map(|text| text.parse().unwrap()).collect()))
    }

    /// As if the connection had begun to wait so many seconds before now.
    fn waits(admitted: &mut Admitted, seconds: u64) {
        let (mut visit, began) = (Visit::new(), Instant::now() - Duration::from_secs(seconds));
        visit.began = began;
        admitted.visit = Arc::new(visit);
        let mut open = admitted.connections.lock();
        open.visits.get_mut(&admitted.number).unwrap().1 = admitted.visit.clone();
    }

    fn is_ended(admitted: &Admitted) -> bool {
        admitted.visit.waiting.load(Ordering::Relaxed) == ENDED
    }

    /// R79.
    #[test]
    fn a_client_has_its_share_and_a_trusted_one_has_none() {
        let all = connections(&["192.0.2.2/31"]);
        let held = [all.admit(ADA).unwrap(), all.admit(ADA).unwrap()];
        let busy = held.each_ref().map(|held| Answering::new(held.visit.clone(), true));
        assert!(all.admit(ADA).is_none());
        let [b, c] = [all.admit(BOB), all.admit(BOB)];
        assert!(b.is_some() && c.is_some() && all.admit(BOB).is_none(), "all four are taken");
        drop((busy, held));
        assert!(all.admit(BOB).is_some() && all.admit(ADA).is_some());
        drop((b, c));
        assert!(all.lock().visits.is_empty() && all.lock().shares.is_empty());
    }

    /// R79.
    #[test]
    fn an_ipv6_network_is_one_client() {
        let all = connections(&[]);
        let of = |text: &str| all.client(text.parse().unwrap());
        assert_eq!(of("2001:db8:0:1::1"), of("2001:db8:0:1:ffff::2"));
        assert_ne!(of("2001:db8:0:1::1"), of("2001:db8:0:2::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }

    /// R79: the oldest waiting connection goes, of the client whose share is used up or, when all are taken, of all.
    #[test]
    fn the_oldest_waiting_connection_makes_room() {
        let all = connections(&[]);
        let mut ada = [all.admit(ADA).unwrap(), all.admit(ADA).unwrap()];
        let mut bob = [all.admit(BOB).unwrap(), all.admit(BOB).unwrap()];
        waits(&mut ada[0], 5);
        waits(&mut ada[1], 9);
        waits(&mut bob[0], 20);
        let busy = Answering::new(bob[0].visit.clone(), true);
        assert!(all.admit(BOB).is_none(), "one is busy, the other one's request may be on its way");
        let third = all.admit(ADA).unwrap();
        assert_eq!((is_ended(&ada[0]), is_ended(&ada[1])), (false, true));
        let carol = all.admit("2001:db8::1".parse().unwrap()).unwrap();
        assert!(is_ended(&ada[0]) && !is_ended(&bob[0]) && !is_ended(&bob[1]) && !is_ended(&third));
        // An ended one cannot come back, and counts no more.
        ada[0].visit.work();
        assert!(is_ended(&ada[0]) && all.lock().visits.len() == 4);
        drop((ada, busy, third, carol, bob));
        assert!(all.lock().visits.is_empty() && all.lock().shares.is_empty());
    }

    /// R79: some addresses that open connections again and again, each for less than a second, keep nobody out.
    #[test]
    fn a_client_with_many_connections_makes_room_at_once() {
        let all = Arc::new(Connections::new(40, 16, Vec::new()));
        let mut held: Vec<_> = (0..16).flat_map(|_| [ADA, BOB].map(|client| all.admit(client).unwrap())).collect();
        let others = (1..=8).map(|last| IpAddr::from([198, 51, 100, last]));
        held.extend(others.clone().map(|client| all.admit(client).unwrap()));
        assert!(all.admit(ADA).is_none(), "it has its share, and none of its connections has waited for long");
        let more: Vec<_> = others.map(|client| all.admit(client).unwrap()).collect();
        let ended = |range: std::ops::Range<usize>| held.get(range).unwrap().iter().filter(|one| is_ended(one)).count();
        assert_eq!((ended(0..32), ended(32..40)), (8, 0));
        assert!(more.iter().all(|one| !is_ended(one)));
    }

    #[test]
    fn a_connection_waits_while_a_body_is_to_come_and_when_the_answer_is_complete() {
        let visit = Arc::new(Visit::new());
        let first = Answering::new(visit.clone(), false);
        let receiving = first.receiving();
        assert!(visit.waiting_since().is_some());
        drop(receiving);
        assert!(visit.waiting_since().is_none());
        let late = first.receiving();
        drop(first);
        drop(late);
        assert!(visit.waiting_since().is_some() && !visit.is_answering());
    }
}
