//! R77: who is told when a right ends by another's deed, as the table of docs/agents/concepts/notifications.md has it: people by a
//! notification, agents by an event. Nobody is told what they did themselves; but of what somebody with their session or password could have done, they are
//! mailed.

#![expect(clippy::indexing_slicing, reason = "helpers of tests: whatever is not as expected ends the test")]

use serde_json::{Value as Json, json};
use tests::{
    Client, Server,
    server::{PASSWORD, text},
    sink::Sink,
    totp::Authenticator,
    until,
};

/// The titles of a person's notifications, the oldest first, which are deleted.
fn told(person: &Client) -> Vec<String> {
    let page = person.get("/api/notifications").is(200);
    let mut titles = Vec::new();
    for item in page["items"].as_array().into_iter().flatten().rev() {
        assert_eq!(item["source"], "accredit");
        titles.push(text(&item["title"]).to_owned());
        person.delete(&format!("/api/notifications/{}", text(&item["id"]))).is(204);
    }
    titles
}

/// The kinds and data of an agent's events.
fn events(server: &Server, agent: &str) -> Vec<(String, Json)> {
    let rows = server.texts(&format!(
        "SELECT i.kind || ' ' || i.data FROM inbox i JOIN agents a ON a.id = i.agent_id WHERE a.id = '{agent}' ORDER BY i.seq"
    ));
    server.execute("DELETE FROM inbox");
    let pair = |row: &String| {
        let (kind, data) = row.split_once(' ').unwrap_or_default();
        (kind.to_owned(), serde_json::from_str(data).unwrap_or_default())
    };
    rows.iter().map(pair).collect()
}

fn id(person: &Client) -> String {
    text(&person.get("/api/auth/whoami").is(200)["user_id"]).to_owned()
}

fn credential(client: &Client) -> String {
    text(&client.get("/api/auth/whoami").is(200)["credential"]["id"]).to_owned()
}

/// What a row of the page's table is tried with.
struct Site {
    server: Server,
    /// Does what each row says.
    ada: Client,
    /// Another admin.
    eve: Client,
    /// The owner of `scout`.
    mia: Client,
    /// Another member.
    max: Client,
    scout: tests::server::Agent,
}

impl Site {
    fn new() -> Self {
        let (server, ada) = Server::with_admin();
        let [eve, mia, max] = [("eve", "admin"), ("mia", "member"), ("max", "member")]
            .map(|(name, role)| server.user(&ada, &format!("{name}@example.com"), role));
        let scout = server.agent(&mia, "scout", &["agents.read"]);
        Self { server, ada, eve, mia, max, scout }
    }

    /// Lets an admin share `scout`.
    fn share(&self, subject: &str, relation: &str) {
        let grant = json!({ "subject": subject, "relation": relation });
        self.ada.post("/api/agents/scout/grants", &grant).is(201);
    }

    fn patch_scout(&self, change: &Json) {
        self.ada.patch("/api/agents/scout", change).is(200);
    }

    fn user(&self, client: &Client) -> String {
        format!("/api/users/{}", id(client))
    }
}

/// A row of the table: its beginning, what is done, and who is told.
type Case = (&'static str, fn(&mut Site), &'static [&'static str]);

const CASES: &[Case] = &[
    ("an agent is given to another owner", |s| s.patch_scout(&json!({ "owner": "max@example.com" })), &["mia", "max"]),
    ("an agent is archived", |s| drop(s.ada.delete("/api/agents/scout").is(204)), &["mia"]),
    (
        "a grant of an agent or a key is taken away",
        |s| {
            let helper = s.server.agent(&s.max, "helper", &["agents.read"]);
            s.share(&helper.id, "viewer");
            s.server.execute("DELETE FROM inbox");
            s.ada.delete(&format!("/api/agents/scout/grants?subject={}", helper.id)).is(204);
        },
        &["max"],
    ),
    (
        "credentials of an agent end with",
        |s| {
            s.share("max@example.com", "editor");
            s.max.post("/api/agents/scout/keys", &json!({ "name": "ci" })).is(201);
            told(&s.mia);
            s.ada.delete("/api/agents/scout/grants?subject=max@example.com").is(204);
        },
        &["mia", "max"],
    ),
    (
        "a personal access token, a session or all sessions",
        |s| {
            let pat = s.server.plant_pat(&s.max, "*");
            s.ada.delete(&format!("/auth/admin/tokens/{}", credential(&pat))).is(204);
            assert_eq!(told(&s.max), ["Your personal access token was revoked"]);
            let session = s.server.sign_in("max@example.com", None);
            s.ada.delete(&format!("/api/users/{}/sessions/{}", id(&s.max), credential(&session))).is(204);
        },
        &["max"],
    ),
    ("an agent's token or key is revoked", |s| drop(s.ada.delete("/api/agents/scout/token").is(204)), &["mia"]),
    (
        "an agent's token is replaced",
        |s| drop(s.ada.post("/api/agents/scout/token/issue", &json!({})).is(200)),
        &["mia"],
    ),
    (
        "a role is lowered or raised",
        |s| drop(s.ada.patch(&s.user(&s.max), &json!({ "role": "viewer" })).is(200)),
        &["max"],
    ),
    (
        "a user becomes an admin",
        |s| drop(s.ada.patch(&s.user(&s.max), &json!({ "role": "admin" })).is(200)),
        &["eve", "max"],
    ),
    (
        "the ways to sign in",
        |s| drop(s.ada.patch("/api/tenant", &json!({ "ways": ["password", "link"] })).is(200)),
        &["eve"],
    ),
    (
        "a password is set again by an admin",
        |s| {
            let path = format!("{}/set-password", s.user(&s.max));
            s.ada.post(&path, &json!({ "password": PASSWORD })).is(204);
            s.max = s.server.sign_in("max@example.com", None);
        },
        &["max"],
    ),
    (
        "an admin makes a link by which a password can be set",
        |s| drop(s.ada.post(&format!("{}/reset-password", s.user(&s.max)), &json!({})).is(200)),
        &["max"],
    ),
    (
        "the operator makes an admin of the tenant",
        |s| {
            let new = json!({ "secret": s.server.operator_secret(), "tenant": "main", "email": "new@example.com", "name": "New", "password": PASSWORD });
            s.server.nobody().post("/operator/recover", &new).is(201);
        },
        &["ada", "eve"],
    ),
    ("a ceiling, a budget or another limit", |s| s.patch_scout(&json!({ "budget_cents": 5 })), &["mia"]),
    (
        "an approval is revoked, or ends by time",
        |s| {
            let asked = s.scout.client.post("/api/access-requests", &json!({ "scope": "agents.list", "reason": "r" }));
            let path = format!("/api/access-requests/{}", text(&asked.is(201)["id"]));
            s.ada.post(&format!("{path}/approve"), &json!({})).is(200);
            drop((told(&s.ada), told(&s.eve), told(&s.mia)));
            s.server.execute("DELETE FROM inbox");
            s.ada.post(&format!("{path}/revoke"), &json!({})).is(200);
        },
        &["mia"],
    ),
    (
        "a credential is [reported as leaked]",
        |s| drop(s.server.nobody().post("/auth/leaks", &json!({ "token": s.scout.client.bearer() })).is(204)),
        &["ada", "eve", "mia"],
    ),
];

/// The rows whose people are told by mail alone, which `a_person_is_mailed_what_a_thief_would_do` and `ways` read.
const MAILED: &[&str] = &["an invitation is accepted by somebody who had signed in before"];

/// Each row of the table is done, by somebody else: those that it names are told and nobody beside them, and the agent gets its event.
#[test]
fn every_row_of_the_table_is_so() {
    let page = include_str!("../../docs/agents/concepts/notifications.md");
    let (_, table) = page.split_once("| what ends |").unwrap_or_default();
    let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split('|').map(str::trim).collect()).collect();
    assert_eq!(rows.len(), CASES.len() + MAILED.len(), "a row without a case");
    for row in rows.iter().filter(|row| !MAILED.iter().any(|begin| row[1].starts_with(begin))) {
        let case = CASES.iter().find(|(begin, ..)| row[1].starts_with(begin));
        let Some((_, act, expected)) = case else { panic!("a row without a case: {row:?}") };
        let mut site = Site::new();
        for person in [&site.ada, &site.eve, &site.mia, &site.max] {
            told(person);
        }
        site.server.execute("DELETE FROM inbox");
        act(&mut site);
        let people = [("ada", &site.ada), ("eve", &site.eve), ("mia", &site.mia), ("max", &site.max)];
        let heard: Vec<&str> =
            people.into_iter().filter(|(_, person)| !told(person).is_empty()).map(|(name, _)| name).collect();
        assert_eq!(&heard, expected, "{row:?}");
        if let Some(kind) = row[3].strip_prefix('`').and_then(|rest| rest.split('`').next()) {
            assert!(site.server.texts("SELECT kind FROM inbox").iter().any(|found| found == kind), "{row:?}");
        }
    }
}

#[test]
fn a_person_is_told_of_an_agent_that_another_takes_archives_or_purges() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "member");
    let max = server.user(&admin, "max@example.com", "member");
    server.agent(&mia, "scout", &["agents.read"]);
    admin.patch("/api/agents/scout", &json!({ "owner": "max@example.com" })).is(200);
    assert_eq!(told(&mia), ["You no longer own the agent scout"]);
    assert_eq!(told(&max), ["You now own the agent scout"]);
    admin.delete("/api/agents/scout").is(204);
    assert_eq!(told(&max), ["The agent scout was archived"]);
    let scout = text(&admin.get("/api/agents/archived").is(200)["items"][0]["id"]).to_owned();
    admin.delete(&format!("/api/agents/archived/{scout}")).is(204);
    assert_eq!(told(&max), ["The archived agent scout was deleted"]);
    // What the owner does, or an agent of the owner's.
    let boss = server.agent(&mia, "boss", &["agents.*"]);
    for name in ["own", "below"] {
        mia.post(
            "/api/agents",
            &json!({ "name": name, "scope": ["agents.read"], "parent": "boss", "issue_token": false }),
        )
        .is(201);
    }
    mia.delete("/api/agents/own").is(204);
    boss.client.delete("/api/agents/below").is(204);
    mia.patch("/api/agents/boss", &json!({ "owner": "max@example.com" })).is(200);
    assert_eq!((told(&mia), told(&max)), (vec![], vec!["You now own the agent boss".to_owned()]));
    assert_eq!(told(&admin), Vec::<String>::new());
}

#[test]
fn a_person_and_an_agent_are_told_of_a_grant_that_was_taken() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "member");
    let max = server.user(&admin, "max@example.com", "member");
    let scout = server.agent(&mia, "scout", &["*"]);
    let helper = server.agent(&max, "helper", &["*"]);
    let key = text(&mia.post("/api/agents/scout/keys", &json!({ "name": "ci" })).is(201)["id"]).to_owned();
    for path in ["/api/agents/scout/grants".to_owned(), format!("/api/agents/scout/keys/{key}/grants")] {
        for (subject, relation) in
            [("max@example.com", "editor"), ("max@example.com", "viewer"), (helper.id.as_str(), "viewer")]
        {
            admin.post(&path, &json!({ "subject": subject, "relation": relation })).is(201);
        }
        events(&server, &helper.id);
        mia.delete(&format!("{path}?subject=max@example.com&relation=viewer")).is(204);
        mia.delete(&format!("{path}?subject=max@example.com")).is(204);
        mia.delete(&format!("{path}?subject=max@example.com")).is(204);
        admin.delete(&format!("{path}?subject={}", helper.id)).is(204);
        let of = if path.contains("keys") { "a key of " } else { "" };
        assert_eq!(
            told(&max),
            [
                format!("You are no longer viewer of {of}scout"),
                format!("You are no longer editor of {of}scout"),
                "The agent helper lost a grant".to_owned()
            ]
        );
        let key = if path.contains("keys") { json!(key) } else { Json::Null };
        let data = json!({ "agent": "scout", "agent_id": scout.id, "key": key, "relation": "viewer" });
        assert_eq!(events(&server, &helper.id), [("grant_taken".to_owned(), data)]);
    }
    // A grant that its subject gives up.
    admin.post("/api/agents/scout/grants", &json!({ "subject": "ada@example.com", "relation": "viewer" })).is(201);
    admin.delete("/api/agents/scout/grants?subject=ada@example.com").is(204);
    assert_eq!((told(&admin), told(&mia)), (vec![], vec![]));
}

#[test]
fn a_person_and_an_agent_are_told_of_credentials_that_another_revoked() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "member");
    let scout = server.agent(&mia, "scout", &["*"]);
    let pat = server.plant_pat(&mia, "*");
    let session = server.sign_in("mia@example.com", None);
    let new = mia.post("/api/agents/scout/keys", &json!({ "name": "ci" })).is(201);
    let (key, secret) = (text(&new["id"]).to_owned(), server.with(text(&new["key"])));
    assert_eq!(events(&server, &scout.id)[0].0, "agent.key_created");
    let revoke = |id: &str| admin.delete(&format!("/auth/admin/tokens/{id}")).is(204);
    for (credential, title) in [
        (credential(&pat), "Your personal access token was revoked"),
        (credential(&session), "Your session was revoked"),
        (credential(&secret), "A credential of scout was revoked"),
        (credential(&scout.client), "A credential of scout was revoked"),
    ] {
        revoke(&credential);
        revoke(&credential);
        assert_eq!(told(&mia), [title], "once, however often it is revoked");
        let data = json!({ "credentials": [credential], "grantee": null });
        let expected = if title.contains("scout") { vec![("credentials_ended".to_owned(), data)] } else { vec![] };
        assert_eq!(events(&server, &scout.id), expected);
    }
    admin.delete(&format!("/api/agents/scout/keys/{key}")).is(204);
    assert_eq!(told(&mia), ["A credential of scout was revoked"]);
    let data = json!({ "credentials": [key], "grantee": null });
    assert_eq!(events(&server, &scout.id), [("credentials_ended".to_owned(), data)], "its secret had ended before");
    let again = server.with(text(&mia.post("/api/agents/scout/token/issue", &json!({})).is(200)["token"]));
    events(&server, &scout.id);
    let token = credential(&again);
    admin.delete("/api/agents/scout/token").is(204);
    assert_eq!(told(&mia), ["A credential of scout was revoked"]);
    let data = json!({ "credentials": [token], "grantee": null });
    assert_eq!(events(&server, &scout.id), [("credentials_ended".to_owned(), data)]);
    // What the owner does: the agent is told, the owner is not.
    mia.post("/api/agents/scout/token/issue", &json!({})).is(200);
    events(&server, &scout.id);
    mia.delete("/api/agents/scout/token").is(204);
    assert_eq!(told(&mia), Vec::<String>::new());
    assert_eq!(events(&server, &scout.id).len(), 1);
    let own = server.plant_pat(&mia, "*");
    own.delete(&format!("/auth/tokens/{}", credential(&own))).is(204);
    assert_eq!((told(&mia), told(&admin)), (vec![], vec![]));
}

#[test]
fn a_person_is_told_of_a_lower_role_and_of_a_password_that_ended_sessions() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "admin");
    let path = format!("/api/users/{}", id(&mia));
    assert_eq!(told(&mia), Vec::<String>::new(), "a first password ends nothing");
    for (role, titles) in [
        ("member", vec!["Your role is now member"]),
        ("viewer", vec!["Your role is now viewer"]),
        ("curator", vec!["Your role is now curator"]),
        ("curator", vec![]),
    ] {
        admin.patch(&path, &json!({ "role": role })).is(200);
        assert_eq!(told(&mia), titles, "{role}");
    }
    admin.post(&format!("{path}/set-password"), &json!({ "password": tests::server::PASSWORD })).is(204);
    let mia = server.sign_in("mia@example.com", None);
    assert_eq!(told(&mia), ["Your password was set"]);
    // One's own role.
    admin.patch(&path, &json!({ "role": "admin" })).is(200);
    mia.patch(&path, &json!({ "role": "member" })).is(200);
    assert_eq!((told(&mia), told(&admin)), (vec!["Your role is now admin".to_owned()], vec![]));
}

/// R330: a new admin is told of to the other admins, however the person became one, and so is what decides who gets in.
#[test]
fn the_other_admins_are_told_of_a_new_one_and_of_who_gets_in() {
    let (server, admin) = Server::with_admin();
    let eve = server.user(&admin, "eve@example.com", "admin");
    let mia = server.user(&admin, "mia@example.com", "member");
    let max = server.user(&admin, "max@example.com", "member");
    drop((told(&eve), told(&admin)));
    let path = format!("/api/users/{}", id(&mia));
    admin.patch(&path, &json!({ "role": "admin" })).is(200);
    assert_eq!(
        (told(&eve), told(&mia)),
        (vec!["mia@example.com is now an admin".to_owned()], vec!["Your role is now admin".to_owned()])
    );
    admin.patch(&path, &json!({ "role": "admin", "name": "Mia M." })).is(200);
    assert_eq!(told(&eve), Vec::<String>::new());
    for change in [json!({ "ways": ["password", "link"] }), json!({ "name": "Acme" }), json!({ "pat_days": 30 })] {
        admin.patch("/api/tenant", &change).is(200);
    }
    let page = eve.get("/api/notifications").is(200);
    let body = "ada@example.com changed the ways to sign in from password, link, oidc to password, link.";
    assert_eq!((page["items"].as_array().map(Vec::len), &page["items"][0]["body"]), (Some(1), &json!(body)));
    assert_eq!(
        (told(&eve), told(&mia)),
        (
            vec!["Who gets in was changed".to_owned()],
            vec!["Your account was changed".to_owned(), "Who gets in was changed".to_owned()]
        )
    );
    assert_eq!((told(&max), told(&admin)), (vec![], vec![]));
}

/// R329: a request that somebody has decided, or that was taken back, asks nobody any more.
#[test]
fn a_decision_marks_what_told_of_the_request_as_read() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "member");
    let scout = server.agent(&mia, "scout", &["agents.read"]);
    let unread = |person: &Client| person.get("/api/notifications/count").is(200)["unread"].clone();
    for decision in ["approve", "deny", ""] {
        let scope = if decision == "deny" { "agents.update" } else { "agents.list" };
        let asked = scout.client.post("/api/access-requests", &json!({ "scope": [scope], "reason": "r" })).is(201);
        let path = format!("/api/access-requests/{}", text(&asked["id"]));
        assert_eq!(unread(&mia), 1, "{decision}");
        match decision {
            "" => drop(scout.client.delete(&path).is(204)),
            decision => drop(admin.post(&format!("{path}/{decision}"), &json!({})).is(200)),
        }
        // That the admin decided is news of its own.
        let asks = "SELECT count(*) FROM notifications WHERE title = 'scout asks for access' AND read_at IS NULL";
        assert_eq!(server.number(asks), 0, "{decision}");
        mia.post("/api/notifications/read-all", &json!({})).is(200);
        if decision == "approve" {
            admin.post(&format!("{path}/revoke"), &json!({})).is(200);
            mia.post("/api/notifications/read-all", &json!({})).is(200);
        }
    }
    // Nor does one that ends with its agent, or with one above it.
    server.execute("UPDATE access_requests SET decided_at = 0 WHERE state = 'denied'");
    scout.client.post("/api/access-requests", &json!({ "scope": ["agents.update"], "reason": "r" })).is(201);
    mia.delete("/api/agents/scout?confirm=true").is(204);
    let asks = "SELECT count(*) FROM notifications WHERE title = 'scout asks for access' AND read_at IS NULL";
    assert_eq!(server.number(asks), 0);
}

/// R78: a credential of any kind ends itself, and nothing beside it, whatever it carries and while its agent is halted; nobody is told,
/// and the trail says so.
#[test]
fn any_credential_ends_itself() {
    let (server, admin) = Server::with_admin();
    let mia = server.user(&admin, "mia@example.com", "member");
    let scout = server.agent(&mia, "scout", &["ui.notify"]);
    let grace =
        mia.post("/api/agents/scout/token/issue", &json!({ "scope": ["ui.notify"], "grace_seconds": 600 })).is(200);
    let key = mia.post("/api/agents/scout/keys", &json!({ "name": "ci", "scope": ["ui.notify"] })).is(201);
    let narrow = server.plant_pat(&mia, "ui.notify");
    let session = server.sign_in("mia@example.com", None);
    mia.post("/api/agents/scout/pause", &json!({})).is(200);
    events(&server, &scout.id);
    for (client, kind) in [
        (server.with(text(&grace["token"])), "agent_token"),
        (scout.client, "agent_token"),
        (server.with(text(&key["key"])), "api_key"),
        (narrow, "pat"),
        (session, "session"),
    ] {
        let ended = "SELECT count(*) FROM credentials WHERE revoked_at IS NOT NULL";
        let (id, before) = (credential(&client), server.number(ended));
        client.delete("/auth/tokens/me").is(204);
        assert_eq!(server.number(ended), before + 1, "{kind}");
        client.get("/api/auth/whoami").refused(401, "token_revoked");
        client.delete("/auth/tokens/me").refused(401, "token_revoked");
        let rows = admin.get(&format!("/api/audit?credential={id}&object={id}")).is(200);
        let row = &rows["items"][0];
        assert_eq!((&row["action"], &row["credential_kind"]), (&json!("token.revoke"), &json!(kind)), "{row}");
        assert_eq!(rows["items"].as_array().map(Vec::len), Some(1));
    }
    assert_eq!((told(&mia), told(&admin)), (vec![], vec![]));
    assert_eq!(events(&server, &scout.id), []);
    assert_eq!(server.number("SELECT count(*) FROM outbox"), 0);
    server.nobody().delete("/auth/tokens/me").refused(401, "missing_credential");
}

/// R266: a person is mailed what somebody could do that has their session or password: a recovery code was used, a token was made, a sign-in
/// came with an unknown device or from an unknown network. Only the last one can be turned off.
#[test]
fn a_person_is_mailed_what_a_thief_would_do() {
    let sink = Sink::new();
    let settings = sink.mail("webhook").variable("secrets_key", &"k".repeat(40));
    let server = settings.variable("trusted_proxies", "127.0.0.1").start();
    let admin = server.bootstrap();
    // Where a session was is recorded after the answer; what comes next is compared with it.
    let used = |who: &Json| {
        let session = text(&who["credential"]["id"]);
        server.until_number(
            &format!("SELECT count(*) FROM credentials WHERE id = '{session}' AND last_used_address IS NOT NULL"),
            1,
        );
    };
    used(&admin.get("/api/auth/whoami").is(200));
    // The mails that came since the last call: subject and text.
    let mut seen = 0;
    let mut mails = |number: usize| {
        let sent = until("the mails", || Some(sink.received()).filter(|sent| sent.len() >= seen + number));
        assert_eq!(server.number("SELECT count(*) FROM outbox"), i64::try_from(sent.len()).unwrap_or_default());
        let new = sent.iter().skip(seen).map(|mail| {
            assert_eq!(mail.body["to"], "ada@example.com");
            (text(&mail.body["subject"]).to_owned(), text(&mail.body["text"]).to_owned())
        });
        let new: Vec<(String, String)> = new.collect();
        seen = sent.len();
        assert_eq!(new.len(), number, "{new:?}");
        new
    };
    let enter = |agent: &str, from: &str, code: Option<&str>| {
        let mut body = json!({ "email": "ada@example.com", "password": PASSWORD });
        if let Some(code) = code {
            body["code"] = json!(code);
        }
        let headers = [("user-agent", agent), ("x-forwarded-for", from), ("content-type", "application/json")];
        let entered = server.nobody().call("POST", "/auth/token", &headers, Some(body.to_string().as_bytes())).is(200);
        let session = server.with(text(&entered["access_token"]));
        used(&session.call("GET", "/api/auth/whoami", &[("x-forwarded-for", from)], None).is(200));
        session
    };
    let firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:133.0) Gecko/20100101 Firefox/133.0";
    let newer = firefox.replace("133", "134");

    // The very first sign-in was one of nobody else; from here on a device and a network are known by the sessions that had them.
    let session = enter(firefox, "192.0.2.7", None);
    let (subject, body) = mails(1).remove(0);
    assert_eq!(subject, "A new sign-in to your account");
    for part in
        ["ada@example.com signed in", "from the address 192.0.2.7", "with Firefox on Linux", "this device and network."]
    {
        assert!(body.contains(part), "{part}: {body}");
    }
    enter(&newer, "192.0.2.7", None);
    enter(&newer, "2001:db8:1:2::7", None);
    assert!(mails(1)[0].1.contains("It is the first one lately from this network."));
    enter(&newer, "2001:db8:1:2::8", None);
    enter("curl/8.11", "192.0.2.7", None);
    assert!(mails(1)[0].1.contains("It is the first one lately from this device."));

    // It alone can be turned off.
    let off = session.patch("/api/notifications/preferences", &json!({ "new_sign_ins": false })).is(200);
    assert_eq!(off["new_sign_ins"], false);
    let session = enter("python-requests/2.32", "198.51.100.9", None);
    let made = json!({ "name": "night <b>build", "scope": ["agents.read", "agents.list"], "expires_in_days": 7 });
    session.post("/auth/tokens", &made).is(201);
    let (subject, body) = mails(1).remove(0);
    assert_eq!(subject, "A personal access token was made");
    assert!(body.contains("\"night <b>build\"") && body.contains("agents.list, agents.read"), "{body}");
    // A device that was let in gets a token too.
    let asked = server.nobody().form("/auth/device/code", "name=notebook&scope=agents.read").is(200);
    let path = format!("/auth/device/{}/approve", text(&asked["user_code"]));
    session.post(&path, &json!({ "scope": ["agents.read"] })).is(200);
    let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
    let body = format!("grant_type={grant}&device_code={}", text(&asked["device_code"]));
    server.nobody().form("/auth/device/token", &body).is(200);
    assert!(mails(1)[0].1.contains("with the name \"notebook\""));

    let app = Authenticator::set_up(&server, &session);
    assert_eq!(mails(1)[0].0, "A second factor was set up");
    enter(firefox, "192.0.2.7", Some(&app.recovery_codes[0]));
    let (subject, body) = mails(1).remove(0);
    assert_eq!(subject, "A recovery code was used");
    assert!(body.contains("9 are left.") && body.contains("from the address 192.0.2.7"), "{body}");
}
