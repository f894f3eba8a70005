//! What carries bytes between guards and Accredit, and can be cut.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

fn locked<T>(kept: &Mutex<T>) -> MutexGuard<'_, T> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What carries bytes between guards and Accredit, counts what is asked about credentials, and can be cut.
pub struct Line {
    /// Host and port at which guards find Accredit.
    pub address: String,
    target: Arc<Mutex<String>>,
    asked: Arc<AtomicUsize>,
    is_cut: Arc<AtomicBool>,
    held_ms: Arc<AtomicU64>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Line {
    /// A line to the server at this host and port.
    pub fn to(target: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let line = Self {
            address: listener.local_addr().expect("its address").to_string(),
            target: Arc::new(Mutex::new(target.to_owned())),
            asked: Arc::default(),
            is_cut: Arc::default(),
            held_ms: Arc::default(),
            open: Arc::default(),
        };
        let (target, asked) = (Arc::clone(&line.target), Arc::clone(&line.asked));
        let (is_cut, open, held) = (Arc::clone(&line.is_cut), Arc::clone(&line.open), Arc::clone(&line.held_ms));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let there = locked(&target).clone();
                let Ok(server) = TcpStream::connect(there) else { continue };
                let mut kept = locked(&open);
                if is_cut.load(Ordering::Acquire) {
                    continue;
                }
                // Those that have ended are let go.
                kept.retain(|stream| stream.peer_addr().is_ok());
                for stream in [&client, &server] {
                    kept.push(stream.try_clone().expect("the same stream"));
                }
                let (back, there) = (client.try_clone().expect("its stream"), server.try_clone().expect("its stream"));
                let (asked, held) = (Arc::clone(&asked), Arc::clone(&held));
                let look = move |text: &str| {
                    if text.contains("GET /auth/epochs") {
                        thread::sleep(Duration::from_millis(held.load(Ordering::Acquire)));
                    }
                    let introspections = text.matches("POST /auth/introspect").count();
                    asked.fetch_add(introspections + text.matches("GET /auth/verify").count(), Ordering::AcqRel);
                };
                thread::spawn(move || carry(client, server, look));
                thread::spawn(move || carry(there, back, |_| ()));
            }
        });
        line
    }

    /// How many questions about credentials it has carried.
    pub fn count(&self) -> usize {
        self.asked.load(Ordering::Acquire)
    }

    /// Holds each question about the epochs back for so long.
    pub fn hold_epochs(&self, millis: u64) {
        self.held_ms.store(millis, Ordering::Release);
    }

    fn close_all(&self) {
        for stream in locked(&self.open).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }

    /// Carries nothing more.
    pub fn cut(&self) {
        self.is_cut.store(true, Ordering::Release);
        self.close_all();
    }

    /// Carries again, to this host and port.
    pub fn mend(&self, target: &str) {
        target.clone_into(&mut locked(&self.target));
        self.is_cut.store(false, Ordering::Release);
        self.close_all();
    }
}

fn carry(mut from: TcpStream, mut to: TcpStream, look: impl Fn(&str)) {
    let mut bytes = [0; 64 * 1024];
    while let Ok(number) = from.read(&mut bytes) {
        look(&String::from_utf8_lossy(&bytes[..number]));
        if number == 0 || to.write_all(&bytes[..number]).is_err() {
            break;
        }
    }
    drop(to.shutdown(Shutdown::Both));
}
