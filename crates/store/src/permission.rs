//! Who may do what with which object: one fixed schema, compiled to SQL.
//!
//! ```text
//! agent:    read   = viewer | editor | owner | tenant.admin      update = editor | owner | tenant.admin
//!           delete = owner | tenant.admin                        share  = owner | tenant.admin
//! api_key:  create = parent.update
//!           read   = (viewer | editor | owner | tenant.admin) & parent.read
//!           update = delete = (editor | owner | tenant.admin) & parent.update
//!           share  = (owner | tenant.admin) & parent.update
//! every one & tenant_gate: the subject is of the object's tenant, and its person's account is active
//! ```
//!
//! A person stands to an object as its owner, by a grant, or as `tenant.admin` by role. An agent is owner of itself and of the
//! agents below it; any other object needs a grant to the agent, and the agent's owner must pass the same check.
//! `tenant.admin` is a person's, never an agent's. A key's owner is its agent's owner, and its grants are its own.
//!
//! An agent whose credential was minted under an editor's grant is confined: an editor of itself, and nothing to any other agent. To its
//! own keys it stands as that editor does.
//!
//! One generator makes every expression: a check and a list use the whole ([`on_agent`], [`on_key`]), an explanation asks for
//! its parts ([`factors`]) and puts them together ([`allows`]); a test holds both against the schema in plain words, in thousands
//! of random worlds. The expressions speak of the agent's row as `a` and of the key's as `k`.

use common::{
    permission::{Action, Relation},
    role::Role,
};

use crate::{db::Value, subject::Subject};

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

/// What the text of an expression depends on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    is_agent: bool,
    is_confined: bool,
    is_admin: bool,
}

/// The subject's parameters, bound once for all expressions of a statement.
#[derive(Clone)]
pub struct PermissionSql<'a> {
    subject: &'a Subject,
    tenant: String,
    user: String,
    agent: Option<String>,
    grantee: Option<String>,
    /// The name of the agent's row.
    row: &'static str,
}

impl<'a> PermissionSql<'a> {
    /// Binds the subject.
    pub fn new(subject: &'a Subject, binder: &mut Binder) -> Self {
        Self {
            subject,
            tenant: binder.bind(&subject.tenant),
            user: binder.bind(&subject.user),
            // Before the agent: every text names the agent, and SQLite refuses more values than its highest parameter.
            grantee: subject.grantee.as_ref().map(|id| binder.bind(id.as_str())),
            agent: subject.agent.as_ref().map(|id| binder.bind(id)),
            row: "a",
        }
    }

    /// The values that all texts of this subject depend on.
    pub fn shape(&self) -> Shape {
        Shape {
            is_agent: self.agent.is_some(),
            is_confined: self.grantee.is_some(),
            is_admin: self.subject.role == Role::Admin,
        }
    }

    /// Is the agent `a` of the subject's tenant?
    pub fn in_tenant(&self) -> String {
        format!("{}.tenant_id = {}", self.row, self.tenant)
    }

    /// The same about the agent whose row is called so.
    #[must_use]
    pub fn about(&self, row: &'static str) -> Self {
        Self { row, ..self.clone() }
    }

    /// May the subject do this with the agent `a`?
    pub fn on_agent(&self, action: Action) -> String {
        let row = self.row;
        let stands = match self.confined_to() {
            Some(agent) if Factor::Alone.counts_for(action) => format!("{row}.id = {agent}"),
            Some(agent) => format!("{agent} IS NULL"),
            None => self.stands(&format!("{row}.id"), action.on_agents()),
        };
        format!("({} AND {stands})", self.in_tenant())
    }

    /// The agents that the subject may read, as a statement that gives the ids of a page, the newest first: `narrow` are
    /// conditions more (` AND …`), the page begins behind `at` and `id`.
    ///
    /// What the subject owns and what was granted to it are each read in the order of the page, and nothing beside them: the work
    /// grows with the page, not with the tenant. An agent's id begins with the moment of its registration, so that its order is
    /// that of the page.
    pub fn readable(&self, narrow: &str, (at, id): (&str, &str), rows: &str) -> String {
        let tenant = &self.tenant;
        let behind =
            format!("a.tenant_id = {tenant} AND a.archived_at IS NULL AND (a.created_at, a.id) < ({at}, {id}){narrow}");
        let newest = format!("ORDER BY a.created_at DESC, a.id DESC LIMIT {rows}");
        // A grant of any relation lets read; an agent's needs its owner too.
        let (own, subject, granted) = match (&self.agent, self.subject.role) {
            (None, Role::Admin) => return format!("SELECT a.id FROM agents a WHERE {behind} {newest}"),
            (None, _) => {
                (format!("SELECT a.id FROM agents a WHERE a.owner_id = {}", self.user), &self.user, String::new())
            }
            (Some(agent), _) if self.grantee.is_some() => {
                return format!("SELECT a.id FROM agents a WHERE a.id = {agent} AND {behind} {newest}");
            }
            (Some(agent), _) => (
                format!("{} SELECT a.id FROM below CROSS JOIN agents a ON a.id = below.id WHERE 1", Self::below(agent)),
                agent,
                format!(" AND {}", self.on_agent(Action::Read)),
            ),
        };
        format!(
            "SELECT id FROM (
                 SELECT * FROM ({own} AND {behind} {newest})
                 UNION
                 SELECT * FROM (
                     SELECT a.id FROM grants g CROSS JOIN agents a ON a.id = g.object_id
                     WHERE g.subject_id = {subject} AND g.object_id > 'agt_' AND g.object_id < iif({id} = '', 'agt~', {id})
                       AND {behind}{granted}
                     GROUP BY g.object_id ORDER BY g.object_id DESC LIMIT {rows}))
             ORDER BY id DESC LIMIT {rows}"
        )
    }

    /// The same by name: those behind this one. What a person owns, and what was granted to them, is read whole: both are bounded.
    pub fn readable_by_name(&self, narrow: &str, name: &str, rows: &str) -> String {
        let tenant = &self.tenant;
        let behind = format!("a.tenant_id = {tenant} AND a.archived_at IS NULL AND a.name > {name}{narrow}");
        let sorted = format!("ORDER BY a.name LIMIT {rows}");
        let one = "SELECT a.id, a.name FROM";
        let (own, subject, granted) = match (&self.agent, self.subject.role) {
            (None, Role::Admin) => return format!("{one} agents a WHERE {behind} {sorted}"),
            (None, _) => (
                format!("{one} agents a INDEXED BY agents_by_owner WHERE a.owner_id = {}", self.user),
                &self.user,
                String::new(),
            ),
            (Some(agent), _) if self.grantee.is_some() => {
                return format!("{one} agents a WHERE a.id = {agent} AND {behind} {sorted}");
            }
            (Some(agent), _) => (
                format!("{} {one} below CROSS JOIN agents a ON a.id = below.id WHERE 1", Self::below(agent)),
                agent,
                format!(" AND {}", self.on_agent(Action::Read)),
            ),
        };
        format!(
            "SELECT id, name FROM (
                 SELECT * FROM ({own} AND {behind} {sorted})
                 UNION
                 {one} grants g CROSS JOIN agents a ON a.id = g.object_id
                 WHERE g.subject_id = {subject} AND g.object_id > 'agt_' AND g.object_id < 'agt~' AND {behind}{granted})
             ORDER BY name LIMIT {rows}"
        )
    }

    /// An agent and those below it, as a table.
    fn below(agent: &str) -> String {
        format!(
            "WITH RECURSIVE below (id) AS (
                 SELECT {agent} UNION
                 SELECT b.id FROM below CROSS JOIN agents b ON b.parent_id = below.id WHERE b.archived_at IS NULL)"
        )
    }

    /// The same agents, counted: a statement that gives owner, state and number.
    pub fn readable_states(&self) -> String {
        let (tenant, user) = (&self.tenant, &self.user);
        // In the order of the index, which has all of it: nothing is sorted, and no agent's row is read.
        let own = "SELECT a.owner_id, a.state, count(*) AS n FROM agents a INDEXED BY agents_by_state";
        let (at, each) = (format!("a.tenant_id = {tenant} AND a.archived_at IS NULL"), "GROUP BY a.owner_id, a.state");
        match (&self.agent, self.subject.role) {
            (None, Role::Admin) => format!("{own} WHERE {at} {each}"),
            // Several grants of one agent are one; an owner needs none.
            (None, _) => format!(
                "{own} WHERE {at} AND a.owner_id = {user} {each}
                 UNION ALL
                 SELECT a.owner_id, a.state, count(DISTINCT a.id) AS n FROM grants g CROSS JOIN agents a ON a.id = g.object_id
                 WHERE g.subject_id = {user} AND {at} AND a.owner_id <> {user} {each}"
            ),
            (Some(_), _) => format!("{own} WHERE {at} AND {} {each}", self.on_agent(Action::Read)),
        }
    }

    /// May the subject do this with the key `k` of the agent `a`?
    pub fn on_key(&self, action: Action) -> String {
        let (stands, may) = self.parts_on_key(action);
        format!("({stands} AND {may})")
    }

    /// The two parts of [`PermissionSql::on_key`]: how the subject stands to the key, and what the subject may do with its agent.
    pub fn parts_on_key(&self, action: Action) -> (String, String) {
        let (relations, parent) = action.on_keys();
        (self.stands("k.id", relations), self.on_agent(parent))
    }

    /// Does the subject stand in any of the relations to the object?
    fn stands(&self, object: &str, relations: &[Relation]) -> String {
        let any = |side: Side| {
            let is_grant = |relation: &&Relation| matches!(relation, Relation::Editor | Relation::Viewer);
            let by_grant: Vec<Relation> = relations.iter().filter(is_grant).copied().collect();
            let others = relations.iter().filter(|relation| !is_grant(relation));
            let parts = others.filter_map(|relation| self.relation(object, *relation, side));
            // One look into the table for all grants; it comes last, since the others cost nothing.
            let parts = parts.chain(self.granted(object, &by_grant, side));
            Some(parts.collect::<Vec<_>>().join(" OR ")).filter(|any| !any.is_empty())
        };
        if let Some(grantee) = &self.grantee {
            // Only keys come here; the gate of their agent lets through none but the agent itself.
            return any(Side::Grantee).map_or("0".to_owned(), |granted| {
                let person = any(Side::GranteesOwner).unwrap_or_else(|| "0".to_owned());
                format!("({granted} AND ({grantee} NOT LIKE 'agt!_%' ESCAPE '!' OR {person}))")
            });
        }
        let person = any(Side::Person).unwrap_or_else(|| "0".to_owned());
        if self.agent.is_none() {
            return format!("({person})");
        }
        // Ownership is the agent's by itself; a grant needs the owner too.
        let own = relations.contains(&Relation::Owner).then(|| self.is_own()).flatten();
        let granted = any(Side::Agent).map(|granted| format!("(({granted}) AND ({person}))"));
        format!("({})", own.into_iter().chain(granted).collect::<Vec<_>>().join(" OR "))
    }

    /// One relation as an expression; `None`: the subject's side can never stand in it.
    fn relation(&self, object: &str, relation: Relation, side: Side) -> Option<String> {
        match (relation, side) {
            (Relation::Owner, Side::Person) => Some(format!("{}.owner_id = {}", self.row, self.user)),
            (Relation::TenantAdmin, Side::Person) => (self.subject.role == Role::Admin).then(|| "1".to_owned()),
            (Relation::Owner, Side::GranteesOwner) => {
                self.grantees_owner().map(|owner| format!("{}.owner_id = {owner}", self.row))
            }
            (Relation::Owner | Relation::TenantAdmin, _) => None,
            (Relation::Editor | Relation::Viewer, _) => self.granted(object, &[relation], side),
        }
    }

    /// Has the subject's side any of these grants of the object?
    fn granted(&self, object: &str, relations: &[Relation], side: Side) -> Option<String> {
        let subject = match side {
            Side::Person => self.user.clone(),
            Side::Agent => self.agent.clone()?,
            Side::Grantee => self.grantee.clone()?,
            Side::GranteesOwner => self.grantees_owner()?,
        };
        // Where every grant will do, none is looked at twice: a list of relations is a search for each.
        let which = match relations {
            [] => return None,
            [one] => format!(" AND g.relation = '{}'", one.as_str()),
            _ => String::new(),
        };
        Some(format!(
            "EXISTS (SELECT 1 FROM grants g WHERE g.object_id = {object} AND g.subject_id = {subject}{which})"
        ))
    }

    /// The owner of the grantee, if that is an agent.
    fn grantees_owner(&self) -> Option<String> {
        self.grantee.as_ref().map(|grantee| format!("(SELECT z.owner_id FROM agents z WHERE z.id = {grantee})"))
    }

    /// The agent that the subject is confined to.
    fn confined_to(&self) -> Option<&String> {
        self.agent.as_ref().filter(|_| self.grantee.is_some())
    }

    /// Is the agent `a` the asking agent itself, or below it? The tree is at most 8 deep.
    fn is_own(&self) -> Option<String> {
        let (agent, row) = (self.agent.as_ref()?, self.row);
        Some(format!(
            "({row}.id = {agent} OR EXISTS (
                WITH RECURSIVE up (id, depth) AS (
                    SELECT {row}.parent_id, 1 WHERE {row}.parent_id IS NOT NULL
                    UNION ALL SELECT p.parent_id, depth + 1 FROM up JOIN agents p ON p.id = up.id
                              WHERE p.parent_id IS NOT NULL AND depth < {DEEPEST})
                SELECT 1 FROM up WHERE up.id = {agent}))"
        ))
    }
}

/// The agent `?1` and all live agents below it, as a table `below (id, depth)` for the statement that follows; its own depth
/// is 1. Joined by CROSS JOIN, SQLite's word for "in this order": it would go through all agents and look for each in the table.
pub(crate) const BELOW: &str = "WITH RECURSIVE below (id, depth) AS (
        SELECT ?1, 1
        UNION ALL SELECT a.id, depth + 1 FROM below CROSS JOIN agents a ON a.parent_id = below.id
                  WHERE a.archived_at IS NULL AND depth < 16) ";

/// How deep the tree of agents is at most.
pub const DEEPEST: usize = 8;

/// The party whose relation is asked for: the agent itself, or the person; of a confined agent the editor on whose grant its credential
/// rests, and that editor's owner, if it is an agent.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Agent,
    Person,
    Grantee,
    GranteesOwner,
}

/// An SQL expression over the agent's row `a`: may the subject do this with it? The tenant gate is part of it.
pub fn on_agent(subject: &Subject, action: Action, binder: &mut Binder) -> String {
    PermissionSql::new(subject, binder).on_agent(action)
}

/// One part of a decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Factor {
    /// The object is of the subject's tenant.
    TenantGate,
    /// A relation of the person.
    Person(Relation),
    /// The agent itself, or one above the object.
    Itself,
    /// The agent itself, by a credential that reaches nothing else.
    Alone,
    /// A grant to the agent.
    Agent(Relation),
}

impl Factor {
    /// The word for it in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TenantGate => "tenant_gate",
            Self::Person(relation) => relation.as_str(),
            Self::Itself | Self::Alone => "itself",
            Self::Agent(Relation::Editor) => "agent.editor",
            Self::Agent(_) => "agent.viewer",
        }
    }

    /// Whether it can let somebody do this.
    pub fn counts_for(self, action: Action) -> bool {
        match self {
            Self::Agent(relation) | Self::Person(relation) => action.on_agents().contains(&relation),
            Self::Alone => matches!(action, Action::Read | Action::Update),
            Self::TenantGate | Self::Itself => true,
        }
    }

    /// The factor in a sentence, about a person or an agent (whose owner stands in the relations of people).
    pub fn why(self, holds: bool, subject: &str, is_agent: bool, object: &str) -> String {
        let not = if holds { "" } else { "not " };
        let has = if holds { " has a grant as " } else { " has no grant as " };
        let owner = if is_agent { "The owner of " } else { "" };
        match self {
            Self::TenantGate => [subject, " is ", not, "in the tenant of ", object, "."].concat(),
            Self::Alone => {
                let only = "This credential was issued by an editor, so it can only read and update ";
                [only, subject, ", and reaches no other agent."].concat()
            }
            Self::Itself if subject == object => "The subject is the agent itself.".to_owned(),
            Self::Itself if holds => [object, " is below ", subject, "."].concat(),
            Self::Itself => [object, " is neither ", subject, " itself nor below it."].concat(),
            Self::Agent(relation) => [subject, has, relation.as_str(), " of ", object, "."].concat(),
            Self::Person(Relation::Owner) => [owner, subject, " is ", not, "the owner of ", object, "."].concat(),
            Self::Person(Relation::TenantAdmin) => [owner, subject, " is ", not, "an admin of the tenant."].concat(),
            Self::Person(relation) => [owner, subject, has, relation.as_str(), " of ", object, "."].concat(),
        }
    }
}

/// How the subject stands to the agent `a`, each part an expression of its own that is 0 or 1, in the order in which they are
/// returned.
pub fn factors(bound: &PermissionSql<'_>) -> Vec<(Factor, String)> {
    let mut factors = vec![(Factor::TenantGate, bound.in_tenant())];
    if let Some(agent) = bound.confined_to() {
        factors.push((Factor::Alone, format!("a.id = {agent}")));
    } else if let Some(itself) = bound.is_own() {
        factors.push((Factor::Itself, itself));
        for relation in Relation::ALL {
            let part = bound.relation("a.id", relation, Side::Agent);
            factors.extend(part.map(|part| (Factor::Agent(relation), part)));
        }
    }
    for relation in Relation::ALL {
        let part = bound.relation("a.id", relation, Side::Person).unwrap_or_else(|| "0".to_owned());
        factors.push((Factor::Person(relation), part));
    }
    factors
}

/// The decision, put together from its parts: the same as [`PermissionSql::on_agent`] gives, which a test holds it against.
pub fn allows(held: &[(Factor, bool)], action: Action) -> bool {
    let holds = |is_wanted: fn(&Factor) -> bool| {
        held.iter().any(|(factor, holds)| *holds && factor.counts_for(action) && is_wanted(factor))
    };
    let is_agent = held.iter().any(|(factor, _)| matches!(factor, Factor::Itself | Factor::Alone));
    let person = holds(|factor| matches!(factor, Factor::Person(_)));
    let stands = match is_agent {
        false => person,
        // Ownership is the agent's by itself; a grant needs the owner too.
        true => {
            holds(|factor| matches!(factor, Factor::Itself | Factor::Alone))
                || (person && holds(|factor| matches!(factor, Factor::Agent(_))))
        }
    };
    stands && holds(|factor| *factor == Factor::TenantGate)
}
