//! What Accredit is asked, and what it answers.

use crate::header::Header;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Whether the sender of a request may use the service.
    Verify,
    /// Whether a signed token is accepted now.
    Introspect,
    /// The public keys.
    Keys,
    /// What has ended.
    Epochs,
}

/// A request to Accredit. It is sent once, follows no redirect, and has its answer within some seconds, or none.
#[derive(Clone)]
pub struct Question {
    /// What it asks for.
    pub purpose: Purpose,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Whether it is asked over TLS.
    pub is_secure: bool,
    /// The host, with the port if it is not the usual one.
    pub authority: String,
    /// Path and query.
    pub path: String,
    /// The headers.
    pub headers: Vec<Header>,
    /// The body: a form, or nothing.
    pub body: Vec<u8>,
    /// For how long the answer may be held back, seconds, beside the usual time.
    pub held: u64,
}

impl Question {
    /// The address.
    pub fn url(&self) -> String {
        let scheme = if self.is_secure { "https" } else { "http" };
        format!("{scheme}://{}{}", self.authority, self.path)
    }
}

/// Headers hold credentials: they are never shown.
impl std::fmt::Debug for Question {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {} {}", self.purpose, self.method, self.path)
    }
}

/// The most bytes of an answer's body that are read.
pub const MOST_BODY: usize = 1024 * 1024;

/// What Accredit answers.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<Header>,
    /// Its body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value.
    pub fn header(&self, wanted: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        std::str::from_utf8(value).ok()
    }

    /// The body as JSON in which no member stands twice.
    pub fn json(&self) -> Option<serde_json::Value> {
        common::json::parse(std::str::from_utf8(&self.body).ok()?)
    }
}
