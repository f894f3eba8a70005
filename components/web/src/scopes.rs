//! What a new credential may do, to choose from: everything, or what is ticked. Nobody has to know the word of a scope.

use common::{
    scope::{CustomScopes, Scope, ScopeSet, covers},
    text::isolated,
};
use serde_json::Value as Json;

use crate::{
    api::{Members, Refusal, Trouble},
    form::{Form, several},
    words,
};

/// The scopes by what they are about: how they begin, and the word for it.
const GROUPS: [(&str, &str); 11] = [
    ("agents.", "Agents"),
    ("ui.", "Notifications"),
    ("notifications.", "Notifications"),
    ("tokens.", "Tokens"),
    ("users.", "People"),
    ("audit.", "Audit trail"),
    ("webhooks.", "Webhooks"),
    ("guides.", "Guides"),
    ("presets.", "Presets"),
    ("scopes.", "Scopes"),
    ("x.", "Your own services"),
];

/// What a program is mostly let in for, in words.
pub(crate) const USUAL: &str = "Look after your agents: read, register, start and stop them, and read what happened";
/// The scopes for it.
pub(crate) const USUAL_SCOPES: &[&str] = &[
    "agents.list",
    "agents.read",
    "agents.logs",
    "agents.create",
    "agents.update",
    "agents.lifecycle",
    "agents.message",
    "notifications.read",
    "audit.read",
    "guides.read",
];

/// The same for somebody whose role lets them read alone.
const READS: &str = "Read your agents and what happened";
const READS_SCOPES: &[&str] = &["agents.list", "agents.read", "notifications.read", "audit.read", "guides.read"];

/// What somebody chooses for a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// What programs mostly need.
    Usual,
    /// The same of somebody whose role lets them read alone.
    Reads,
    /// Everything.
    All,
    /// What is ticked.
    Ticked,
}

impl May {
    const CHOICES: [Self; 3] = [Self::Usual, Self::All, Self::Ticked];
    const OF_READERS: [Self; 3] = [Self::Reads, Self::All, Self::Ticked];

    /// The word in forms.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Usual => "agents",
            Self::Reads => "reads",
            Self::All => "all",
            Self::Ticked => "some",
        }
    }

    /// What it is called.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::Usual => USUAL,
            Self::Reads => READS,
            Self::All => "Everything",
            Self::Ticked => "Only what is ticked",
        }
    }

    /// What a form says; `None`: nothing.
    fn of(typed: &Form) -> Option<Self> {
        Self::CHOICES.into_iter().chain(Self::OF_READERS).find(|may| typed.is("may", may.as_str()))
    }
}

/// A scope that can be given.
pub(crate) struct Tick {
    pub(crate) scope: String,
    pub(crate) sentence: String,
    pub(crate) is_ticked: bool,
}

/// The part of a form that chooses.
pub(crate) struct Choice {
    /// What everything is.
    pub(crate) all: String,
    /// What is chosen.
    pub(crate) may: May,
    /// What can be chosen, in the order of the form.
    pub(crate) choices: &'static [May],
    /// What can be ticked, by what it is about.
    pub(crate) groups: Vec<(&'static str, Vec<Tick>)>,
}

impl Choice {
    /// What a credential of the visitor may do. `custom` are the tenant's own scopes.
    pub(crate) fn of_person(who: &Json, custom: &Json, typed: &Form) -> Self {
        let all = "All that your role allows, also what it allows later.".to_owned();
        let has = |scope: &&str| who.words("scope").iter().any(|pattern| covers(pattern, scope));
        let (usual, choices) = match USUAL_SCOPES.iter().all(has) {
            true => (May::Usual, &May::CHOICES),
            false => (May::Reads, &May::OF_READERS),
        };
        let may = May::of(typed).filter(|may| choices.contains(may)).unwrap_or(usual);
        Self { all, may, choices, ..Self::of(&who.words("scope"), ScopeSet::EMPTY, custom, typed) }
    }

    /// What a credential of an agent may do: all, unless something is chosen.
    pub(crate) fn of_agent(agent: &Json, custom: &Json, typed: &Form) -> Self {
        let all =
            format!("All that the ceiling of {} allows, also what it allows later.", isolated(agent.text("name")));
        let may = May::of(typed).unwrap_or(May::All);
        Self { all, may, ..Self::of(&agent.words("scope"), for_people(), custom, typed) }
    }

    /// What somebody is asked for without a word of what is needed.
    pub(crate) fn of_asked(asked: &Json, custom: &Json, typed: &Form) -> Self {
        Self::of(&asked.words("scope"), ScopeSet::EMPTY, custom, typed)
    }

    /// What the agents of a preset may do: what agents can be given.
    pub(crate) fn of_preset(custom: &Json, typed: &Form) -> Self {
        Self::of(&["*"], for_people(), custom, typed)
    }

    fn of(may: &[&str], without: ScopeSet, custom: &Json, typed: &Form) -> Self {
        let covered = may.iter().filter_map(|pattern| ScopeSet::expand(pattern)).fold(ScopeSet::EMPTY, ScopeSet::or);
        let covered = covered.without(without);
        let own = custom.list("items").iter().map(|own| own.text("name"));
        let own = own.filter(|name| may.iter().any(|pattern| covers(pattern, name)));
        // What the visitor may not look up has its word alone.
        let unlisted = may.iter().copied().filter(|word| CustomScopes::is_name(word));
        let mut names: Vec<&str> =
            Scope::ALL.iter().filter(|scope| covered.contains(**scope)).map(|s| s.as_str()).collect();
        for name in own.chain(unlisted) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        let ticked = ticked(typed);
        let mut groups: Vec<(&'static str, Vec<Tick>)> = Vec::new();
        for (begin, word) in GROUPS {
            let ticks = names.iter().filter(|name| name.starts_with(begin)).map(|name| Tick {
                scope: (*name).to_owned(),
                // A person reads this.
                sentence: meaning(name, custom).trim_end_matches(" For people only.").to_owned(),
                is_ticked: ticked.iter().any(|one| one == name),
            });
            let ticks: Vec<Tick> = ticks.collect();
            match groups.last_mut() {
                _ if ticks.is_empty() => {}
                Some((before, group)) if *before == word => group.extend(ticks),
                _ => groups.push((word, ticks)),
            }
        }
        Self { all: String::new(), may: May::Ticked, choices: &[May::All, May::Ticked], groups }
    }
}

/// What no agent can be given.
fn for_people() -> ScopeSet {
    Scope::ALL.iter().copied().filter(|scope| scope.is_for_people()).collect()
}

/// The names that patterns mean, of those that can be ticked.
pub(crate) fn ticks_of(patterns: &[&str], custom: &Json) -> Form {
    let offered = Choice::of_preset(custom, &Form::default());
    let names = offered.groups.iter().flat_map(|(_, ticks)| ticks).map(|tick| tick.scope.as_str());
    let meant = names.filter(|name| patterns.iter().any(|pattern| covers(pattern, name)));
    meant.map(|name| ("scope".to_owned(), name.to_owned())).collect()
}

/// What a form of ticks asks for, where `before` stood before it: a pattern of which everything is ticked stays one, and so does what the
/// form does not offer, unless it is a scope of the tenant's own that is deleted.
pub(crate) fn kept(before: &[&str], custom: &Json, typed: &Form) -> Vec<Json> {
    let offered = Choice::of_preset(custom, typed);
    let ticks: Vec<&Tick> = offered.groups.iter().flat_map(|(_, ticks)| ticks).collect();
    let stays = |pattern: &str| match ticks.iter().filter(|tick| covers(pattern, &tick.scope)).collect::<Vec<_>>() {
        none if none.is_empty() => !pattern.starts_with("x."),
        all => all.iter().all(|tick| tick.is_ticked),
    };
    let stay: Vec<&str> = before.iter().copied().filter(|pattern| stays(pattern)).collect();
    let is_new = |scope: &str| !stay.iter().any(|pattern| covers(pattern, scope));
    let new = ticks.iter().filter(|tick| tick.is_ticked && is_new(&tick.scope)).map(|tick| tick.scope.as_str());
    stay.iter().copied().chain(new).map(Json::from).collect()
}

/// So many scopes of a pattern are said one by one.
const MOST_SAID: usize = 5;

/// What a scope or a pattern means; `custom` are the tenant's own scopes, as far as they are known.
pub(crate) fn meaning(scope: &str, custom: &Json) -> String {
    let covered = ScopeSet::expand(scope).unwrap_or_default();
    let names: Vec<&Scope> = Scope::ALL.iter().filter(|known| covered.contains(**known)).collect();
    let described = custom.list("items").iter().find(|known| known.text("name") == scope);
    match names.as_slice() {
        [] => described.map_or("A scope of your own.", |known| known.text("description")).to_owned(),
        [only] => only.describe().to_owned(),
        many if many.len() <= MOST_SAID => {
            let said: Vec<&str> = many.iter().map(|one| one.describe()).collect();
            said.join(" ")
        }
        many => format!("{} at once.", words::count(many.len(), "scope")),
    }
}

/// The scopes that were ticked; one field can name several.
fn ticked(typed: &Form) -> Vec<Json> {
    several(&typed.all("scope").join(" "))
}

/// What a form asks for. `None`: everything, which its visitor has chosen.
pub(crate) fn chosen(typed: &Form) -> Result<Option<Json>, Trouble> {
    let ticked = ticked(typed);
    match (May::of(typed), ticked.is_empty()) {
        (Some(May::All), _) => Ok(None),
        (Some(May::Usual), _) => Ok(Some(USUAL_SCOPES.into())),
        (Some(May::Reads), _) => Ok(Some(READS_SCOPES.into())),
        (_, false) => Ok(Some(ticked.into())),
        (_, true) => {
            Err(Refusal::of_field("scope", "It may do nothing yet.", "Tick at least one, or choose everything."))
        }
    }
}

/// The scopes that were ticked of those that somebody asks for; there is another button for none.
pub(crate) fn given(typed: &Form) -> Result<Json, Trouble> {
    match ticked(typed) {
        none if none.is_empty() => Err(Refusal::of_field("scope", "Nothing is ticked.", "Tick at least one, or deny.")),
        ticked => Ok(ticked.into()),
    }
}

#[cfg(test)]
mod tests {
    use common::role::Role;
    use serde_json::json;

    use super::*;

    fn scopes(choice: &Choice) -> Vec<&str> {
        choice.groups.iter().flat_map(|(_, ticks)| ticks.iter().map(|tick| tick.scope.as_str())).collect()
    }

    /// R357: what can be ticked is what can be given, by what it is about, and everything is a choice of its own.
    #[test]
    fn what_can_be_given_can_be_ticked() {
        let custom = json!({ "items": [
            { "name": "x.pay.refund", "description": "Pay back." }, { "name": "x.crm.read", "description": "Read." },
        ] });
        let typed = Form::parse("may=some&scope=ui.notify&scope=x.pay.refund");
        let agent = json!({ "name": "scout", "scope": ["agents.keys.*", "ui.notify", "users.*", "x.pay.*"] });
        let choice = Choice::of_agent(&agent, &custom, &typed);
        assert_eq!(scopes(&choice), ["agents.keys.read", "agents.keys.write", "ui.notify", "x.pay.refund"]);
        assert_eq!(
            choice.groups.iter().map(|(word, _)| *word).collect::<Vec<_>>(),
            ["Agents", "Notifications", "Your own services"]
        );
        let ticked: Vec<bool> = choice.groups.iter().flat_map(|(_, ticks)| ticks.iter().map(|t| t.is_ticked)).collect();
        assert_eq!(
            (ticked, choice.may, choice.choices.contains(&May::Usual)),
            (vec![false, false, true, true], May::Ticked, false)
        );
        let all = Choice::of_person(&json!({ "scope": ["*"] }), &custom, &Form::default());
        assert_eq!(all.may, May::Usual, "nobody chooses everything by pressing Enter");
        assert_eq!(scopes(&all).len(), Scope::ALL.len() + 2, "every scope is in a group");
        assert!(all.groups.iter().flat_map(|(_, ticks)| ticks).all(|tick| !tick.sentence.contains("people only")));
        let unlisted = Choice::of_agent(&json!({ "scope": ["x.pay.refund"] }), &Json::Null, &Form::default());
        assert_eq!((scopes(&unlisted), unlisted.may), (vec!["x.pay.refund"], May::All));
    }

    /// R729: what is chosen at first for a credential is within the role of the person.
    #[test]
    fn what_is_chosen_at_first_is_within_the_role() {
        for role in Role::ALL {
            let scope = role.ceiling().names();
            let choice = Choice::of_person(&json!({ "scope": scope }), &Json::Null, &Form::default());
            let sent = chosen(&Form::of(&[("may", choice.may.as_str())])).unwrap_or_default().unwrap_or_default();
            let known: ScopeSet =
                sent.as_array().into_iter().flatten().filter_map(|s| Scope::from_text(s.as_str()?)).collect();
            assert!(known != ScopeSet::EMPTY && known.without(role.ceiling()) == ScopeSet::EMPTY, "{role:?}: {sent}");
            assert_eq!(choice.may.title().contains("register"), role != Role::Viewer, "{role:?}");
            assert_eq!(choice.choices[0], choice.may);
        }
    }

    /// R357: a form in which nothing is chosen makes nothing.
    #[test]
    fn everything_is_chosen_by_nobody_by_accident() {
        let of = |form: &str| chosen(&Form::parse(form));
        assert!(matches!(of("may=all&scope=ui.notify"), Ok(None)));
        assert!(matches!(of("may=agents&scope=a.b"), Ok(Some(scope)) if scope == json!(USUAL_SCOPES)));
        assert!(matches!(of("may=some&scope=a.b&scope=c.d"), Ok(Some(scope)) if scope == json!(["a.b", "c.d"])));
        for nothing in ["", "may=some", "may=some&scope=", "scope=+"] {
            let Err(Trouble::Refused(refusal)) = of(nothing) else { panic!("{nothing}") };
            assert_eq!(refusal.fields[0].0, "scope");
        }
    }
}
