//! Sealing again, under the first key of the variable `secrets_key`, what was sealed under the others: so the operator can take an old key
//! away after a while. Each tick does some of it.

use common::vault;
use service::app::{App, log};
use store::{
    agent::secret::{self, Kind},
    db::DbError,
};

/// Texts of one kind that one tick seals again at most.
const BATCH: i64 = 100;

/// Seals some again, and says in the log how many. With one key there is nothing to do, and nothing is read.
pub(crate) async fn run(app: &App) -> Result<(), DbError> {
    let vault = &app.settings().vault;
    for key in vault.older_keys() {
        for kind in Kind::ALL {
            let places = secret::sealed_under(app.db(), kind, &key, BATCH).await?;
            let (found, mut done) = (places.len(), 0);
            for place in places {
                let (purpose, parts) = match kind {
                    Kind::Secret => (vault::SECRET, vec![place.tenant.as_str(), &place.agent, &place.key]),
                    Kind::Factor => (vault::TOTP, vec![place.key.as_str()]),
                    Kind::Webhook => (vault::WEBHOOK, vec![place.agent.as_str(), &place.key]),
                };
                let opened = vault.open(purpose, &parts, &place.sealed).ok();
                let sealed = opened.and_then(|text| vault.seal(purpose, &parts, &text, app.chance()).ok());
                // One that does not open stays as it is; the one that reads it is told.
                if let Some(sealed) = sealed {
                    secret::reseal(app.db(), kind, &place, sealed).await?;
                    done += 1;
                }
            }
            if found > 0 {
                let rest = if found < BATCH as usize { "none is left under that key" } else { "more are left" };
                let rest = if done < found { "some do not open" } else { rest };
                log(app.request_id(), "tick", &format!("{done} secrets were sealed under the first key; {rest}"));
            }
        }
    }
    Ok(())
}
