//! `/admin/audit`: the trail of the tenant, to filter and to verify.

use askama::Template;
use common::{error::ApiError, route};
use futures_util::future::join3;
use serde_json::Value as Json;
use service::{app::App, response::Response};

use crate::{
    api::{Api, Members, Trouble},
    form::Form,
    home::events,
    list::List,
    page::{Shell, answer, write_with},
    words::{self, Event},
};

/// Rows on a page.
const PAGE: &str = "25";
/// Parts of the trail that one click verifies at most.
const PARTS: usize = 50;

const FILTERS: [&str; 8] = ["actor", "action", "object", "credential", "request", "outcome", "since", "until"];

#[derive(Template)]
#[template(path = "audit.html")]
struct AuditPage {
    shell: Shell,
    list: List,
    events: Vec<Event>,
    /// What verifying found, if it was asked for.
    verified: Option<Verified>,
}

/// The result of verifying.
struct Verified {
    is_ok: bool,
    rows: usize,
    unsealed: i64,
    head: String,
    /// What is wrong, or why it could not be verified.
    wrong: String,
}

/// `GET /admin/audit`.
pub(crate) async fn list(app: App) -> Result<Response, ApiError> {
    answer(&app, show(&app)).await
}

async fn show(app: &App) -> Result<Response, Trouble> {
    let api = Api::of(app)?;
    let mut list = List::of(app, "/admin/audit", &FILTERS);
    let mut pairs = filters(&list.asked);
    pairs.extend(list.asked.pairs(&["cursor"]).into_iter().map(|(name, value)| (name, value.to_owned())));
    pairs.push(("limit", PAGE.to_owned()));
    let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let verified = async { if list.asked.is("verify", "1") { verify(&api).await.map(Some) } else { Ok(None) } };
    let trail = api.get(route::AUDIT_LIST, &[], &pairs);
    let (shell, trail, verified) = join3(Shell::load(app, &api, "Audit", "audit"), trail, verified).await;
    let (shell, trail, refused) = shell?.admins_only()?.with_list(trail)?;
    let verified = verified?;
    list.found(&trail);
    let events = events(trail.list("items"), &shell);
    write_with(&AuditPage { shell, list, events, verified }, refused.unwrap_or(200))
}

/// The filters of an address as the API takes them: days as moments, the last one whole.
fn filters(asked: &Form) -> Vec<(&'static str, String)> {
    let read = |name: &'static str| match (name, asked.text(name)) {
        (_, "") => None,
        ("since", day) => Some((name, words::first_moment(day))),
        ("until", day) => Some((name, words::next_moment(day))),
        (_, text) => Some((name, text.to_owned())),
    };
    FILTERS.into_iter().filter_map(read).collect()
}

/// `GET /admin/audit/export`: the rows of these filters as a file, passed on while they are read.
pub(crate) async fn export(app: App) -> Result<Response, ApiError> {
    answer(&app, async {
        let (api, asked) = (Api::of(&app)?, Form::query(&app));
        let pairs = filters(&asked);
        let pairs: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let file = match asked.is("format", "csv") {
            true => ("text/csv; charset=utf-8", "audit.csv"),
            false => ("application/x-ndjson", "audit.ndjson"),
        };
        let pairs: Vec<(&str, &str)> = pairs.into_iter().chain(asked.pairs(&["format"])).collect();
        api.download(route::AUDIT_EXPORT, &[], &pairs, file).await
    })
    .await
}

/// Verifies the trail, part for part.
async fn verify(api: &Api<'_>) -> Result<Verified, Trouble> {
    let mut verified = Verified { is_ok: true, rows: 0, unsealed: 0, head: String::new(), wrong: String::new() };
    let mut from = String::new();
    for _ in 0..PARTS {
        let asked = if from.is_empty() { vec![] } else { vec![("from", from.as_str())] };
        let part = match api.get(route::AUDIT_VERIFY, &[], &asked).await {
            Ok(part) => part,
            Err(Trouble::Refused(refusal)) => {
                let wrong = format!("{} {}", refusal.detail, refusal.fix);
                return Ok(Verified { is_ok: false, wrong, ..verified });
            }
            Err(trouble) => return Err(trouble),
        };
        verified.rows += usize::try_from(part.number("rows")).unwrap_or_default();
        verified.unsealed = part.number("unsealed");
        part.text("head").clone_into(&mut verified.head);
        if !part.is("ok") {
            let bad = part.at("first_bad");
            let wrong = format!("The first bad row is {}: {}", bad.text("id"), bad.text("what"));
            return Ok(Verified { is_ok: false, wrong, ..verified });
        }
        from = match part.at("next_from") {
            Json::Null => return Ok(verified),
            Json::String(next) => next.clone(),
            next => next.to_string(),
        };
    }
    let wrong = "The trail is longer than one click verifies. Send GET /api/audit/verify for the rest.".to_owned();
    Ok(Verified { is_ok: false, wrong, ..verified })
}
