//! `POST /auth/leaks`: anybody who finds one of our credentials in the open ends it by sending it here.
//!
//! The reporter may be a stranger, so the answer says nothing: known, unknown and malformed credentials are all 204, and reports are
//! counted by network before anything is looked up.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    route::Route,
    secret::{RefreshToken, Secret},
};
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    event::{self, Event},
    extract::Body,
    form, mail, quota,
    response::{Response, no_content},
    throttle,
};
use store::{
    audit, credential,
    db::{Purpose, Tx},
    origin::Origin,
    outbox, user,
};

use crate::oauth::issued;

/// Reports that one network may send in a window.
const REPORTS: i64 = 30;
/// The window, seconds.
const WINDOW: i64 = 600;

form! {
    pub(crate) struct Leak {
        token: String,
    }
}

/// The handler.
pub(crate) async fn report(app: App, route: &'static Route, Body(leak): Body<Leak>) -> Result<Response, ApiError> {
    throttle::count(&app, &["leak", &app.network()], (REPORTS, WINDOW), Code::TooManyReports).await?;
    if let Some(token) = RefreshToken::parse(leak.token.trim()) {
        issued::end_leaked(&app, route, &token).await?;
        return Ok(no_content());
    }
    let Some(secret) = Secret::parse(leak.token.trim()) else { return Ok(no_content()) };
    let Some(found) = Caller::find_by_secret(app.db(), secret, app.now()).await? else { return Ok(no_content()) };
    let tx = app.db().begin(Purpose::Revoking).await?;
    let was_live = credential::revoke(&tx, found.credential_id(), app.now()).await?;
    // A thief may have rotated it: the successor stays live, and only the owner knows who holds it.
    let successor = credential::successor(&tx, found.credential_id(), found.agent_id(), app.now()).await?;
    let successor = successor.map(|successor| successor.prefix);
    let action = route.audit.unwrap_or_default();
    let is_news =
        was_live || (successor.is_some() && !audit::exists(&tx, found.credential_id().as_str(), action).await?);
    if is_news {
        let origin = app.origin(found.tenant_id(), None);
        let event = audit::Event {
            action,
            object: found.credential_id().as_str(),
            before: Null,
            after: json!({
                "kind": found.credential_kind(), "prefix": found.credential_prefix(), "revoked": was_live, "successor": successor,
            }),
        };
        audit::insert(&tx, &origin, &event).await?;
        notify(&app, (&tx, &origin), &found, was_live, successor.as_deref()).await?;
        tx.commit().await?;
    }
    Ok(no_content())
}

/// Notifies the credential's owner and the tenant's admins, by mail too where there is mail.
async fn notify(
    app: &App,
    (tx, origin): (&Tx<'_>, &Origin<'_>),
    found: &Caller,
    was_live: bool,
    successor: Option<&str>,
) -> Result<(), ApiError> {
    let whose = match found.agent() {
        Some((name, _)) => format!("the agent {name}"),
        None => found.email().to_owned(),
    };
    let prefix = found.credential_prefix();
    let ended = if was_live { "It was revoked." } else { "It had already expired or been revoked." };
    let next = match successor {
        None => "Check what it was used for, and create a new one.".to_owned(),
        Some(next) => format!(
            "However, {next}… has replaced it and still works. If you did not replace it yourself, revoke {next}… too. Check what both were used for."
        ),
    };
    let body = format!("The credential {prefix}… of {whose} was reported as leaked. {ended} {next}");
    let data = json!({ "whose": whose, "prefix": prefix, "text": body });
    let title =
        if was_live { "A leaked credential was revoked" } else { "A credential that no longer works was leaked" };
    let cause = quota::person_behind(tx, found).await?;
    let people = user::owner_and_admins(tx, found.tenant_id(), found.user_id()).await?;
    let event = match found.agent_id() {
        Some(agent) => Event::of_agent(EventKind::CredentialLeaked, agent),
        None => Event::of_user(EventKind::CredentialLeaked, found.user_id()),
    };
    let mut event = event.data(json!({
        "credential": found.credential_id(), "kind": found.credential_kind(), "prefix": prefix, "revoked": was_live,
    }));
    for user in &people {
        event = event.notifying(&user.id, title, body.as_str());
    }
    event::deliver(tx, origin, Some(&cause), &event).await?;
    mail::hurry_if_left(app, tx);
    for user in &people {
        mail::queue(app, tx, (found.tenant_id(), &user.id), outbox::Kind::Leak, data.clone()).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
