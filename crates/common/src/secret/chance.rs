//! Where randomness comes from.

use std::sync::{Arc, Mutex};

use sha2::{Digest as _, Sha256};

/// Where randomness comes from: the system, or a seed in tests.
#[derive(Clone)]
pub enum Chance {
    /// The operating system's generator.
    System,
    /// SHA-256 of a counter: repeatable, for tests only.
    Seeded(Arc<Mutex<u64>>),
}

impl Chance {
    /// A generator that gives the same bytes for the same seed.
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded(Arc::new(Mutex::new(seed << 32)))
    }

    /// `N` random bytes. Without randomness nothing here can be safe, so a failing generator ends the instance.
    pub fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0_u8; N];
        match self {
            Self::System => {
                #[expect(clippy::disallowed_methods, reason = "the one place that reads randomness")]
                let filled = getrandom::fill(&mut bytes);
                if filled.is_err() {
                    std::process::abort();
                }
            }
            Self::Seeded(state) => {
                let mut state = state.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                for chunk in bytes.chunks_mut(32) {
                    *state = state.wrapping_add(1);
                    for (to, from) in chunk.iter_mut().zip(Sha256::digest(state.to_be_bytes())) {
                        *to = from;
                    }
                }
            }
        }
        bytes
    }
}
