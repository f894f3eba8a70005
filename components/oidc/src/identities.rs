//! `GET /auth/identities` and `DELETE /auth/identities/{id}`: what the calling person has linked.

use common::error::{ApiError, Code};
use http::StatusCode;
use serde_json::json;
use service::{
    app::App,
    caller::Caller,
    change::{Answer, Change},
    extract::Path,
    response::{Response, json as answer},
};
use store::{
    credential,
    identity::{self, Identities},
    outbox, user,
};

/// `GET /auth/identities`: all of them, the newest first; there are few.
pub(crate) async fn list(app: App, caller: Caller) -> Result<Response, ApiError> {
    let items = identity::list(app.db(), caller.user_id()).await?;
    answer(StatusCode::OK, &Identities { items })
}

/// `DELETE /auth/identities/{id}`: the identity opens the account no more, and ends what a password ends, all other sessions: somebody who has
/// it may have got in by it. The last way in stays.
pub(crate) async fn unlink(change: Change<()>, Path(id): Path) -> Result<Response, ApiError> {
    change
        .run(async |write, ()| {
            let (me, has_mail) = (write.caller.user_id(), write.app().settings().has_mail());
            let is_spare = identity::is_spare(&write.tx, me, &id, has_mail).await?;
            let provider = identity::delete(&write.tx, me, &id).await?.ok_or(Code::IdentityNotFound)?;
            if !is_spare {
                return Err(Code::LastIdentity.into());
            }
            if !user::leaves_an_admin(&write.tx, me, has_mail).await? {
                return Err(Code::LastAdmin.into());
            }
            let this = write.caller.credential_id();
            let ended = credential::revoke_sessions(&write.tx, me, Some(this), write.now()).await?;
            let known = write.app().settings().identity_providers.iter().find(|known| known.name == provider);
            let label = known.map_or(&provider, |known| &known.label);
            write.mail(me, outbox::Kind::IdentityUnlinked, json!({ "provider": label })).await?;
            Ok(Answer::no_content().audited(&id, json!({ "provider": provider }), json!({ "ended_sessions": ended })))
        })
        .await
}
