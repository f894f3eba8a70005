//! Who may do what with which object: one fixed schema, compiled to SQL.
//!
//! ```text
//! agent:  read   = viewer | editor | owner | tenant.admin      update = editor | owner | tenant.admin
//!         delete = owner | tenant.admin                        share  = owner | tenant.admin
//! ```
//!
//! `tenant.admin` is a person's role, never an agent's. An agent is owner of itself; any other object needs a grant to the
//! agent, and the agent's owner must pass the same check. The same expression serves look-up, list and change, so that no
//! two of them can disagree. It speaks of the object's row as `a`.

use crate::{caller::Caller, db::Value};

/// What a caller wants to do with an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// See it.
    Read,
    /// Change it.
    Update,
    /// Archive it.
    Delete,
    /// Say who else may read or change it.
    Share,
}

/// How a subject stands to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Its one owner.
    Owner,
    /// A grant to change it.
    Editor,
    /// A grant to see it.
    Viewer,
    /// An admin of the object's tenant.
    TenantAdmin,
}

impl Relation {
    /// The word for it in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Editor => "editor",
            Self::Viewer => "viewer",
            Self::TenantAdmin => "tenant.admin",
        }
    }
}

impl Action {
    /// The schema's row for agents: any of these relations allows it.
    pub const fn on_agents(self) -> &'static [Relation] {
        use Relation::{Editor, Owner, TenantAdmin, Viewer};
        match self {
            Self::Read => &[Viewer, Editor, Owner, TenantAdmin],
            Self::Update => &[Editor, Owner, TenantAdmin],
            Self::Delete | Self::Share => &[Owner, TenantAdmin],
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
}

/// Parameters of a statement that is being put together.
#[derive(Default)]
pub struct Binder(Vec<Value>);

impl Binder {
    /// Adds a parameter and gives the expression that stands for it. `(SELECT ?1)`, not `?1`: SQLite plans a statement anew
    /// for each value of a parameter that it compared with the condition of a partial index, unless the host forbids it.
    pub fn bind(&mut self, value: impl Into<Value>) -> String {
        self.0.push(value.into());
        format!("(SELECT ?{})", self.0.len())
    }

    /// The parameters, in order.
    pub fn into_args(self) -> Vec<Value> {
        self.0
    }
}

/// An SQL expression over the agent's row `a`: may this caller do this with it? The tenant gate is part of it.
pub fn on_agent(caller: &Caller, action: Action, binder: &mut Binder) -> String {
    let tenant = binder.bind(caller.tenant_id());
    let user = binder.bind(caller.user_id());
    let relations = action.on_agents();
    // For an agent this is what its owner may do: the second half of what it needs.
    let mut person = Vec::new();
    for relation in relations {
        match relation {
            Relation::Owner => person.push(format!("a.owner_id = {user}")),
            Relation::TenantAdmin if caller.is_admin() => person.push("1".to_owned()),
            Relation::TenantAdmin => {}
            Relation::Editor | Relation::Viewer => person.push(granted(&user, *relation)),
        }
    }
    let person = person.join(" OR ");
    let Some(agent_id) = caller.agent_id() else {
        return format!("(a.tenant_id = {tenant} AND ({person}))");
    };
    let agent = binder.bind(agent_id);
    let grants: Vec<String> = relations
        .iter()
        .filter(|relation| matches!(relation, Relation::Editor | Relation::Viewer))
        .map(|relation| granted(&agent, *relation))
        .collect();
    let itself = if relations.contains(&Relation::Owner) { format!("a.id = {agent}") } else { "0".to_owned() };
    if grants.is_empty() {
        return format!("(a.tenant_id = {tenant} AND {itself})");
    }
    format!("(a.tenant_id = {tenant} AND ({itself} OR (({}) AND ({person}))))", grants.join(" OR "))
}

fn granted(subject: &str, relation: Relation) -> String {
    let relation = relation.as_str();
    format!(
        "EXISTS (SELECT 1 FROM grants g WHERE g.object_id = a.id AND g.subject_id = {subject} AND g.relation = '{relation}')"
    )
}
