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
                    Kind::Key | Kind::FormerKey => (vault::WEBHOOK, vec![place.agent.as_str(), &place.key]),
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

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// R48, R422: everything that was sealed opens under the new key alone, in its own place and with each part of it: secrets of agents and
    /// of keys, with those that keys had before, both secrets of a webhook, of which the one before still signs, and those of second factors.
    #[tokio::test]
    async fn what_was_sealed_is_sealed_again_for_its_own_place() {
        let (old, new) = ("an-old-key-of-the-operator-that-is-long", "a-new-key-of-the-operator-that-is-long");
        let t = TestApp::with(with_neighbours(), settings(old));
        let tenant = t.tenant("main").await;
        let ada = t.user(&tenant, "ada@example.com", Role::Admin).await;
        let scout = t.agent(&ada, "scout", "agents.read").await.agent.unwrap();
        let (tenant, user, scout) = (tenant.as_str(), ada.user.as_str(), scout.as_str());
        let of_webhook = [tenant, "whk_1"];
        let all = [
            (vault::SECRET, &[tenant, scout, "A"][..], "the secret", "SELECT hex(sealed) FROM agent_secrets"),
            (vault::WEBHOOK, &[scout, "key_1"], "of a key", "SELECT hex(sealed) FROM api_keys"),
            (vault::WEBHOOK, &[scout, "key_1"], "of a key before", "SELECT hex(sealed) FROM former_hook_secrets"),
            (deliver::PURPOSE, &of_webhook, "of a webhook", "SELECT hex(sealed) FROM webhooks"),
            (deliver::PURPOSE, &of_webhook, "the one before", "SELECT hex(former) FROM webhooks"),
            (vault::TOTP, &[user], "of a factor", "SELECT hex(sealed) FROM factors"),
        ];
        assert_eq!(all.len(), Kind::ALL.len());
        let sealed = all
            .map(|(purpose, place, text, _)| hex(&settings(old).vault.seal(purpose, place, text, t.chance()).unwrap()));
        let [of_agent, of_key, before, of_webhook, former, of_factor] = &sealed;
        for sql in [
            format!("INSERT INTO agent_secrets (agent_id, name, sealed, created_at, updated_at, updated_by) VALUES ('{scout}', 'A', x'{of_agent}', 0, 0, '{user}')"),
            format!(
                "INSERT INTO api_keys (id, tenant_id, agent_id, name, type, sealed, sealed_at, created_at, created_by)
                 VALUES ('key_1', '{tenant}', '{scout}', 'a', 'standard', x'{of_key}', 0, 0, '{user}')"
            ),
            format!(
                "INSERT INTO former_hook_secrets (id, tenant_id, agent_id, sealed, sealed_at, ends_at)
                 VALUES ('key_1', '{tenant}', '{scout}', x'{before}', 0, 4000000000000)"
            ),
            format!(
                "INSERT INTO webhooks (id, tenant_id, user_id, name, url, takes_notifications, sealed, sealed_at, former, created_at, updated_at)
                 VALUES ('whk_1', '{tenant}', '{user}', 'x', 'https://hooks.example', 0, x'{of_webhook}', 0, x'{former}', 0, 0)"
            ),
            format!("INSERT INTO factors (user_id, sealed, created_at) VALUES ('{user}', x'{of_factor}', 0)"),
        ] {
            t.execute(&sql).await.unwrap();
        }
        let both = TestApp::over_with(with_neighbours(), settings(&format!("{new},{old}")), &t);
        t.wait(2);
        both.nobody("POST", "/internal/tick", Null).await.is(204);
        for (purpose, place, text, sql) in all {
            let hex = t.texts(sql).await.remove(0);
            let bytes: Vec<u8> =
                (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect();
            assert_eq!(settings(new).vault.open(purpose, place, &bytes).as_deref(), Ok(text), "{sql}");
        }
    }
}
