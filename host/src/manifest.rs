//! The manifest `spin.toml` (version 2): what the application is made of.
//!
//! This host has the features that a small HTTP application needs, and refuses every other key by name at the start: an
//! application that does not start is better than one that starts with half of its manifest ignored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use toml::{Table, Value};

/// An application, as its manifest describes it.
#[derive(Debug)]
pub(crate) struct Manifest {
    /// The name, part of the answer of `/.well-known/spin/info`.
    pub(crate) name: String,
    /// The version; empty if the manifest has none.
    pub(crate) version: String,
    /// The file of the patterns that the access log names requests by, relative to the manifest.
    pub(crate) patterns: Option<PathBuf>,
    /// Application variables by name.
    pub(crate) variables: BTreeMap<String, Variable>,
    /// HTTP triggers in the order of the manifest. If two have the same pattern, the last one counts.
    pub(crate) triggers: Vec<Trigger>,
    /// Components by id.
    pub(crate) components: BTreeMap<String, Component>,
}

/// An application variable. It has a default, or the start must provide a value.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Variable {
    /// The value if the start provides none.
    pub(crate) default: Option<String>,
    /// Whether the start must provide a value.
    #[serde(default)]
    pub(crate) required: bool,
}

/// A route and the component that answers it.
#[derive(Debug)]
pub(crate) struct Trigger {
    /// The component's id.
    pub(crate) component: String,
    /// The route's pattern; `None`: private, reachable by other components only.
    pub(crate) route: Option<String>,
    /// What stands before the component, the first to get a request first.
    middleware: Vec<Middleware>,
}

/// A component that is composed with the one of a trigger, and gets its requests first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Middleware {
    /// The wasm file, relative to the manifest.
    pub(crate) source: PathBuf,
    /// What of the component's it may use.
    pub(crate) inherits: Inherited,
}

/// Which keys of a component another one that is composed with it inherits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Inherited {
    /// All.
    All,
    /// These.
    Keys(Vec<String>),
}

impl Inherited {
    /// Whether it is this key.
    pub(crate) fn has(&self, key: &str) -> bool {
        match self {
            Self::All => true,
            Self::Keys(keys) => keys.iter().any(|known| known == key),
        }
    }
}

/// One component and what it is granted.
#[derive(Debug, Deserialize)]
pub(crate) struct Component {
    /// The wasm file, relative to the manifest.
    pub(crate) source: PathBuf,
    /// Printed beside its routes at the start.
    #[serde(default)]
    pub(crate) description: String,
    /// Its variables: templates by name.
    #[serde(default)]
    pub(crate) variables: BTreeMap<String, String>,
    /// Its environment.
    #[serde(default)]
    pub(crate) environment: BTreeMap<String, String>,
    /// Files that it may read.
    #[serde(default)]
    pub(crate) files: Vec<Files>,
    /// Patterns of files that it may not read.
    #[serde(default)]
    pub(crate) exclude_files: Vec<String>,
    /// Labels of the databases that it may open.
    #[serde(default)]
    pub(crate) sqlite_databases: Vec<String>,
    /// Labels of the key-value stores that it may open.
    #[serde(default)]
    pub(crate) key_value_stores: Vec<String>,
    /// Templates of the hosts that it may call.
    #[serde(default)]
    pub(crate) allowed_outbound_hosts: Vec<String>,
    /// What stands before it on its routes.
    #[serde(skip)]
    pub(crate) middleware: Vec<Middleware>,
}

/// An entry of `files`.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Files {
    /// A pattern. Files that match keep their paths.
    Pattern(String),
    /// A file or directory, and the place where the component finds it.
    Mount {
        /// Path relative to the manifest.
        source: PathBuf,
        /// Absolute path in the component.
        destination: String,
    },
}

const TOP: &[&str] = &["spin_manifest_version", "application", "variables", "trigger", "component"];
const APPLICATION: &[&str] = &["name", "version", "description", "authors", "tool"];
const VARIABLE: &[&str] = &["default", "required", "secret", "description"];
const TRIGGER: &[&str] = &["id", "component", "route", "executor", "dependencies"];
const MIDDLEWARE: &[&str] = &["path", "component", "inherit_configuration"];
/// What a component can inherit, by Spin (`CAPABILITY_SETS` in crates/capabilities).
const INHERITED: &[&str] = &[
    "ai_models",
    "allowed_outbound_hosts",
    "environment",
    "files",
    "key_value_stores",
    "sqlite_databases",
    "variables",
];
/// `build` and `tool` are for other programs. Spin ignores them too when it runs an application.
const COMPONENT: &[&str] = &[
    "source",
    "description",
    "variables",
    "environment",
    "files",
    "exclude_files",
    "sqlite_databases",
    "key_value_stores",
    "allowed_outbound_hosts",
    "build",
    "tool",
];

impl Manifest {
    /// Reads the manifest at `path`.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read the manifest {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("in the manifest {}", path.display()))
    }

    /// Parses a manifest. Refuses keys that this host does not have, by name.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let top: Table = text.parse()?;
        only("the top level", &top, TOP)?;
        ensure!(
            top.get("spin_manifest_version").and_then(Value::as_integer) == Some(2),
            "accredit-host supports `spin_manifest_version = 2` only"
        );
        let application = table("[application]", top.get("application"))?;
        only("[application]", &application, APPLICATION)?;
        let text_of = |key: &str| application.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text_of("name");
        ensure!(!name.is_empty(), "[application] needs a `name`");

        let patterns = patterns(&application)?;
        let mut components = each("component", top.get("component"), COMPONENT, |id, value| {
            ensure!(is_id(id), "component id {id:?} is not kebab-case");
            if value.get("source").is_some_and(Value::is_table) {
                bail!("`source` must be a path: accredit-host does not fetch wasm from URLs or registries");
            }
            Ok(Component::deserialize(value)?)
        })?;
        let variables = each("variables", top.get("variables"), VARIABLE, |name, value| {
            check_variable_name(name)?;
            let variable = Variable::deserialize(value)?;
            ensure!(variable.default.is_some() != variable.required, "needs either `default` or `required = true`");
            Ok(variable)
        })?;
        let triggers = triggers(top.get("trigger"), &components)?;
        for trigger in &triggers {
            let others = || triggers.iter().filter(|other| other.component == trigger.component);
            ensure!(
                others().all(|other| other.middleware == trigger.middleware),
                "the routes of the component {:?} have different middleware, which is not a feature of accredit-host",
                trigger.component
            );
            if let Some(component) = components.get_mut(&trigger.component) {
                component.middleware.clone_from(&trigger.middleware);
            }
        }
        Ok(Self { name, version: text_of("version"), patterns, variables, triggers, components })
    }
}

/// What `[application.tool.accredit-host]` says. Other tools' tables are theirs.
fn patterns(application: &Table) -> Result<Option<PathBuf>> {
    const PLACE: &str = "[application.tool.accredit-host]";
    let Some(own) = application.get("tool").and_then(|tool| tool.get("accredit-host")) else { return Ok(None) };
    let own = table(PLACE, Some(own))?;
    only(PLACE, &own, &["patterns"])?;
    let file =
        own.get("patterns").and_then(Value::as_str).with_context(|| format!("{PLACE} needs `patterns`, a file"))?;
    Ok(Some(file.into()))
}

fn triggers(value: Option<&Value>, components: &BTreeMap<String, Component>) -> Result<Vec<Trigger>> {
    let kinds = table("[[trigger.http]]", value)?;
    only("[trigger]", &kinds, &["http"])?;
    let entries = kinds.get("http").and_then(Value::as_array).context("the manifest has no [[trigger.http]]")?;
    entries.iter().map(|entry| trigger(entry, components)).collect()
}

fn trigger(entry: &Value, components: &BTreeMap<String, Component>) -> Result<Trigger> {
    let entry = table("[[trigger.http]]", Some(entry))?;
    let place = format!("[[trigger.http]] {}", entry.get("route").and_then(Value::as_str).unwrap_or("(private)"));
    only(&place, &entry, TRIGGER)?;
    let component = match entry.get("component") {
        Some(Value::String(id)) => id.clone(),
        Some(_) => bail!("{place}: `component` must be an id; inline components are not a feature of accredit-host"),
        None => bail!("{place} needs a `component`"),
    };
    ensure!(components.contains_key(&component), "{place}: there is no [component.{component}]");
    if let Some(executor) = entry.get("executor") {
        let executor = table("executor", Some(executor))?;
        only(&format!("{place}: executor"), &executor, &["type"])?;
        let kind = executor.get("type").and_then(Value::as_str).unwrap_or_default();
        ensure!(matches!(kind, "http" | "spin"), "{place}: executor type {kind:?} is not a feature of accredit-host");
    }
    let route = match entry.get("route") {
        Some(Value::String(route)) => Some(route.clone()),
        Some(Value::Table(route)) if route.len() == 1 && route.get("private") == Some(&Value::Boolean(true)) => None,
        _ => bail!("{place}: `route` must be a path or {{ private = true }}"),
    };
    let middleware = match entry.get("dependencies") {
        None => Vec::new(),
        Some(dependencies) => {
            let dependencies = table("dependencies", Some(dependencies))?;
            only(&format!("{place}: dependencies"), &dependencies, &["middleware"])?;
            let listed = dependencies.get("middleware").and_then(Value::as_array);
            let listed = listed.with_context(|| format!("{place}: `dependencies.middleware` must be a list"))?;
            listed.iter().map(|one| middleware(&place, one, components)).collect::<Result<_>>()?
        }
    };
    Ok(Trigger { component, route, middleware })
}

fn middleware(place: &str, entry: &Value, components: &BTreeMap<String, Component>) -> Result<Middleware> {
    let place = format!("{place}: dependencies.middleware");
    let entry = table(&place, Some(entry))?;
    only(&place, &entry, MIDDLEWARE)?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    let source = match (text("path"), text("component")) {
        (Some(path), None) => path.into(),
        (None, Some(id)) => match components.get(id) {
            Some(component) => component.source.clone(),
            None => bail!("{place}: there is no [component.{id}]"),
        },
        _ => bail!("{place} needs either `path` or `component`"),
    };
    let inherits = match entry.get("inherit_configuration") {
        None | Some(Value::Boolean(false)) => Inherited::Keys(Vec::new()),
        Some(Value::Boolean(true)) => Inherited::All,
        Some(Value::Array(keys)) => {
            Inherited::Keys(keys.iter().map(|key| inherited(&place, key)).collect::<Result<_>>()?)
        }
        Some(_) => bail!("{place}: `inherit_configuration` must be true, false or a list of keys"),
    };
    Ok(Middleware { source, inherits })
}

fn inherited(place: &str, key: &Value) -> Result<String> {
    let key = key.as_str().unwrap_or_default();
    ensure!(INHERITED.contains(&key), "{place}: `inherit_configuration` knows no {key:?}");
    Ok(key.to_owned())
}

/// Reads `[section.*]`. Its entries may have the `known` keys only.
fn each<T>(
    section: &str,
    value: Option<&Value>,
    known: &[&str],
    read: impl Fn(&str, Value) -> Result<T>,
) -> Result<BTreeMap<String, T>> {
    let Some(value) = value else { return Ok(BTreeMap::new()) };
    let mut entries = BTreeMap::new();
    for (name, entry) in table(&format!("[{section}]"), Some(value))? {
        let place = format!("[{section}.{name}]");
        only(&place, &table(&place, Some(&entry))?, known)?;
        let entry = read(&name, entry).with_context(|| format!("in {place}"))?;
        entries.insert(name, entry);
    }
    Ok(entries)
}

fn table(place: &str, value: Option<&Value>) -> Result<Table> {
    value.and_then(Value::as_table).cloned().with_context(|| format!("the manifest needs a table {place}"))
}

/// Fails with the name and place of the first key that is not `known`.
pub(crate) fn only(place: &str, table: &Table, known: &[&str]) -> Result<()> {
    match table.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => bail!("{place} has `{key}`, which is not a feature of accredit-host"),
        None => Ok(()),
    }
}

/// Checks a variable's name: words of lower-case letters and digits, a letter first, with single underscores between them (Spin:
/// `Id<'_', true>` in crates/serde). Spin refuses the whole manifest otherwise, and so must we.
pub(crate) fn check_variable_name(name: &str) -> Result<()> {
    let is_lower = |word: &str| word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    ensure!(
        name.split('_').all(|word| is_word(word) && is_lower(word)),
        "{name:?} is not a variable's name: words of lower-case letters and digits that begin with a letter, with single underscores between them"
    );
    Ok(())
}

/// Whether a text is the id of a component, as Spin has it (`Id<'-', false>`).
fn is_id(id: &str) -> bool {
    id.split('-').all(is_word)
}

/// A word of an id: letters, all lower case or all upper case, and digits, a letter first.
fn is_word(word: &str) -> bool {
    let is_of = |is_letter: fn(&u8) -> bool| word.bytes().all(|b| is_letter(&b) || b.is_ascii_digit());
    word.starts_with(|first: char| first.is_ascii_alphabetic())
        && (is_of(u8::is_ascii_lowercase) || is_of(u8::is_ascii_uppercase))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        spin_manifest_version = 2
        [application]
        name = "small"
        [[trigger.http]]
        route = "/..."
        component = "one"
        [component.one]
        source = "one.wasm"
    "#;

    fn refusal(more: &str) -> String {
        format!("{:#}", Manifest::parse(&format!("{SMALL}\n{more}")).unwrap_err())
    }

    #[test]
    fn a_small_manifest_is_read() {
        let manifest = Manifest::parse(SMALL).unwrap();
        assert_eq!(manifest.name, "small");
        assert_eq!(manifest.triggers[0].route.as_deref(), Some("/..."));
        assert_eq!(manifest.components["one"].source, Path::new("one.wasm"));
    }

    #[test]
    fn a_feature_that_the_host_does_not_have_is_refused_by_name() {
        assert!(refusal("ai_models = ['x']").contains("[component.one] has `ai_models`"));
        assert!(refusal("[component.one.dependencies]").contains("`dependencies`"));
        assert!(refusal("[component.one.profile.debug]").contains("`profile`"));
        assert!(refusal("dependencies_inherit_configuration = true").contains("`dependencies_inherit_configuration`"));
        assert!(refusal("[[trigger.redis]]\nchannel = 'c'").contains("[trigger] has `redis`"));
        assert!(refusal("[application.trigger.http]\nbase = '/x'").contains("[application] has `trigger`"));
        assert!(refusal("[[trigger.http]]\nroute='/w'\ncomponent='one'\nexecutor={type='wagi'}").contains("wagi"));
        assert!(refusal("[[trigger.http]]\nroute='/w'\nstatic_response={}").contains("`static_response`"));
        assert!(refusal("[component.two]\nsource={url='https://x',digest='sha256:0'}").contains("does not fetch wasm"));
    }

    #[test]
    fn the_table_of_this_tool_is_read_and_those_of_others_are_not() {
        let with =
            |more: &str| Manifest::parse(&SMALL.replace("[[trigger.http]]", &format!("{more}\n[[trigger.http]]")));
        assert_eq!(with("[application.tool.other]\nx = 1").unwrap().patterns, None);
        let named = with("[application.tool.accredit-host]\npatterns = 'a/routes.txt'").unwrap();
        assert_eq!(named.patterns.as_deref(), Some(Path::new("a/routes.txt")));
        for wrong in ["", "patterns = 1", "pattern = 'x'"] {
            assert!(with(&format!("[application.tool.accredit-host]\n{wrong}")).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_trigger_must_name_a_component_and_a_route() {
        assert!(refusal("[[trigger.http]]\nroute='/w'\ncomponent='two'").contains("no [component.two]"));
        assert!(refusal("[[trigger.http]]\nroute={private=false}\ncomponent='one'").contains("private = true"));
    }

    /// R461: middleware of a trigger, as Spin has it.
    #[test]
    fn a_trigger_can_have_middleware() {
        let with = |more: &str| {
            Manifest::parse(&SMALL.replace("component = \"one\"", &format!("component = \"one\"\n{more}")))
                .map(|manifest| manifest.components["one"].middleware.clone())
                .map_err(|error| format!("{error:#}"))
        };
        let one = |source: &str, inherits| Middleware { source: source.into(), inherits };
        assert_eq!(with(""), Ok(Vec::new()));
        let keys = Inherited::Keys(vec!["variables".to_owned()]);
        assert!(keys.has("variables") && !keys.has("files") && Inherited::All.has("files"));
        let all = "dependencies.middleware = [{ path = 'a.wasm', inherit_configuration = true },
                                              { component = 'one', inherit_configuration = ['variables'] }, { path = 'b' }]";
        let expected = [one("a.wasm", Inherited::All), one("one.wasm", keys), one("b", Inherited::Keys(Vec::new()))];
        assert_eq!(with(all).as_deref(), Ok(&expected[..]));
        for (wrong, said) in [
            ("dependencies.other = []", "`other`"),
            ("dependencies.middleware = 'a'", "must be a list"),
            ("dependencies.middleware = [{ url = 'https://x' }]", "`url`"),
            ("dependencies.middleware = [{}]", "either `path` or `component`"),
            ("dependencies.middleware = [{ component = 'two' }]", "no [component.two]"),
            ("dependencies.middleware = [{ path = 'a', inherit_configuration = 'all' }]", "true, false or a list"),
            ("dependencies.middleware = [{ path = 'a', inherit_configuration = ['file'] }]", "knows no \"file\""),
            (
                "dependencies.middleware = [{ path = 'a' }]\n[[trigger.http]]\nroute = '/b'\ncomponent = 'one'",
                "different middleware",
            ),
        ] {
            assert!(with(wrong).is_err_and(|error| error.contains(said)), "{wrong}: {:?}", with(wrong));
        }
    }

    #[test]
    fn a_variable_has_a_default_or_is_required() {
        assert!(refusal("[variables.v]").contains("in [variables.v]: needs either"));
        assert!(refusal("[variables.Big]\ndefault=''").contains("Big"));
    }

    /// R245: by the rule of Spin, word for word.
    #[test]
    fn variable_names_are_lower_snake_case() {
        for name in ["a", "a1", "a_b", "oidc1_secret"] {
            assert!(check_variable_name(name).is_ok(), "{name}");
        }
        for name in ["", "A", "1a", "_a", "a_", "a__b", "a-b", "oidc_1", "a_1b"] {
            assert!(check_variable_name(name).is_err(), "{name}");
        }
        for (id, is_good) in
            [("a", true), ("A-b1", true), ("aB", false), ("a-1", false), ("1", false), ("a--b", false), ("a_b", false)]
        {
            assert_eq!(is_id(id), is_good, "{id}");
        }
    }

    #[test]
    fn the_table_build_is_ignored() {
        assert!(Manifest::parse(&format!("{SMALL}\n[component.one.build]\ncommand='make'")).is_ok());
    }
}
