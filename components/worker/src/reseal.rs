//! Sealing again, under the first key of the variable `secrets_key`, what was sealed under the others: so the operator can take an old key
//! away after a while. Each tick does some of it.

use common::vault;
use service::app::{App, log};
use store::{
    db::DbError,
    sealed::{self, Kind},
};

use crate::deliver;

/// Texts of one kind that one tick seals again at most.
const BATCH: i64 = 100;

/// Seals some again, and says in the log how many. With one key there is nothing to do, and nothing is read.
pub(crate) async fn run(app: &App) -> Result<(), DbError> {
    let vault = &app.settings().vault;
    for key in vault.older_keys() {
        for kind in Kind::ALL {
            let places = sealed::list_under(app.db(), kind, &key, BATCH).await?;
            let (found, mut done) = (places.len(), 0);
            for place in places {
                let (purpose, parts) = match kind {
                    Kind::Secret => (vault::SECRET, vec![place.tenant.as_str(), &place.agent, &place.key]),
                    Kind::Key => (vault::WEBHOOK, vec![place.agent.as_str(), &place.key]),
                    Kind::Webhook | Kind::FormerWebhook => (deliver::PURPOSE, vec![place.tenant.as_str(), &place.key]),
                    Kind::Factor => (vault::TOTP, vec![place.key.as_str()]),
                };
                let opened = vault.open(purpose, &parts, &place.sealed).ok();
                let sealed = opened.and_then(|text| vault.seal(purpose, &parts, &text, app.chance()).ok());
                // One that does not open stays as it is; the one that reads it is told.
                if let Some(sealed) = sealed {
                    sealed::replace(app.db(), kind, &place, sealed).await?;
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

#[cfg(test)]
mod tests {
    use common::{role::Role, vault::Vault};
    use serde_json::Value::Null;
    use service::{settings::Settings, testing::TestApp};

    use super::*;
    use crate::with_neighbours;

    fn settings(keys: &str) -> Settings {
        Settings { vault: Vault::parse(keys).unwrap(), ..Settings::default() }
    }

    /// R48: both secrets of a webhook open under the new key alone, the one before too, which still signs.
    #[tokio::test]
    async fn both_secrets_of_a_webhook_are_sealed_again() {
        let (old, new) = ("an-old-key-of-the-operator-that-is-long", "a-new-key-of-the-operator-that-is-long");
        let t = TestApp::with(with_neighbours(), settings(old));
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let place = [tenant.as_str(), "whk_1"];
        let sealed = ["the secret", "the one before"].map(|text| {
            let sealed = settings(old).vault.seal(deliver::PURPOSE, &place, text, t.chance()).unwrap();
            sealed.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
        });
        t.execute(&format!(
            "INSERT INTO webhooks (id, tenant_id, user_id, name, url, takes_notifications, sealed, sealed_at, former, created_at, updated_at)
             VALUES ('whk_1', '{tenant}', '{}', 'x', 'https://hooks.example', 0, x'{}', 0, x'{}', 0, 0)",
            ada.user, sealed[0], sealed[1]
        ))
        .await
        .unwrap();
        let both = TestApp::over_with(with_neighbours(), settings(&format!("{new},{old}")), &t);
        t.wait(2);
        both.nobody("POST", "/internal/tick", Null).await.is(204);
        for (column, text) in [("sealed", "the secret"), ("former", "the one before")] {
            let hex = t.texts(&format!("SELECT hex({column}) FROM webhooks")).await.remove(0);
            let bytes: Vec<u8> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            assert_eq!(settings(new).vault.open(deliver::PURPOSE, &place, &bytes).as_deref(), Ok(text), "{column}");
        }
    }
}
