//! How the words of the domain are stored: ids, digests, times and enums as columns.

use common::{
    agent::{AgentState, DeployStatus, Labels},
    id::{
        AccessRequestId, AgentId, AppGrantId, AuditId, ClientId, ClosureId, CredentialId, DeliveryId, EventId,
        FederatedCredentialId, IdentityId, KeyId, MailId, NotificationId, ProbeId, RequestId, ResourceId,
        SignedTokenId, TenantId, UserId, WebhookId,
    },
    json,
    permission::Relation,
    role::Role,
    scope::{CustomScopes, Patterns},
    secret::{Digest, Kind},
    time::Timestamp,
};

use super::value::{DbError, FromRow, FromValue, Row, Value};

macro_rules! ids {
    ($($id:ident)*) => {$(
        impl From<&$id> for Value {
            fn from(id: &$id) -> Self {
                Self::Text(id.as_str().to_owned())
            }
        }

        impl FromValue for $id {
            fn from_value(value: Value) -> Result<Self, DbError> {
                Self::try_from(String::from_value(value)?)
                    .map_err(|_| DbError::Row(concat!("not an id: ", stringify!($id))))
            }
        }

        /// A row that is only an id.
        impl FromRow for $id {
            fn from_row(row: &mut Row) -> Result<Self, DbError> {
                row.take()
            }
        }
    )*};
}

ids! { AccessRequestId AgentId AppGrantId AuditId ClientId ClosureId CredentialId DeliveryId EventId FederatedCredentialId IdentityId KeyId MailId NotificationId ProbeId RequestId ResourceId SignedTokenId TenantId UserId WebhookId }

/// Enums that are stored by their words.
macro_rules! words {
    ($($name:ident: $parse:ident, $error:literal;)*) => {$(
        impl FromValue for $name {
            fn from_value(value: Value) -> Result<Self, DbError> {
                Self::$parse(&String::from_value(value)?).ok_or(DbError::Row($error))
            }
        }

        impl From<$name> for Value {
            fn from(word: $name) -> Self {
                Self::Text(word.as_str().to_owned())
            }
        }
    )*};
}

words! {
    AgentState: from_word, "not a state of an agent";
    DeployStatus: from_word, "not a status of a deployment";
    Kind: from_word, "not a kind of credential";
    Relation: of_grant, "not a relation of a grant";
    Role: from_word, "not a role";
}

impl FromValue for Timestamp {
    fn from_value(value: Value) -> Result<Self, DbError> {
        i64::from_value(value).map(Self::from_millis)
    }
}

impl From<Timestamp> for Value {
    fn from(at: Timestamp) -> Self {
        Self::Integer(at.millis())
    }
}

impl FromValue for Digest {
    fn from_value(value: Value) -> Result<Self, DbError> {
        let bytes: [u8; 32] =
            Vec::from_value(value)?.try_into().map_err(|_| DbError::Row("not a digest of 32 bytes"))?;
        Ok(Self::from(bytes))
    }
}

impl From<&Digest> for Value {
    fn from(digest: &Digest) -> Self {
        Self::Blob(digest.bytes().to_vec())
    }
}

impl FromValue for Patterns {
    fn from_value(value: Value) -> Result<Self, DbError> {
        String::from_value(value).map(|text| Self::stored(&text))
    }
}

/// NULL, as an empty `group_concat` gives it: none.
impl FromValue for CustomScopes {
    fn from_value(value: Value) -> Result<Self, DbError> {
        Ok(Option::<String>::from_value(value)?.map(|names| Self::stored(&names)).unwrap_or_default())
    }
}

/// A JSON array of texts.
impl FromValue for Vec<String> {
    fn from_value(value: Value) -> Result<Self, DbError> {
        let no_texts = || DbError::Row("not a JSON array of texts");
        let json = json::parse(&String::from_value(value)?).ok_or_else(no_texts)?;
        serde_json::from_value(json).map_err(|_| no_texts())
    }
}

impl From<&[String]> for Value {
    fn from(texts: &[String]) -> Self {
        Self::Text(json::to_text(&texts.into()))
    }
}

impl FromValue for Labels {
    fn from_value(value: Value) -> Result<Self, DbError> {
        let no_labels = || DbError::Row("labels that are not a JSON object of texts");
        let json = json::parse(&String::from_value(value)?).ok_or_else(no_labels)?;
        serde_json::from_value(json).map_err(|_| no_labels())
    }
}
