//! The decision about a request: by what the guard has heard, or by asking Accredit.
//!
//! 1. What it is sure of it decides by itself: a signed token by its signature, a credential by an answer of the last seconds. It is sure as
//!    long as it follows the epochs, has a fresh answer within its lease, and none of them concerns what the credential rests on.
//! 2. Otherwise it asks, for each request. If it cannot, it refuses.
//! 3. It begins with nothing and may lose everything at any moment: nothing is wrong then, it only asks.
//! 4. Its caller sends the questions. A [`Check`] never asks more than three.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use common::secret::{Chance, Digest};
use serde_json::Value as Json;

use crate::{
    epochs::Epochs,
    header::{self, Header},
    keys::Keys,
    proof,
    question::{Answer, Purpose, Question},
    refusal::Refusal,
    rules::{Ambiguous, Message},
    settings::{Place, Settings, TOLD},
    token::{self, Claims, Expected, Fault},
};

/// For how long the public keys are kept, and when the follower renews them, milliseconds.
const KEYS_KEPT: u64 = 300_000;
const KEYS_OLD: u64 = 200_000;
/// Between two questions of the follower for the keys: one that fails keeps it from the epochs no longer than that, milliseconds.
const KEYS_AGAIN: u64 = 5_000;
/// How often unknown keys may make the guard fetch the set anew in a minute.
const UNKNOWN: usize = 8;
const MINUTE: u64 = 60_000;
/// For how long after the last request the epochs are followed, milliseconds.
const IDLE: u64 = 3_000;
/// For how long requests wait at most for the answer by which the follower begins, milliseconds.
const BEGINNING: u64 = 500;
/// For how long Accredit holds an answer back at most, seconds.
const LONGEST_WAIT: u64 = 25;
/// The most answers, and the most verified tokens, that are remembered.
const MOST: usize = 4_096;

/// A moment, by two clocks, in milliseconds: one that only goes on, and that of the world.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    /// Since some moment.
    pub steady: u64,
    /// Since 1970.
    pub unix: i64,
}

impl Now {
    fn plus(self, millis: u64) -> Self {
        let later = self.unix.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX));
        Self { steady: self.steady.saturating_add(millis), unix: later }
    }

    /// Whether it is before another one by both clocks. A machine that slept knows it by the second one.
    fn is_before(self, end: Self) -> bool {
        self.steady < end.steady && self.unix < end.unix
    }
}

/// A request as the guard sees it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its path with the query.
    pub path: &'a str,
    /// Its headers.
    pub headers: &'a [Header],
    /// The client's address.
    pub client: Option<&'a str>,
    /// What its body says, if [`crate::rules::Rules::name_tools_of`] it.
    pub message: &'a Message,
}

/// A request that is being decided.
pub struct Check {
    credential: Credential,
    needed: Vec<String>,
    headers: Vec<Header>,
    asked: Option<Sent>,
    has_asked_keys: bool,
    /// Whether it came as a credential that is bound to a key.
    is_dpop: bool,
    /// What the proof of that key is for, and the proof.
    proved: Proved,
    /// Whether it is a browser's question before a request, which goes to the service.
    is_preflight: bool,
}

/// What a proof of a key must be for.
struct Proved {
    method: String,
    url: String,
    headers: Vec<Header>,
    /// It was verified before.
    is_done: bool,
}

enum Credential {
    /// A signed token.
    Signed(Digest, String),
    /// One of Accredit's own, or something else that only Accredit can tell.
    Opaque(Digest),
    /// None, or several.
    Unclear,
}

#[derive(Clone, Copy)]
struct Sent {
    purpose: Purpose,
    at: Now,
    /// The last epoch that was known then.
    epoch: Option<i64>,
}

/// What comes next.
#[derive(Debug)]
pub enum Step {
    /// The request goes on to the service, with these headers about its caller.
    Pass(Arc<[Header]>),
    /// The caller gets this answer. The second part is for the log.
    Refuse(Refusal, Option<String>),
    /// Accredit is asked; [`Guard::heard`] goes on with the answer.
    Ask(Question),
}

/// Decides about requests. It is shared by all of them.
#[derive(Debug)]
pub struct Guard {
    settings: Settings,
    name: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Option<(Arc<Keys>, Now)>,
    /// When the follower asked for them last.
    keys_asked: Option<u64>,
    unknown: VecDeque<u64>,
    epochs: Option<Epochs>,
    fresh_until: Option<Now>,
    is_following: bool,
    /// The follower has begun, and has heard nothing yet: until then its first answer is worth waiting for.
    beginning: Option<Now>,
    /// Something was taken in that Accredit does not know to be taken in.
    has_news: bool,
    last_request: u64,
    remembered: HashMap<[u8; 32], Remembered>,
    verified: HashMap<[u8; 32], Arc<Verified>>,
    proofs: proof::Seen,
}

#[derive(Debug)]
struct Verified {
    claims: Claims,
    told: Arc<[Header]>,
}

/// What Accredit has answered about a credential.
#[derive(Debug)]
struct Remembered {
    told: Arc<[Header]>,
    scopes: Vec<String>,
    rests_on: Vec<String>,
    epoch: i64,
    until: Now,
}

impl State {
    /// The epochs, if the guard may go on by them now.
    fn fresh(&self, now: Now) -> Option<&Epochs> {
        let is_fresh = self.is_following && self.fresh_until.is_some_and(|end| now.is_before(end));
        self.epochs.as_ref().filter(|_| is_fresh)
    }

    fn recall(&self, digest: &Digest, now: Now) -> Option<&Remembered> {
        let epochs = self.fresh(now)?;
        let found = self.remembered.get(digest.bytes())?;
        let is_good =
            now.is_before(found.until) && !epochs.concern(found.epoch, found.rests_on.iter().map(String::as_str));
        is_good.then_some(found)
    }

    fn remember(&mut self, digest: &Digest, answer: Remembered, now: Now) {
        if self.remembered.len() >= MOST {
            self.remembered.retain(|_, known| now.is_before(known.until));
        }
        if self.remembered.len() >= MOST {
            self.remembered.clear();
        }
        self.remembered.insert(*digest.bytes(), answer);
    }

    fn keys(&self, now: Now) -> Option<Arc<Keys>> {
        let (keys, at) = self.keys.as_ref()?;
        now.is_before(at.plus(KEYS_KEPT)).then(|| Arc::clone(keys))
    }

    fn take_keys(&mut self, answer: &Answer, sent: Now) -> bool {
        let Some(keys) = Some(answer).filter(|answer| answer.status == 200).and_then(Answer::json) else {
            return false;
        };
        let Some(keys) = Keys::parse(&keys) else { return false };
        if self.keys.as_ref().is_none_or(|(known, _)| **known != keys) {
            // A key that is gone may have been taken away from somebody.
            self.verified.clear();
        }
        self.keys = Some((Arc::new(keys), sent));
        true
    }

    /// Whether a set may be fetched for a key that it does not have.
    fn may_fetch_for_unknown(&mut self, now: Now) -> bool {
        while self.unknown.front().is_some_and(|at| at.saturating_add(MINUTE) <= now.steady) {
            self.unknown.pop_front();
        }
        let may = self.unknown.len() < UNKNOWN;
        if may {
            self.unknown.push_back(now.steady);
        }
        may
    }

    fn forget(&mut self) {
        (self.epochs, self.fresh_until) = (None, None);
        self.remembered.clear();
    }
}

impl Guard {
    /// A guard that has heard nothing yet. Each process has a name of its own.
    pub fn new(settings: Settings) -> Self {
        let host = common::url::Url::parse(&settings.resource).map_or("guard", |url| url.host);
        let number: String = Chance::System.bytes::<8>().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{}-{number}", host.get(..40).unwrap_or(host));
        Self { settings, name, state: Mutex::default() }
    }

    /// The settings.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a request for the service's metadata (RFC 9728), or to what a browser asks before one of a page. They are public, and
    /// clients in browsers read them before they have a credential.
    pub fn metadata(&self, method: &str, path: &str) -> Option<Refusal> {
        let body = self.settings.metadata(path)?;
        let mut answer = match method {
            "GET" | "HEAD" => Refusal::json(200, body),
            "OPTIONS" => Refusal { status: 204, headers: header::for_pages(), body: Vec::new() },
            _ => return None,
        };
        answer.headers.push(("access-control-allow-origin".to_owned(), b"*".to_vec()));
        Some(answer)
    }

    /// Takes a request in. `Err`: the rules cannot tell what it needs.
    pub fn check(&self, asked: &Asked<'_>, now: Now) -> Result<Check, Refusal> {
        let needed = self
            .settings
            .rules
            .needed(asked.method, asked.path, asked.message)
            .map_err(|Ambiguous| Refusal::ambiguous(&self.settings, "The path can be read in two ways."))?;
        let needed = needed.unwrap_or(&self.settings.scope).to_vec();
        self.state().last_request = now.steady;
        let mut sent = asked.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
        let (credential, is_dpop) = match (sent.next(), sent.next()) {
            (Some((_, value)), None) => credential(value),
            _ => (Credential::Unclear, false),
        };
        let credential = match credential {
            // Without a credential of its own the guard cannot hear of what has ended.
            Credential::Signed(digest, _) if self.settings.token.is_none() => Credential::Opaque(digest),
            credential => credential,
        };
        let mut headers = header::asked(asked.headers, asked.client);
        let mut proved =
            Proved { method: asked.method.to_owned(), url: String::new(), headers: Vec::new(), is_done: false };
        if is_dpop {
            proved.url = self.settings.url(asked.path);
            proved.headers = header::proved(asked.headers, (asked.method, asked.path));
            headers.extend(proved.headers.iter().cloned());
        }
        let has = |name: &str| asked.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
        let is_preflight = self.settings.preflight
            && asked.method == "OPTIONS"
            && has("access-control-request-method")
            && !has("authorization");
        Ok(Check { credential, needed, headers, asked: None, has_asked_keys: false, is_dpop, proved, is_preflight })
    }

    /// The next step for a request.
    pub fn step(&self, check: &mut Check, now: Now) -> Step {
        if check.is_preflight {
            // Of nobody: the service learns of no caller, and is told of none by the request itself.
            return Step::Pass([].into());
        }
        match &check.credential {
            Credential::Signed(..) => self.step_signed(check, now),
            Credential::Opaque(digest) => {
                let state = self.state();
                // Each request of a bound one has a proof of its own, which Accredit verifies.
                let found = state.recall(digest, now).filter(|_| !check.is_dpop);
                let found = found.filter(|found| lacking(&check.needed, &found.scopes).is_empty());
                match found.map(|found| Arc::clone(&found.told)) {
                    Some(told) => Step::Pass(told),
                    // Of what is missing Accredit says how to get it.
                    None => self.ask(&state, check, Purpose::Verify, now),
                }
            }
            Credential::Unclear => self.ask(&self.state(), check, Purpose::Verify, now),
        }
    }

    fn step_signed(&self, check: &mut Check, now: Now) -> Step {
        let Credential::Signed(digest, token) = &check.credential else { return cannot("no token") };
        let mut state = self.state();
        let Some(keys) = state.keys(now) else {
            if check.has_asked_keys {
                return cannot("the public keys are not to be had");
            }
            return self.ask(&state, check, Purpose::Keys, now);
        };
        let known = state.verified.get(digest.bytes()).cloned();
        let verified = match known {
            Some(verified) => verified,
            None => {
                drop(state);
                let settings = &self.settings;
                let expected =
                    Expected { issuer: &settings.accredit, audience: &settings.resource, tenant: &settings.tenant };
                let claims = token::verify(token, &keys, expected);
                state = self.state();
                match claims {
                    Ok(claims) => {
                        let told = told(&claims, &claims.scopes).into();
                        let verified = Arc::new(Verified { claims, told });
                        if state.verified.len() >= MOST {
                            state.verified.clear();
                        }
                        // Keys that came meanwhile may not have this one.
                        if state.keys.as_ref().is_some_and(|(current, _)| Arc::ptr_eq(current, &keys)) {
                            state.verified.insert(*digest.bytes(), Arc::clone(&verified));
                        }
                        verified
                    }
                    Err(Fault::UnknownKey) if !check.has_asked_keys && state.may_fetch_for_unknown(now) => {
                        return self.ask(&state, check, Purpose::Keys, now);
                    }
                    Err(Fault::UnknownKey) => return self.refuse_token("no key of Accredit has its kid"),
                    Err(Fault::Wrong(why)) => return self.refuse_token(why),
                }
            }
        };
        let claims = &verified.claims;
        if let Err(why) = claims.check_time(now.unix.div_euclid(1000), self.settings.skew) {
            return self.refuse_token(why);
        }
        let unproved = match (&claims.key, check.is_dpop) {
            (None, false) => None,
            (None, true) => Some(self.refuse_token("it is not bound to a key: send it as Bearer")),
            (Some(_), false) => Some(self.refuse_proof("invalid_token", "the token came as Bearer")),
            (Some(key), true) => {
                // Others do not wait for its signature.
                drop(state);
                let refused = self.take_proof(&mut check.proved, (token, key), now);
                state = self.state();
                refused
            }
        };
        if let Some(refusal) = unproved.or_else(|| self.lacks(check, &claims.scopes)) {
            return refusal;
        }
        let is_sure = state.fresh(now).is_some_and(|epochs| {
            let (Some(epoch), Some(owner)) = (claims.epoch, &claims.owner) else { return false };
            let all = [claims.subject.as_str(), owner.as_str(), claims.id.as_str()];
            let all = all.into_iter().chain(claims.rests_on.iter().map(String::as_str));
            !claims.rests_on.is_empty() && !epochs.concern(epoch, all)
        });
        if is_sure {
            return Step::Pass(Arc::clone(&verified.told));
        }
        if let Some(found) = state.recall(digest, now) {
            return self.lacks(check, &found.scopes).unwrap_or_else(|| Step::Pass(Arc::clone(&found.told)));
        }
        self.ask(&state, check, Purpose::Introspect, now)
    }

    /// Takes the proof that the sender has the key that its token is bound to, once for each request. `Some`: it is not one.
    fn take_proof(&self, proved: &mut Proved, (token, key): (&str, &str), now: Now) -> Option<Step> {
        if proved.is_done {
            return None;
        }
        let (method, url, now) = (proved.method.as_str(), proved.url.as_str(), now.unix.div_euclid(1000));
        let expected = common::proof::Expected { method, url, token: Some(token), now };
        let read = proof::verify(&proved.headers, &expected, key).map_err(proof::Fault::Wrong);
        match read.and_then(|read| self.state().proofs.take(&read, now)) {
            Ok(()) => {
                proved.is_done = true;
                None
            }
            Err(proof::Fault::Full) => Some(cannot("more proofs of keys come than can be remembered")),
            Err(proof::Fault::Wrong(why)) => Some(self.refuse_proof("invalid_dpop_proof", why)),
        }
    }

    fn lacks(&self, check: &Check, scopes: &[String]) -> Option<Step> {
        let missing = lacking(&check.needed, scopes);
        (!missing.is_empty()).then(|| Step::Refuse(Refusal::insufficient(&self.settings, &missing), None))
    }

    fn refuse_token(&self, why: &str) -> Step {
        Step::Refuse(Refusal::invalid_token(&self.settings, why), None)
    }

    fn refuse_proof(&self, error: &str, why: &str) -> Step {
        Step::Refuse(Refusal::not_proved(&self.settings, error, why), None)
    }

    fn ask(&self, state: &State, check: &mut Check, purpose: Purpose, now: Now) -> Step {
        check.has_asked_keys |= purpose == Purpose::Keys;
        check.asked = Some(Sent { purpose, at: now, epoch: state.fresh(now).map(Epochs::last) });
        let question = match purpose {
            Purpose::Introspect => {
                let Credential::Signed(_, token) = &check.credential else { return cannot("no token") };
                let form = form_urlencoded::Serializer::new(String::new()).append_pair("token", token).finish();
                let mut question = self.question(purpose, "tokens.introspect", "/auth/introspect");
                question.method = "POST";
                let kind = b"application/x-www-form-urlencoded".to_vec();
                question.headers.push(("content-type".to_owned(), kind));
                question.headers.push(("content-length".to_owned(), form.len().to_string().into_bytes()));
                question.body = form.into_bytes();
                question
            }
            Purpose::Verify => {
                let mut question = self.question(purpose, "", &self.verify(&check.needed));
                question.headers.clone_from(&check.headers);
                question
            }
            _ => self.question(purpose, "", "/oauth/jwks"),
        };
        Step::Ask(question)
    }

    /// Path and query by which Accredit verifies a credential.
    fn verify(&self, scopes: &[String]) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("tenant", &self.settings.tenant).append_pair("resource", &self.settings.resource);
        if !scopes.is_empty() {
            query.append_pair("scope", &scopes.join(" "));
        }
        format!("/auth/verify?{}", query.finish())
    }

    /// A question in the guard's own name, if it needs this scope.
    fn question(&self, purpose: Purpose, scope: &str, path: &str) -> Question {
        let base = match &self.settings.place {
            Place::Url(url) => url.clone(),
            Place::Chained if purpose == Purpose::Keys => "http://tokens.spin.internal".to_owned(),
            Place::Chained => "http://auth.spin.internal".to_owned(),
        };
        let url = common::url::Url::parse(&base);
        let authority = url.map(|url| url.authority()).unwrap_or_default();
        let path = format!("{}{path}", url.map_or("", |url| url.path));
        let mut headers = vec![("accept".to_owned(), b"application/json".to_vec())];
        if let Some(token) = self.settings.token.as_ref().filter(|_| !scope.is_empty()) {
            headers.push(("authorization".to_owned(), token.bearer().into_bytes()));
        }
        let is_secure = url.is_none_or(|url| url.is_secure);
        Question { purpose, method: "GET", is_secure, authority, path, headers, body: Vec::new(), held: 0 }
    }

    /// Goes on with an answer; `Err` says why there is none.
    pub fn heard(&self, check: &mut Check, answer: Result<Answer, String>, now: Now) -> Step {
        let Some(sent) = check.asked.take() else { return cannot("nothing was asked") };
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return cannot(&format!("Accredit does not answer: {why}")),
        };
        match sent.purpose {
            Purpose::Keys => {
                if !self.state().take_keys(&answer, sent.at) {
                    return cannot(&format!("Accredit answered {} to a request for its keys", answer.status));
                }
                self.step(check, now)
            }
            Purpose::Introspect => self.introspected(check, sent, &answer, now),
            _ => match answer.status {
                200 => self.verified(check, sent, &answer, now),
                401 | 403 => Step::Refuse(Refusal::of_accredit(answer), None),
                status => cannot(&format!("Accredit answered {status} to a verification")),
            },
        }
    }

    fn verified(&self, check: &Check, sent: Sent, answer: &Answer, now: Now) -> Step {
        let told: Arc<[Header]> = header::told(&answer.headers).into();
        let word = |name: &str| answer.header(name).unwrap_or_default().to_owned();
        let ids = ["x-accredit-credential", "x-accredit-agent-id", "x-accredit-subject"].map(word);
        // Headers that an older server does not send, or a proxy takes away, name nothing that could be heard of.
        let [credential, _, subject] = &ids;
        if let (Credential::Opaque(digest), Some(epoch)) = (&check.credential, sent.epoch)
            && !check.is_dpop
            && !credential.is_empty()
            && !subject.is_empty()
        {
            let scopes = word("x-accredit-scopes").split(' ').map(str::to_owned).collect();
            let rests_on = ids.into_iter().filter(|id| !id.is_empty()).collect();
            self.remember(digest, (&told, scopes, rests_on), (epoch, sent.at), now);
        }
        Step::Pass(told)
    }

    fn introspected(&self, check: &Check, sent: Sent, answer: &Answer, now: Now) -> Step {
        let Credential::Signed(digest, _) = &check.credential else { return cannot("no token") };
        let found = Some(answer).filter(|answer| answer.status == 200).and_then(Answer::json);
        let Some(is_active) = found.as_ref().and_then(|found| found.get("active")?.as_bool()) else {
            return cannot(&format!("Accredit answered {} to an introspection", answer.status));
        };
        let word = |name: &str| found.as_ref().and_then(|found| found.get(name)).and_then(Json::as_str);
        let verified = self.state().verified.get(digest.bytes()).cloned();
        let is_this = word("aud") == Some(self.settings.resource.as_str());
        if !is_active || !is_this {
            return self.refuse_token("what it rests on has ended");
        }
        // The keys were changed meanwhile.
        let Some(verified) = verified else { return cannot("the keys have changed") };
        if word("jti") != Some(verified.claims.id.as_str()) {
            return self.refuse_token("it is not the one that Accredit made");
        }
        let now_usable: Vec<&str> = word("scope").unwrap_or_default().split(' ').collect();
        let mut scopes = verified.claims.scopes.clone();
        scopes.retain(|name| now_usable.contains(&name.as_str()));
        let told: Arc<[Header]> = told(&verified.claims, &scopes).into();
        let lacks = self.lacks(check, &scopes);
        if let (Some(epoch), Some(owner), false) =
            (sent.epoch, &verified.claims.owner, verified.claims.rests_on.is_empty())
        {
            let claims = &verified.claims;
            let mut rests_on = claims.rests_on.clone();
            rests_on.extend([claims.subject.clone(), owner.clone(), claims.id.clone()]);
            self.remember(digest, (&told, scopes, rests_on), (epoch, sent.at), now);
        }
        lacks.unwrap_or(Step::Pass(told))
    }

    fn remember(
        &self,
        digest: &Digest,
        (told, scopes, rests_on): (&Arc<[Header]>, Vec<String>, Vec<String>),
        (epoch, sent): (i64, Now),
        now: Now,
    ) {
        let until = sent.plus(self.settings.lease * 1000);
        let answer = Remembered { told: Arc::clone(told), scopes, rests_on, epoch, until };
        self.state().remember(digest, answer, now);
    }
}

/// Following the epochs, beside the requests.
impl Guard {
    /// Whether the caller is to follow now, with [`Guard::follow`]: nobody does, and the guard can.
    pub fn begins_to_follow(&self, now: Now) -> bool {
        let mut state = self.state();
        let begins = self.settings.token.is_some() && !std::mem::replace(&mut state.is_following, true);
        if begins && state.fresh(now).is_none() {
            state.beginning = Some(now.plus(BEGINNING));
        }
        begins
    }

    /// Whether a request waits a moment: the first answer to the follower is on its way, by which this request and those after it may be
    /// decided without a question for each.
    pub fn is_beginning(&self, now: Now) -> bool {
        self.state().beginning.is_some_and(|end| now.is_before(end))
    }

    /// The next question of the follower. `None`: it has ended, since there were no requests lately.
    pub fn follow(&self, now: Now) -> Option<Question> {
        let mut state = self.state();
        if now.steady.saturating_sub(state.last_request) > IDLE {
            state.is_following = false;
            return None;
        }
        let are_old = state.keys.as_ref().is_some_and(|(_, at)| !now.is_before(at.plus(KEYS_OLD)));
        let may_ask = state.keys_asked.is_none_or(|at| now.steady.saturating_sub(at) >= KEYS_AGAIN);
        if are_old && may_ask {
            state.keys_asked = Some(now.steady);
            return Some(self.question(Purpose::Keys, "", "/oauth/jwks"));
        }
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("guard", &self.name).append_pair("lease", &self.settings.lease.to_string());
        // Held back for half of the lease at most, so that there is a fresh answer when the lease ends. What was taken in is said at once:
        // a closure waits for it. So is the question of one that must ask for each request until it is answered.
        let is_at_once = std::mem::take(&mut state.has_news) || state.fresh(now).is_none();
        let held = if is_at_once { 0 } else { (self.settings.lease / 2).min(LONGEST_WAIT) };
        let (held, tag) = match &state.epochs {
            None => (0, None),
            Some(epochs) => {
                query.append_pair("after", &epochs.last().to_string()).append_pair("wait", &held.to_string());
                (held, Some(format!("\"{}\"", epochs.last())))
            }
        };
        let mut question =
            self.question(Purpose::Epochs, "tokens.introspect", &format!("/auth/epochs?{}", query.finish()));
        question.headers.extend(tag.map(|tag| ("if-none-match".to_owned(), tag.into_bytes())));
        question.held = held;
        Some(question)
    }

    /// Takes in the answer to a question of the follower that was sent at a moment. Gives for how long it pauses, milliseconds, and a line
    /// for the log.
    pub fn followed(
        &self,
        (question, sent): (&Question, Now),
        answer: Result<Answer, String>,
        now: Now,
    ) -> (u64, Option<String>) {
        const LATER: u64 = 1_000;
        const MUCH_LATER: u64 = 5_000;
        let mut state = self.state();
        if question.purpose == Purpose::Epochs {
            state.beginning = None;
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(why) => return (LATER, Some(format!("Accredit does not answer: {why}"))),
        };
        let refused = |status| {
            let line = format!("Accredit answered {status} to {:?} with the guard's own credential", question.purpose);
            (MUCH_LATER, Some(line))
        };
        match (question.purpose, answer.status) {
            (Purpose::Keys, _) => {
                if !state.take_keys(&answer, sent) {
                    return (LATER, Some(format!("Accredit answered {} to a request for its keys", answer.status)));
                }
            }
            (Purpose::Epochs, 200 | 304)
                if answer.header("x-accredit-tenant") != Some(self.settings.tenant.as_str()) =>
            {
                state.forget();
                return (MUCH_LATER, Some("the guard's own credential is of another tenant".to_owned()));
            }
            (Purpose::Epochs, 200 | 304) => {
                let before = state.epochs.as_ref().map(Epochs::last);
                let is_all = match (answer.status, &mut state.epochs) {
                    (304, known) => known.is_some(),
                    (_, None) => {
                        let epoch = answer.json().and_then(|page| page.get("epoch")?.as_i64());
                        state.epochs = epoch.map(Epochs::begin);
                        epoch.is_some()
                    }
                    (_, Some(known)) => match answer.json().and_then(|page| known.take(&page)) {
                        Some(taken) => taken.is_all,
                        None => {
                            state.forget();
                            return (LATER, Some("the epochs have a gap: everything is forgotten".to_owned()));
                        }
                    },
                };
                state.has_news = before.is_some() && before != state.epochs.as_ref().map(Epochs::last);
                if is_all {
                    let held = answer.header("x-accredit-held-ms").and_then(|held| held.parse().ok()).unwrap_or(0);
                    let held = now.steady.saturating_sub(sent.steady).min(held);
                    state.fresh_until = Some(sent.plus(held).plus(self.settings.lease * 1000));
                }
                // An answer that says nothing new, and was not held back, is not asked for again at once.
                let took = now.steady.saturating_sub(sent.steady);
                let is_said = question.held == 0 && self.settings.lease > 1;
                let is_at_once = before.is_none() || state.has_news || !is_all || is_said || took >= LATER / 4;
                return (if is_at_once { 0 } else { LATER / 4 }, None);
            }
            (Purpose::Epochs, 410) => {
                state.forget();
                return (LATER / 4, None);
            }
            (_, status @ (401 | 403)) => {
                state.forget();
                return refused(status);
            }
            (_, status) => return (LATER, refused(status).1),
        }
        (0, None)
    }
}

/// The credential of a header, and whether it came as one that is bound to a key.
fn credential(value: &[u8]) -> (Credential, bool) {
    const UNCLEAR: (Credential, bool) = (Credential::Unclear, false);
    let Ok(text) = std::str::from_utf8(value) else { return UNCLEAR };
    let Some((scheme, token)) = text.trim().split_once(' ') else { return UNCLEAR };
    let (token, is_dpop) = (token.trim(), scheme.eq_ignore_ascii_case("dpop"));
    if !(is_dpop || scheme.eq_ignore_ascii_case("bearer")) || token.is_empty() {
        return UNCLEAR;
    }
    let digest = Digest::of(token.as_bytes());
    let signed = token::is_jwt(token);
    (if signed { Credential::Signed(digest, token.to_owned()) } else { Credential::Opaque(digest) }, is_dpop)
}

fn cannot(why: &str) -> Step {
    Step::Refuse(Refusal::not_verified("This request could not be verified."), Some(why.to_owned()))
}

/// The needed names that are not there.
fn lacking<'n>(needed: &'n [String], scopes: &[String]) -> Vec<&'n str> {
    needed.iter().filter(|name| !scopes.contains(name)).map(String::as_str).collect()
}

/// What the service is told of the caller with a signed token. Names and addresses are not in it.
fn told(claims: &Claims, scopes: &[String]) -> Vec<Header> {
    let is_agent = claims.subject.starts_with("agt_");
    let subject = if is_agent { claims.owner.as_deref().unwrap_or_default() } else { &claims.subject };
    let headers = [
        ("subject", subject),
        ("kind", "signed_token"),
        ("agent-id", if is_agent { &claims.subject } else { "" }),
        ("tenant", &claims.tenant),
        ("credential", &claims.id),
        ("scopes", &scopes.join(" ")),
    ];
    headers.map(|(name, value)| (format!("{TOLD}{name}"), written(value))).to_vec()
}

/// Visible ASCII, as Accredit writes its own headers: nothing of a token breaks a line.
fn written(text: &str) -> Vec<u8> {
    text.bytes().filter(|byte| *byte == b' ' || byte.is_ascii_graphic()).collect()
}

#[cfg(test)]
mod tests;
