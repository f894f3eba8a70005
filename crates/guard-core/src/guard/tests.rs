use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Signer;
use serde_json::json;

use super::*;
use crate::{
    rules::Message,
    settings::tests::{TOKEN, settings},
};

const BEGIN: Now = Now { steady: 1_000, unix: 1_795_600_000_000 };
const SECONDS: i64 = BEGIN.unix / 1000;
const CRM: &str = "https://crm.example.com/v1";
const ISSUER: &str = "https://accredit.example.com/base";

fn encoded(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Keys that sign, each with its name.
struct Signers {
    ed: ed25519_dalek::SigningKey,
    p256: p256::ecdsa::SigningKey,
    suffix: &'static str,
}

impl Signers {
    fn new(seed: u8, suffix: &'static str) -> Self {
        let p256 = p256::ecdsa::SigningKey::from_slice(&[seed; 32]).unwrap();
        Self { ed: ed25519_dalek::SigningKey::from_bytes(&[seed; 32]), p256, suffix }
    }

    fn public(&self) -> Vec<Json> {
        let point = self.p256.verifying_key().to_sec1_point(false);
        let (x, y) = (encoded(&point.as_bytes()[1..33]), encoded(&point.as_bytes()[33..]));
        vec![
            json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": format!("ed{}", self.suffix),
                "x": encoded(self.ed.verifying_key().as_bytes()) }),
            json!({ "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": format!("ec{}", self.suffix), "x": x, "y": y }),
            json!({ "kty": "RSA", "alg": "RS256", "kid": "other" }),
        ]
    }

    fn sign(&self, header: &Json, claims: &str) -> String {
        let signed = format!("{}.{}", encoded(header.to_string()), encoded(claims));
        let signature = match header["alg"].as_str() {
            Some("ES256") => {
                let signature: p256::ecdsa::Signature = self.p256.sign(signed.as_bytes());
                signature.to_bytes().to_vec()
            }
            _ => self.ed.sign(signed.as_bytes()).to_bytes().to_vec(),
        };
        format!("{signed}.{}", encoded(signature))
    }

    fn header(&self, alg: &str) -> Json {
        let kind = if alg == "ES256" { "ec" } else { "ed" };
        json!({ "typ": "at+jwt", "alg": alg, "kid": format!("{kind}{}", self.suffix) })
    }

    fn token(&self, alg: &str, changes: Json) -> String {
        let mut claims = json!({
            "iss": ISSUER, "aud": CRM, "sub": "agt_1", "client_id": "agt_1", "scope": "x.crm.read x.crm.write", "jti": "jti_1",
            "iat": SECONDS, "exp": SECONDS + 300, "tenant": "main", "owner": "usr_1", "epoch": 7, "rests_on": ["tok_1", "agt_1", "usr_1"],
        });
        for (name, value) in changes.as_object().unwrap() {
            match value {
                Json::Null => drop(claims.as_object_mut().unwrap().remove(name)),
                value => claims[name] = value.clone(),
            }
        }
        self.sign(&self.header(alg), &claims.to_string())
    }
}

/// A guard, an Accredit server that answers it, and the time.
struct Site {
    guard: Guard,
    signers: Signers,
    keys: Vec<Json>,
    now: Now,
    asked: Vec<Purpose>,
    /// What it answers; 0: nothing.
    status: u16,
    is_active: bool,
    scopes: &'static str,
    /// The tenant of the guard's own credential.
    tenant: &'static str,
    epochs: Vec<(&'static str, &'static str, &'static str)>,
}

impl Site {
    fn new(changes: &[(&'static str, &str)]) -> Self {
        let signers = Signers::new(7, "1");
        Self {
            guard: Guard::new(settings(changes).unwrap()),
            keys: signers.public(),
            signers,
            now: BEGIN,
            asked: Vec::new(),
            status: 200,
            is_active: true,
            scopes: "x.crm.read x.crm.write",
            tenant: "main",
            epochs: Vec::new(),
        }
    }

    /// One that follows, and has heard.
    fn following(changes: &[(&'static str, &str)]) -> Self {
        let mut site = Self::new(changes);
        site.send("acr_agt_begins").unwrap();
        assert!(site.guard.begins_to_follow(site.now) && !site.guard.begins_to_follow(site.now));
        assert_eq!(site.follow(), Some(Purpose::Epochs));
        site.asked.clear();
        site
    }

    fn wait(&mut self, millis: u64) {
        self.now = self.now.plus(millis);
    }

    fn answer(&mut self, question: &Question) -> Result<Answer, String> {
        self.asked.push(question.purpose);
        let own =
            question.headers.iter().any(|(name, value)| name == "authorization" && value.ends_with(TOKEN.as_bytes()));
        let is_own = matches!(question.purpose, Purpose::Introspect | Purpose::Epochs);
        assert_eq!(own, is_own, "the guard's credential is sent where it is needed: {question:?}");
        assert!(question.url().starts_with("https://accredit.example.com/base/"), "{}", question.url());
        if self.status == 0 {
            return Err("no connection".to_owned());
        }
        let header = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let mut answer = Answer { status: self.status, ..Answer::default() };
        let body = match question.purpose {
            _ if self.status != 200 => json!({ "error": "refused" }),
            Purpose::Keys => json!({ "keys": self.keys }),
            Purpose::Introspect if !self.is_active => json!({ "active": false }),
            Purpose::Introspect => json!({ "active": true, "aud": CRM, "jti": "jti_1", "scope": self.scopes }),
            Purpose::Epochs => {
                answer.headers = vec![header("X-Accredit-Tenant", self.tenant)];
                let query = question.path.split_once('?').unwrap().1;
                let after = query.split('&').find_map(|pair| pair.strip_prefix("after="));
                let last = 7 + i64::try_from(self.epochs.len()).unwrap();
                let from = after.map_or(last, |after| after.parse::<i64>().unwrap());
                let items = self.epochs.iter().zip(8..).skip(usize::try_from(from - 7).unwrap());
                let items = items.map(
                    |((kind, id, change), epoch)| json!({ "epoch": epoch, "kind": kind, "id": id, "change": change }),
                );
                json!({ "epoch": last, "items": items.collect::<Vec<_>>(), "more": false })
            }
            _ => {
                answer.headers = vec![
                    header("X-Accredit-Subject", "usr_1"),
                    header("X-Accredit-Agent-Id", "agt_1"),
                    header("X-Accredit-Credential", "tok_1"),
                    header("X-Accredit-Owner", ""),
                    header("X-Accredit-Scopes", self.scopes),
                    header("Server", "a"),
                ];
                Json::Null
            }
        };
        answer.body = body.to_string().into_bytes();
        Ok(answer)
    }

    /// The next question of the follower is answered.
    fn follow(&mut self) -> Option<Purpose> {
        let question = self.guard.follow(self.now)?;
        let answer = self.answer(&question);
        self.guard.followed((&question, self.now), answer, self.now);
        Some(question.purpose)
    }

    /// A request with this bearer: what the service is told, or the status of the refusal.
    fn send(&mut self, bearer: &str) -> Result<Vec<String>, u16> {
        self.request(&[("Authorization", &format!("Bearer {bearer}"))])
    }

    fn request(&mut self, headers: &[(&str, &str)]) -> Result<Vec<String>, u16> {
        let headers: Vec<Header> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
        let asked = Asked { method: "GET", path: "/orders", headers: &headers, client: None, message: &Message::Other };
        let mut check = self.guard.check(&asked, self.now).map_err(|refusal| refusal.status)?;
        let mut step = self.guard.step(&mut check, self.now);
        loop {
            match step {
                Step::Pass(told) => {
                    let line = |(name, value): &Header| format!("{name}: {}", String::from_utf8_lossy(value));
                    return Ok(told.iter().map(line).collect());
                }
                Step::Refuse(refusal, _) => return Err(refusal.status),
                Step::Ask(question) => {
                    let answer = self.answer(&question);
                    step = self.guard.heard(&mut check, answer, self.now);
                }
            }
        }
    }

    /// What was asked since the last look.
    fn asked(&mut self) -> Vec<Purpose> {
        std::mem::take(&mut self.asked)
    }
}

/// R178: a signed token of either algorithm is verified by the keys, which are fetched once, and nothing else is asked.
#[test]
fn a_signed_token_is_verified_without_asking() {
    let mut site = Site::following(&[]);
    for (alg, fetched) in [("EdDSA", vec![Purpose::Keys]), ("ES256", vec![]), ("EdDSA", vec![])] {
        let token = site.signers.token(alg, json!({}));
        let told = site.send(&token).unwrap();
        assert_eq!(
            told,
            [
                "x-accredit-subject: usr_1",
                "x-accredit-kind: signed_token",
                "x-accredit-agent-id: agt_1",
                "x-accredit-tenant: main",
                "x-accredit-credential: jti_1",
                "x-accredit-scopes: x.crm.read x.crm.write",
            ]
        );
        assert_eq!(site.asked(), fetched, "{alg}");
    }
    // The scheme in any case; two credentials are for Accredit to refuse.
    let token = site.signers.token("EdDSA", json!({}));
    site.request(&[("authorization", &format!("bearer {token}"))]).unwrap();
    assert_eq!(site.asked(), []);
    let header = format!("Bearer {token}");
    site.status = 401;
    assert_eq!(site.request(&[("Authorization", &header), ("Authorization", &header)]), Err(401));
    assert_eq!(site.asked(), [Purpose::Verify]);
}

/// R178: whatever is not exactly a token of this server for this service is refused, and nobody is asked.
#[test]
fn a_token_that_is_not_exactly_right_is_refused() {
    let mut site = Site::following(&[]);
    let good = site.signers.token("EdDSA", json!({}));
    site.send(&good).unwrap();
    site.asked();
    let (signers, other) = (Signers::new(7, "1"), Signers::new(8, "1"));
    let claims = |changes: Json| signers.token("EdDSA", changes);
    let text = {
        let part = good.split('.').nth(1).unwrap();
        String::from_utf8(URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
    };
    let headed = |header: Json| signers.sign(&header, &text);
    let (head, rest) = good.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let hs256 = |secret: &[u8]| {
        let header = encoded(json!({ "typ": "at+jwt", "alg": "HS256", "kid": "ed1" }).to_string());
        let signed = format!("{header}.{body}");
        let mut mac = Hmac::<sha2::Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        format!("{signed}.{}", encoded(mac.finalize().into_bytes()))
    };
    let public = signers.ed.verifying_key();
    for (what, token) in [
        ("expired", claims(json!({ "iat": SECONDS - 400, "exp": SECONDS - 30 }))),
        ("no exp", claims(json!({ "exp": null }))),
        ("exp as a text", claims(json!({ "exp": "9999999999" }))),
        ("nbf to come", claims(json!({ "nbf": SECONDS + 31 }))),
        ("nbf no number", claims(json!({ "nbf": "now" }))),
        ("iat to come", claims(json!({ "iat": SECONDS + 31 }))),
        ("no iat", claims(json!({ "iat": null }))),
        ("no aud", claims(json!({ "aud": null }))),
        ("aud as a list", claims(json!({ "aud": [CRM] }))),
        ("aud with a slash", claims(json!({ "aud": format!("{CRM}/") }))),
        ("aud in capitals", claims(json!({ "aud": CRM.to_uppercase() }))),
        ("another aud", claims(json!({ "aud": "https://mail.example.com" }))),
        ("iss with a slash", claims(json!({ "iss": format!("{ISSUER}/") }))),
        ("no iss", claims(json!({ "iss": null }))),
        ("another tenant", claims(json!({ "tenant": "evil" }))),
        ("no tenant", claims(json!({ "tenant": null }))),
        ("no jti", claims(json!({ "jti": null }))),
        ("no sub", claims(json!({ "sub": null }))),
        ("another kind of sub", claims(json!({ "sub": "root" }))),
        ("bound to a key", claims(json!({ "cnf": { "jkt": "a" } }))),
        ("typ JWT", headed(json!({ "typ": "JWT", "alg": "EdDSA", "kid": "ed1" }))),
        ("no typ", headed(json!({ "alg": "EdDSA", "kid": "ed1" }))),
        ("no kid", headed(json!({ "typ": "at+jwt", "alg": "EdDSA" }))),
        ("critical", headed(json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "ed1", "crit": ["b64"] }))),
        ("the key of the other algorithm", headed(json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "ec1" }))),
        ("ES256 with the other key", headed(json!({ "typ": "at+jwt", "alg": "ES256", "kid": "ed1" }))),
        ("a key that is not for this", headed(json!({ "typ": "at+jwt", "alg": "EdDSA", "kid": "other" }))),
        (
            "alg none",
            format!("{}.{body}.", encoded(json!({ "typ": "at+jwt", "alg": "none", "kid": "ed1" }).to_string())),
        ),
        (
            "alg None",
            format!(
                "{}.{body}.{signature}",
                encoded(json!({ "typ": "at+jwt", "alg": "NONE", "kid": "ed1" }).to_string())
            ),
        ),
        ("HS256 with the public key", hs256(public.as_bytes())),
        ("HS256 with the public key as text", hs256(encoded(public.as_bytes()).as_bytes())),
        ("another's key with the same name", other.token("EdDSA", json!({}))),
        ("a claim twice", signers.sign(&signers.header("EdDSA"), &text.replacen('{', "{\"sub\":\"agt_2\",", 1))),
        ("no signature", format!("{head}.{body}.")),
        (
            "a bent signature",
            format!(
                "{head}.{body}.{}",
                signature.replacen(&signature[..1], if signature.starts_with('A') { "B" } else { "A" }, 1)
            ),
        ),
        ("padding", format!("{good}=")),
        ("no JSON", format!("{head}.{}.{signature}", encoded("nothing"))),
        ("too long", format!("{head}.{}.{signature}", "A".repeat(20_000))),
        ("empty parts", "..".to_owned()),
    ] {
        assert_eq!(site.send(&token), Err(401), "{what}");
        let asked = site.asked();
        assert!(
            asked.is_empty() || what == "a key that is not for this" && asked == [Purpose::Keys],
            "{what}: {asked:?}"
        );
    }
    // Clocks may differ a little.
    for changes in [json!({ "exp": SECONDS - 29 }), json!({ "nbf": SECONDS + 30 }), json!({ "iat": SECONDS + 30 })] {
        assert!(site.send(&claims(changes)).is_ok());
    }
    // Fewer scopes than are needed is another refusal.
    for scope in ["", "x.crm.read", "x.crm.readx.crm.write", "X.CRM.READ x.crm.write"] {
        assert_eq!(site.send(&claims(json!({ "scope": scope }))), Err(403), "{scope}");
    }
    assert_eq!(site.send(&good).map(|_| ()), Ok(()));
}

/// R178: a new key is fetched when a token names it, at once; made-up names fetch a few times in a minute at most; a key that is gone
/// counts for nothing.
#[test]
fn keys_are_fetched_again_for_an_unknown_name() {
    let mut site = Site::following(&[]);
    let old = site.signers.token("EdDSA", json!({}));
    site.send(&old).unwrap();
    let next = Signers::new(9, "2");
    let new = next.token("ES256", json!({}));
    site.keys.extend(next.public());
    site.asked();
    assert!(site.send(&new).is_ok());
    assert_eq!(site.asked(), [Purpose::Keys]);
    for _ in 0..20 {
        let forged = Signers::new(10, "3").token("EdDSA", json!({}));
        assert_eq!(site.send(&forged), Err(401));
    }
    assert_eq!(site.asked().len(), UNKNOWN - 1);
    site.wait(MINUTE);
    site.follow();
    site.keys = next.public();
    let forged = Signers::new(10, "4").token("EdDSA", json!({}));
    assert_eq!(site.send(&forged), Err(401));
    assert_eq!(site.send(&old), Err(401), "its key is gone");
    // Without the set nobody is let in.
    site.wait(KEYS_KEPT);
    site.status = 500;
    assert_eq!(site.send(&new), Err(503));
}

/// R178: the set is renewed by the follower, before it is too old.
#[test]
fn keys_are_renewed_beside_the_requests() {
    let mut site = Site::following(&[]);
    let token = site.signers.token("EdDSA", json!({ "exp": SECONDS + 3000 }));
    site.send(&token).unwrap();
    site.wait(KEYS_OLD);
    site.send(&token).unwrap();
    site.asked();
    assert_eq!([site.follow(), site.follow()], [Some(Purpose::Keys), Some(Purpose::Epochs)]);
    site.wait(KEYS_KEPT - KEYS_OLD);
    site.asked();
    site.send(&token).unwrap();
    assert!(!site.asked().contains(&Purpose::Keys));
}

/// R689: keys that cannot be had for a while keep the follower from no epochs.
#[test]
fn the_follower_goes_on_without_new_keys() {
    let mut site = Site::following(&[]);
    let token = site.signers.token("EdDSA", json!({ "exp": SECONDS + 3000 }));
    site.send(&token).unwrap();
    site.wait(KEYS_OLD);
    for round in 0..3 {
        site.send(&token).unwrap();
        let question = site.guard.follow(site.now).unwrap();
        assert_eq!(question.purpose, Purpose::Keys, "{round}");
        assert!(site.guard.followed((&question, site.now), Err("closed".to_owned()), site.now).0 > 0);
        for _ in 0..2 {
            site.wait(1_000);
            site.send(&token).unwrap();
            assert_eq!(site.follow(), Some(Purpose::Epochs), "{round}");
        }
        site.wait(3_000);
    }
}

/// R178: what has ended is asked about at once, and refused when Accredit says so; what has not goes on.
#[test]
fn what_has_ended_is_refused_at_once() {
    for ended in [
        ("agent", "agt_1", "halted"),
        ("agent", "agt_1", "ended"),
        ("user", "usr_1", "ended"),
        ("credential", "tok_1", "ended"),
        ("credential", "tok_9", "narrowed"),
        ("tenant", "ten_1", "narrowed"),
    ] {
        let mut site = Site::following(&[]);
        let (token, opaque) = (site.signers.token("EdDSA", json!({})), "acr_agt_1");
        assert!(site.send(&token).is_ok() && site.send(opaque).is_ok() && site.send(opaque).is_ok());
        assert_eq!(site.asked(), [Purpose::Keys, Purpose::Verify], "the second time nobody is asked");
        site.epochs.push(("agent", "agt_2", "halted"));
        site.follow();
        assert!(site.send(&token).is_ok() && site.send(opaque).is_ok());
        assert_eq!(site.asked(), [Purpose::Epochs], "another agent has ended");
        site.epochs.push(ended);
        site.follow();
        site.is_active = false;
        assert_eq!(site.send(&token), Err(401), "{ended:?}");
        site.status = 403;
        assert_eq!(site.send(opaque), Err(403), "{ended:?}");
        assert_eq!(site.asked(), [Purpose::Epochs, Purpose::Introspect, Purpose::Verify]);
        // Somebody has started it again: then its old token is asked about, and the answer is good for the lease.
        (site.status, site.is_active) = (200, true);
        assert!(site.send(&token).is_ok() && site.send(&token).is_ok());
        assert_eq!(site.asked(), [Purpose::Introspect]);
        // A token that was made since rests on what is true since.
        let new = site.signers.token("EdDSA", json!({ "epoch": 9 }));
        assert!(site.send(&new).is_ok());
        assert_eq!(site.asked(), []);
        // It was narrowed: what Accredit says now counts.
        site.wait(11_000);
        site.send(opaque).unwrap();
        (site.scopes, site.status) = ("x.crm.read", 200);
        assert_eq!(site.send(&token), Err(403));
    }
}

/// R178: when the lease is over the guard asks for each request; if it cannot, it refuses.
#[test]
fn without_a_fresh_answer_it_asks_and_without_any_it_refuses() {
    let mut site = Site::following(&[("lease", "4")]);
    let (token, opaque) = (site.signers.token("EdDSA", json!({})), "acr_agt_1");
    site.send(&token).unwrap();
    site.send(opaque).unwrap();
    site.asked();
    site.wait(3_999);
    assert!(site.send(&token).is_ok() && site.send(opaque).is_ok());
    assert_eq!(site.asked(), []);
    site.wait(1);
    for _ in 0..2 {
        assert!(site.send(&token).is_ok() && site.send(opaque).is_ok());
        assert_eq!(site.asked(), [Purpose::Introspect, Purpose::Verify]);
    }
    site.status = 0;
    assert_eq!((site.send(&token), site.send(opaque)), (Err(503), Err(503)));
    for status in [500, 503, 429, 404, 302] {
        site.status = status;
        assert_eq!((site.send(&token), site.send(opaque)), (Err(503), Err(503)), "{status}");
    }
    site.status = 200;
    site.follow();
    site.asked();
    assert!(site.send(&token).is_ok());
    assert_eq!(site.asked(), [], "it has heard again");
    // A machine that slept knows it by the other clock.
    site.now.unix += 5_000;
    site.send(&token).unwrap();
    assert_eq!(site.asked(), [Purpose::Introspect]);
    site.now.unix -= 5_000;
    // Nobody follows any more: what was heard counts for nothing.
    site.wait(1);
    site.guard.state().last_request = 0;
    site.now.steady += IDLE;
    assert_eq!(site.follow(), None);
    site.send(&token).unwrap();
    assert_eq!(site.asked(), [Purpose::Introspect]);
    assert!(site.guard.begins_to_follow(site.now));
}

/// R462: the first answer about the epochs is waited for, for a moment, by a guard that begins and by one that begins again when its lease is
/// over; it is asked for at once, and an answer of any kind ends the wait.
#[test]
fn a_guard_that_begins_waits_for_its_first_answer() {
    let mut site = Site::new(&[("lease", "4")]);
    assert!(!site.guard.is_beginning(site.now), "nobody follows");
    assert!(site.guard.begins_to_follow(site.now) && site.guard.is_beginning(site.now));
    let at = Now { steady: site.now.steady + BEGINNING - 1, ..site.now };
    assert!(site.guard.is_beginning(at) && !site.guard.is_beginning(at.plus(1)));
    site.follow();
    assert!(!site.guard.is_beginning(site.now));
    // Nobody has followed for a while.
    let again = |site: &mut Site, millis: u64| {
        site.guard.state().last_request = 0;
        site.wait(millis + IDLE);
        assert_eq!(site.follow(), None);
        site.guard.state().last_request = site.now.steady;
        assert!(site.guard.begins_to_follow(site.now));
    };
    again(&mut site, 4_000);
    assert!(site.guard.is_beginning(site.now));
    let question = site.guard.follow(site.now).unwrap();
    assert!(question.path.ends_with("after=7&wait=0") && question.held == 0, "{question:?}");
    site.guard.followed((&question, site.now), Err("no connection".to_owned()), site.now);
    assert!(!site.guard.is_beginning(site.now), "each request asks");
    site.follow();
    let fresh = site.guard.follow(site.now).unwrap();
    assert!(fresh.path.ends_with("after=7&wait=2"), "{fresh:?}");
    // What was heard still counts.
    let until = site.guard.state().fresh_until.unwrap();
    site.guard.state().fresh_until = Some(until.plus(IDLE));
    again(&mut site, 0);
    assert!(!site.guard.is_beginning(site.now));
}

/// R178: an answer that says nothing new renews the lease; one that says to begin anew, or has a gap, forgets everything.
#[test]
fn the_follower_renews_and_begins_anew() {
    let mut site = Site::following(&[]);
    let token = site.signers.token("EdDSA", json!({}));
    site.send(&token).unwrap();
    let sent = |site: &mut Site, status: u16, held: u64, took: u64, body: Json| {
        let question = site.guard.follow(site.now).unwrap();
        let at = site.now;
        site.wait(took);
        let headers = [("X-Accredit-Held-Ms", held.to_string()), ("X-Accredit-Tenant", "main".to_owned())];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).to_vec();
        let answer = Answer { status, headers, body: body.to_string().into_bytes() };
        site.guard.followed((&question, at), Ok(answer), site.now).0
    };
    let fresh = |site: &Site| site.guard.state().fresh_until.map(|until| until.steady);
    assert_eq!(sent(&mut site, 304, 500, 2_000, Json::Null), 0);
    assert_eq!(fresh(&site), Some(site.now.steady - 2_000 + 500 + 10_000));
    // A server cannot have held it back for longer than it took.
    sent(&mut site, 304, 60_000, 100, Json::Null);
    assert_eq!(fresh(&site), Some(site.now.steady + 10_000));
    let until = fresh(&site);
    assert!(site.guard.follow(site.now).unwrap().path.ends_with("after=7&wait=5"));
    let item = json!({ "epoch": 8, "kind": "agent", "id": "agt_9", "change": "ended" });
    sent(&mut site, 200, 0, 0, json!({ "epoch": 8, "items": [item], "more": true }));
    assert_eq!(fresh(&site), until, "there is more to hear");
    assert!(site.guard.follow(site.now).unwrap().path.ends_with("after=8&wait=0"), "a closure waits for this");
    assert!(site.guard.follow(site.now).unwrap().path.ends_with("after=8&wait=5"));
    sent(&mut site, 503, 0, 0, Json::Null);
    assert_eq!(fresh(&site), until);
    let gap = json!({ "epoch": 10, "items": [{ "epoch": 10, "kind": "agent", "id": "agt_1", "change": "ended" }], "more": false });
    sent(&mut site, 200, 0, 0, gap);
    assert_eq!(fresh(&site), None);
    let page = json!({ "epoch": 10, "items": [], "more": false });
    sent(&mut site, 200, 0, 0, page.clone());
    assert!(fresh(&site).is_some());
    site.asked();
    site.send(&token).unwrap();
    assert_eq!(site.asked(), [Purpose::Introspect], "of what came before nothing is known");
    assert!(sent(&mut site, 410, 0, 0, Json::Null) > 0);
    assert_eq!(fresh(&site), None);
    sent(&mut site, 200, 0, 0, page);
    assert!(sent(&mut site, 401, 0, 0, Json::Null) > 1_000);
    assert_eq!(fresh(&site), None);
}

/// R178: with a credential of another tenant it would hear of nothing: then it asks for each request.
#[test]
fn the_guards_own_credential_is_of_the_tenant() {
    let mut site = Site::new(&[]);
    let token = site.signers.token("EdDSA", json!({}));
    site.send(&token).unwrap();
    site.guard.begins_to_follow(site.now);
    site.tenant = "other";
    assert_eq!([site.follow(), site.follow()], [Some(Purpose::Epochs), Some(Purpose::Epochs)]);
    (site.status, site.asked) = (200, Vec::new());
    site.send(&token).unwrap();
    site.send(&token).unwrap();
    assert_eq!(site.asked(), [Purpose::Introspect, Purpose::Introspect]);
}

/// R178: without a credential of its own it is what it was: it asks for each request, and a signed token is Accredit's to refuse.
#[test]
fn without_a_credential_it_remembers_nothing() {
    let mut site = Site::new(&[("token", "-")]);
    assert!(!site.guard.begins_to_follow(site.now));
    let token = site.signers.token("EdDSA", json!({}));
    for bearer in ["acr_agt_1", "acr_agt_1", &token] {
        assert!(site.send(bearer).is_ok());
        assert_eq!(site.asked(), [Purpose::Verify]);
    }
}

/// R178: a token of a server that does not say what it rests on is asked about, each time.
#[test]
fn a_token_that_names_nothing_it_rests_on_is_asked_about() {
    for changes in [
        json!({ "epoch": null }),
        json!({ "rests_on": null }),
        json!({ "rests_on": [] }),
        json!({ "owner": null }),
        json!({ "epoch": 8 }),
        json!({ "epoch": 6 }),
    ] {
        let mut site = Site::following(&[]);
        let token = site.signers.token("EdDSA", changes.clone());
        assert!(site.send(&token).is_ok());
        assert_eq!(site.asked(), [Purpose::Keys, Purpose::Introspect], "{changes}");
    }
}

/// R178: what Accredit says of another token is nothing for this one.
#[test]
fn an_introspection_is_of_this_token() {
    let mut site = Site::new(&[]);
    for (changes, expected) in [
        (json!({ "jti": "jti_2" }), 401),
        (json!({ "aud": "https://x" }), 401),
        (json!({ "active": "yes" }), 503),
        (json!({ "active": null }), 503),
    ] {
        let token = site.signers.token("EdDSA", json!({}));
        let headers = vec![("authorization".to_owned(), format!("Bearer {token}").into_bytes())];
        let asked = Asked { method: "GET", path: "/", headers: &headers, client: None, message: &Message::Other };
        let mut check = site.guard.check(&asked, site.now).unwrap();
        let mut step = site.guard.step(&mut check, site.now);
        let status = loop {
            match step {
                Step::Ask(question) if question.purpose == Purpose::Introspect => {
                    let mut body =
                        json!({ "active": true, "aud": CRM, "jti": "jti_1", "scope": "x.crm.read x.crm.write" });
                    for (name, value) in changes.as_object().unwrap() {
                        body[name] = value.clone();
                    }
                    let answer = Answer { status: 200, headers: Vec::new(), body: body.to_string().into_bytes() };
                    step = site.guard.heard(&mut check, Ok(answer), site.now);
                }
                Step::Ask(question) => {
                    let answer = site.answer(&question);
                    step = site.guard.heard(&mut check, answer, site.now);
                }
                Step::Pass(_) => break 200,
                Step::Refuse(refusal, _) => break refusal.status,
            }
        };
        assert_eq!(status, expected, "{changes}");
    }
}

/// R178: an answer is held back for half of the lease, and for no longer than Accredit does it.
#[test]
fn a_wait_is_one_that_accredit_takes() {
    for (lease, wait) in [("1", 0), ("2", 1), ("10", 5), ("60", 25)] {
        let site = Site::following(&[("lease", lease)]);
        let path = site.guard.follow(site.now).unwrap().path;
        assert!(path.ends_with(&format!("lease={lease}&after=7&wait={wait}")), "{path}");
    }
}

/// R178: memory is bounded.
#[test]
fn what_is_remembered_is_bounded() {
    let mut site = Site::following(&[]);
    for number in 0..MOST + 10 {
        site.send(&format!("acr_agt_{number}")).unwrap();
    }
    assert!(site.guard.state().remembered.len() <= MOST);
}

/// A proof by the signers' key for P-256 of a request, in which some claims are other ones.
fn proof(signers: &Signers, token: &str, changes: &[(&str, Json)]) -> String {
    let mut jwk = signers.public().remove(1);
    jwk.as_object_mut().unwrap().retain(|name, _| ["kty", "crv", "x", "y"].contains(&name.as_str()));
    let mut claims = json!({
        "jti": "1", "htm": "GET", "htu": "https://crm.example.com/orders", "iat": SECONDS,
        "ath": encoded(Digest::of(token.as_bytes()).bytes()),
    });
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    signers.sign(&json!({ "typ": "dpop+jwt", "alg": "ES256", "jwk": jwk }), &claims.to_string())
}

fn thumbprint(signers: &Signers) -> String {
    let key = signers.public().remove(1);
    common::proof::thumbprint("EC", "P-256", key["x"].as_str().unwrap(), key["y"].as_str())
}

/// R215: a signed token that is bound to a key needs a proof of that key for this very request, once.
#[test]
fn a_bound_token_needs_a_proof() {
    let mut site = Site::following(&[]);
    let own = Signers::new(9, "own");
    let other = Signers::new(10, "other");
    let token = site.signers.token("EdDSA", json!({ "cnf": { "jkt": thumbprint(&own) } }));
    let dpop = format!("DPoP {token}");
    let send = |site: &mut Site, proof: &str| site.request(&[("Authorization", &dpop), ("dpop", proof)]).map(|_| ());
    assert_eq!(send(&mut site, &proof(&own, &token, &[])), Ok(()));
    assert_eq!(send(&mut site, &proof(&own, &token, &[])), Err(401), "it was sent before");
    assert_eq!(site.send(&token), Err(401), "as Bearer");
    assert_eq!(site.request(&[("Authorization", &dpop)]), Err(401), "without a proof");
    let refused = [
        ("htm", json!("POST")),
        ("htu", json!("https://crm.example.com/other")),
        ("htu", json!("https://accredit.example.com/orders")),
        ("ath", json!("AAAA")),
        ("iat", json!(SECONDS - 60)),
        ("iat", json!(SECONDS + 61)),
    ];
    for (count, (name, value)) in refused.into_iter().enumerate() {
        let changed = proof(&own, &token, &[("jti", json!(format!("changed {count}"))), (name, value)]);
        assert_eq!(send(&mut site, &changed), Err(401), "{name}");
    }
    assert_eq!(send(&mut site, &proof(&other, &token, &[("jti", json!("2"))])), Err(401), "of another key");
    let forged = proof(&own, &token, &[("jti", json!("3"))]);
    let forged = format!("{}.AAAA", forged.rsplit_once('.').unwrap().0);
    assert_eq!(send(&mut site, &forged), Err(401), "of no signature");
    let two = [
        ("Authorization", &*dpop),
        ("dpop", &proof(&own, &token, &[("jti", json!("4"))])),
        ("DPoP", &proof(&own, &token, &[("jti", json!("5"))])),
    ];
    assert_eq!(site.request(&two), Err(401), "two headers");
    let good = [("jti", json!("6")), ("htu", json!("https://CRM.example.com:443/orders?a=b"))];
    assert_eq!(send(&mut site, &proof(&own, &token, &good)), Ok(()));
    assert_eq!(site.asked(), [Purpose::Keys], "nothing else was asked");
    // One that is not bound is none by a proof, and what is bound in another way is refused.
    let plain = site.signers.token("EdDSA", json!({}));
    let authorization = format!("DPoP {plain}");
    let proved = proof(&own, &plain, &[("jti", json!("7"))]);
    assert_eq!(site.request(&[("Authorization", &authorization), ("dpop", &proved)]), Err(401));
    for cnf in
        [json!({ "x5t#S256": "a" }), json!({}), json!("a"), json!({ "jkt": "a", "jwk": {} }), json!({ "jkt": 7 })]
    {
        let token = site.signers.token("EdDSA", json!({ "cnf": cnf }));
        assert_eq!(site.request(&[("Authorization", &format!("DPoP {token}"))]), Err(401), "{cnf}");
    }
}

/// R215: Accredit verifies each proof of a credential of its own: nothing is remembered of one, and the service gets no proof.
#[test]
fn proofs_of_credentials_are_accredits() {
    let mut site = Site::following(&[]);
    let headers = [
        ("Authorization", "DPoP acr_agt_1"),
        ("DPoP", "a.b.c"),
        ("X-Forwarded-Method", "POST"),
        ("X-Forwarded-Uri", "/forged"),
    ];
    let headers: Vec<Header> =
        headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect();
    for _ in 0..2 {
        let asked =
            Asked { method: "GET", path: "/orders?a=b", headers: &headers, client: None, message: &Message::Other };
        let mut check = site.guard.check(&asked, site.now).unwrap();
        let Step::Ask(question) = site.guard.step(&mut check, site.now) else { panic!("it is asked each time") };
        let sent = |wanted: &str| -> Vec<&str> {
            let values = question.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            values.map(|(_, value)| std::str::from_utf8(value).unwrap()).collect()
        };
        assert_eq!(sent("authorization"), ["DPoP acr_agt_1"]);
        assert_eq!(sent("dpop"), ["a.b.c"]);
        assert_eq!((sent("x-forwarded-method"), sent("x-forwarded-uri")), (vec!["GET"], vec!["/orders?a=b"]));
        let answer = site.answer(&question);
        assert!(matches!(site.guard.heard(&mut check, answer, site.now), Step::Pass(_)));
    }
    assert!(!header::is_clients(site.guard.settings(), "DPoP"));
    // As Bearer it says nothing of requests.
    let asked = Asked {
        method: "GET",
        path: "/orders",
        headers: &[("authorization".to_owned(), b"Bearer acr_agt_2".to_vec())],
        client: None,
        message: &Message::Other,
    };
    let mut check = site.guard.check(&asked, site.now).unwrap();
    let Step::Ask(question) = site.guard.step(&mut check, site.now) else { panic!("it is asked") };
    assert!(!question.headers.iter().any(|(name, _)| name.starts_with("x-forwarded-")));
}

/// R684: a browser's question before a request of another origin goes to the service where the operator says so, as one of nobody; nothing else
/// goes there without a credential, and what can be read in two ways does not either.
#[test]
fn a_preflight_passes_only_where_the_operator_says_so() {
    let header = |name: &str| (name.to_owned(), b"x".to_vec());
    let asks = header("Access-Control-Request-Method");
    let decide = |changes: &[(&'static str, &str)], method: &str, path: &str, headers: &[Header]| {
        let guard = Guard::new(settings(changes).unwrap());
        let asked = Asked { method, path, headers, client: None, message: &Message::Other };
        let mut check = guard.check(&asked, BEGIN).ok()?;
        match guard.step(&mut check, BEGIN) {
            Step::Pass(told) => Some(header::added(guard.settings(), &told).len()),
            _ => None,
        }
    };
    let open = [
        ("preflight", "pass"),
        ("rules", "GET /v1/** = x.crm.read"),
        ("secret_header", "x-api-key"),
        ("secret", "s3cr3t-s3cr3t"),
    ];
    let preflight = [asks.clone(), header("Origin")];
    // Neither anybody's headers nor the secret go with it.
    assert_eq!(decide(&open, "OPTIONS", "/v1/x", &preflight), Some(0));
    assert_eq!(decide(&[], "OPTIONS", "/v1/x", &preflight), None);
    for (method, path, headers) in [
        ("OPTIONS", "/v1/x", vec![header("Origin")]),
        ("OPTIONS", "/v1/x", vec![asks.clone(), header("authorization")]),
        ("GET", "/v1/x", vec![asks.clone()]),
        ("options", "/v1/x", vec![asks]),
        ("OPTIONS", "/v1/%2e%2e/x", preflight.to_vec()),
    ] {
        assert_eq!(decide(&open, method, path, &headers), None, "{method} {path} {headers:?}");
    }
    assert_eq!(settings(&[("preflight", "yes")]).err().map(|wrong| wrong.name), Some("preflight"));
    let metadata =
        Guard::new(settings(&[]).unwrap()).metadata("GET", "/.well-known/oauth-protected-resource/v1").unwrap();
    assert!(metadata.headers.iter().any(|(name, value)| name == "access-control-allow-origin" && value == b"*"));
}

/// R747: a page may read the metadata with the headers that clients of MCP send.
#[test]
fn a_browser_may_ask_for_the_metadata() {
    let guard = Guard::new(settings(&[]).unwrap());
    let path = "/.well-known/oauth-protected-resource/v1";
    let answer = guard.metadata("OPTIONS", path).unwrap();
    let of = |name: &str| answer.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..]);
    assert_eq!((answer.status, &answer.body[..]), (204, &b""[..]));
    assert_eq!((of("access-control-allow-origin"), of("content-type")), (Some(&b"*"[..]), None));
    let allowed = String::from_utf8_lossy(of("access-control-allow-headers").unwrap()).into_owned();
    assert!(allowed.split(", ").any(|name| name == "mcp-protocol-version"), "{allowed}");
    assert_eq!((guard.metadata("POST", path), guard.metadata("OPTIONS", "/v1")), (None, None));
}
