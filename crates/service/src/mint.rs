//! The fields that every mint has in common, and the rules that it must respect: a new credential is never wider than its minter, and never
//! lives longer.

use common::{
    error::{ApiError, Code},
    id::{AgentId, CredentialId, KeyId, UserId},
    json,
    role::Role,
    scope::{Patterns, Scope, Scopes},
    secret::{Kind, Secret},
    time::{Lifetime, Timestamp},
};
use store::{
    credential,
    db::{Rows, Tx},
    origin::Origin,
    preset,
};

use crate::{caller::Caller, form, form::Nullable};

/// The longest grace of a credential that is replaced, seconds.
const MOST_GRACE: i64 = 86_400;
/// The shortest grace of a credential that replaces itself, seconds: its bearer must get the answer before the old one ends.
pub const OWN_GRACE: i64 = 60;

form! {
    /// How long a new credential is to live.
    #[derive(Clone, Default)]
    pub struct Life {
        /// Whole days; null: for ever.
        pub expires_in_days: Option<Nullable<i64>>,
        /// Seconds.
        pub expires_in: Option<i64>,
    }
}

impl Life {
    /// What was sent. `None`: neither was.
    pub fn read(&self) -> Result<Option<Lifetime>, ApiError> {
        match (&self.expires_in_days, self.expires_in) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(ApiError::field("expires_in", "must not be sent together with expires_in_days")),
            (Some(Nullable(days)), None) => Lifetime::parse_days(*days).map(Some).map_err(|_| Code::InvalidLifetime.into()),
            (None, Some(seconds)) => Lifetime::parse_seconds(seconds).map(Some).map_err(|_| {
                Code::InvalidLifetime
                    .detail("expires_in is out of range.")
                    .fix("Send expires_in as a whole number of seconds from 60 to 315360000, or send expires_in_days in its place.")
            }),
        }
    }

    /// The field that was sent, for what is wrong about it.
    pub const fn field(&self) -> &'static str {
        if self.expires_in.is_some() { "expires_in" } else { "expires_in_days" }
    }
}

/// Reads `grace_seconds`: the requested number, else `least`; never less.
pub fn grace(asked: Option<i64>, least: i64) -> Result<i64, ApiError> {
    let grace = asked.unwrap_or(least);
    if (least..=MOST_GRACE).contains(&grace) { Ok(grace) } else { Err(Code::InvalidGrace.into()) }
}

/// Scopes that were asked for, as a ceiling or for a credential, and the preset that they came from.
#[derive(Clone)]
pub struct RequestedScope {
    /// The scopes.
    pub scope: Patterns,
    /// Name and version of the preset, if it was one.
    pub preset: Option<(String, i64)>,
}

/// Reads `scope` or `preset`; at most one of them may be sent. `None`: neither was.
pub async fn requested_scope(
    reads: &dyn Rows,
    caller: &Caller,
    scope: Option<&[String]>,
    preset: Option<&str>,
) -> Result<Option<RequestedScope>, ApiError> {
    match (scope, preset) {
        (Some(_), Some(_)) => Err(ApiError::field("preset", "must not be sent together with scope")),
        (None, None) => Ok(None),
        (None, Some(name)) => of_preset(reads, caller, name).await.map(Some),
        (Some(asked), None) => Ok(Some(RequestedScope { scope: caller.read_scope(asked)?, preset: None })),
    }
}

/// The scopes of the newest version of a preset. 400: no preset has that name, or all that it names was deleted.
pub async fn of_preset(reads: &dyn Rows, caller: &Caller, name: &str) -> Result<RequestedScope, ApiError> {
    let preset = preset::newest(reads, caller.tenant_id(), name).await?.ok_or(Code::UnknownPreset)?;
    let gone = preset.scope.undefined(caller.custom_scopes());
    if !gone.is_empty() && preset.scope.defined(caller.custom_scopes()).to_column().is_empty() {
        let detail =
            format!("The preset {name} names nothing but custom scopes that were deleted: {}.", gone.join(", "));
        let fix = format!("Send PUT /api/presets/{name} with scopes that there are, or send scope in place of preset.");
        return Err(Code::UnknownScope.detail(detail).fix(fix).extra("unknown_scopes", gone));
    }
    Ok(RequestedScope { scope: preset.scope, preset: Some((preset.name, preset.version)) })
}

/// A credential to be made: the values that its kind leaves open.
pub struct NewCredential<'a> {
    /// The kind.
    pub kind: Kind,
    /// The record's id, where it has to be known before.
    pub id: CredentialId,
    /// The person; of an agent's credential, its owner.
    pub user: &'a UserId,
    /// The agent, of an agent's credential.
    pub agent: Option<&'a AgentId>,
    /// The API key whose secret it is.
    pub key: Option<&'a KeyId>,
    /// The name that a person gave it.
    pub name: Option<&'a str>,
    /// Patterns.
    pub scope: &'a Patterns,
    /// Its end. `None`: never.
    pub expires_at: Option<Timestamp>,
    /// The id of the editor on whose grant it rests, as [`crate::grantee::of`] returns it.
    pub grantee: Option<&'a str>,
}

/// Makes and stores a credential. The caller has already checked that it gives no right that the minter lacks.
pub async fn credential(tx: &Tx<'_>, origin: &Origin<'_>, new: &NewCredential<'_>) -> Result<Secret, ApiError> {
    let secret = Secret::generate(new.kind, origin.chance);
    let row = credential::New {
        id: &new.id,
        secret: &secret,
        tenant_id: origin.tenant,
        user_id: new.user,
        agent_id: new.agent,
        scope: &new.scope.to_column(),
        created_at: origin.now,
        expires_at: new.expires_at,
        user_agent: None,
        name: new.name,
        key_id: new.key,
        minter: minter(origin, new.grantee),
    };
    credential::insert(tx, &row).await?;
    Ok(secret)
}

/// The maker of what is minted from here.
pub fn minter<'a>(origin: &Origin<'a>, grantee: Option<&'a str>) -> credential::Minter<'a> {
    let by = origin.agent.map(AgentId::as_str).or(origin.user.map(UserId::as_str));
    credential::Minter { by, with: origin.credential, grantee }
}

/// How long before its end a credential that is rotated warns of it, seconds: as the one before did.
const ENDS_SOON: i64 = 7 * 86_400;

/// Says that a rotated credential ends as soon as the one before: rotating keeps the end.
pub fn warn_of_end(expires_at: Option<Timestamp>, now: Timestamp) -> Option<String> {
    let end = expires_at.filter(|end| *end < now.plus_seconds(ENDS_SOON))?;
    Some(format!(
        "It ends at {end}, as the one before would have: rotating keeps the end. Make another one if you need it for longer."
    ))
}

/// Says which scopes of a preset were deleted, so that nothing gets them.
pub fn warn_of_deleted(caller: &Caller, requested: &RequestedScope, warnings: &mut Vec<String>) {
    let Some((preset, _)) = &requested.preset else { return };
    let gone = requested.scope.undefined(caller.custom_scopes());
    if !gone.is_empty() {
        warnings.push(format!(
            "The preset {preset} names custom scopes that were deleted, which nobody gets: {}. PUT /api/presets/{preset} changes it.",
            gone.join(", ")
        ));
    }
}

/// Says which of the scopes have no effect, because the role lacks them (or only people can use them, for an agent).
pub fn warn_of_no_effect(
    caller: &Caller,
    patterns: &Patterns,
    role: Role,
    for_agent: bool,
    warnings: &mut Vec<String>,
) {
    // A person's `*` means all that their role allows, whatever that is.
    if !for_agent && patterns.to_column() == "*" {
        return;
    }
    let allowed = role.scopes(caller.custom_scopes());
    let allowed = if for_agent { allowed.for_agents() } else { allowed };
    let idle = patterns.scopes(caller.custom_scopes()).without(&allowed);
    if !idle.is_empty() {
        let (names, role) = (idle.names(caller.custom_scopes()).join(", "), role.as_str());
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
        Patterns::parse(asked, self.custom_scopes()).map_err(|unknown| {
            let known = Scope::ALL.iter().map(|scope| scope.as_str());
            let valid: Vec<&str> = known.chain(self.custom_scopes().names().iter().map(String::as_str)).collect();
            let is_empty = unknown.is_empty();
            let refusal =
                ApiError::from(Code::UnknownScope).extra("unknown_scopes", unknown).extra("valid_scopes", valid);
            if is_empty { refusal.detail("scope is an empty list.") } else { refusal }
        })
    }

    /// Checks that `gain`, of what was asked for an agent of `owner`'s, is no wider than the minter, and returns what is to be stored. A
    /// session may mint everything for an agent of its own person, since the role's ceiling decides what has an effect. For other
    /// agents, and with every other credential, the minter can give at most what it can use; a pattern wider than the minter's own is
    /// then stored as the scopes that it covers today, so that scopes that are defined later do not widen it beyond the minter.
    /// `excess` is refused for every minter, and named with the rest.
    pub fn may_mint(
        &self,
        gain: Scopes,
        excess: Scopes,
        owner: &UserId,
        asked: &Patterns,
    ) -> Result<Patterns, ApiError> {
        if self.credential_kind() == Kind::Session && owner == self.user_id() {
            self.refuse_excess(excess, asked)?;
            return Ok(asked.defined(self.custom_scopes()));
        }
        // Storing a scope that no agent can ever use gives no right.
        self.refuse_excess(excess.or(gain.for_agents().without(&self.mintable())), asked)?;
        Ok(asked.defined(self.custom_scopes()).within(&[self.carried(), self.ceiling()], self.custom_scopes()))
    }

    /// Refuses scopes that may not be minted, and names all of them.
    pub fn refuse_excess(&self, excess: Scopes, asked: &Patterns) -> Result<(), ApiError> {
        if excess.is_empty() {
            return Ok(());
        }
        // Everything that is minted here is for agents: scopes that none can use are left out of the suggestion.
        let left = asked.scopes(self.custom_scopes()).without(&excess).for_agents();
        let rest = match left.is_empty() {
            true => String::new(),
            false => format!(
                "Send the same request with \"scope\": {}. ",
                json::to_text(&serde_json::json!(left.to_patterns()))
            ),
        };
        let names = excess.names(self.custom_scopes());
        Err(Code::ScopeTooWide
            .detail(format!("These scopes cannot be granted here: {}.", names.join(", ")))
            .with("rest", rest)
            .with("excess", names.join(", "))
            .extra("excess_scopes", names)
            .extra("asked_scopes", serde_json::to_value(asked).unwrap_or_default()))
    }

    /// The end of what is minted: no later than the minter's own, which a session does not hand on. The warning says when
    /// the end was capped. `asked`: `None` when left out, which means never.
    pub fn cap_life(
        &self,
        asked: Option<Lifetime>,
        now: Timestamp,
    ) -> Result<(Option<Timestamp>, Option<String>), ApiError> {
        let wanted = asked.and_then(|life| life.ending(now));
        let own = self.expires_at().filter(|_| self.credential_kind() != Kind::Session);
        let Some(own) = own else { return Ok((wanted, None)) };
        if asked.is_none() {
            let warning =
                format!("expires_at is {own}, because a credential cannot outlive the credential that creates it.");
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
