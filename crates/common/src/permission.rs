//! The words of permission: the actions of callers on objects, and the relations of subjects to objects. Which relation allows
//! which action is decided here; `store::permission` compiles it to SQL.

use schemars::JsonSchema;
use serde::Serialize;

/// An action of a caller on an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See it.
    Read,
    /// Change it.
    Update,
    /// Archive it.
    Delete,
    /// Decide which others may read or change it.
    Share,
}

/// A relation of a subject to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Relation {
    /// The object's one owner.
    #[serde(rename = "owner")]
    Owner,
    /// A grant to change it.
    #[serde(rename = "editor")]
    Editor,
    /// A grant to see it.
    #[serde(rename = "viewer")]
    Viewer,
    /// An admin of the object's tenant.
    #[serde(rename = "tenant.admin")]
    TenantAdmin,
}

impl Relation {
    /// Every relation, in the order in which they are explained.
    pub const ALL: [Self; 4] = [Self::Owner, Self::Editor, Self::Viewer, Self::TenantAdmin];

    /// The relations that a grant can give.
    pub const GRANTED: [Self; 2] = [Self::Editor, Self::Viewer];

    /// The word that is stored and answered.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::TenantAdmin => "tenant.admin",
        }
    }

    /// The relation of a grant that a word names.
    pub fn of_grant(word: &str) -> Option<Self> {
        Self::GRANTED.into_iter().find(|relation| relation.as_str() == word)
    }
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 4] = [Self::Read, Self::Update, Self::Delete, Self::Share];

    /// The schema's row for agents: any of these relations allows it.
    pub const fn on_agents(self) -> &'static [Relation] {
        use Relation::{Editor, Owner, TenantAdmin, Viewer};
        match self {
            Self::Read => &[Viewer, Editor, Owner, TenantAdmin],
            Self::Update => &[Editor, Owner, TenantAdmin],
            Self::Delete | Self::Share => &[Owner, TenantAdmin],
        }
    }

    /// The schema's row for keys: any of these relations to the key, and this action on its agent.
    pub const fn on_keys(self) -> (&'static [Relation], Self) {
        use Relation::{Editor, Owner, TenantAdmin};
        match self {
            Self::Read => (Self::Read.on_agents(), Self::Read),
            Self::Update | Self::Delete => (&[Editor, Owner, TenantAdmin], Self::Update),
            Self::Share => (&[Owner, TenantAdmin], Self::Update),
        }
    }

    /// The word for it in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Share => "share",
        }
    }

    /// The action that a word names.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.as_str() == word)
    }
}
