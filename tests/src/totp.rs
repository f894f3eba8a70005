//! An authenticator app (RFC 6238), for people of tests who have a second factor.

use data_encoding::BASE32_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value as Json, json};
use sha1::Sha1;

use crate::{Client, Server, server::text};

/// An app with somebody's secret.
pub struct Authenticator {
    /// The secret, in base 32.
    pub secret: String,
    /// The recovery codes.
    pub recovery_codes: Vec<String>,
}

impl Authenticator {
    /// Sets a second factor up for the person behind a session.
    #[track_caller]
    pub fn set_up(server: &Server, session: &Client) -> Self {
        let begun = session.post("/auth/factor", &Json::Null).is(201);
        let mut app = Self { secret: text(&begun["secret"]).to_owned(), recovery_codes: Vec::new() };
        let confirmed = session.post("/auth/factor/confirm", &json!({ "code": app.code(server) })).is(200);
        let codes = confirmed["recovery_codes"].as_array().expect("recovery codes");
        app.recovery_codes = codes.iter().map(|code| text(code).to_owned()).collect();
        app
    }

    /// The code that the app shows now. The server takes it as if no code of this step had been used: no test waits for the next one.
    #[track_caller]
    pub fn code(&self, server: &Server) -> String {
        server.execute("UPDATE factors SET last_step = 0");
        let key = BASE32_NOPAD.decode(self.secret.as_bytes()).expect("a secret in base 32");
        let step = server.number("SELECT unixepoch() / 30");
        let mac = Hmac::<Sha1>::new_from_slice(&key).expect("a key").chain_update(step.to_be_bytes());
        let mac = mac.finalize().into_bytes();
        let at = usize::from(mac[19] & 0xf);
        let number = u32::from_be_bytes([mac[at] & 0x7f, mac[at + 1], mac[at + 2], mac[at + 3]]);
        format!("{:06}", number % 1_000_000)
    }
}

/// Makes every session one whose person has proved a quarter of an hour ago who they are.
pub fn age_proofs(server: &Server) {
    server.execute(
        "UPDATE credentials SET created_at = created_at - 900000, proved_at = proved_at - 900000 WHERE kind = 'session'",
    );
}
