use common::{id::UserId, role::Role, secret::OneTimeCode};
use serde_json::{Value::Null, json};
use service::{
    outbound::stub,
    testing::{Actor, TestApp, mailing},
};

use super::*;
use crate::with_neighbours;

async fn stage(public_url: &'static str) -> (TestApp, Actor) {
    let t = TestApp::with(with_neighbours(), mailing(public_url));
    let tenant = t.tenant("main").await;
    let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
    (t, ada)
}

async fn queue(t: &TestApp, user: &UserId, kind: Kind, data: Json) {
    t.execute(&format!(
        "INSERT INTO outbox (id, tenant_id, user_id, kind, recipient, data, due_at, created_at)
         SELECT 'out_' || hex(randomblob(8)), tenant_id, id, '{}', email, '{}', 0, 0 FROM users WHERE id = '{user}'",
        kind.as_str(),
        data.to_string().replace('\'', "''")
    ))
    .await
    .unwrap();
}

/// Has a person want the address that they have: their mails go there.
async fn want(t: &TestApp) {
    t.execute(
        "INSERT INTO codes (digest, kind, tenant_id, user_id, data, created_at, expires_at)
         SELECT randomblob(32), 'new_address', tenant_id, id, json_object('email', email), 0, 9000000000000 FROM users",
    )
    .await
    .unwrap();
}

/// Sends what is due; the subject, text and HTML of the one mail.
async fn sent(t: &TestApp) -> [String; 3] {
    t.nobody("POST", "/internal/tick", Null).await.is(204);
    let mut sent = stub::sent();
    assert_eq!(sent.len(), 1);
    let body: Json = serde_json::from_str(sent.remove(0).body()).unwrap();
    ["subject", "text", "html"].map(|name| body[name].as_str().unwrap().to_owned())
}

/// The code of a mail's link, which is the same in text and HTML.
fn code(mail: &[String; 3], before: &str) -> String {
    let [_, text, html] = mail;
    let code = |text: &str| {
        let at = text.find(before).unwrap_or_else(|| panic!("{before} is not in {text}")) + before.len();
        text[at..].chars().take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')).collect::<String>()
    };
    assert_eq!(code(text), code(html));
    code(text)
}

#[tokio::test]
async fn a_link_is_minted_when_it_is_mailed_and_stored_as_a_digest() {
    let (t, ada) = stage("https://accredit.example/acme").await;
    let data = json!({ "address": "192.0.2.7", "base": "https://other.example", "next": "/agents?q=a&b" });
    queue(&t, &ada.user, Kind::Link, data).await;
    t.wait(3_600);
    let mail = sent(&t).await;
    let code = code(&mail, "https://accredit.example/acme/auth/email/verify?code=");
    let [subject, text, html] = mail;
    assert_eq!(subject, "Your link to sign in to Accredit");
    assert_eq!(
        text,
        format!(
            "Somebody asked from the address 192.0.2.7 to be signed in to Accredit at accredit.example/acme, tenant main as ada@example.com.\n\n\
             Sign in:\nhttps://accredit.example/acme/auth/email/verify?code={code}&next=%2Fagents%3Fq%3Da%26b\n\n\
             The link works once, until 2026-01-02 04:19 UTC.\n\n\
             If this was not you, ignore this mail. Without the link nobody is signed in.\n\n\
             -- \nAccredit at accredit.example/acme, tenant main\nhttps://accredit.example/acme\n"
        )
    );
    assert!(html.contains("192.0.2.7") && html.contains("2026-01-02 04:19 UTC"), "{html}");
    let digest: String =
        OneTimeCode::parse(&code).unwrap().digest().bytes().iter().map(|b| format!("{b:02X}")).collect();
    assert_eq!(
        t.texts("SELECT hex(digest) || ' ' || kind || ' ' || user_id || ' ' || data FROM codes").await,
        [format!("{digest} link {} {{\"mailed\":true}}", ada.user)]
    );
}

/// Of a server without `public_url`, the loopback host that was asked is what links begin with.
#[tokio::test]
async fn each_link_leads_to_its_page() {
    let (t, ada) = stage("").await;
    want(&t).await;
    for (kind, page, ends, subject) in [
        (Kind::Link, "/auth/email/verify", "2026-01-02 03:19 UTC", "Your link to sign in to Accredit"),
        (Kind::Reset, "/reset", "2026-01-03 03:04 UTC", "Set a new password for Accredit"),
        (Kind::Invite, "/invite", "2026-01-09 03:04 UTC", "You are invited to Accredit"),
        (Kind::NewAddress, "/security/address", "2026-01-03 03:04 UTC", "Confirm your new address for Accredit"),
    ] {
        queue(&t, &ada.user, kind, json!({ "base": "http://127.0.0.1:3000", "name": "Ada", "by": "eve@example.com" }))
            .await;
        let mail = sent(&t).await;
        code(&mail, &format!("http://127.0.0.1:3000{page}?code="));
        assert_eq!(mail[0], subject);
        assert!(mail[1].contains(&format!("works once, until {ends}.")), "{}", mail[1]);
    }
    assert_eq!(t.number("SELECT count(DISTINCT kind) FROM codes").await, 4);
    queue(&t, &ada.user, Kind::Reset, json!({})).await;
    t.nobody("POST", "/internal/tick", Null).await.is(204);
    assert_eq!(
        t.texts("SELECT state || ' ' || last_error FROM outbox WHERE state <> 'sent'").await,
        ["dead without public_url a link leads nowhere"]
    );
}

/// In a tenant without passwords, an invitation leads to the page with the ways that there are, and has no code.
#[tokio::test]
async fn an_invitation_asks_for_no_password_where_none_lets_anybody_in() {
    let (t, ada) = stage("").await;
    let data =
        json!({ "base": "http://127.0.0.1:3000", "name": "Ada", "by": "eve@example.com", "address": "192.0.2.7" });
    t.execute("UPDATE tenants SET ways = 'link oidc'").await.unwrap();
    queue(&t, &ada.user, Kind::Invite, data.clone()).await;
    let [subject, text, html] = sent(&t).await;
    assert_eq!(subject, "You are invited to Accredit");
    assert!(
        text.contains(
            "Hello Ada, eve@example.com invites you to Accredit, tenant main. You sign in there as ada@example.com.\n"
        ),
        "{text}"
    );
    assert!(!text.contains("192.0.2.7"), "where an admin is is nobody's business: {text}");
    let by = "by a link that is mailed to you, or through a provider that the page names";
    let told = format!("Sign in:\nhttp://127.0.0.1:3000/login\n\nSign in there as ada@example.com, {by}.");
    assert!(text.contains(&told), "{text}");
    assert!(html.contains("href=\"http://127.0.0.1:3000/login\"") && !text.contains("password there"), "{html}");
    // Of another tenant than the usual one, the page has to know it.
    let northwind = t.tenant("northwind").await;
    let bob = t.user(&northwind, "bob@example.com", Role::Member).await;
    t.execute("UPDATE tenants SET ways = 'oidc'").await.unwrap();
    queue(&t, &bob.user, Kind::Invite, data).await;
    let [_, text, _] = sent(&t).await;
    assert!(text.contains("http://127.0.0.1:3000/login?tenant=northwind\n"), "{text}");
    assert!(text.contains("as bob@example.com, through a provider that the page names."), "{text}");
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
    // Without an address of the server there is no link.
    queue(&t, &ada.user, Kind::Invite, json!({})).await;
    t.nobody("POST", "/internal/tick", Null).await.is(204);
    assert_eq!(
        t.texts("SELECT state || ' ' || last_error FROM outbox WHERE state <> 'sent'").await,
        ["dead without public_url a link leads nowhere"]
    );
}

/// R95, R380: every kind that there is says what happened, from where, for whom and on which instance, and what to do if it was not the reader; as text and
/// as HTML, in which no text is markup and nothing is of another place.
#[tokio::test]
async fn every_mail_is_whole_in_text_and_in_html() {
    let hostile = "<img src=x onerror=alert(1)>\"'&";
    let (t, ada) = stage("https://accredit.example").await;
    want(&t).await;
    // A request that waits: of another one nobody is told.
    let scout = t.agent(&ada, "scout", "ui.notify").await;
    t.execute(&format!(
        "INSERT INTO access_requests (id, tenant_id, agent_id, scope, reason, hours, created_at)
         VALUES ('acc_1', '{}', '{}', 'agents.read', 'because', 3, 0)",
        ada.tenant,
        scout.agent.as_ref().unwrap()
    ))
    .await
    .unwrap();
    for kind in Kind::ALL {
        for by in [json!("eve@example.com"), Null] {
            let data = json!({
                "by": by, "address": "192.0.2.7", "name": hostile, "whose": hostile, "prefix": "acr_agt_0", "text": hostile,
                "was": "ada@example.com", "now": "viewer", "next": hostile, "provider": hostile, "email": hostile,
                "agent": "scout", "request": "acc_1", "action": hostile, "reason": hostile, "scope": ["agents.read"], "hours": 3,
                "device": hostile, "host": hostile, "resource": hostile, "new": "network", "at": "2026-01-02T03:04:05.000Z", "left": 3, "minutes": 5,
                "expires_at": "2026-01-09T03:04:05.000Z", "last_seen_at": "2026-01-02T03:04:05.000Z",
            });
            // Of some kinds one goes out in an hour.
            t.wait(3_600);
            queue(&t, &ada.user, kind, data).await;
            let [subject, text, html] = sent(&t).await;
            assert!(!subject.is_empty() && subject.chars().count() <= 60, "{subject}");
            assert!(
                text.ends_with("-- \nAccredit at accredit.example, tenant main\nhttps://accredit.example\n"),
                "{text}"
            );
            assert!(html.starts_with("<!doctype html>") && html.trim_end().ends_with("</html>"), "{html}");
            assert!(html.contains("Accredit at accredit.example, tenant main"), "{html}");
            assert!(!html.contains(hostile) && !html.contains("<img") && !html.contains("<script"), "{html}");
            // Nothing is fetched to show it: the only addresses are those of links to the instance.
            for other in ["src=\"", "url(", "<link", "@import", "background="] {
                assert!(!html.contains(other), "{other} in {html}");
            }
            for link in html.split("href=\"").skip(1) {
                assert!(link.starts_with("https://accredit.example"), "{link}");
            }
            if !matches!(kind, Kind::Leak | Kind::Test | Kind::AccessRequest | Kind::Expiring | Kind::Silent) {
                for part in [text.as_str(), html.as_str()] {
                    // From where, to the person that did it alone.
                    let is_own = by.is_null() && !matches!(kind, Kind::Invite | Kind::RoleRaised);
                    assert_eq!(part.contains("192.0.2.7"), is_own, "{kind:?}: {part}");
                    assert!(part.contains("ada@example.com"), "{kind:?}: {part}");
                    assert!(
                        part.contains("f this was not you") || part.contains("f not,") || part.contains("f you d"),
                        "{part}"
                    );
                    // Nobody does these for others.
                    let is_own = matches!(
                        kind,
                        Kind::AppLetIn
                            | Kind::FactorAdded
                            | Kind::IdentityLinked
                            | Kind::Link
                            | Kind::NewAddress
                            | Kind::NewSignIn
                            | Kind::RecoveryCodeUsed
                            | Kind::RecoveryCodesReplaced
                            | Kind::Reset
                            | Kind::TokenMade
                    );
                    let has_author = is_own || by.is_null() || part.contains("eve@example.com");
                    assert!(has_author, "{kind:?}: {part}");
                }
            }
            assert!(html.matches("display:inline-block").count() <= 1, "at most one button");
        }
    }
}

/// R92: no code is minted for an account that may not use it, or sent to an address that is not its own any more.
#[tokio::test]
async fn nothing_is_minted_for_an_account_that_changed() {
    for (sql, kind, state) in [
        ("UPDATE users SET deactivated_at = 1", Kind::Reset, "dead the account is not active"),
        ("UPDATE users SET deactivated_at = 1, deleted_at = 1", Kind::Link, "dead the account is not active"),
        ("UPDATE users SET email = 'new@example.com'", Kind::Link, "due the account has another address"),
        ("UPDATE users SET name = 'A'", Kind::NewAddress, "dead the person does not want this address any more"),
        ("UPDATE users SET password_hash = 'x'", Kind::Invite, "dead the account has a password already"),
    ] {
        let (t, ada) = stage("https://accredit.example").await;
        queue(&t, &ada.user, kind, json!({})).await;
        t.execute(sql).await.unwrap();
        t.nobody("POST", "/internal/tick", Null).await.is(204);
        assert!(stub::sent().is_empty());
        assert_eq!(t.texts("SELECT state || ' ' || last_error FROM outbox").await, [state]);
        assert_eq!(t.number("SELECT count(*) FROM codes").await, 0);
    }
}

/// A provider that knows a key refuses another text under it: a mail with a code has another one in each try.
#[tokio::test]
async fn each_try_of_a_mail_with_a_code_is_a_mail_of_its_own() {
    let (t, ada) = stage("https://accredit.example").await;
    queue(&t, &ada.user, Kind::Reset, json!({})).await;
    queue(&t, &ada.user, Kind::Test, json!({})).await;
    stub::will_answer(&[Ok((500, "")), Ok((500, ""))]);
    for _ in 0..2 {
        t.nobody("POST", "/internal/tick", Null).await.is(204);
        t.wait(60);
    }
    let sent = stub::sent();
    let keys = |subject: &str| {
        let of = sent.iter().filter(|sent| sent.body().contains(subject));
        of.map(|sent| sent.headers()["idempotency-key"].to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (reset, test) = (keys("Set a new password for"), keys("Mail from Accredit works"));
    assert!(reset[0].ends_with("-1") && reset[1].ends_with("-2") && reset.len() == 2, "{reset:?}");
    assert!(test[0] == test[1] && test.len() == 2, "{test:?}");
    assert_eq!(t.number("SELECT count(*) FROM codes").await, 2, "either may have arrived");
}

/// R24: a request for a mail becomes one where its address has an active account, and nothing where it has none.
#[tokio::test]
async fn requests_are_settled_by_the_accounts_that_they_name() {
    let (t, ada) = stage("https://accredit.example").await;
    t.user(&ada.tenant, "idle@example.com", Role::Member).await;
    t.execute("UPDATE users SET deactivated_at = 1 WHERE email_key = 'idle@example.com'").await.unwrap();
    let other = t.tenant("other").await;
    let eve = t.user(&other, "ada@example.com", Role::Member).await;
    let ask = async |kind: &str, tenant: &str, email: &str, age: i64| {
        t.execute(&format!(
            "INSERT INTO mail_requests (kind, tenant, email_key, data, address, request_id, created_at)
             VALUES ('{kind}', {tenant}, '{email}', '{{\"address\": \"192.0.2.7\"}}', '192.0.2.7', 'req_x', {})",
            t.now().plus_seconds(-age).millis()
        ))
        .await
        .unwrap();
    };
    ask("link", "NULL", "ada@example.com", 0).await;
    ask("reset", "'other'", "ada@example.com", 0).await;
    ask("reset", "'nowhere'", "ada@example.com", 0).await;
    ask("link", "'main'", "idle@example.com", 0).await;
    ask("link", "'main'", "nobody@example.com", 0).await;
    ask("link", "'main'", "ada@example.com", 3_600).await;
    // Ways that their tenant has switched off.
    let strict = t.tenant("strict").await;
    t.user(&strict, "kim@example.com", Role::Member).await;
    t.execute(&format!("UPDATE tenants SET ways = 'oidc' WHERE id = '{strict}'")).await.unwrap();
    ask("link", "'strict'", "kim@example.com", 0).await;
    ask("reset", "'strict'", "kim@example.com", 0).await;
    t.nobody("POST", "/internal/tick", Null).await.is(204);
    assert_eq!(stub::sent().len(), 2);
    assert_eq!(
        t.texts("SELECT kind || ' ' || user_id FROM outbox ORDER BY kind").await,
        [format!("link {}", ada.user), format!("reset {}", eve.user)]
    );
    assert_eq!(t.number("SELECT count(*) FROM mail_requests").await, 0);
    assert_eq!(
        t.texts("SELECT action || ' ' || object_id || ' ' || address || ' ' || request_id FROM audit WHERE user_id IS NULL ORDER BY action").await,
        [format!("session.link {} 192.0.2.7 req_x", ada.user), format!("user.forgot_password {} 192.0.2.7 req_x", eve.user)]
    );
}

/// The call that follows a change may come within a second of the last tick: the mail does not wait for the next one.
#[tokio::test]
async fn a_mail_that_is_queued_after_a_tick_is_sent_in_the_same_second() {
    let (t, ada) = stage("https://accredit.example").await;
    t.nobody("POST", "/internal/tick", Null).await.is(204);
    queue(&t, &ada.user, Kind::PasswordChanged, json!({})).await;
    let [subject, text, ..] = sent(&t).await;
    assert_eq!(subject, "Your password was changed");
    // R532: a new password alone does not end what a thief has made.
    assert!(text.contains("end the tokens and apps that are not yours"), "{text}");
}

/// R275: a name that is written from right to left does not turn the words of a mail, in its subject, its text or its HTML.
#[tokio::test]
async fn names_from_right_to_left_are_isolated_in_mails() {
    let (t, ada) = stage("https://accredit.example").await;
    want(&t).await;
    let typed = "\u{5d0}\u{5d1} (1)";
    t.execute(&format!("UPDATE tenants SET name = '{typed}'")).await.unwrap();
    for (kind, data) in [
        (Kind::Invite, json!({ "name": typed, "by": typed })),
        (Kind::NewAddress, json!({ "was": typed })),
        (Kind::IdentityLinked, json!({ "provider": typed, "email": typed })),
        (Kind::PasswordChanged, json!({ "by": typed })),
        (Kind::Expiring, json!({ "name": typed, "expires_at": "2026-01-09T03:04:05.000Z" })),
        (Kind::Expiring, json!({ "agent": typed, "expires_at": "2026-01-09T03:04:05.000Z" })),
        (Kind::Silent, json!({ "agent": typed, "minutes": 5, "last_seen_at": "2026-01-02T03:04:05.000Z" })),
        (Kind::RoleLowered, json!({ "by": typed, "was": "admin", "now": "member" })),
    ] {
        queue(&t, &ada.user, kind, data).await;
        t.wait(3_600);
        for part in sent(&t).await {
            let mut depth = 0;
            for c in part.chars() {
                depth += i32::from(c == '\u{2068}') - i32::from(c == '\u{2069}');
                assert!(depth > 0 || !('\u{590}'..='\u{5ff}').contains(&c), "{kind:?}: {part}");
            }
            assert_eq!(depth, 0, "{part}");
        }
    }
}
