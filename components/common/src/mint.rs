//! What every mint asks for in the same words, and what it must respect: never wider, never longer than the minter.

use crate::{
    caller::Caller,
    db::{Rows, Tx},
    error::{ApiError, Code},
    form::OrNull,
    http::App,
    id::{AgentId, CredentialId, TenantId, UserId},
    scope::{Patterns, Role, Scope, Scopes},
    secret::{Kind, Secret},
    store::{credential, preset},
    time::{Lifetime, Timestamp},
};

/// The longest grace of a credential that is replaced, seconds.
const MOST_GRACE: i64 = 86_400;
/// The least grace of who replaces the credential that he presents, seconds: he must get the answer before his old one ends.
pub const OWN_GRACE: i64 = 60;

/// Reads `expires_in_days`. `None`: it was left out.
pub fn lifetime(days: Option<OrNull<i64>>) -> Result<Option<Lifetime>, ApiError> {
    match days {
        None => Ok(None),
        Some(OrNull(days)) => Lifetime::parse(days).map(Some).map_err(|_| Code::InvalidLifetime.into()),
    }
}

/// Reads `grace_seconds`: what was asked, else `least`; never less.
pub fn grace(asked: Option<i64>, least: i64) -> Result<i64, ApiError> {
    let grace = asked.unwrap_or(least);
    if (least..=MOST_GRACE).contains(&grace) { Ok(grace) } else { Err(Code::InvalidGrace.into()) }
}

/// Scopes that were asked for: a ceiling, or what a credential is to carry; and the preset with its version that they came from.
#[derive(Clone)]
pub struct Rights {
    /// The scopes.
    pub scope: Patterns,
    /// Name and version of the preset, if it was one.
    pub preset: Option<(String, i64)>,
}

/// Reads `scope` or `preset`, of which at most one may be sent. `None`: neither was.
pub async fn rights(
    reads: &dyn Rows,
    caller: &Caller,
    scope: Option<&[String]>,
    preset: Option<&str>,
) -> Result<Option<Rights>, ApiError> {
    match (scope, preset) {
        (Some(_), Some(_)) => Err(ApiError::field("preset", "send scope or preset, not both")),
        (None, None) => Ok(None),
        (None, Some(name)) => of_preset(reads, caller, name).await.map(Some),
        (Some(asked), None) => Ok(Some(Rights { scope: caller.read_scope(asked)?, preset: None })),
    }
}

/// What the newest version of a preset gives. 400: there is none of that name.
pub async fn of_preset(reads: &dyn Rows, caller: &Caller, name: &str) -> Result<Rights, ApiError> {
    let preset = preset::newest(reads, caller.tenant_id(), name).await?.ok_or(Code::UnknownPreset)?;
    Ok(Rights { scope: preset.scope, preset: Some((preset.name, preset.version)) })
}

/// Makes an agent's token. That nobody gains by it was decided before.
pub async fn agent_token(
    app: &App,
    tx: &Tx<'_>,
    (tenant_id, owner_id): (&TenantId, &UserId),
    agent_id: &AgentId,
    scope: &str,
    expires_at: Option<Timestamp>,
) -> Result<(CredentialId, Secret), ApiError> {
    let secret = Secret::generate(Kind::AgentToken, app.chance());
    let id = CredentialId::generate(app.now(), app.chance());
    let new = credential::New {
        id: &id,
        secret: &secret,
        tenant_id,
        user_id: owner_id,
        agent_id: Some(agent_id),
        scope,
        created_at: app.now(),
        expires_at,
        user_agent: None,
        name: None,
        key_id: None,
    };
    credential::insert(tx, &new).await?;
    Ok((id, secret))
}

/// Says which of the scopes have no effect, because the role lacks them (or only people can use them, for an agent).
pub fn warn_of_no_effect(
    caller: &Caller,
    patterns: &Patterns,
    role: Role,
    for_agent: bool,
    warnings: &mut Vec<String>,
) {
    // A person's `*` means all that his role allows, whatever that is.
    if !for_agent && patterns.to_column() == "*" {
        return;
    }
    let allowed = Scopes::of_role(role, caller.defined());
    let allowed = if for_agent { allowed.for_agents() } else { allowed };
    let idle = patterns.scopes(caller.defined()).without(&allowed);
    if !idle.is_empty() {
        let (names, role) = (idle.names(caller.defined()).join(", "), role.as_str());
        let why = match for_agent {
            true => format!("agents cannot use them or the owner's role {role} lacks them"),
            false => format!("your role {role} lacks them"),
        };
        warnings.push(format!("These scopes have no effect, because {why}: {names}."));
    }
}

impl Caller {
    /// Reads `scope`: known scopes and the tenant's custom ones.
    pub fn read_scope(&self, asked: &[String]) -> Result<Patterns, ApiError> {
        Patterns::parse(asked, self.defined()).map_err(|unknown| {
            let known = Scope::ALL.iter().map(|scope| scope.as_str());
            let valid: Vec<&str> = known.chain(self.defined().names().iter().map(String::as_str)).collect();
            let is_empty = unknown.is_empty();
            let refusal =
                ApiError::from(Code::UnknownScope).extra("unknown_scopes", unknown).extra("valid_scopes", valid);
            if is_empty { refusal.detail("scope is an empty list.") } else { refusal }
        })
    }

    /// Checks that `gain`, of what was asked for an agent of `owner`'s, is no wider than the minter, and gives what is to be
    /// stored. A session may mint everything for its own person's agent, where the role's ceiling decides what has an effect; for
    /// somebody else's, and by every other credential, at most what the minter can use himself. There a pattern wider than the
    /// minter's own stands for what it covers today, or scopes that are defined later would fall to what was minted and not to
    /// who minted it. `excess` is refused whoever mints, and named with the rest.
    pub fn may_mint(
        &self,
        gain: Scopes,
        excess: Scopes,
        owner: &UserId,
        asked: &Patterns,
    ) -> Result<Patterns, ApiError> {
        if self.credential_kind() == Kind::Session && owner == self.user_id() {
            self.refuse_excess(excess, asked)?;
            return Ok(asked.clone());
        }
        // What no agent can ever use is given to none by being written down.
        self.refuse_excess(excess.or(gain.for_agents().without(&self.mintable())), asked)?;
        Ok(asked.within(&[self.carried(), self.ceiling()], self.defined()))
    }

    /// Refuses scopes that may not be minted, all of them named.
    pub fn refuse_excess(&self, excess: Scopes, asked: &Patterns) -> Result<(), ApiError> {
        if excess.is_empty() {
            return Ok(());
        }
        // All that is minted here is for agents: what none can use is not worth sending again.
        let left = asked.scopes(self.defined()).without(&excess).for_agents();
        let rest = match left.is_empty() {
            true => String::new(),
            false => format!(
                "Send the same request with \"scope\": {}. ",
                crate::form::written(&serde_json::json!(left.to_patterns()))
            ),
        };
        let names = excess.names(self.defined());
        Err(Code::ScopeTooWide
            .detail(format!("These scopes cannot be given here: {}.", names.join(", ")))
            .with("rest", rest)
            .with("excess", names.join(", "))
            .extra("excess_scopes", names)
            .extra("asked_scopes", serde_json::to_value(asked).unwrap_or_default()))
    }

    /// The end of what is minted: no later than the minter's own, which a session does not hand on. The warning says when
    /// the end was capped. `asked`: `None` when left out, which means never.
    pub fn cap_life(
        &self,
        asked: Option<crate::time::Lifetime>,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, Option<String>), ApiError> {
        let wanted = asked.and_then(|life| life.ending(now));
        let own = self.expires_at().filter(|_| self.credential_kind() != Kind::Session);
        let Some(own) = own else { return Ok((wanted, None)) };
        if asked.is_none() {
            let warning = format!("expires_at is {own}: a credential cannot outlive the one that mints it.");
            return Ok((Some(own), Some(warning)));
        }
        match wanted {
            Some(end) if end <= own => Ok((Some(end), None)),
            _ => {
                let days = match (own.millis() - now.millis()) / 86_400_000 {
                    ..=0 => "less than a day".to_owned(),
                    1 => "1 whole day".to_owned(),
                    days => format!("{days} whole days"),
                };
                Err(Code::LifetimeTooLong.with("days", days))
            }
        }
    }
}
