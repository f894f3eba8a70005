//! `POST /auth/leaks`: anybody who finds one of our credentials in the open ends it by sending it here.
//!
//! The reporter may be a stranger, so the answer says nothing: known, unknown and malformed credentials are all 204, and reports are
//! counted by network before anything is looked up.

use common::{
    error::{ApiError, Code},
    event::EventKind,
    route::Route,
    secret::{ClientSecret, Kind, RefreshToken, Secret},
    text::isolated,
};
use serde_json::{Value::Null, json};
use service::{
    app::App,
    caller::Caller,
    change,
    event::{self, Event},
    extract::Body,
    form, mail, quota,
    response::{Response, no_content},
    throttle,
};
use store::{
    audit, code, credential,
    db::{Purpose, Tx},
    epoch, notification, oauth_client,
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
    if let Some(secret) = ClientSecret::parse(leak.token.trim()) {
        end_client_secret(&app, route, &secret).await?;
        return Ok(no_content());
    }
    let Some(secret) = Secret::parse(leak.token.trim()) else { return Ok(no_content()) };
    let Some(found) = Caller::find_by_secret(app.db(), secret, app.now()).await? else { return Ok(no_content()) };
    let tx = app.db().begin(Purpose::Revoking).await?;
    let since = epoch::last(&tx, found.tenant_id()).await?;
    let was_live = !credential::revoke_with_former(&tx, found.credential_id(), app.now()).await?.is_empty();
    code::end_of_token(&tx, found.credential_id()).await?;
    // A thief may have rotated it: the successor stays live, and only the owner knows who holds it.
    let successor = credential::successor(&tx, found.credential_id(), found.agent_id(), app.now()).await?;
    let made =
        credential::made_with(&tx, found.credential_id(), successor.as_ref().map(|next| &next.id), app.now()).await?;
    let successor = successor.map(|successor| successor.prefix);
    let action = route.audit.unwrap_or_default();
    let (credential, agent) = (found.credential_id().as_str(), found.agent_id());
    let object = agent.map_or(credential, |agent| agent.as_str());
    let is_news = was_live || (successor.is_some() && !audit::exists(&tx, (object, credential), action).await?);
    if is_news {
        let origin = app.origin(found.tenant_id(), None);
        let event = audit::Event {
            action,
            object,
            before: agent.map_or(Null, |_| json!({ "token": credential })),
            after: json!({
                "kind": found.credential_kind(), "prefix": found.credential_prefix(), "revoked": was_live, "successor": successor, "made": made,
            }),
        };
        // Its owner and the admins can follow it; the reporter is told nothing.
        change::audit_closing(&tx, &origin, (since, found.user_id().as_str()), event).await?;
        notify(&app, (&tx, &origin), &found, was_live, (successor.as_deref(), made)).await?;
        tx.commit().await?;
    }
    Ok(no_content())
}

/// Ends the secret of an OAuth client, and tells the person who registered it and the tenant's admins. What people gave the client stays: without
/// its secret it gets no further token of that, until an admin gives it another one.
async fn end_client_secret(app: &App, route: &'static Route, secret: &ClientSecret) -> Result<(), ApiError> {
    let Some(client) = oauth_client::of_secret(app.db(), &secret.digest()).await? else { return Ok(()) };
    let tx = app.db().begin(Purpose::Revoking).await?;
    if !oauth_client::end_secret(&tx, &secret.digest(), app.now()).await? {
        return Ok(());
    }
    let event = audit::Event {
        action: route.audit.unwrap_or_default(),
        object: client.id.as_str(),
        before: Null,
        after: json!({ "kind": "client_secret", "name": client.name, "revoked": true }),
    };
    audit::insert(&tx, &app.origin(&client.tenant, None), &event).await?;
    let (whose, prefix) = (format!("the OAuth client {}", isolated(&client.name)), secret.shown());
    let text = format!(
        "The secret {prefix}… of {whose} was reported as leaked. It was ended, so the client gets no more tokens. Give it another one on the page OAuth clients. Check what it was used for."
    );
    for user in user::owner_and_admins(&tx, &client.tenant, &client.created_by).await? {
        let title = "A leaked secret of an OAuth client was ended";
        notification::insert_own(&tx, (&client.tenant, app.chance(), app.now()), (&user.id, None), (title, &text))
            .await?;
        let data = json!({ "whose": whose, "prefix": prefix, "text": text });
        mail::queue(app, &tx, (&client.tenant, &user.id), outbox::Kind::Leak, data).await?;
    }
    mail::hurry_if_left(app, &tx);
    Ok(tx.commit().await?)
}

/// Notifies the credential's owner and the tenant's admins, by mail too where there is mail.
async fn notify(
    app: &App,
    (tx, origin): (&Tx<'_>, &Origin<'_>),
    found: &Caller,
    was_live: bool,
    (successor, made): (Option<&str>, i64),
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
    let next = match made {
        0 => next,
        1 => format!(
            "{next} One credential that was made with it still works: revoke it too, unless you know who has it."
        ),
        made => {
            format!("{next} {made} credentials that were made with it still work: revoke those that you do not know.")
        }
    };
    let body = format!("The credential {prefix}… of {whose} was reported as leaked. {ended} {next}");
    let data = json!({ "whose": whose, "prefix": prefix, "text": body, "agent": found.agent_id() });
    let title =
        if was_live { "A leaked credential was revoked" } else { "A credential that no longer works was leaked" };
    let cause = quota::person_behind(tx, found).await?;
    let event = match found.agent_id() {
        Some(agent) => Event::of_agent(EventKind::CredentialLeaked, agent),
        None => Event::of_user(EventKind::CredentialLeaked, found.user_id()),
    };
    let event = event.data(json!({
        "credential": found.credential_id(), "kind": found.credential_kind(), "prefix": prefix, "revoked": was_live,
    }));
    let mut event = event.saying(title, body).mailing(outbox::Kind::Leak, data);
    if found.agent_id().is_none() {
        let own = if found.credential_kind() == Kind::Session { "/security" } else { "/tokens" };
        event = event.leading_to(own).leading_admins_to(format!("/admin/users/{}", found.user_id()));
    }
    if made > 0 {
        event = event.leading_admins_to(format!("/admin/tokens?minted_with={}", found.credential_id()));
    }
    event::deliver(app, tx, origin, Some(&cause), &event).await?;
    mail::hurry_if_left(app, tx);
    Ok(())
}

#[cfg(test)]
mod tests;
