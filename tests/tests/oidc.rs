//! R100 to R103: sign-in through providers, as a browser goes: the pages, the component, the host, and a provider that speaks TLS.

#![expect(clippy::unwrap_used, reason = "helpers of tests: whatever is not as expected ends the test")]

use std::{
    path::Path,
    time::{Instant, SystemTime},
};

use serde_json::{Value as Json, json};
use tests::{
    Client, PATIENCE, Server,
    browser::{Browser, encoded, hidden, unescaped},
    provider::{EvilProvider, Fault, RealProvider, Signed, public_key},
    server::{Settings, text},
    totp::Authenticator,
};

const SECRET: &str = "s3cret+/=of-the-client";
const IDENTITIES: &str = "SELECT count(*) FROM identities";

/// Begins to sign in; returns where the browser is sent to.
#[track_caller]
fn begin(browser: &Browser, provider: &str, next: &str) -> String {
    let answer = browser.get(&format!("/auth/oidc/{provider}/login?next={}", encoded(next)));
    assert_eq!(answer.status(), 303, "{}", answer.text());
    answer.header("location").to_owned()
}

/// A parameter of a URL; none of those that are asked for here is encoded.
fn parameter<'u>(url: &'u str, name: &str) -> &'u str {
    let pairs = url.split(['?', '&']).filter_map(|pair| pair.split_once('='));
    pairs.filter(|(known, _)| *known == name).map(|(_, value)| value).next().unwrap_or_default()
}

fn with_provider(address: &str, config: &Path) -> Settings {
    Server::settings()
        .variable("oidc_host1", address)
        .flag("--runtime-config-file", &config.to_string_lossy())
        .flag("--allow-private", address)
}

/// A server with npm's provider as three.
fn real() -> (RealProvider, Server, Client) {
    over(RealProvider::start(Path::new(env!("CARGO_TARGET_TMPDIR"))))
}

fn over(provider: RealProvider) -> (RealProvider, Server, Client) {
    over_with(provider, &[])
}

/// The same with further variables.
fn over_with(provider: RealProvider, variables: &[(&str, &str)]) -> (RealProvider, Server, Client) {
    let mut settings = with_provider(&provider.address(), &provider.runtime_config());
    for (name, value) in variables {
        settings = settings.variable(name, value);
    }
    for (number, name) in [(1, "rs"), (2, "es"), (3, "ed")] {
        let text = format!(
            "preset=generic name={name} issuer=https://{} client_id=of-{name} domains=acme.example label=Acme {name}",
            provider.address()
        );
        settings = settings.variable(&format!("oidc{number}"), &text);
        settings = settings.variable(&format!("oidc{number}_secret"), SECRET);
    }
    let server = settings.start();
    let admin = server.bootstrap();
    (provider, server, admin)
}

/// R100: from the button to the page that was asked for, with each of the three algorithms.
#[test]
fn a_person_signs_in_at_a_real_provider() {
    let (provider, server, _) = real();
    for name in ["rs", "es", "ed"] {
        let browser = Browser::new(&server);
        let asked = browser.get("/agents?q=a").header("location").to_owned();
        let login = browser.get(&asked).text();
        let button = format!("/auth/oidc/{name}/login?next=%2Fagents%3Fq%3Da");
        assert!(
            login.contains(&format!("href=\"{button}\"")) && login.contains(&format!("Continue with Acme {name}")),
            "{login}"
        );
        let left = browser.get(&button);
        assert_eq!(left.status(), 303);
        let back = provider.sign_in("max", left.header("location"));
        assert_eq!(parameter(&back, "iss"), encoded_url(&format!("https://{}", provider.address())), "{back}");
        let arrived = browser.get(&back);
        assert_eq!((arrived.status(), arrived.header("location")), (303, "/agents?q=a"), "{}", arrived.text());
        assert!(browser.is_signed_in() && !browser.has_cookie("accredit-oidc"));
        assert_eq!(browser.get("/agents?q=a").status(), 200);

        // The same address once more, as from the browser's history; and in another browser.
        let again = browser.get(&back);
        assert_eq!((again.status(), again.header("location")), (303, "/?done=signed-in"), "{}", again.text());
        let thief = Browser::new(&server);
        assert_eq!(thief.get(&back).status(), 400);
        assert!(!thief.is_signed_in());
    }
    // One person, one identity at one issuer, whatever the client.
    assert_eq!((server.number(IDENTITIES), server.number("SELECT count(*) FROM users")), (1, 2));
    let max = "SELECT name || ' ' || role FROM users WHERE email = 'max@acme.example'";
    assert_eq!(server.texts(max), ["Max member"]);
    let log = server.host().log();
    assert!(!log.contains(SECRET) && !log.contains("acr_ses_"), "{log}");
}

/// R265: a step up through a real provider asks for a new sign-in there, and counts from it; a sign-in alone, which the provider may have
/// let through by one of long ago, proves nothing where there is something else to prove it by.
#[test]
fn a_step_up_through_a_real_provider_asks_for_a_new_sign_in_there() {
    let mail = [("mail_provider", "resend"), ("mail_from", "no-reply@acme.example"), ("mail_token", "token")];
    let provider = RealProvider::start(Path::new(env!("CARGO_TARGET_TMPDIR")));
    let (provider, server, _) = over_with(provider, &mail);
    let browser = Browser::new(&server);
    let url = begin(&browser, "rs", "/tokens");
    assert_eq!(parameter(&url, "max_age"), "");
    assert_eq!(browser.get(&provider.sign_in("max", &url)).header("location"), "/tokens");
    let typed = [("name", "night build"), ("may", "all"), ("days", "never")];
    let again = browser.submit("/tokens?new=1", "/tokens", &typed).header("location").to_owned();
    assert!(again.starts_with("/login/again?form="), "{again}");
    let ways = browser.get(&again).text();
    let button = ways.split("href=\"").find(|rest| rest.starts_with("/auth/oidc/rs/login?")).unwrap();
    let left = browser.get(&unescaped(button.split('"').next().unwrap_or_default()));
    assert_eq!(parameter(left.header("location"), "max_age"), "0", "{}", left.header("location"));
    let back = provider.sign_in("max", left.header("location"));
    assert_eq!(browser.get(&back).header("location"), again);
    let html = browser.page(&again);
    let kept = again.replace("/login/again?form", "kept");
    let made = browser.submit_in(&html, &format!("/tokens?{kept}"), &[]);
    assert!(made.status() == 200 && made.text().contains("acr_pat_"), "{}", made.text());
    assert_eq!(server.texts("SELECT name FROM credentials WHERE kind = 'pat'"), ["night build"]);
}

/// R382: a provider that says `mfa` has asked for two factors, so no code is asked for, and who must have a second factor has one; by a
/// provider that says less, or nothing, a person goes on to the page of the code, or to the one that sets a second factor up.
#[test]
fn two_factors_at_a_provider_are_two_factors_here() {
    let key = [("secrets_key", &*"k".repeat(40))];
    let (provider, server, admin) = over_with(RealProvider::start(Path::new(env!("CARGO_TARGET_TMPDIR"))), &key);
    // The browser, and where it is when it comes back from the provider.
    let come_in = |person: &str| {
        let browser = Browser::new(&server);
        let back = provider.sign_in(person, &begin(&browser, "rs", "/agents"));
        let arrived = browser.get(&back);
        assert_eq!(arrived.status(), 303, "{person}: {}", arrived.text());
        (browser, arrived.header("location").to_owned())
    };
    for (person, two_factors, is_asked) in [("kim", 1, false), ("tom", 0, true), ("max", 0, true)] {
        let (browser, first) = come_in(person);
        assert_eq!((first.as_str(), browser.is_signed_in()), ("/agents", true), "{person}");
        let proved = format!(
            "SELECT c.two_factors FROM credentials c JOIN users u ON u.id = c.user_id
             WHERE u.email = '{person}@acme.example' ORDER BY c.created_at DESC LIMIT 1"
        );
        assert_eq!(server.number(&proved), two_factors, "{person}");
        let session = server.with(&browser.cookie("accredit").unwrap());
        let app = Authenticator::set_up(&server, &session);
        let (browser, next) = come_in(person);
        assert_eq!((browser.is_signed_in(), next == "/agents"), (!is_asked, !is_asked), "{person}: {next}");
        if is_asked {
            assert!(next.starts_with("/login/factor"), "{person}: {next}");
            let ended = browser.submit(&next, "/login/factor", &[("code", &app.recovery_codes[0])]);
            assert_eq!((ended.status(), ended.header("location")), (303, "/agents"), "{person}: {}", ended.text());
            assert!(browser.is_signed_in());
        }
        server.execute("DELETE FROM factors");
    }
    // Demanded of all: two factors there are enough, one is not.
    Authenticator::set_up(&server, &admin);
    admin.patch("/api/tenant", &json!({ "second_factor": "all" })).is(200);
    for (person, is_led) in [("kim", false), ("tom", true), ("max", true)] {
        let (browser, _) = come_in(person);
        let page = browser.get("/agents");
        let led = page.status() == 303 && page.header("location").starts_with("/security?next=");
        assert_eq!(led, is_led, "{person}: {} {}", page.status(), page.text());
    }
}

/// As a provider writes a URL into a query.
fn encoded_url(url: &str) -> String {
    url.replace(':', "%3A").replace('/', "%2F")
}

/// R101: an unverified address, a foreign domain, and an account whose address is not proved; the page says why, and offers other ways.
#[test]
fn whom_the_server_does_not_know_is_told_so() {
    let (provider, server, admin) = real();
    server.user(&admin, "max@acme.example", "viewer");
    for (name, status, words) in [
        ("una", 403, "does not vouch for your address"),
        ("zoe", 403, "is in no domain that this server takes"),
        ("max", 403, "nobody has proved yet"),
        ("nobody", 403, "The provider did not sign you in."),
    ] {
        let browser = Browser::new(&server);
        let page = browser.get(&provider.sign_in(name, &begin(&browser, "rs", "/agents")));
        assert_eq!(page.status(), status, "{name}: {}", page.text());
        let html = page.text();
        assert!(html.contains(words) && html.contains("name=\"next\" value=\"/agents\""), "{name}: {html}");
        assert!(html.contains("/auth/oidc/rs/login?next=%2Fagents"), "{name}: {html}");
        assert!(!browser.is_signed_in() && !html.contains("<b>no</b>"));
    }
    // The operator learns of each why, and nobody's address.
    for why in [
        "/auth/oidc/rs/finish no_account: the provider does not vouch for the person's address",
        "/auth/oidc/rs/finish no_account: the person's address is in none of the provider's domains",
        "the account has been used, and its address was never proved",
        "/auth/oidc/rs/finish provider_refused: the provider sent the person back: access_denied",
    ] {
        tests::host::until_logged(server.host(), why);
    }
    let log = server.host().log();
    assert!(!log.contains("acme.example") && !log.contains("foreign.example"), "{log}");
    assert_eq!(server.number(IDENTITIES), 0);
    // Proved, the account is the identity's; its role stays.
    server.execute("UPDATE users SET email_verified_at = 1");
    let browser = Browser::new(&server);
    assert_eq!(browser.get(&provider.sign_in("max", &begin(&browser, "es", "/"))).header("location"), "/");
    assert_eq!((server.number(IDENTITIES), server.number("SELECT count(*) FROM users")), (1, 2));
    // R19: a deactivated account is out of this door too, on the next request.
    server.execute("UPDATE users SET deactivated_at = 1 WHERE email = 'max@acme.example'");
    let browser = Browser::new(&server);
    let page = browser.get(&provider.sign_in("max", &begin(&browser, "rs", "/")));
    assert!(page.status() == 401 && page.text().contains("deactivated") && !browser.is_signed_in(), "{}", page.text());
}

/// R100, R264: tabs that have begun something at a provider do not disturb each other, whatever comes of each.
#[test]
fn two_tabs_that_begin_both_end() {
    let (provider, server, _) = real();
    let browser = Browser::new(&server);
    let urls = ["/agents", "/tokens", "/security"].map(|next| begin(&browser, "rs", next));
    let denied = browser.get(&provider.sign_in("nobody", &urls[0]));
    assert_eq!(denied.status(), 403, "{}", denied.text());
    for (url, next) in [(&urls[2], "/security"), (&urls[1], "/tokens")] {
        let back = browser.get(&provider.sign_in("max", url));
        assert_eq!((back.status(), back.header("location")), (303, next), "{}", back.text());
    }
    assert!(browser.is_signed_in() && !browser.has_cookie("accredit-oidc"));
    assert_eq!(server.number(IDENTITIES), 1);
}

/// R102: the address to which a provider led back is opened once more, by Back or a reload: it does nothing, and its visitor goes on.
#[test]
fn an_address_that_was_used_leads_on() {
    let (provider, server, _) = real();
    let browser = Browser::new(&server);
    let used = provider.sign_in("max", &begin(&browser, "rs", "/agents"));
    assert_eq!(browser.get(&used).header("location"), "/agents");
    let again = browser.get(&used);
    assert_eq!((again.status(), again.header("location")), (303, "/?done=signed-in"), "{}", again.text());
    assert!(browser.page("/?done=signed-in").contains("You are signed in. What was begun at the provider"));
    // Without a session, or with one that has ended, the visitor is offered all ways.
    let stranger = Browser::new(&server);
    server.execute(
        "UPDATE credentials SET revoked_at = 1 WHERE kind = 'session' AND user_id IN (SELECT user_id FROM identities)",
    );
    for visitor in [&browser, &stranger] {
        let page = visitor.get(&used);
        let html = page.text();
        assert_eq!(page.status(), 400, "{html}");
        assert!(
            html.contains("This sign-in was finished before, took too long") && html.contains("Begin again."),
            "{html}"
        );
        assert!(html.contains("name=\"password\"") && html.contains("/auth/oidc/rs/login"), "{html}");
        assert!(!html.contains("what you typed"), "{html}");
    }
    // The same for every refusal.
    let denied = browser.get(&provider.sign_in("nobody", &begin(&browser, "rs", "/agents")));
    assert!(denied.status() == 403 && denied.text().contains("name=\"password\""), "{}", denied.text());
    assert!(!browser.is_signed_in());
}

/// R101: a provider that says addresses at its UserInfo endpoint alone, as the standard has it.
#[test]
fn a_person_signs_in_at_a_provider_with_thin_tokens() {
    let (provider, server, admin) = over(RealProvider::start_thin(Path::new(env!("CARGO_TARGET_TMPDIR"))));
    for name in ["rs", "es", "ed"] {
        for _ in 0..2 {
            let browser = Browser::new(&server);
            let back = browser.get(&provider.sign_in("max", &begin(&browser, name, "/agents")));
            assert_eq!((back.status(), back.header("location")), (303, "/agents"), "{name}: {}", back.text());
        }
    }
    assert_eq!(server.texts("SELECT email || ' ' || name FROM users WHERE role = 'member'"), ["max@acme.example Max"]);
    for name in ["una", "zoe"] {
        let browser = Browser::new(&server);
        let page = browser.get(&provider.sign_in(name, &begin(&browser, "es", "/")));
        assert!(page.status() == 403 && !browser.is_signed_in(), "{name}: {}", page.text());
    }
    assert_eq!(server.number(IDENTITIES), 1);
    // What is linked is shown by the address from there.
    let browser = Browser::of(&server, &admin);
    let leave = browser.submit("/security", "/profile/identities/rs/link", &[]).text();
    let (_, url) = leave.split_once("class=\"button main\" href=\"").unwrap();
    let url = unescaped(url.split('"').next().unwrap());
    assert_eq!(browser.get(&provider.sign_in("ada", &url)).header("location"), "/security?done=linked");
    assert!(browser.page("/security").contains("ada@example.com"));
}

/// R101, R103: a UserInfo endpoint that gives no answer is an outage, and one of no use is as if there were no address; an ID token that has
/// one needs no other.
#[test]
fn a_userinfo_endpoint_that_fails_lets_nobody_in() {
    let (evil, _, server) = evil();
    let person = json!({ "sub": "7", "email": "max@acme.example", "email_verified": true });
    evil.says("userinfo_endpoint", json!(format!("{}/userinfo", evil.issuer())));
    evil.knows(&person);
    let sign_in = |thin: bool| {
        let browser = Browser::new(&server);
        let url = begin(&browser, "evil", "/agents");
        let mut claims = claims(&evil, &url);
        if thin {
            claims["email"] = Json::Null;
        }
        evil.trades(&claims, &Signed::By("one"));
        browser.get(&back("evil", &url)).status()
    };
    for fault in [Fault::Silence, Fault::Drip, Fault::Huge, Fault::Redirect, Fault::Status(401), Fault::Broken] {
        evil.fails("/userinfo", Some(fault));
        let begun = Instant::now();
        assert_eq!(sign_in(true), 503, "{fault:?}");
        assert!(begun.elapsed() < PATIENCE, "{fault:?} {:?}", begun.elapsed());
    }
    assert!(!evil.asked().contains(&"/userinfo/moved".to_owned()), "no redirect is followed");
    evil.fails("/userinfo", None);
    evil.knows(&json!({ "sub": "8", "email": "max@acme.example", "email_verified": true }));
    assert_eq!(sign_in(true), 403);
    tests::host::until_logged(server.host(), "the answer is about another subject");
    assert_eq!((server.number(IDENTITIES), server.number("SELECT count(*) FROM users")), (0, 1));
    evil.knows(&person);
    evil.asked();
    assert_eq!(sign_in(true), 303);
    assert_eq!(evil.asked(), ["/token", "/userinfo"]);
    for thin in [true, false] {
        assert_eq!(sign_in(thin), 303);
        assert_eq!(evil.asked(), ["/token"], "who is known needs no address");
    }
    assert_eq!(server.texts("SELECT email FROM identities"), ["max@acme.example"]);
}

/// R101: a person whom an admin has added comes in by the provider, in a tenant without passwords too; the invitation ends.
#[test]
fn a_person_who_was_added_signs_in_at_the_provider() {
    let (provider, server, admin) = real();
    let added = json!({ "email": "Max@acme.example", "name": "Max", "role": "curator", "invite": false });
    let max = text(&admin.post("/api/users", &added).is(201)["id"]).to_owned();
    let link = admin.post(&format!("/api/users/{max}/invite"), &json!({})).is(200);
    let invited = text(&link["url"]).strip_prefix(server.host().base_url()).unwrap().to_owned();
    assert!(Browser::new(&server).page(&invited).contains("Choose a password"));
    server.execute("UPDATE tenants SET ways = 'oidc'");
    // A password would be set for nothing.
    let door = Browser::new(&server).page(&invited);
    assert!(door.contains("there is none to set") && door.contains("href=\"/auth/oidc/rs/login?next="), "{door}");
    assert!(!door.contains("type=\"password\""), "{door}");
    let browser = Browser::new(&server);
    let back = browser.get(&provider.sign_in("max", &begin(&browser, "rs", "/agents")));
    assert_eq!((back.status(), back.header("location")), (303, "/agents"), "{}", back.text());
    assert_eq!(
        server.texts("SELECT id || ' ' || role FROM users WHERE email_verified_at IS NOT NULL"),
        [format!("{max} curator")]
    );
    server.execute("UPDATE tenants SET ways = 'password link oidc'");
    let (_, code) = invited.split_once("code=").unwrap();
    let accept = json!({ "code": code, "password": "purple-otter-9" });
    server.nobody().post("/auth/invite", &accept).refused(400, "invalid_code");
    assert_eq!(server.number("SELECT count(*) FROM users WHERE password_hash IS NOT NULL"), 1, "the admin's alone");
}

/// R95: the person of an account hears of each identity that is linked to it. The component knows that this server sends mail.
#[test]
fn a_link_is_mailed_to_its_person() {
    let (evil, _, server) = evil_with(|settings| {
        let mail = [("provider", "webhook"), ("host", "localhost:9"), ("from", "no-reply@example.com"), ("token", "t")];
        mail.into_iter().fold(settings, |settings, (name, value)| settings.variable(&format!("mail_{name}"), value))
    });
    server.execute("UPDATE users SET email = 'max@acme.example', email_key = 'max@acme.example'");
    server.execute("UPDATE users SET email_verified_at = 1");
    for _ in 0..2 {
        let browser = Browser::new(&server);
        let url = begin(&browser, "evil", "/");
        evil.trades(&claims(&evil, &url), &Signed::By("one"));
        assert_eq!(browser.get(&back("evil", &url)).status(), 303);
    }
    assert_eq!(server.texts("SELECT kind || ' ' || recipient FROM outbox"), ["identity_linked max@acme.example"]);
}

/// R100: a signed-in person links an identity by form, and signs in with it from then on.
#[test]
fn a_person_links_an_identity_by_form() {
    let (provider, server, admin) = real();
    let browser = Browser::of(&server, &admin);
    let csrf = || hidden(&browser.page("/security"), "csrf");
    let post = |path: &str, csrf: &str| browser.post_from(browser.base_url(), path, &[("csrf", csrf)]);
    assert!(browser.get("/security").text().contains("action=\"/profile/identities/rs/link\""));
    let refused = post("/profile/identities/rs/link", "none");
    assert_eq!(refused.status(), 403, "{}", refused.text());
    let leave = post("/profile/identities/rs/link", &csrf());
    assert_eq!(leave.status(), 200, "{}", leave.text());
    let html = leave.text();
    let (_, url) = html.split_once("class=\"button main\" href=\"").unwrap();
    let url = unescaped(url.split('"').next().unwrap());
    let back = browser.get(&provider.sign_in("ada", &url));
    assert_eq!((back.status(), back.header("location")), (303, "/security?done=linked"), "{}", back.text());
    let page = browser.get("/security?done=linked").text();
    assert!(page.contains("Linked. From now on") && page.contains("Acme rs") && page.contains("ada@example.com"));

    let other = Browser::new(&server);
    assert_eq!(other.get(&provider.sign_in("ada", &begin(&other, "ed", "/tokens"))).header("location"), "/tokens");
    assert_eq!(server.number("SELECT count(*) FROM users"), 1);
    let id = server.texts("SELECT id FROM identities").remove(0);
    let ended = post(&format!("/profile/identities/{id}/unlink"), &csrf());
    // R705: the sessions that it opened end with it.
    assert!(
        ended.header("location").starts_with("/security?done=unlinked&closure=cls_"),
        "{}",
        ended.header("location")
    );
    assert_eq!(server.number(IDENTITIES), 0);
    let other = Browser::new(&server);
    assert_eq!(other.get(&provider.sign_in("ada", &begin(&other, "rs", "/"))).status(), 403);
    let audit = "SELECT action FROM audit WHERE action LIKE 'identity.%' ORDER BY seq";
    assert_eq!(server.texts(audit), ["identity.link", "identity.unlink"]);
}

/// R103: a provider that has gone is a page that says so, with the other ways; what was known of it lasts an hour.
#[test]
fn a_provider_that_has_gone_is_a_page_that_says_so() {
    let (mut provider, server, _) = real();
    let browser = Browser::new(&server);
    let back = provider.sign_in("max", &begin(&browser, "rs", "/agents"));
    provider.stop();
    let page = browser.get(&back);
    assert_eq!(page.status(), 503, "{}", page.text());
    assert!(
        page.text().contains("The provider does not answer at the moment") && page.text().contains("name=\"password\"")
    );
    assert!(
        begin(&browser, "rs", "/").starts_with(&format!("https://{}/auth?", provider.address())),
        "its endpoints are known"
    );
    let started = server.nobody().post("/auth/oidc/rs/start", &json!({ "next": "/" })).is(200);
    let (state, iss) = (parameter(text(&started["url"]), "state"), format!("https://{}", provider.address()));
    let finish = json!({ "flow": started["flow"], "state": state, "code": "c", "iss": iss });
    server.nobody().post("/auth/oidc/rs/finish", &finish).refused(503, "provider_unavailable");
}

/// A server with the evil provider, twice: at its own name, and as another one that it impersonates.
fn evil() -> (EvilProvider, EvilProvider, Server) {
    evil_with(|settings| settings)
}

fn evil_with(more: impl FnOnce(Settings) -> Settings) -> (EvilProvider, EvilProvider, Server) {
    let (evil, other) = (EvilProvider::start(), EvilProvider::start());
    let mut settings = with_provider(&evil.address(), &evil.runtime_config());
    for (number, name, provider) in [(1, "evil", &evil), (2, "other", &other)] {
        let text =
            format!("preset=generic name={name} issuer={} client_id=accredit domains=acme.example", provider.issuer());
        settings = settings.variable(&format!("oidc{number}"), &text);
        settings = settings.variable(&format!("oidc{number}_secret"), SECRET);
    }
    // The second one is neither granted nor trusted.
    let server = more(settings).start();
    server.bootstrap();
    (evil, other, server)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs()
}

/// Claims that are right.
fn claims(evil: &EvilProvider, url: &str) -> Json {
    json!({ "iss": evil.issuer(), "aud": "accredit", "sub": "7", "exp": now() + 300, "iat": now(),
            "nonce": parameter(url, "nonce"), "email": "max@acme.example", "email_verified": true })
}

fn back(provider: &str, url: &str) -> String {
    format!("/auth/oidc/{provider}/callback?code=c0de&state={}", parameter(url, "state"))
}

/// A change of claims.
type Change = Box<dyn Fn(&mut Json)>;

/// R102: nobody is let in by a token with anything wrong, over the wire as in the component.
#[test]
fn an_evil_provider_lets_nobody_in() {
    let (evil, _, server) = evil();
    let public = public_key("one").to_string();
    let with = |name: &'static str, value: Json| move |claims: &mut Json| claims[name] = value.clone();
    let none = |_: &mut Json| {};
    let cases: [(&str, Change, Signed<'_>); 8] = [
        ("issuer", Box::new(with("iss", json!("https://accounts.google.com"))), Signed::By("one")),
        ("audience", Box::new(with("aud", json!("another"))), Signed::By("one")),
        ("nonce", Box::new(with("nonce", json!("another"))), Signed::By("one")),
        ("expired", Box::new(with("exp", json!(now() - 120))), Signed::By("one")),
        ("signature", Box::new(none), Signed::As(json!({ "alg": "ES256", "kid": "one" }), "AAAA")),
        ("another key", Box::new(none), Signed::By("two")),
        ("alg none", Box::new(none), Signed::As(json!({ "alg": "none" }), "")),
        ("HS256", Box::new(none), Signed::As(json!({ "alg": "HS256", "kid": "one" }), &public[..40])),
    ];
    for (what, change, signed) in cases {
        let browser = Browser::new(&server);
        let url = begin(&browser, "evil", "/agents");
        let mut claims = claims(&evil, &url);
        change(&mut claims);
        evil.trades(&claims, &signed);
        let page = browser.get(&back("evil", &url));
        assert_eq!(page.status(), 403, "{what}: {}", page.text());
        assert!(page.text().contains("not a valid proof of your identity") && !browser.is_signed_in(), "{what}");
    }
    assert_eq!((server.number(IDENTITIES), server.number("SELECT count(*) FROM users")), (0, 1));
    // The reason is in the log, and the token is not.
    tests::host::until_logged(server.host(), "the token has another nonce");
    let browser = Browser::new(&server);
    let url = begin(&browser, "evil", "/agents");
    evil.trades(&claims(&evil, &url), &Signed::By("one"));
    // RFC 9207, and RFC 9700 section 4.4: another issuer's answer; the answer at another provider's path.
    evil.asked();
    let page = browser.get(&format!("{}&iss=https%3A%2F%2Faccounts.google.com", back("evil", &url)));
    assert_eq!((page.status(), evil.asked()), (403, Vec::new()));
    let url = begin(&browser, "evil", "/agents");
    assert_eq!(browser.get(&back("other", &url)).status(), 400);
    assert_eq!(evil.asked(), Vec::<String>::new());
    // And what is right is let in.
    let url = begin(&browser, "evil", "/agents");
    evil.trades(&claims(&evil, &url), &Signed::By("one"));
    assert_eq!(browser.get(&back("evil", &url)).header("location"), "/agents");
    assert!(browser.is_signed_in());
    assert!(!server.host().log().contains("eyJ"), "{}", server.host().log());
}

/// R103, R404: late, endless, huge, redirected, cut off: a page that says so, in time, and never a 500.
#[test]
fn a_provider_that_fails_is_a_page_that_says_so() {
    let (evil, _, server) = evil();
    let faults = [Fault::Silence, Fault::Drip, Fault::Huge, Fault::Redirect, Fault::Status(500), Fault::Broken];
    for fault in faults {
        let description = "/.well-known/openid-configuration";
        evil.fails(description, Some(fault));
        let begun = Instant::now();
        let page = Browser::new(&server).get("/auth/oidc/evil/login?next=/agents");
        assert_eq!(page.status(), 503, "{fault:?}: {}", page.text());
        let html = page.text();
        assert!(html.contains("does not answer at the moment") && html.contains("name=\"password\""), "{fault:?}");
        assert!(begun.elapsed() < PATIENCE, "{fault:?} {:?}", begun.elapsed());
        evil.fails(description, None);
    }
    assert!(!evil.asked().contains(&"/.well-known/openid-configuration/moved".to_owned()), "no redirect is followed");
    for path in ["/token", "/keys"] {
        for fault in [Fault::Silence, Fault::Drip, Fault::Huge, Fault::Redirect, Fault::Status(502), Fault::Broken] {
            let browser = Browser::new(&server);
            let url = begin(&browser, "evil", "/agents");
            evil.trades(&claims(&evil, &url), &Signed::By("one"));
            evil.fails(path, Some(fault));
            let begun = Instant::now();
            let page = browser.get(&back("evil", &url));
            let html = page.text();
            assert_eq!(page.status(), 503, "{path} {fault:?}: {html}");
            assert!(html.contains("does not answer at the moment") && html.contains("name=\"password\""), "{html}");
            assert!(begun.elapsed() < PATIENCE, "{path} {fault:?} {:?}", begun.elapsed());
            assert!(!browser.is_signed_in());
            evil.fails(path, None);
        }
    }
    // R72: a host that the operator did not name is not called, and the log says so.
    let page = Browser::new(&server).get("/auth/oidc/other/login");
    assert_eq!(page.status(), 503);
    tests::host::until_logged(server.host(), "oidc may not call https://localhost:");
    assert_eq!((server.number(IDENTITIES), server.number("SELECT count(*) FROM users")), (0, 1));
}

/// R103: what a provider said is kept in the key-value store, across hosts; a new key is fetched, a minute after the last time.
#[test]
fn keys_are_kept_and_rotated_keys_are_fetched() {
    let (evil, _, server) = evil();
    let sign_in = |server: &Server, key: &str| {
        let browser = Browser::new(server);
        let url = begin(&browser, "evil", "/");
        evil.trades(&claims(&evil, &url), &Signed::By(key));
        browser.get(&back("evil", &url)).status()
    };
    assert_eq!(sign_in(&server, "one"), 303);
    assert_eq!(evil.asked(), ["/.well-known/openid-configuration", "/token", "/keys"]);
    let second = server.second();
    for host in [&server, &second] {
        assert_eq!(sign_in(host, "one"), 303);
        assert_eq!(evil.asked(), ["/token"]);
    }
    evil.has_keys(&["two"]);
    assert_eq!(sign_in(&second, "two"), 403);
    assert_eq!(evil.asked(), ["/token"], "not at every token's will");
    // As if a minute had passed.
    let store = rusqlite::Connection::open(server.state().path().join("sqlite_key_value.db")).unwrap();
    let older = "UPDATE spin_key_value SET value = CAST(json_set(CAST(value AS TEXT), '$.at', 1) AS BLOB)
                 WHERE CAST(value AS TEXT) LIKE '{\"at\":%'";
    let is_kept = store.execute(older, []).unwrap();
    assert!(is_kept >= 2, "metadata and keys");
    assert_eq!(sign_in(&server, "two"), 303);
    assert!(evil.asked().contains(&"/keys".to_owned()));
    assert_eq!(sign_in(&second, "one"), 403, "a key that is gone is gone");
}

/// R73: a setting that cannot be used stops this component, and its name is in the log; the password form still works.
#[test]
fn provider_settings_that_cannot_be_used_stop_this_component_only() {
    for (name, value) in [("oidc1", "preset=pigeon client_id=a"), ("oidc1_secret", "")] {
        let server = Server::settings()
            .variable("oidc1", "preset=google client_id=a")
            .variable("oidc1_secret", SECRET)
            .variable(name, value)
            .start();
        server.bootstrap();
        let answer = server.nobody().get("/auth/oidc");
        assert_eq!((answer.status(), &answer.json()["error"]), (500, &json!("internal")), "{name}");
        tests::host::until_logged(server.host(), name);
        let login = Browser::new(&server).get("/login");
        assert!(login.status() == 200 && login.text().contains("name=\"password\""), "{}", login.text());
    }
}
