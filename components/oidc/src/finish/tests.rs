use common::{role::Role, secret::Kind};
use serde_json::json;
use service::{
    outbound::stub,
    settings::Provider,
    testing::{Actor, Answer, TestApp, at_once},
};

use super::*;
use crate::testing::{ACME, Begun, Key, OTHER, World, begin, finish, metadata, settings, unsigned};

const IDENTITIES: &str = "SELECT count(*) FROM identities";
const SESSIONS: &str = "SELECT count(*) FROM credentials WHERE kind = 'session'";

async fn stage() -> (TestApp, World, Actor) {
    let t = TestApp::with(crate::router(), settings());
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@acme.example", Role::Admin).await;
    (t, World::new(), ada)
}

/// Signs in at acme with claims that are right but for these.
async fn sign_in(t: &TestApp, world: &World, changes: &[(&str, Json)]) -> Answer {
    let begun = begin(t, "acme", "/agents").await;
    world.trades(ACME, &Key::new("acme-1").sign(&changed(begun.claims(t), changes)));
    finish(t, "acme", &begun.back()).await
}

fn changed(mut claims: Json, changes: &[(&str, Json)]) -> Json {
    for (name, value) in changes {
        claims[*name] = value.clone();
    }
    claims
}

/// R100: the whole way, as the standards have it.
#[tokio::test]
async fn a_person_of_an_allowed_domain_gets_an_account_and_later_the_same_one() {
    let (t, world, ada) = stage().await;
    let begun = begin(&t, "acme", "/agents?q=a").await;
    let (endpoint, query) = begun.url.split_once('?').unwrap();
    assert_eq!(endpoint, "https://sso.acme.example/authorize");
    for pair in [
        "response_type=code",
        "client_id=accredit",
        "scope=openid+email+profile",
        "code_challenge_method=S256",
        "redirect_uri=https%3A%2F%2Faccredit.example%2Facc%2Fauth%2Foidc%2Facme%2Fcallback",
    ] {
        assert!(query.split('&').any(|known| known == pair), "{pair}: {query}");
    }
    assert!(!query.contains("prompt="));
    world.trades(ACME, &Key::new("acme-1").sign(&begun.claims(&t)));
    stub::sent();
    let signed_in = finish(&t, "acme", &begun.back()).await;
    assert_eq!(signed_in.header("cache-control"), "no-store");
    let signed_in = signed_in.is(200);
    assert_eq!(
        (&signed_in["email"], &signed_in["role"], &signed_in["next"]),
        (&json!("max@acme.example"), &json!("member"), &json!("/agents?q=a"))
    );
    assert!(signed_in["access_token"].as_str().unwrap().starts_with("acr_ses_"));
    // R705: the trail names the provider.
    let entered = t.texts("SELECT after FROM audit WHERE action = 'session.start'").await;
    assert_eq!(entered, [r#"{"way":"oidc","provider":"acme"}"#]);

    // The code was traded once, with the verifier and the secret; the metadata were known, the keys were not.
    let sent = stub::sent();
    let asked: Vec<String> = sent.iter().map(|request| format!("{} {}", request.method(), request.uri())).collect();
    assert_eq!(asked, ["POST https://sso.acme.example/token", "GET https://sso.acme.example/keys"]);
    let form: Vec<(String, String)> = form_urlencoded::parse(sent[0].body().as_bytes()).into_owned().collect();
    let field = |name: &str| form.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap();
    assert_eq!((field("grant_type"), field("code")), ("authorization_code", "c0de"));
    assert_eq!(field("redirect_uri"), "https://accredit.example/acc/auth/oidc/acme/callback");
    let challenge = query.split("code_challenge=").nth(1).unwrap().split('&').next().unwrap();
    use base64::{
        Engine,
        engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
    };
    assert_eq!(URL_SAFE_NO_PAD.encode(Digest::of(field("code_verifier").as_bytes()).bytes()), challenge);
    let basic = STANDARD.encode("accredit:s3cret%2B%2F%3D");
    assert_eq!(sent[0].headers()["authorization"], format!("Basic {basic}"));

    // Again, with another address: it is the subject that counts.
    let again =
        sign_in(&t, &world, &[("email", json!("max@other.example")), ("email_verified", json!(false))]).await.is(200);
    assert_eq!(again["user_id"], signed_in["user_id"]);
    assert_eq!((t.number(IDENTITIES).await, t.number("SELECT count(*) FROM users").await), (1, 2));
    let id = signed_in["user_id"].as_str().unwrap();
    let user = format!(
        "SELECT name || ' ' || (tenant_id = '{}') || ' ' || (email_verified_at IS NOT NULL) || ' ' || (password_hash IS NULL) FROM users WHERE id = '{id}'",
        ada.tenant
    );
    assert_eq!(t.texts(&user).await, ["Max 1 1 1"]);
    let audit = "SELECT action || ' ' || ifnull(json_extract(after, '$.provider'), json_extract(after, '$.way')) FROM audit ORDER BY seq";
    assert_eq!(
        t.texts(audit).await,
        ["user.create acme", "identity.link acme", "session.start acme", "session.start acme"]
    );
}

/// A webhook learns of an account that a first sign-in makes, as of every other one.
#[tokio::test]
async fn a_new_account_is_an_event() {
    let (t, world, ada) = stage().await;
    t.execute(&format!(
        "INSERT INTO webhooks (id, tenant_id, user_id, name, url, takes_notifications, sealed, sealed_at, created_at, updated_at)
         VALUES ('whk_1', '{}', '{}', 'w', 'https://a.example', 1, x'00', 0, 0, 0)",
        ada.tenant, ada.user
    ))
    .await
    .unwrap();
    for _ in 0..2 {
        sign_in(&t, &world, &[]).await.is(200);
    }
    assert_eq!(
        t.texts("SELECT kind || ' ' || data FROM events").await,
        [r#"user.created {"email":"max@acme.example","name":"Max","role":"member"}"#]
    );
}

/// R102: whatever is wrong with a token, nobody is let in and nothing is stored.
#[tokio::test]
async fn a_token_with_anything_wrong_lets_nobody_in() {
    let (t, world, _) = stage().await;
    let now = t.now().millis() / 1000;
    for (changes, what) in [
        (vec![("iss", json!(OTHER))], "issuer"),
        (vec![("aud", json!("another"))], "audience"),
        (vec![("aud", json!(["accredit", "another"]))], "audiences"),
        (vec![("nonce", json!("another"))], "nonce"),
        (vec![("exp", json!(now - 61))], "expired"),
        (vec![("iat", json!(now + 90))], "to come"),
        (vec![("sub", json!(""))], "nobody"),
        (vec![("at_hash", json!("77QmUPtjPfzWtF2AnpK9RQ"))], "another access token"),
    ] {
        let refused = sign_in(&t, &world, &changes).await.refused(403, "identity_invalid");
        assert_eq!(refused["next"], "/agents", "{what}");
    }
    let claims = |begun: &Begun| begun.claims(&t);
    let key = Key::new("acme-1");
    let public = key.public();
    // alg none, in two spellings; the public key as a shared secret; a key that is the token's own; another key; a bent text.
    for forge in [
        &|claims: &Json| format!("{}.", unsigned(&json!({ "alg": "none" }), claims)),
        &|claims: &Json| format!("{}.", unsigned(&json!({ "alg": "nOnE", "kid": "acme-1" }), claims)),
        &|claims: &Json| {
            let signed = unsigned(&json!({ "alg": "HS256", "kid": "acme-1" }), claims);
            let mac = common::secret::Key::derive(public.to_string().as_bytes(), "", &[]).mac(signed.as_bytes());
            format!(
                "{signed}.{}",
                base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, mac.bytes())
            )
        },
        &|claims: &Json| {
            let header = json!({ "alg": "ES256", "jwk": Key::new("mine").public() });
            let token = Key::new("mine").sign(claims);
            format!("{}.{}", unsigned(&header, claims), token.rsplit('.').next().unwrap())
        },
        &|claims: &Json| Key::new("acme-1").sign(claims).replace('.', ".A"),
        &|claims: &Json| {
            let token = Key::new("acme-1").sign(claims);
            let (head, signature) = token.rsplit_once('.').unwrap();
            let other =
                unsigned(&json!({ "alg": "ES256", "kid": "acme-1" }), &changed(claims.clone(), &[("sub", json!("8"))]));
            assert_ne!(head, other);
            format!("{other}.{signature}")
        },
        &|claims: &Json| {
            let header = json!({ "alg": "ES256", "kid": "acme-1", "crit": ["exp"], "exp": 1 });
            format!("{}.AAAA", unsigned(&header, claims))
        },
        &|_: &Json| String::new(),
        &|_: &Json| "a.b.c".to_owned(),
        &|_: &Json| "a".repeat(20_000),
    ] as [&dyn Fn(&Json) -> String; 10]
    {
        let begun = begin(&t, "acme", "/").await;
        world.trades(ACME, &forge(&claims(&begun)));
        finish(&t, "acme", &begun.back()).await.refused(403, "identity_invalid");
    }
    // A token of one provider's key is none of another's.
    let begun = begin(&t, "acme", "/").await;
    world.trades(ACME, &Key::new("other-1").sign(&claims(&begun)));
    finish(&t, "acme", &begun.back()).await.refused(403, "identity_invalid");
    assert_eq!((t.number(IDENTITIES).await, t.number(SESSIONS).await), (0, 1), "ada's own alone");
}

/// R102: each is used once, also at once; and only where it was begun.
#[tokio::test]
async fn what_was_begun_is_used_once() {
    let (t, world, _) = stage().await;
    let begun = begin(&t, "acme", "/").await;
    world.trades(ACME, &Key::new("acme-1").sign(&begun.claims(&t)));
    finish(&t, "acme", &begun.back()).await.is(200);
    let calls = stub::sent().len();
    finish(&t, "acme", &begun.back()).await.refused(400, "sign_in_expired");
    assert_eq!((stub::sent().len(), calls), (0, 3), "a replay asks nobody");

    let (first, second) = (begin(&t, "acme", "/").await, begin(&t, "acme", "/").await);
    let mut mixed = first.back();
    mixed["state"] = json!(second.state);
    finish(&t, "acme", &mixed).await.refused(400, "sign_in_expired");
    for (name, value) in [("flow", json!("")), ("state", json!("")), ("flow", json!("AAAA"))] {
        let mut back = first.back();
        back[name] = value;
        finish(&t, "acme", &back).await.refused(400, "sign_in_expired");
    }
    t.wait(600);
    finish(&t, "acme", &first.back()).await.refused(400, "sign_in_expired");
    assert_eq!(t.number(IDENTITIES).await, 1);
    // Also a refusal is an end.
    let begun = begin(&t, "acme", "/").await;
    let denied = json!({ "flow": begun.flow, "state": begun.state, "error": "access_denied" });
    finish(&t, "acme", &denied).await.refused(403, "provider_refused");
    finish(&t, "acme", &begun.back()).await.refused(400, "sign_in_expired");
}

#[test]
fn of_two_hosts_at_once_one_spends_it() {
    let runtime = || tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (t, begun) = runtime().block_on(async {
        let (t, _, _) = stage().await;
        let begun = begin(&t, "acme", "/").await;
        (t, begun.back())
    });
    let slugs = at_once(4, async |_| {
        // The providers of this thread do not answer.
        let answer = finish(&t, "acme", &begun).await;
        serde_json::from_str::<Json>(&answer.text).unwrap()["error"].as_str().unwrap().to_owned()
    });
    let count = |slug: &str| slugs.iter().filter(|known| *known == slug).count();
    assert!(count("sign_in_expired") == 3 && slugs.len() == 4, "{slugs:?}");
}

/// R102, RFC 9700 section 4.4: what one provider answers is not taken for another one's.
#[tokio::test]
async fn two_providers_are_not_mixed_up() {
    let (t, world, _) = stage().await;
    let acme = begin(&t, "acme", "/").await;
    // The answer arrives at the other provider's path.
    finish(&t, "other", &acme.back()).await.refused(400, "sign_in_expired");
    // It names another issuer (RFC 9207).
    let named = |begun: &Begun, iss: &str| {
        let mut back = begun.back();
        back["iss"] = json!(iss);
        back
    };
    stub::sent();
    finish(&t, "acme", &named(&acme, OTHER)).await.refused(403, "identity_invalid");
    assert_eq!(stub::sent().len(), 0, "the code is given to nobody");
    let acme = begin(&t, "acme", "/").await;
    world.trades(ACME, &Key::new("acme-1").sign(&acme.claims(&t)));
    finish(&t, "acme", &named(&acme, ACME)).await.is(200);
    // It does not name its issuer, though the provider always does.
    let mut said = metadata(OTHER);
    said["authorization_response_iss_parameter_supported"] = json!(true);
    world.says(OTHER, &said);
    let other = begin(&t, "other", "/").await;
    finish(&t, "other", &other.back()).await.refused(403, "identity_invalid");
    let other = begin(&t, "other", "/").await;
    let claims = changed(other.claims(&t), &[("email", json!("max@other.example"))]);
    world.trades(OTHER, &Key::new("other-1").sign(&claims));
    finish(&t, "other", &named(&other, OTHER)).await.is(200);
    // The same subject at two providers is two identities.
    assert_eq!(t.number("SELECT count(DISTINCT user_id) FROM identities WHERE subject = '7'").await, 2);
}

/// R101: which account.
#[tokio::test]
async fn an_account_is_found_by_an_address_that_is_proved_on_both_sides() {
    let (t, world, ada) = stage().await;
    for (changes, slug) in [
        (vec![("email_verified", json!(false))], "no_account"),
        (vec![("email", json!("max@foreign.example"))], "no_account"),
        (vec![("email", json!("max@sub.acme.example"))], "no_account"),
        (vec![("email", json!("max@acme.example@evil.example"))], "no_account"),
        (vec![("email", json!("max@sales.example"))], "no_account"),
        (vec![("email", Json::Null)], "no_account"),
        (vec![("email", json!("Ada@Acme.Example"))], "address_not_verified"),
    ] {
        sign_in(&t, &world, &changes).await.refused(403, slug);
    }
    // R669: the person learns which of them it is: only one of these can be mended by an admin.
    for (changes, detail, step) in [
        (("email_verified", json!(false)), "does not vouch for your address", "Prove your address"),
        (("email", Json::Null), "does not say your address", "Let the provider tell"),
        (("email", json!("max@foreign.example")), "is in no domain", "Ask an admin for an account"),
    ] {
        let said = sign_in(&t, &world, &[changes]).await.refused(403, "no_account").to_string();
        assert!(said.contains(detail) && said.contains(step), "{said}");
    }
    assert_eq!((t.number(IDENTITIES).await, t.number("SELECT count(*) FROM users").await), (0, 1));
    t.execute("UPDATE users SET email_verified_at = 1").await.unwrap();
    let signed_in = sign_in(&t, &world, &[("email", json!("Ada@Acme.Example"))]).await.is(200);
    assert_eq!(signed_in["user_id"], ada.user.as_str());
    // A domain may be another tenant's.
    let sales = t.tenant("sales").await;
    sign_in(&t, &world, &[("email", json!("eve@sales.example")), ("sub", json!("8"))]).await.is(200);
    assert_eq!(t.texts("SELECT tenant_id FROM users WHERE email = 'eve@sales.example'").await, [sales.to_string()]);
}

/// R347: an address that a provider has given to somebody else opens nothing of the person who had it before.
#[tokio::test]
async fn an_address_that_another_person_got_does_not_open_the_account() {
    let (t, world, _) = stage().await;
    let rec = [("email", json!("rec@acme.example")), ("sub", json!("8"))];
    let old = sign_in(&t, &world, &rec).await.is(200)["user_id"].clone();
    let hire = [("email", json!("rec@acme.example")), ("sub", json!("9"))];
    for _ in 0..2 {
        sign_in(&t, &world, &hire).await.refused(403, "other_identity");
    }
    assert_eq!(t.texts("SELECT subject FROM identities").await, ["8"]);
    let counted =
        format!("SELECT count FROM refusals WHERE slug = 'other_identity' AND subject = {old}").replace('"', "'");
    assert_eq!(t.number(&counted).await, 2);
    // The same person, renamed, is told once that links go to an address that may be somebody else's.
    let renamed = [("email", json!("rec.new@acme.example")), ("sub", json!("8"))];
    for _ in 0..2 {
        assert_eq!(sign_in(&t, &world, &renamed).await.is(200)["user_id"], old);
    }
    let told = "SELECT body FROM notifications WHERE title LIKE '% knows you by another address'";
    let told = t.texts(told).await;
    assert!(told.len() == 1 && told[0].contains("rec.new@acme.example"), "{told:?}");
    // Whatever address it has by now, the identity is another person's.
    for address in ["rec@private.example", "rec@acme.example"] {
        assert_eq!(
            sign_in(&t, &world, &[("email", json!(address)), ("sub", json!("8"))]).await.is(200)["user_id"],
            old
        );
        sign_in(&t, &world, &hire).await.refused(403, "other_identity");
    }
    // With an address of its own the account leaves the old one to the new person.
    t.execute("UPDATE users SET email = 'rec.new@acme.example', email_key = 'rec.new@acme.example' WHERE email = 'rec@acme.example'")
        .await
        .unwrap();
    assert_ne!(sign_in(&t, &world, &hire).await.is(200)["user_id"], old);
    // An account whose sign-ins were unlinked, as after a move to another client at the provider, is found by its address again.
    t.execute("DELETE FROM identities WHERE subject = '9'").await.unwrap();
    let moved = [("email", json!("rec@acme.example")), ("sub", json!("pairwise-9"))];
    sign_in(&t, &world, &moved).await.is(200);
    assert_eq!(t.number("SELECT count(*) FROM users WHERE email LIKE 'rec%'").await, 2);
}

/// R101: OpenID Connect Core 1.0, section 5.3. Authelia, Okta and others say the address at their UserInfo endpoint alone.
#[tokio::test]
async fn an_address_that_the_id_token_leaves_out_is_asked_for() {
    let (t, world, ada) = stage().await;
    let thin = [("email", Json::Null), ("email_verified", Json::Null), ("name", Json::Null)];
    sign_in(&t, &world, &thin).await.refused(403, "no_account");
    // What is known of a provider lasts an hour.
    let mut said = metadata(ACME);
    said["userinfo_endpoint"] = json!(format!("{ACME}/me"));
    world.says(ACME, &said);
    t.wait(3_600);
    let me = format!("GET {ACME}/me");
    let right = json!({ "sub": "7", "email": "max@acme.example", "email_verified": true, "name": "Max" });
    let with = |name: &str, value: Json| changed(right.clone(), &[(name, value)]).to_string();
    for (status, body) in [
        (200, with("sub", json!("8"))),
        (200, with("sub", Json::Null)),
        (200, with("email_verified", json!(false))),
        (200, with("email_verified", Json::Null)),
        (200, with("email", json!("max@foreign.example"))),
    ] {
        world.answers(&me, status, &body);
        sign_in(&t, &world, &thin).await.refused(403, "no_account");
    }
    for (status, body) in [
        (200, "<html>".to_owned()),
        (200, " ".repeat(300_000)),
        (302, right.to_string()),
        (401, r#"{"error": "invalid_token"}"#.to_owned()),
        (500, String::new()),
    ] {
        world.answers(&me, status, &body);
        sign_in(&t, &world, &thin).await.refused(503, "provider_unavailable");
    }
    world.is_silent(&me);
    sign_in(&t, &world, &thin).await.refused(503, "provider_unavailable");
    // What is said of one address is nothing about the one in the ID token.
    world.answers(&me, 200, &with("email", json!("eve@acme.example")));
    sign_in(&t, &world, &[("email_verified", Json::Null)]).await.refused(403, "no_account");
    assert_eq!((t.number(IDENTITIES).await, t.number("SELECT count(*) FROM users").await), (0, 1));

    world.answers(&me, 200, &right.to_string());
    // An access token of a kind that is not known is sent nowhere.
    let begun = begin(&t, "acme", "/").await;
    let token = Key::new("acme-1").sign(&changed(begun.claims(&t), &thin));
    let tokens = json!({ "access_token": "a", "token_type": "DPoP", "id_token": token });
    world.answers(&format!("POST {ACME}/token"), 200, &tokens.to_string());
    stub::sent();
    finish(&t, "acme", &begun.back()).await.refused(403, "no_account");
    let asked = || stub::sent().iter().map(|request| request.uri().path().to_owned()).collect::<Vec<_>>();
    assert_eq!(asked(), ["/token"]);
    // An ID token that has the address is enough, also if the provider does not vouch for it.
    sign_in(&t, &world, &[("email_verified", json!(false))]).await.refused(403, "no_account");
    assert_eq!(asked(), ["/token"]);

    sign_in(&t, &world, &thin).await.is(200);
    let sent = stub::sent();
    assert_eq!((sent[1].uri().path(), &sent[1].headers()["authorization"]), ("/me", &"Bearer a".parse().unwrap()));
    assert_eq!(t.texts("SELECT email || ' ' || name FROM users WHERE role = 'member'").await, ["max@acme.example Max"]);
    // Who is known needs no address, nor does who links another identity.
    world.is_silent(&me);
    sign_in(&t, &world, &thin).await.is(200);
    assert_eq!(asked(), ["/token"]);
    t.execute(&format!("UPDATE credentials SET proved_at = {}", t.now().millis())).await.unwrap();
    let begun = t.as_(&ada, "POST", "/auth/oidc/acme/link", json!({})).await.is(200);
    let begun = Begun::read("acme", &begun);
    let claims = changed(changed(begun.claims(&t), &thin), &[("sub", json!("8"))]);
    world.trades(ACME, &Key::new("acme-1").sign(&claims));
    finish(&t, "acme", &begun.back()).await.is(200);
    assert_eq!(asked(), ["/token", "/me"]);
}

/// R714: the name of a new account is asked for where the ID token lacks it, and no sign-in fails for want of it.
#[tokio::test]
async fn the_name_of_a_new_account_is_asked_for() {
    let (t, world, _) = stage().await;
    let mut said = metadata(ACME);
    said["userinfo_endpoint"] = json!(format!("{ACME}/me"));
    world.says(ACME, &said);
    let me = format!("GET {ACME}/me");
    let asks = || stub::sent().iter().filter(|request| request.uri().path() == "/me").count();
    let of = |number: &str| {
        [("name", Json::Null), ("sub", json!(number)), ("email", json!(format!("p{number}@acme.example")))]
    };
    for (number, status, body, stored) in [
        // What it says of the address counts for nothing here.
        (
            "1",
            200,
            json!({ "sub": "1", "email": "p1@acme.example", "given_name": "Max", "family_name": "Beck" }),
            "Max Beck",
        ),
        ("2", 200, json!({ "sub": "1", "name": "Eve" }), "p2"),
        ("3", 500, Json::Null, "p3"),
    ] {
        world.answers(&me, status, &body.to_string());
        sign_in(&t, &world, &of(number)).await.is(200);
        let name = format!("SELECT name FROM users WHERE email = 'p{number}@acme.example'");
        assert_eq!((t.texts(&name).await, asks()), (vec![stored.to_owned()], 1));
        // Once there is an account nothing is asked.
        sign_in(&t, &world, &of(number)).await.is(200);
        assert_eq!(asks(), 0);
    }
    world.is_silent(&me);
    sign_in(&t, &world, &of("4")).await.is(200);
    let full =
        [("name", Json::Null), ("given_name", json!("Ida")), ("sub", json!("5")), ("email", json!("p5@acme.example"))];
    stub::sent();
    sign_in(&t, &world, &full).await.is(200);
    assert_eq!(asks(), 0);
    assert_eq!(t.texts("SELECT name FROM users WHERE email = 'p5@acme.example'").await, ["Ida"]);
}

/// R101: an account that an admin added for a person opens to them, and to no other link from then on; one that somebody has used does not.
#[tokio::test]
async fn an_account_that_was_added_for_a_person_opens_to_them() {
    let (t, world, ada) = stage().await;
    let eve = t.user(&ada.tenant, "max@acme.example", Role::Curator).await.user;
    let execute = async |sql: &str| t.execute(&sql.replace("EVE", eve.as_str())).await.unwrap();
    execute("UPDATE credentials SET revoked_at = 1 WHERE user_id = 'EVE'").await;
    let refused = |times: i64| {
        format!(
            "SELECT count(*) FROM refusals WHERE slug = 'address_not_verified' AND subject = '{eve}' AND count = {times}"
        )
    };
    sign_in(&t, &world, &[]).await.refused(403, "address_not_verified");
    execute("DELETE FROM credentials WHERE user_id = 'EVE'").await;
    for (number, (used, unused)) in [
        ("UPDATE users SET password_hash = 'x' WHERE id = 'EVE'", "UPDATE users SET password_hash = NULL WHERE id = 'EVE'"),
        ("UPDATE users SET last_login_at = 1 WHERE id = 'EVE'", "UPDATE users SET last_login_at = NULL WHERE id = 'EVE'"),
        (
            "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at) VALUES ('idn_1', 'EVE', 'i', 's', 'p', 1)",
            "DELETE FROM identities",
        ),
        (
            "INSERT INTO credentials (digest, id, kind, prefix, tenant_id, user_id, scope, created_at)
             SELECT randomblob(32), 'tok_1', 'pat', 'acr_pat', tenant_id, id, '*', 1 FROM users WHERE id = 'EVE'",
            "DELETE FROM credentials WHERE user_id = 'EVE'",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        execute(used).await;
        sign_in(&t, &world, &[]).await.refused(403, "address_not_verified");
        assert_eq!(t.number(&refused(i64::try_from(number).unwrap() + 2)).await, 1, "{used}");
        execute(unused).await;
    }
    for kind in ["invite", "reset"] {
        execute(&format!(
            "INSERT INTO codes (digest, kind, tenant_id, user_id, data, created_at, expires_at)
             SELECT randomblob(32), '{kind}', tenant_id, id, '{{}}', 0, 9000000000000 FROM users"
        ))
        .await;
    }
    execute(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         SELECT 'out_' || id, tenant_id, id, 'invite', email, '{}', 0, 0 FROM users",
    )
    .await;
    // Nobody who is not vouched for.
    sign_in(&t, &world, &[("email_verified", json!(false))]).await.refused(403, "no_account");
    execute("UPDATE users SET deactivated_at = 1 WHERE id = 'EVE'").await;
    sign_in(&t, &world, &[]).await.refused(401, "account_deactivated");
    execute("UPDATE users SET deactivated_at = NULL WHERE id = 'EVE'").await;
    execute(
        "INSERT INTO codes (digest, kind, tenant_id, user_id, data, created_at, expires_at)
         SELECT randomblob(32), 'invite', tenant_id, id, '{}', 0, 9000000000000 FROM users WHERE id = 'EVE'",
    )
    .await;

    let signed_in = sign_in(&t, &world, &[]).await.is(200);
    assert_eq!((&signed_in["user_id"], &signed_in["role"]), (&json!(eve), &json!("curator")));
    assert_eq!(t.texts("SELECT id FROM users WHERE email_verified_at IS NOT NULL").await, [eve.to_string()]);
    assert_eq!(t.texts("SELECT DISTINCT user_id FROM codes").await, [ada.user.to_string()]);
    assert_eq!(t.texts("SELECT user_id FROM outbox").await, [ada.user.to_string()]);
    let audit = "SELECT action FROM audit ORDER BY seq";
    assert_eq!(t.texts(audit).await, ["identity.link", "session.start"]);
    assert_eq!(sign_in(&t, &world, &[]).await.is(200)["user_id"], eve.as_str());
}

/// R95: a link is mailed to the person of the account, whichever way it came about; not the first one of a new account.
#[tokio::test]
async fn a_link_is_mailed_to_its_person() {
    let mut settings = settings();
    settings.mail_provider = Some(Provider::Resend);
    let t = TestApp::with(crate::router(), settings);
    let (tenant, world) = (t.tenant("main").await, World::new());
    let ada = t.user(&tenant, "ada@acme.example", Role::Admin).await;
    let sql = "SELECT recipient || ' ' || kind || ' ' || (data ->> 'provider') || ' ' || (data ->> 'email') FROM outbox ORDER BY id";
    let mails = async || t.texts(sql).await;
    sign_in(&t, &world, &[]).await.is(200);
    sign_in(&t, &world, &[]).await.is(200);
    assert!(mails().await.is_empty(), "the account is as new as its identity");
    // By a session, twice.
    for _ in 0..2 {
        let begun = t.as_(&ada, "POST", "/auth/oidc/acme/link", json!({})).await.is(200);
        let begun = Begun::read("acme", &begun);
        let claims = changed(begun.claims(&t), &[("sub", json!("8")), ("email", json!("ada@home.example"))]);
        world.trades(ACME, &Key::new("acme-1").sign(&claims));
        finish(&t, "acme", &begun.back()).await.is(200);
    }
    let by_session = "ada@acme.example identity_linked Acme SSO ada@home.example";
    assert_eq!(mails().await, [by_session]);
    // By an address that is proved on both sides, once the account has no other identity.
    t.execute("UPDATE users SET email_verified_at = 1").await.unwrap();
    t.execute("DELETE FROM identities WHERE subject = '8'").await.unwrap();
    t.wait(1);
    sign_in(&t, &world, &[("email", json!("ada@acme.example")), ("sub", json!("9"))]).await.is(200);
    assert_eq!(mails().await, [by_session, "ada@acme.example identity_linked Acme SSO ada@acme.example"]);
    // R702: so is the end of one.
    t.execute("UPDATE users SET password_hash = 'x'").await.unwrap();
    let listed = t.as_(&ada, "GET", "/auth/identities", Json::Null).await.is(200);
    let path = format!("/auth/identities/{}", listed["items"][0]["id"].as_str().unwrap());
    assert_eq!(t.as_(&ada, "DELETE", &path, Json::Null).await.status, 204);
    let unlinked = "SELECT recipient || ' ' || (data ->> 'provider') FROM outbox WHERE kind = 'identity_unlinked'";
    assert_eq!(t.texts(unlinked).await, ["ada@acme.example Acme SSO"]);
}

/// Every refusal of an account that is there is in its person's trail.
#[tokio::test]
async fn a_way_that_the_tenant_has_switched_off_is_counted() {
    let (t, world, ada) = stage().await;
    t.execute("UPDATE users SET email_verified_at = 1").await.unwrap();
    t.execute("UPDATE tenants SET ways = 'password'").await.unwrap();
    sign_in(&t, &world, &[("email", json!("ada@acme.example"))]).await.refused(403, "way_disabled");
    assert_eq!((t.number(IDENTITIES).await, t.number(SESSIONS).await), (0, 1), "ada's own alone");
    let counted = format!("SELECT count FROM refusals WHERE slug = 'way_disabled' AND subject = '{}'", ada.user);
    assert_eq!(t.number(&counted).await, 1);
}

/// R712: where the tenant lets nobody in through a provider nothing is linked, neither when that is begun nor when it ends.
#[tokio::test]
async fn nothing_is_linked_where_nobody_signs_in_so() {
    let (t, world, ada) = stage().await;
    let path = "/auth/oidc/acme/link";
    let begun = Begun::read("acme", &t.as_(&ada, "POST", path, json!({})).await.is(200));
    world.trades(ACME, &Key::new("acme-1").sign(&begun.claims(&t)));
    t.execute("UPDATE tenants SET ways = 'password'").await.unwrap();
    t.as_(&ada, "POST", path, json!({})).await.refused(403, "way_disabled");
    finish(&t, "acme", &begun.back()).await.refused(403, "way_disabled");
    assert_eq!(t.number(IDENTITIES).await, 0);
}

/// R19: a deactivated account is refused, however it is found; activated, it is let in again.
#[tokio::test]
async fn a_deactivated_account_is_refused() {
    let (t, world, ada) = stage().await;
    sign_in(&t, &world, &[]).await.is(200);
    t.execute("UPDATE users SET email_verified_at = 1, deactivated_at = 1").await.unwrap();
    sign_in(&t, &world, &[]).await.refused(401, "account_deactivated");
    let by_address = [("email", json!("ada@acme.example")), ("sub", json!("8"))];
    sign_in(&t, &world, &by_address).await.refused(401, "account_deactivated");
    assert_eq!(t.number(IDENTITIES).await, 1);
    let counted = format!("SELECT count FROM refusals WHERE slug = 'account_deactivated' AND subject = '{}'", ada.user);
    assert_eq!(t.number(&counted).await, 1);
    t.execute("UPDATE users SET deactivated_at = NULL").await.unwrap();
    sign_in(&t, &world, &by_address).await.is(200);
}

/// R665: what is not seen is left out, and a joiner that a script or an emoji needs is kept.
#[tokio::test]
async fn a_name_that_breaks_the_rules_for_names_is_mended() {
    let (t, world, _) = stage().await;
    let long = "n".repeat(80);
    for (number, (name, stored)) in [
        (json!("Max\u{202e}imal\n"), "Maximal"),
        (json!(long), &long[..64]),
        (json!(" "), "p2"),
        (json!({ "a": 1 }), "p3"),
        (json!("<b>Max</b>"), "<b>Max</b>"),
        (json!("علی\u{200c}رضا\u{200b}"), "علی\u{200c}رضا"),
    ]
    .into_iter()
    .enumerate()
    {
        let email = format!("p{number}@acme.example");
        sign_in(&t, &world, &[("name", name), ("email", json!(email)), ("sub", json!(email))]).await.is(200);
        assert_eq!(t.texts(&format!("SELECT name FROM users WHERE email = '{email}'")).await, [stored]);
    }
}

/// R103: a provider that fails is an outage that says so, and never a 500.
#[tokio::test]
async fn an_outage_of_the_provider_is_told() {
    let (t, world, _) = stage().await;
    let start = "/auth/oidc/acme/start";
    let description = format!("GET {ACME}/.well-known/openid-configuration");
    let with = |name: &str, value: &str| {
        let mut said = metadata(ACME);
        said[name] = json!(value);
        said.to_string()
    };
    world.is_silent(&description);
    t.nobody("POST", start, json!({})).await.refused(503, "provider_unavailable");
    for (status, body) in [
        (500, String::new()),
        (302, String::new()),
        (404, "{}".to_owned()),
        (200, "<html>".to_owned()),
        (200, "[]".to_owned()),
        (200, " ".repeat(300_000)),
        (200, "{".repeat(200_000)),
        (200, with("issuer", OTHER)),
        (200, with("issuer", &format!("{ACME}/"))),
        (200, with("authorization_endpoint", "javascript:alert(1)")),
        (200, with("authorization_endpoint", "http://sso.acme.example/authorize")),
        (200, with("token_endpoint", "https://user@evil.example/")),
        (200, with("jwks_uri", "")),
    ] {
        world.answers(&description, status, &body);
        let refused = t.nobody("POST", start, json!({})).await;
        assert_eq!(refused.header("retry-after"), "10");
        refused.refused(503, "provider_unavailable");
    }
    world.says(ACME, &metadata(ACME));
    for asked in [format!("POST {ACME}/token"), format!("GET {ACME}/keys")] {
        for (status, body) in
            [(500, "{}"), (302, "{}"), (200, "<html>"), (401, r#"{"error": "invalid_client"}"#), (200, "")]
        {
            let begun = begin(&t, "acme", "/").await;
            world.trades(ACME, &Key::new("acme-1").sign(&begun.claims(&t)));
            world.answers(&asked, status, body);
            finish(&t, "acme", &begun.back()).await.refused(503, "provider_unavailable");
            world.is_silent(&asked);
            let begun = begin(&t, "acme", "/").await;
            finish(&t, "acme", &begun.back()).await.refused(503, "provider_unavailable");
        }
        world.has_keys(ACME, &[Key::new("acme-1").public()]);
    }
    let begun = begin(&t, "acme", "/").await;
    world.answers(&format!("POST {ACME}/token"), 400, r#"{"error": "invalid_grant"}"#);
    finish(&t, "acme", &begun.back()).await.refused(400, "sign_in_expired");
    for (word, status, slug) in [
        ("temporarily_unavailable", 503, "provider_unavailable"),
        ("access_denied", 403, "provider_refused"),
        ("<script>", 403, "provider_refused"),
    ] {
        let begun = begin(&t, "acme", "/").await;
        let back = json!({ "flow": begun.flow, "state": begun.state, "error": word });
        let refused = finish(&t, "acme", &back).await;
        assert!(!refused.text.contains("<script>"));
        refused.refused(status, slug);
    }
    // R713: what waiting does not mend is said so, and the word is in the log.
    for word in ["invalid_request", "invalid_scope", "unauthorized_client", "unsupported_response_type"] {
        let begun = begin(&t, "acme", "/").await;
        let back = json!({ "flow": begun.flow, "state": begun.state, "error": word });
        let refused = finish(&t, "acme", &back).await;
        assert_ne!(refused.header("retry-after"), "10", "{word}");
        let refused = refused.refused(503, "provider_unavailable");
        assert!(refused["fix"].as_str().unwrap().contains("has to set the provider up"), "{refused}");
        assert!(super::refused(word).inner().is_some_and(|cause| cause.ends_with(word)), "{word}");
    }
    assert!(!super::refused("<script>").inner().unwrap().contains("<script>"));
    let begun = begin(&t, "acme", "/").await;
    world.answers(&format!("POST {ACME}/token"), 401, r#"{"error": "invalid_client"}"#);
    let refused = finish(&t, "acme", &begun.back()).await.refused(503, "provider_unavailable");
    assert!(refused["fix"].as_str().unwrap().contains("has to set the provider up"), "{refused}");
    t.nobody("POST", "/auth/oidc/nobody/start", json!({})).await.refused(404, "provider_not_found");
    finish(&t, "nobody", &json!({ "flow": "", "state": "" })).await.refused(404, "provider_not_found");
    finish(&t, "acme", &json!({})).await.refused(422, "validation_error");
    assert_eq!(t.number(IDENTITIES).await, 0);
}

/// R103: what a provider says is asked for again after an hour, and for a key that is not known, but not at every token's will.
#[tokio::test]
async fn keys_are_kept_and_fetched_again_when_they_were_rotated() {
    let (t, world, _) = stage().await;
    sign_in(&t, &world, &[]).await.is(200);
    stub::sent();
    let asked = || stub::sent().iter().map(|request| request.uri().path().to_owned()).collect::<Vec<_>>();
    sign_in(&t, &world, &[]).await.is(200);
    assert_eq!(asked(), ["/token"]);
    // Rotated. For a minute nothing is asked, whatever tokens say.
    let rotated = async || {
        let begun = begin(&t, "acme", "/").await;
        world.trades(ACME, &Key::new("acme-2").sign(&begun.claims(&t)));
        finish(&t, "acme", &begun.back()).await
    };
    rotated().await.refused(403, "identity_invalid");
    assert_eq!(asked(), ["/token"]);
    t.wait(61);
    rotated().await.refused(403, "identity_invalid");
    rotated().await.refused(403, "identity_invalid");
    assert_eq!(asked(), ["/token", "/keys", "/token"], "once a minute");
    world.has_keys(ACME, &[Key::new("acme-1").public(), Key::new("acme-2").public()]);
    t.wait(61);
    rotated().await.is(200);
    assert_eq!(asked(), ["/token", "/keys"]);
    // After an hour everything is asked for again; a key that is gone is gone.
    world.has_keys(ACME, &[Key::new("acme-2").public()]);
    sign_in(&t, &world, &[]).await.is(200);
    t.wait(3_600);
    sign_in(&t, &world, &[]).await.refused(403, "identity_invalid");
    assert_eq!(asked(), ["/token", "/.well-known/openid-configuration", "/token", "/keys"]);
}

#[tokio::test]
async fn one_network_cannot_make_the_server_ask_without_end() {
    let (t, world, _) = stage().await;
    let begun = begin(&t, "acme", "/").await;
    t.execute(&format!("UPDATE attempts SET count = {}", call::TRIES)).await.unwrap();
    stub::sent();
    finish(&t, "acme", &begun.back()).await.refused(429, "too_many_sign_ins");
    // What a provider said is known: nobody has to be asked for it.
    begin(&t, "acme", "/").await;
    world.is_silent(&format!("GET {OTHER}/.well-known/openid-configuration"));
    t.nobody("POST", "/auth/oidc/other/start", json!({})).await.refused(429, "too_many_sign_ins");
    assert_eq!(stub::sent().len(), 0);
    t.wait(call::WINDOW);
    t.nobody("POST", "/auth/oidc/other/start", json!({})).await.refused(503, "provider_unavailable");
}

/// R100, R101: GitHub's word for a person is a number, and only the primary address that it verified counts.
#[tokio::test]
async fn github_is_asked_by_its_api() {
    let (t, world, _) = stage().await;
    let hub = |email: Json| {
        world.answers(
            "POST https://github.com/login/oauth/access_token",
            200,
            r#"{"access_token": "gho_1", "token_type": "bearer", "scope": "user:email"}"#,
        );
        world.answers("GET https://api.github.com/user", 200, r#"{"id": 583231, "login": "octocat", "name": null}"#);
        world.answers("GET https://api.github.com/user/emails", 200, &email.to_string());
    };
    let email = |address: &str, primary: bool, verified: bool| json!({ "email": address, "primary": primary, "verified": verified });
    for emails in [
        json!([email("max@acme.example", true, false)]),
        json!([email("max@acme.example", false, true)]),
        json!([email("max@acme.example", false, true), email("max@foreign.example", true, true)]),
        json!([]),
        json!({ "message": "no" }),
    ] {
        hub(emails);
        let begun = begin(&t, "github", "/").await;
        finish(&t, "github", &begun.back()).await.refused(403, "no_account");
    }
    hub(json!([email("x@foreign.example", false, true), email("max@acme.example", true, true)]));
    let begun = begin(&t, "github", "/").await;
    assert!(
        begun.url.starts_with("https://github.com/login/oauth/authorize?") && begun.url.contains("code_challenge=")
    );
    assert!(begun.nonce.is_empty() && begun.url.contains("scope=read%3Auser+user%3Aemail"));
    stub::sent();
    finish(&t, "github", &begun.back()).await.is(200);
    let sent = stub::sent();
    assert!(
        sent[0].body().contains("client_secret=s3cret%2B%2F%3D") && sent[0].headers().get("authorization").is_none()
    );
    assert_eq!(sent[1].headers()["authorization"], "Bearer gho_1");
    assert_eq!(t.texts("SELECT issuer || ' ' || subject FROM identities").await, ["https://github.com 583231"]);
    assert_eq!(t.texts("SELECT name FROM users WHERE email = 'max@acme.example'").await, ["octocat"]);
    world.answers("POST https://github.com/login/oauth/access_token", 200, r#"{"error": "bad_verification_code"}"#);
    let begun = begin(&t, "github", "/").await;
    finish(&t, "github", &begun.back()).await.refused(400, "sign_in_expired");
    hub(json!([]));
    world.answers("GET https://api.github.com/user", 200, r#"{"login": "octocat"}"#);
    let begun = begin(&t, "github", "/").await;
    finish(&t, "github", &begun.back()).await.refused(403, "identity_invalid");
}

/// R100: a person links what they want, by a session that is still there at the end, and unlinks it; the last way in stays.
#[tokio::test]
async fn a_person_links_and_unlinks_an_identity() {
    let (t, world, ada) = stage().await;
    let link = async |claims: &[(&str, Json)]| {
        let begun = t.as_(&ada, "POST", "/auth/oidc/acme/link", json!({ "next": "/tokens" })).await.is(200);
        let begun = Begun::read("acme", &begun);
        world.trades(ACME, &Key::new("acme-1").sign(&changed(begun.claims(&t), claims)));
        begun
    };
    // Whatever the address is: the person is at both sides.
    let foreign = [("email", json!("ada@home.example")), ("email_verified", json!(false))];
    let begun = link(&foreign).await;
    let linked = finish(&t, "acme", &begun.back()).await.is(200);
    assert_eq!(linked, json!({ "linked": { "provider": "acme", "email": "ada@home.example" }, "next": "/tokens" }));
    assert_eq!(sign_in(&t, &world, &foreign).await.is(200)["user_id"], ada.user.as_str());
    finish(&t, "acme", &link(&foreign).await.back()).await.is(200);
    let listed = t.as_(&ada, "GET", "/auth/identities", Json::Null).await.is(200);
    let (items, id) = (listed["items"].as_array().unwrap(), listed["items"][0]["id"].as_str().unwrap());
    assert_eq!(
        (items.len(), &items[0]["provider"], &items[0]["email"]),
        (1, &json!("acme"), &json!("ada@home.example"))
    );
    assert!(items[0]["last_used_at"].is_string() && !listed.to_string().contains("subject"));

    // Another person's.
    let max = sign_in(&t, &world, &[("sub", json!("8"))]).await.is(200)["user_id"].as_str().unwrap().to_owned();
    let taken = link(&[("sub", json!("8"))]).await;
    finish(&t, "acme", &taken.back()).await.refused(409, "identity_taken");
    assert_eq!(t.texts("SELECT user_id FROM identities WHERE subject = '8'").await, [max]);

    // A session that is gone at the end links nothing.
    let begun = link(&[("sub", json!("9"))]).await;
    t.execute(&format!("UPDATE credentials SET revoked_at = 1 WHERE id = '{}'", ada.credential)).await.unwrap();
    finish(&t, "acme", &begun.back()).await.refused(400, "sign_in_expired");
    assert_eq!(t.number("SELECT count(*) FROM identities WHERE subject = '9'").await, 0);

    let ada = t.user(&ada.tenant, "eve@acme.example", Role::Member).await;
    t.execute(&format!("UPDATE identities SET user_id = '{}' WHERE id = '{id}'", ada.user)).await.unwrap();
    let path = format!("/auth/identities/{id}");
    t.as_(&ada, "DELETE", &path, Json::Null).await.refused(409, "last_identity");
    t.execute(&format!("UPDATE users SET password_hash = 'x' WHERE id = '{}'", ada.user)).await.unwrap();
    // R642: a password is no way in where the tenant lets nobody in by passwords.
    t.execute("UPDATE tenants SET ways = 'link oidc'").await.unwrap();
    t.as_(&ada, "DELETE", &path, Json::Null).await.refused(409, "last_identity");
    // Nor is another identity one for the last admin, as long as nobody has signed in with it.
    t.execute("UPDATE users SET role = 'member'").await.unwrap();
    t.execute(&format!("UPDATE users SET role = 'admin' WHERE id = '{}'", ada.user)).await.unwrap();
    let more = "INSERT INTO identities (id, user_id, issuer, subject, provider, created_at) VALUES ('idn_2', '{}', 'https://i', 's', 'acme', 1)";
    t.execute(&more.replace("{}", ada.user.as_str())).await.unwrap();
    t.as_(&ada, "DELETE", &path, Json::Null).await.refused(409, "last_admin");
    t.execute("DELETE FROM identities WHERE id = 'idn_2'").await.unwrap();
    t.execute("UPDATE tenants SET ways = 'password oidc'").await.unwrap();
    // R705: what the identity may have opened ends with it: every other session, and no token.
    let other = t.credential(Kind::Session, &ada.tenant, &ada.user, None, "*", None).await;
    let pat = t.credential(Kind::Pat, &ada.tenant, &ada.user, None, "*", None).await;
    let unlinked = t.as_(&ada, "DELETE", &path, Json::Null).await;
    assert_eq!(unlinked.status, 204);
    assert!(unlinked.header("x-accredit-closure").starts_with("cls_"));
    let live = "SELECT id FROM credentials WHERE revoked_at IS NULL AND user_id = ";
    let mut kept = t.texts(&format!("{live} '{}'", ada.user)).await;
    kept.sort();
    let mut expected = [ada.credential.to_string(), pat.credential.to_string()];
    expected.sort();
    assert_eq!(kept, expected, "not {}", other.credential);
    t.as_(&ada, "DELETE", &path, Json::Null).await.refused(404, "identity_not_found");
    let audit = "SELECT count(*) FROM audit WHERE action = 'identity.unlink' AND outcome = 'done'";
    assert_eq!(t.number(audit).await, 1);
}

/// R29: only this site's pages and programs begin a link, and only a session may.
#[tokio::test]
async fn a_page_of_another_site_cannot_begin_a_link() {
    let (t, _, ada) = stage().await;
    let cookie = format!("__Host-accredit={}", ada.token);
    // Whether the session's proof is fresh or old: that is not looked at before.
    for seconds in [0, 16 * 60] {
        t.wait(seconds);
        for headers in [
            vec![("cookie", cookie.as_str())],
            vec![("cookie", cookie.as_str()), ("origin", "https://evil.example")],
            vec![("cookie", cookie.as_str()), ("origin", "https://accredit.example")],
        ] {
            t.call("POST", "/auth/oidc/acme/link", &headers, json!({})).await.refused(403, "csrf_failed");
        }
    }
    t.as_(&ada, "POST", "/auth/oidc/acme/link", json!({})).await.refused(403, "reauthentication_required");
    t.nobody("POST", "/auth/oidc/acme/link", json!({})).await.refused(401, "missing_credential");
}

#[tokio::test]
async fn pages_learn_which_providers_there_are_and_no_secret() {
    let (t, _, _) = stage().await;
    let listed = t.nobody("GET", "/auth/oidc", Json::Null).await.is(200);
    assert_eq!(
        listed,
        json!({ "items": [
            { "name": "acme", "label": "Acme SSO", "preset": "generic" },
            { "name": "other", "label": "single sign-on", "preset": "generic" },
            { "name": "github", "label": "GitHub", "preset": "github" },
        ] })
    );
    let none = TestApp::new(crate::router());
    assert_eq!(none.nobody("GET", "/auth/oidc", Json::Null).await.is(200), json!({ "items": [] }));
}

/// R87: in a full database an account that is there is still let in, and none is made.
#[tokio::test]
async fn a_full_database_lets_known_people_in_and_makes_no_accounts() {
    let mut settings = settings();
    settings.database_max_mib = Some(1);
    let t = TestApp::with(crate::router(), settings);
    t.tenant("main").await;
    let world = World::new();
    sign_in(&t, &world, &[]).await.is(200);
    // Written beside the app, beyond the bound.
    let file = rusqlite::Connection::open(t.path()).unwrap();
    file.execute_batch("CREATE TABLE ballast (x BLOB); INSERT INTO ballast VALUES (zeroblob(2000000));").unwrap();
    sign_in(&t, &world, &[]).await.is(200);
    // Some still find room on pages that are in use.
    let mut made = 1;
    for number in 0..200 {
        let new = [("sub", json!(number.to_string())), ("email", json!(format!("p{number}@acme.example")))];
        let answer = sign_in(&t, &world, &[new.as_slice(), &[("name", json!("n".repeat(64)))]].concat()).await;
        if answer.status.as_u16() == 503 {
            answer.refused(503, "storage_full");
            break;
        }
        made += 1;
    }
    assert!(made < 200, "the bound was never reached");
    assert_eq!((t.number("SELECT count(*) FROM users").await, t.number(IDENTITIES).await), (made, made));
    sign_in(&t, &world, &[]).await.is(200);
}

/// R710: where somebody else may come, or an identity is linked, a session at the provider leads nobody back unasked.
#[tokio::test]
async fn a_provider_asks_who_comes_where_it_may_be_somebody_else() {
    let (t, _, ada) = stage().await;
    let other = json!({ "next": "/", "other": true });
    for (provider, prompt) in [("acme", "prompt=login"), ("github", "prompt=select_account")] {
        let has_prompt = |begun: &Json| begun["url"].as_str().unwrap().split('&').any(|pair| pair == prompt);
        let start = format!("/auth/oidc/{provider}/start");
        assert!(has_prompt(&t.nobody("POST", &start, other.clone()).await.is(200)), "{provider}");
        let link = t.as_(&ada, "POST", &format!("/auth/oidc/{provider}/link"), json!({ "next": "/" })).await.is(200);
        assert!(has_prompt(&link), "{provider}");
        for ordinary in [json!({ "next": "/" }), json!({ "next": "/", "again": true, "other": false })] {
            let url = t.nobody("POST", &start, ordinary).await.is(200)["url"].to_string();
            assert!(!url.contains("prompt="), "{url}");
        }
    }
}

/// R265: a step up through a provider asks it to have the person sign in once more, and counts from when they did.
#[tokio::test]
async fn a_step_up_counts_from_the_sign_in_that_the_provider_names() {
    let (t, world, _) = stage().await;
    let max = sign_in(&t, &world, &[]).await.is(200)["user_id"].as_str().unwrap().to_owned();
    let again = async |changes: &[(&str, Json)]| {
        let body = json!({ "next": "/tokens", "again": true });
        let begun = Begun::read("acme", &t.nobody("POST", "/auth/oidc/acme/start", body).await.is(200));
        assert!(begun.url.contains("&max_age=0"), "{}", begun.url);
        world.trades(ACME, &Key::new("acme-1").sign(&changed(begun.claims(&t), changes)));
        finish(&t, "acme", &begun.back()).await
    };
    assert!(!begin(&t, "acme", "/").await.url.contains("max_age"));
    let now = t.now().millis() / 1000;
    // Of the one session that there is; it is taken away.
    let proved = async || {
        let at = t.number("SELECT proved_at FROM credentials WHERE kind = 'session' AND proved_at IS NOT NULL").await;
        t.execute("DELETE FROM credentials WHERE kind = 'session'").await.unwrap();
        at / 1000
    };
    proved().await;
    for at in [now, now - 899, now + 30] {
        again(&[("auth_time", json!(at))]).await.is(200);
        assert_eq!(proved().await, at.min(now), "{at}");
    }
    assert_eq!(again(&[("auth_time", json!(now - 900))]).await.refused(403, "not_proved_again")["next"], "/tokens");
    assert_eq!(t.number(SESSIONS).await, 0);

    // A provider that says no time serves those who have nothing else, and nobody who has a password or a second factor.
    again(&[]).await.is(200);
    assert_eq!(proved().await, now);
    t.execute(&format!("UPDATE users SET password_hash = 'x' WHERE id = '{max}'")).await.unwrap();
    again(&[]).await.refused(403, "not_proved_again");
    // A sign-in lets them in, and proves nothing by itself; nor does one at the provider that was long ago.
    sign_in(&t, &world, &[]).await.is(200);
    assert_eq!(proved().await, 0);
    sign_in(&t, &world, &[("auth_time", json!(now - 5_000))]).await.is(200);
    assert_eq!(proved().await, now - 5_000);
    sign_in(&t, &world, &[("auth_time", json!(now - 5))]).await.is(200);
    assert_eq!(proved().await, now - 5);
}

/// R265: where links are mailed, a link proves what the provider does not.
#[tokio::test]
async fn a_mailed_link_is_asked_for_where_the_provider_says_no_time() {
    let mut settings = settings();
    settings.mail_provider = Some(Provider::Resend);
    let t = TestApp::with(crate::router(), settings);
    let (_, world) = (t.tenant("main").await, World::new());
    sign_in(&t, &world, &[]).await.is(200);
    let proved = "SELECT max(proved_at) FROM credentials WHERE kind = 'session'";
    assert_eq!(t.number(proved).await, 0);
    t.execute("UPDATE tenants SET ways = 'oidc'").await.unwrap();
    sign_in(&t, &world, &[]).await.is(200);
    assert_eq!(t.number(proved).await, t.now().millis());
}
