//! `POST /api/ui/notify`: an agent notifies its owner, or a user that may read the agent. One hot statement writes the row and the kept
//! answer, if there is such a recipient.

use common::{
    error::{ApiError, Code, Flaws},
    id::NotificationId,
    text::{prose, text},
    url::{self, Url},
};
use schemars::JsonSchema;
use serde::Serialize;
use service::{
    app::App,
    caller::Caller,
    extract::Body,
    form,
    form::Nullable,
    idempotency::{Answer, IdempotencyKey, KEPT_FOR},
    mail, quota,
    response::Response,
    site,
};
use store::{
    db::DbError,
    kept_answer,
    notification::{self, New},
};

form! {
    pub(crate) struct Notify {
        title: String,
        body: String,
        priority: Option<String>,
        app_origin: Option<Nullable<String>>,
        action_url: Option<Nullable<String>>,
        user: Option<Nullable<String>>,
    }
}

/// The first parts of paths at which one looks.
const PAGES: [&str; 6] = ["", "access", "agents", "docs", "guides", "notifications"];

/// How a person makes room for notifications.
const FREE: &str = "The person can delete notifications, on their page Notifications";

#[derive(Serialize, JsonSchema)]
pub(crate) struct Delivered<'a> {
    delivered: bool,
    notification_id: &'a NotificationId,
}

/// The handler.
pub(crate) async fn notify(
    app: App,
    caller: Caller,
    Body(body): Body<Notify>,
    key: Option<IdempotencyKey>,
) -> Result<Response, ApiError> {
    let mut flaws = Flaws::default();
    let title = flaws.check("title", text("title", &body.title, 120));
    let message = flaws.check("body", prose("body", &body.body, 4_000));
    let priority = flaws.check("priority", read_priority(body.priority.as_deref().unwrap_or("normal")));
    let sent = [body.app_origin, body.action_url, body.user].map(|sent| sent.and_then(|Nullable(text)| text));
    let [app_origin, action_url, user] = sent.each_ref().map(Option::as_deref);
    let app_origin = flaws.check("app_origin", app_origin.map(|origin| text("app_origin", origin, 200)).transpose());
    let action_url = flaws.check("action_url", action_url.map(|url| read_link(&app, url)).transpose());
    let (Some(title), Some(message), Some(priority), Some(app_origin), Some(action_url)) =
        (title, message, priority, app_origin, action_url)
    else {
        return Err(flaws.refusal());
    };
    if let Some(key) = &key
        && let Some(answer) = key.answer_again(&app, &caller).await?
    {
        return Ok(answer);
    }
    let agent = caller.agent_id().ok_or(Code::AgentRequired)?;
    let id = NotificationId::generate(app.now(), app.chance());
    let answer = Answer::created(&Delivered { delivered: true, notification_id: &id })?;
    let kept = match &key {
        None => None,
        Some(key) => Some((key.digest(), key.seal(&app, &caller, &answer)?)),
    };
    let new = New {
        id: &id,
        title: &title,
        body: &message,
        priority,
        app_origin: app_origin.as_deref(),
        action_url,
        user: user.map(str::trim),
        now: app.now(),
        kept,
        caller: IdempotencyKey::whose(&caller),
        most: app.settings().quotas.notifications,
        is_owners: caller.grantee().is_none(),
    };
    match notification::notify(app.db(), agent, &new, app.now().plus_seconds(KEPT_FOR)).await {
        Ok(Some(is_heard)) => {
            if is_heard {
                mail::hurry(&app);
            }
            Ok(answer.into_response())
        }
        Ok(None) if key.is_some() && kept_answer::is_full(app.db(), new.caller).await? => Err(Code::TooManyKeys.into()),
        Ok(None) if notification::is_enough(app.db(), agent, new.user, new.most, new.is_owners).await? => {
            Err(quota::reached("notifications", FREE, "person", new.most))
        }
        Ok(None) => Err(Code::RecipientNotFound.into()),
        // A concurrent request with the same key was first: its row made the whole statement fail.
        Err(error @ DbError::Unavailable(_)) => match &key {
            Some(key) => key.answer_again(&app, &caller).await?.ok_or_else(|| error.into()),
            None => Err(error.into()),
        },
        Err(error) => Err(error.into()),
    }
}

/// The priorities of a notification.
pub(crate) const PRIORITIES: [&str; 3] = ["low", "normal", "high"];

fn read_priority(text: &str) -> Result<&str, ApiError> {
    if PRIORITIES.contains(&text) { Ok(text) } else { Err(Code::InvalidPriority.into()) }
}

fn read_link<'u>(app: &App, text: &'u str) -> Result<&'u str, ApiError> {
    let own = site::address(app).unwrap_or_default();
    let is_good = is_link(text, Url::parse(&own).map(|own| own.host));
    is_good.then_some(text).ok_or_else(|| Code::InvalidUrl.with("field", "action_url"))
}

/// Whether a text is an https URL or a path of this site: nothing that a browser would run or that leads elsewhere unseen. `own`: the host of
/// this site, whose URLs are paths of it.
fn is_link(text: &str, own: Option<&str>) -> bool {
    match Url::parse(text) {
        Some(url) if !url.is_secure => false,
        Some(url) if own.is_some_and(|own| own.eq_ignore_ascii_case(url.host)) => is_path_of_this_site(url.path),
        Some(_) => true,
        None => is_path_of_this_site(text),
    }
}

/// Whether a text is a path with a single slash in front, of a page at which one looks: an agent leads nobody to a page that lets somebody in
/// or decides, with what is to be decided filled in. No empty and no dot segment: what a browser makes of them may lead away.
fn is_path_of_this_site(text: &str) -> bool {
    let (rest, fragment) = text.split_once('#').unwrap_or((text, ""));
    let path = rest.split('?').next().unwrap_or_default();
    let first = path.split('/').nth(1).unwrap_or_default();
    text.len() <= 2_000
        && text.starts_with('/')
        && PAGES.contains(&first)
        && url::is_plain(rest)
        && url::is_plain(fragment)
        && !path.contains("//")
        && !url::is_ambiguous_path(path)
}

#[cfg(test)]
mod tests;
