use axum::{
    body::Body,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use common::{
    caller::Caller,
    error::{ApiError, Code},
    form,
    form::Params,
    http::{App, json, json_line, log, moment, text},
    page::Wanted,
    route,
    seal::{self, Head},
    store::audit::{self, Entry, Filter},
};
use futures_util::stream;

form! {
    /// The export takes the filters alone; the route table says so.
    pub(crate) struct List {
        actor: Option<String>,
        action: Option<String>,
        object: Option<String>,
        outcome: Option<String>,
        since: Option<String>,
        until: Option<String>,
        cursor: Option<String>,
        limit: Option<i64>,
    }
}

impl List {
    fn filter(&self) -> Result<Filter, ApiError> {
        let words = |field, value: &Option<String>| value.as_deref().map(|value| text(field, value, 254)).transpose();
        let moment = |field, value: &Option<String>| value.as_deref().map(|value| moment(field, value)).transpose();
        if self.outcome.as_deref().is_some_and(|outcome| !["done", "refused"].contains(&outcome)) {
            return Err(Code::InvalidFilter.with("field", "outcome").with("valid", "done, refused"));
        }
        Ok(Filter {
            actor: words("actor", &self.actor)?,
            action: words("action", &self.action)?,
            object: words("object", &self.object)?,
            outcome: self.outcome.clone(),
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
        })
    }
}

/// `GET /api/audit`: what happened to the agents that the caller may read, or in his tenant.
pub(crate) async fn list(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let filter = ask.filter()?;
    let bound = [&ask.actor, &ask.action, &ask.object, &ask.outcome, &ask.since, &ask.until];
    let bound = bound.map(|filter| filter.as_deref().unwrap_or_default());
    let wanted = Wanted::read(&caller, ask.limit, ask.cursor.as_deref(), &bound)?;
    let (_, after) = wanted.after();
    let rows = audit::list(app.db(), &caller, &filter, &after, wanted.rows()).await?;
    json(StatusCode::OK, &wanted.page(rows, |row| (row.at, row.id.to_string())))
}

/// Rows that the export reads at once: a row can have some 100 KB.
const BATCH: i64 = 100;

/// What the export does next.
enum Next {
    Write(Vec<Entry>),
    Read(String),
    End,
}

/// `GET /api/audit/export`: the same rows, one JSON object a line, read while they are sent.
pub(crate) async fn export(app: App, caller: Caller, Params(ask): Params<List>) -> Result<Response, ApiError> {
    let filter = ask.filter()?;
    // Asked before there is an answer, so that an outage is 503 and not a body that breaks off.
    let first = audit::list(app.db(), &caller, &filter, "", BATCH).await?;
    let lines = stream::unfold((Next::Write(first), app, caller, filter), |(next, app, caller, filter)| async {
        let rows = match next {
            Next::Write(rows) => Ok(rows),
            Next::Read(after) => again(&app, &caller, &filter, &after).await,
            Next::End => return None,
        };
        match rows.and_then(write) {
            Ok((text, next)) => Some((Ok(text), (next, app, caller, filter))),
            Err(refusal) => {
                let cause = refusal.inner().unwrap_or(refusal.code().row().slug);
                log(app.request_id(), "/api/audit/export broke off", cause);
                // The connection breaks, which tells the client that this is not all.
                Some((Err(std::io::Error::other("broken off")), (Next::End, app, caller, filter)))
            }
        }
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"audit.ndjson\"")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    Ok((headers, Body::from_stream(lines)).into_response())
}

/// Further rows, for whoever the caller is by now: an export can last, and what was taken from him meanwhile counts.
async fn again(app: &App, caller: &Caller, filter: &Filter, after: &str) -> Result<Vec<Entry>, ApiError> {
    let caller = caller.again(app.db(), app.now()).await?;
    caller.admit(app, route::AUDIT_EXPORT)?;
    Ok(audit::list(app.db(), &caller, filter, after, BATCH).await?)
}

fn write(rows: Vec<Entry>) -> Result<(String, Next), ApiError> {
    let lines = rows.iter().map(json_line).collect::<Result<_, _>>();
    let next = match rows.last() {
        Some(last) if i64::try_from(rows.len()).is_ok_and(|read| read == BATCH) => Next::Read(last.id.to_string()),
        _ => Next::End,
    };
    Ok((lines.map_err(|error| ApiError::from(Code::Internal).cause(error))?, next))
}

form! {
    pub(crate) struct Verify {
        head: Option<String>,
        from: Option<i64>,
    }
}

/// `GET /api/audit/verify`: is the trail as it was sealed, and does it hold the head that was logged?
pub(crate) async fn verify(app: App, caller: Caller, Params(ask): Params<Verify>) -> Result<Response, ApiError> {
    let head = match ask.head.as_deref() {
        None => None,
        Some(head) => Some(Head::parse(head).ok_or(Code::InvalidHead)?),
    };
    let keys = &app.settings().audit_keys;
    if keys.is_empty() {
        return Err(Code::AuditKeyMissing.into());
    }
    let tenant = caller.tenant_id().as_str();
    let report = seal::verify(app.db(), keys, tenant, ask.from.unwrap_or(i64::MIN), head.as_ref()).await?;
    json(StatusCode::OK, &report)
}

#[cfg(test)]
mod tests {
    use common::{
        scope::Role,
        secret::Kind,
        settings::Settings,
        testing::{Actor, TestApp},
    };
    use serde_json::{
        Value::{self as Json, Null},
        json,
    };

    use crate::router;

    struct Site {
        t: TestApp,
        ada: Actor,
        mia: Actor,
        scout: Actor,
        hidden: Actor,
    }

    fn id(agent: &Actor) -> String {
        agent.agent.as_ref().unwrap().to_string()
    }

    /// Ada is an admin and owns the agent `hidden`; Mia is a member and owns `scout`.
    async fn site() -> Site {
        site_with(Settings::default()).await
    }

    async fn site_with(settings: Settings) -> Site {
        let t = TestApp::with(router(), settings);
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let mia = t.user(&tenant, "mia@example.com", Role::Member).await;
        let scout = t.agent(&mia, "scout", "*").await;
        let hidden = t.agent(&ada, "hidden", "*").await;
        Site { t, ada, mia, scout, hidden }
    }

    impl Site {
        /// Plants a row: what `by` did to `object`.
        async fn row(&self, name: &str, by: &Actor, object: &str) {
            let agent = by.agent.as_ref().map_or("NULL".to_owned(), |id| format!("'{id}'"));
            let at = self.t.now().millis();
            let sql = format!(
                "INSERT INTO audit (id, at, tenant_id, user_id, agent_id, credential_id, address, request_id, action, object_id, outcome, before, after)
                 VALUES ('aud_{name}', {at}, '{}', '{}', {agent}, '{}', '192.0.2.1', 'req_1', 'x.{name}', '{object}', 'done', '{{\"a\":1}}', '{{\"a\":2}}')",
                by.tenant, by.user, by.credential
            );
            self.t.execute(&sql).await.unwrap();
        }

        async fn sees(&self, actor: &Actor, query: &str) -> Vec<String> {
            let list = self.t.as_(actor, "GET", &format!("/api/audit{query}"), Null).await.is(200);
            ids(&list)
        }
    }

    fn ids(list: &Json) -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|row| row["id"].as_str().unwrap().trim_start_matches("aud_").to_owned()).collect()
    }

    /// Rows about both agents, about neither, and another tenant's.
    async fn crowd() -> Site {
        let s = site().await;
        s.row("user", &s.ada, s.mia.user.as_str()).await;
        s.row("mia_scout", &s.mia, &id(&s.scout)).await;
        s.row("scout_scout", &s.scout, &id(&s.scout)).await;
        s.row("ada_hidden", &s.ada, &id(&s.hidden)).await;
        s.row("hidden_scout", &s.hidden, &id(&s.scout)).await;
        s.row("scout_hidden", &s.scout, &id(&s.hidden)).await;
        let other = s.t.tenant("other").await;
        let eve = s.t.user(&other, "eve@example.com", Role::Admin).await;
        let agent = s.t.agent(&eve, "scout", "*").await;
        s.row("eve", &eve, &id(&agent)).await;
        s.row("eve_scout", &agent, &id(&s.scout)).await;
        s
    }

    /// R36: rows of agents that one may read, and with audit.read_all all of the tenant; never another tenant's.
    #[tokio::test]
    async fn everybody_sees_what_happened_to_the_agents_that_he_may_read() {
        let s = crowd().await;
        let all = ["scout_hidden", "hidden_scout", "ada_hidden", "scout_scout", "mia_scout", "user"];
        assert_eq!(s.sees(&s.ada, "").await, all);
        let of_scout = ["scout_hidden", "hidden_scout", "scout_scout", "mia_scout"];
        assert_eq!(s.sees(&s.mia, "").await, of_scout);
        assert_eq!(s.sees(&s.scout, "").await, of_scout);
        assert_eq!(s.sees(&s.hidden, "").await, ["scout_hidden", "hidden_scout", "ada_hidden"], "no admin's rights");
        let vic = s.t.user(&s.ada.tenant, "vic@example.com", Role::Viewer).await;
        assert_eq!(s.sees(&vic, "").await, Vec::<String>::new());
        s.t.grant(s.scout.agent.as_ref().unwrap(), &s.ada.tenant, vic.user.as_str(), "viewer", &s.mia.user).await;
        assert_eq!(s.sees(&vic, "").await, of_scout);
        // An admin's token without audit.read_all sees the agents' rows, which for an admin are all agents'.
        let pat = s.t.credential(Kind::Pat, &s.ada.tenant, &s.ada.user, None, "audit.read", None).await;
        assert_eq!(s.sees(&pat, "").await, all[..5]);
        let narrow = s.t.credential(Kind::Pat, &s.ada.tenant, &s.ada.user, None, "audit.read_all", None).await;
        s.t.as_(&narrow, "GET", "/api/audit", Null).await.refused(403, "scope_denied");
    }

    /// R33: of an agent that one may not read a row shows the id that it is about, and nothing more.
    #[tokio::test]
    async fn of_an_agent_beside_it_a_row_shows_the_id_alone() {
        let s = crowd().await;
        let list = s.t.as_(&s.mia, "GET", "/api/audit?limit=2", Null).await.is(200);
        let row = |name: &str, by: &Actor, object: &Actor, email: &str| {
            json!({
                "id": format!("aud_{name}"), "at": "2026-01-02T03:04:05.000Z", "action": format!("x.{name}"),
                "outcome": "done", "count": 1,
                "actor": { "user_id": by.user.as_str(), "email": email, "agent_id": id(by), "agent_name": "scout" },
                "credential_id": by.credential.as_str(), "address": "192.0.2.1", "request_id": "req_1",
                "object": id(object), "before": { "a": 1 }, "after": { "a": 2 },
            })
        };
        let mut by_scout = row("scout_hidden", &s.scout, &s.hidden, "mia@example.com");
        by_scout["before"] = Null;
        by_scout["after"] = Null;
        let mut by_hidden = row("hidden_scout", &s.hidden, &s.scout, "ada@example.com");
        by_hidden["actor"]["agent_name"] = Null;
        assert_eq!(list["items"], json!([by_scout, by_hidden]));
        let all = s.t.as_(&s.ada, "GET", "/api/audit?limit=2", Null).await.is(200);
        by_scout["before"] = json!({ "a": 1 });
        by_scout["after"] = json!({ "a": 2 });
        by_hidden["actor"]["agent_name"] = json!("hidden");
        assert_eq!(all["items"], json!([by_scout, by_hidden]));
        // Its name finds nothing, as that of no agent does; its id finds what is shown anyway.
        for name in ["hidden", "nobody", "nobody@example.com", "agt_none"] {
            for filter in ["actor", "object"] {
                assert_eq!(s.sees(&s.mia, &format!("?{filter}={name}")).await, Vec::<String>::new());
            }
        }
        assert_eq!(s.sees(&s.mia, &format!("?object={}", id(&s.hidden))).await, ["scout_hidden"]);
    }

    #[tokio::test]
    async fn an_archived_agents_rows_are_its_owners() {
        let s = crowd().await;
        let vic = s.t.user(&s.ada.tenant, "vic@example.com", Role::Viewer).await;
        s.t.grant(s.scout.agent.as_ref().unwrap(), &s.ada.tenant, vic.user.as_str(), "editor", &s.mia.user).await;
        assert_eq!(s.sees(&vic, "").await.len(), 4);
        s.t.execute("UPDATE agents SET archived_at = 1 WHERE name = 'scout'").await.unwrap();
        assert_eq!(s.sees(&vic, "").await, Vec::<String>::new());
        assert_eq!(s.sees(&s.mia, "").await.len(), 4);
    }

    #[tokio::test]
    async fn filters_narrow_what_is_seen() {
        let s = crowd().await;
        s.t.wait(60);
        s.row("late", &s.mia, &id(&s.scout)).await;
        s.t.execute(&format!(
            "INSERT INTO audit (id, at, tenant_id, agent_id, action, outcome, count)
             SELECT 'aud_refused', 1767323045000, tenant_id, id, 'scope_denied', 'refused', 41 FROM agents WHERE id = '{}'",
            id(&s.scout)
        ))
        .await
        .unwrap();
        for (query, expected) in [
            ("?actor=scout".to_owned(), vec!["refused", "scout_hidden", "scout_scout"]),
            (format!("?actor={}", id(&s.scout)), vec!["refused", "scout_hidden", "scout_scout"]),
            ("?actor=MIA@example.com".to_owned(), vec!["late", "scout_hidden", "scout_scout", "mia_scout"]),
            (format!("?actor={}&object=hidden", s.mia.user), vec!["scout_hidden"]),
            ("?object=mia@example.com".to_owned(), vec!["user"]),
            (format!("?object={}&action=x.late", id(&s.scout)), vec!["late"]),
            ("?outcome=refused".to_owned(), vec!["refused"]),
            ("?outcome=done&since=2026-01-02T03:05:05Z".to_owned(), vec!["late"]),
            (
                "?actor=ada@example.com&until=2026-01-02T03:05:05.000Z".to_owned(),
                vec!["hidden_scout", "ada_hidden", "user"],
            ),
            ("?since=2026-01-02T03:05:05.001Z".to_owned(), vec![]),
            ("?action=x".to_owned(), vec![]),
        ] {
            assert_eq!(s.sees(&s.ada, &query).await, expected, "{query}");
        }
    }

    #[tokio::test]
    async fn a_filter_that_cannot_be_is_refused() {
        let s = site().await;
        for (query, status, slug) in [
            ("outcome=failed", 400, "invalid_filter"),
            ("since=yesterday", 400, "invalid_time"),
            ("until=2026-11-22", 400, "invalid_time"),
            ("actor=", 400, "invalid_text"),
            ("action=%00", 400, "invalid_text"),
            ("object=%E2%80%AE", 400, "invalid_text"),
            ("limit=0", 400, "invalid_limit"),
            ("limit=x", 422, "validation_error"),
            ("cursor=x", 400, "invalid_cursor"),
            ("who=me", 422, "validation_error"),
            ("actor=a&actor=b", 422, "validation_error"),
        ] {
            s.t.as_(&s.ada, "GET", &format!("/api/audit?{query}"), Null).await.refused(status, slug);
        }
        for query in ["limit=1", "cursor=x", "who=me"] {
            s.t.as_(&s.ada, "GET", &format!("/api/audit/export?{query}"), Null).await.refused(422, "validation_error");
        }
    }

    /// R36: 120 rows of which every second may be seen are pages of 50 and 10; nothing twice, no gap. The export is the same.
    #[tokio::test]
    async fn pages_have_no_gap_and_the_export_is_all_of_them() {
        let s = site().await;
        for number in 0..120 {
            let object = if number % 2 == 0 { &s.scout } else { &s.hidden };
            s.row(&format!("{number}"), &s.ada, &id(object)).await;
        }
        let expected: Vec<String> = (0..60).rev().map(|number| (number * 2).to_string()).collect();
        let first = s.t.as_(&s.mia, "GET", "/api/audit", Null).await.is(200);
        let cursor = first["next_cursor"].as_str().unwrap();
        // What comes meanwhile moves nothing.
        s.row("new", &s.ada, &id(&s.scout)).await;
        let second = s.t.as_(&s.mia, "GET", &format!("/api/audit?cursor={cursor}"), Null).await.is(200);
        assert_eq!((ids(&first).len(), ids(&second).len(), &second["next_cursor"]), (50, 10, &Null));
        assert_eq!([ids(&first), ids(&second)].concat(), expected);
        // Another caller's cursor, and another filter's.
        s.t.as_(&s.ada, "GET", &format!("/api/audit?cursor={cursor}"), Null).await.refused(400, "invalid_cursor");
        let other = format!("/api/audit?outcome=done&cursor={cursor}");
        s.t.as_(&s.mia, "GET", &other, Null).await.refused(400, "invalid_cursor");

        let export = s.t.as_(&s.mia, "GET", "/api/audit/export?until=2030-01-01T00:00:00Z", Null).await;
        assert_eq!(export.header("content-type"), "application/x-ndjson");
        assert_eq!(export.header("cache-control"), "no-store");
        let lines: Vec<Json> = export.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(
            lines[1..],
            [first["items"].as_array().unwrap().clone(), second["items"].as_array().unwrap().clone()].concat()
        );
        assert_eq!(lines[0]["id"], "aud_new");
        // More than is read at once.
        let all = s.t.as_(&s.ada, "GET", "/api/audit/export", Null).await;
        assert_eq!(all.text.lines().count(), 121);
        let none = s.t.as_(&s.ada, "GET", "/api/audit/export?outcome=refused", Null).await;
        assert_eq!((none.status.as_u16(), none.text.as_str()), (200, ""));
    }

    #[tokio::test]
    async fn an_outage_is_503_and_not_a_short_export() {
        let s = site().await;
        s.t.execute("ALTER TABLE audit RENAME TO gone").await.unwrap();
        for path in ["/api/audit", "/api/audit/export"] {
            s.t.as_(&s.ada, "GET", path, Null).await.refused(503, "database_unavailable");
        }
    }

    #[tokio::test]
    async fn verifying_needs_a_key_a_person_and_the_scope() {
        let s = crowd().await;
        let path = "/api/audit/verify";
        s.t.as_(&s.ada, "GET", path, Null).await.refused(503, "audit_key_missing");
        s.t.as_(&s.ada, "GET", &format!("{path}?head=x"), Null).await.refused(400, "invalid_head");
        s.t.as_(&s.ada, "GET", &format!("{path}?from=x"), Null).await.refused(422, "validation_error");
        s.t.as_(&s.mia, "GET", path, Null).await.refused(403, "scope_denied");
        s.t.as_(&s.hidden, "GET", path, Null).await.refused(403, "person_required");
    }

    /// The rows of all tenants are looked at; of another's only the number is said.
    #[tokio::test]
    async fn verifying_names_the_first_bad_row_of_ones_own_tenant() {
        let settings = || Settings::read(|name| (name == "audit_key").then(|| "a key".to_owned())).unwrap();
        let s = site_with(settings()).await;
        let other = s.t.tenant("other").await;
        let eve = s.t.user(&other, "eve@example.com", Role::Admin).await;
        for (name, by) in [("1", &s.ada), ("2", &eve), ("3", &s.ada)] {
            s.row(name, by, "x").await;
        }
        let head = common::seal::run(s.t.db(), &settings().audit_keys, s.t.now()).await.unwrap().unwrap().to_string();
        let path = format!("/api/audit/verify?head={}", head.replace(' ', "%20"));
        let whole = json!({
            "ok": true, "rows": 3, "sealed_to": 3, "head": &head[2..], "unsealed": 0, "next_from": null, "first_bad": null,
        });
        assert_eq!(s.t.as_(&s.ada, "GET", &path, Null).await.is(200), whole);
        s.t.execute("DROP TRIGGER an_audit_row_is_never_changed").await.unwrap();
        s.t.execute("UPDATE audit SET action = 'y' WHERE seq > 1").await.unwrap();
        let named = |answer: Json| answer["first_bad"].clone();
        let to_ada = named(s.t.as_(&s.ada, "GET", &path, Null).await.is(200));
        assert_eq!(to_ada, json!({ "seq": 2, "id": null, "what": "changed" }));
        let to_eve = named(s.t.as_(&eve, "GET", &path, Null).await.is(200));
        assert_eq!(to_eve, json!({ "seq": 2, "id": "aud_2", "what": "changed" }));
    }
}
