//! Variables: where their values come from, the templates that use them, and the interface that components read them by.

mod interface;

use std::collections::{BTreeMap, HashMap};
use std::env::VarError;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

pub(crate) use interface::{View, add_to_linker};

use crate::manifest::{Component, Manifest, check_variable_name};

/// A source of values for application variables.
#[derive(Debug, Clone)]
pub(crate) enum Provider {
    /// Values given at the start.
    Static(HashMap<String, String>),
    /// `<PREFIX>_<NAME>` in the environment, then in a file of `NAME=value` lines.
    Environment {
        /// The prefix, without the underscore.
        prefix: String,
        /// What the file holds, or what is wrong with it. A broken file is an error only if a value is looked up in it.
        dotenv: Result<HashMap<String, String>, String>,
    },
}

impl Provider {
    /// The provider that Spin always has: `SPIN_VARIABLE_<NAME>`, then `.env` in the current directory.
    pub(crate) fn environment(prefix: Option<String>, dotenv: Option<&Path>) -> Self {
        let dotenv = dotenv.map_or_else(|| Ok(HashMap::new()), read_dotenv);
        Self::Environment { prefix: prefix.unwrap_or_else(|| "SPIN_VARIABLE".to_owned()), dotenv }
    }

    fn find(&self, name: &str) -> Result<Option<String>> {
        match self {
            Self::Static(values) => Ok(values.get(name).cloned()),
            Self::Environment { prefix, dotenv } => {
                let key = format!("{prefix}_{}", name.to_ascii_uppercase());
                match std::env::var(&key) {
                    Ok(value) => Ok(Some(value)),
                    Err(VarError::NotUnicode(_)) => bail!("{key} in the environment is not UTF-8"),
                    Err(VarError::NotPresent) => match dotenv {
                        Ok(values) => Ok(values.get(&key).cloned()),
                        Err(reason) => {
                            bail!("cannot look up the variable {name} in a broken file: {reason}")
                        }
                    },
                }
            }
        }
    }
}

/// Reads one `--variable`: `key=value`, `key=@file`, `@file.json` or `@file.toml`.
pub(crate) fn from_flag(flag: &str) -> Result<HashMap<String, String>> {
    let read = |path: &str| std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"));
    if let Some(path) = flag.strip_prefix('@') {
        return match PathBuf::from(path).extension().and_then(|extension| extension.to_str()) {
            Some("json") => serde_json::from_str(&read(path)?).with_context(|| format!("in {path}")),
            Some("toml") => toml::from_str(&read(path)?).with_context(|| format!("in {path}")),
            _ => bail!("a file of variables must end in .json or .toml: {path}"),
        };
    }
    let (key, value) =
        flag.split_once('=').with_context(|| format!("--variable needs key=value or @file, not {flag:?}"))?;
    let value = value.strip_prefix('@').map_or_else(|| Ok(value.to_owned()), read)?;
    Ok([(key.to_owned(), value)].into())
}

/// The value of every application variable. Fails with the names of required variables that have no value.
pub(crate) fn resolve(manifest: &Manifest, providers: &[Provider]) -> Result<BTreeMap<String, String>> {
    let mut values = BTreeMap::new();
    let mut missing = Vec::new();
    for (name, variable) in &manifest.variables {
        let given = providers.iter().find_map(|provider| provider.find(name).transpose()).transpose()?;
        match given.or_else(|| variable.default.clone()) {
            Some(value) => _ = values.insert(name.clone(), value),
            None => missing.push(name.as_str()),
        }
    }
    ensure!(
        missing.is_empty(),
        "no value for the required variable(s) {}: give --variable name=value",
        missing.join(", ")
    );
    Ok(values)
}

/// The variables of one component, their templates filled in.
pub(crate) fn of_component(
    component: &Component,
    values: &BTreeMap<String, String>,
) -> Result<HashMap<String, String>> {
    let filled = component.variables.iter().map(|(name, template)| {
        check_variable_name(name)?;
        Ok((name.clone(), fill(template, values).with_context(|| format!("in the variable {name}"))?))
    });
    filled.collect()
}

/// Fills in the `{{ name }}`s of a template.
pub(crate) fn fill(template: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut filled = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((text, tail)) = rest.split_once("{{") {
        let (name, tail) = tail.split_once("}}").with_context(|| format!("unmatched {{{{ in {template:?}"))?;
        let name = name.trim();
        filled.push_str(text);
        filled.push_str(values.get(name).with_context(|| format!("unknown variable {name:?} in {template:?}"))?);
        rest = tail;
    }
    filled.push_str(rest);
    Ok(filled)
}

/// Reads a file as Spin does. A missing file holds nothing. The error leaves the broken line out: it may hold a secret.
fn read_dotenv(path: &Path) -> Result<HashMap<String, String>, String> {
    match std::fs::read(path) {
        Ok(text) => parse_dotenv(&text).map_err(|reason| format!("{}: {reason}", path.display())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(HashMap::new()),
        Err(error) => Err(format!("{}: {error}", path.display())),
    }
}

fn parse_dotenv(text: &[u8]) -> Result<HashMap<String, String>, String> {
    let mut values = HashMap::new();
    let mut last = None;
    for pair in dotenvy::from_read_iter(text) {
        let (name, value) = pair.map_err(|_| match &last {
            Some(last) => format!("the line after {last} is not NAME=value"),
            None => "the first line is not NAME=value".to_owned(),
        })?;
        last = Some(name.clone());
        values.insert(name, value);
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(variables: &str) -> Manifest {
        Manifest::parse(&format!(
            "spin_manifest_version = 2\n[application]\nname='a'\n[[trigger.http]]\nroute='/'\ncomponent='one'\n\
             [component.one]\nsource='one.wasm'\n[variables]\n{variables}"
        ))
        .unwrap()
    }

    fn given(name: &str, value: &str) -> Provider {
        Provider::Static([(name.to_owned(), value.to_owned())].into())
    }

    #[test]
    fn the_first_provider_that_has_a_variable_wins_over_its_default() {
        let manifest = manifest("v = { default = 'd' }");
        assert_eq!(resolve(&manifest, &[]).unwrap()["v"], "d");
        assert_eq!(resolve(&manifest, &[given("other", "x"), given("v", "1"), given("v", "2")]).unwrap()["v"], "1");
    }

    #[test]
    fn a_missing_required_variable_stops_the_start_with_its_name() {
        let error = resolve(&manifest("mail_host = { required = true }"), &[]).unwrap_err();
        assert!(error.to_string().contains("mail_host"));
    }

    #[test]
    fn a_template_may_mix_text_and_variables() {
        let values = [("host".to_owned(), "example.com".to_owned())].into();
        assert_eq!(fill("https://{{ host }}:{{host}}/", &values).unwrap(), "https://example.com:example.com/");
        assert_eq!(fill("plain", &values).unwrap(), "plain");
        assert!(fill("{{ other }}", &values).is_err());
        assert!(fill("{{ host", &values).is_err());
    }

    #[test]
    fn a_dotenv_file_has_comments_exports_quotes_escapes_and_names() {
        let text = "# c\nexport A=1\nB = \"two words\" # c\nC='x'\nD=a # c\nE=\"a\\nb\"\nF=<${A}>$B.\nG='$A'\n\
                    H=\"one\ntwo\"\nI=a#b\nJ=\nA=2\n";
        let values = parse_dotenv(text.as_bytes()).unwrap();
        let expected = [
            ("A", "2"),
            ("B", "two words"),
            ("C", "x"),
            ("D", "a"),
            ("E", "a\nb"),
            ("F", "<1>two words."),
            ("G", "$A"),
            ("H", "one\ntwo"),
            ("I", "a#b"),
            ("J", ""),
        ];
        assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn the_error_of_a_broken_dotenv_file_leaves_its_text_out() {
        for (text, expected) in [
            ("s3cret", "first line"),
            ("A=1\ns3cret\n", "the line after A"),
            ("A=1\nB=s3 cret\n", "the line after A"),
            ("A=1\nB='s3cret\n", "the line after A"),
            ("A=1\nB=s3\\cret\n", "the line after A"),
        ] {
            let reason = parse_dotenv(text.as_bytes()).unwrap_err();
            assert!(reason.contains(expected) && !reason.contains("cret"), "{reason}");
        }
        assert!(parse_dotenv(b"A=\xff\n").is_err());
    }

    #[test]
    fn a_broken_dotenv_file_stops_the_start_only_if_a_value_is_looked_up_in_it() {
        let broken = Provider::Environment { prefix: "UNSET_PREFIX".to_owned(), dotenv: Err(".env: bad".to_owned()) };
        let manifest = manifest("v = { default = 'd' }");
        assert_eq!(resolve(&manifest, &[given("v", "1"), broken.clone()]).unwrap()["v"], "1");
        let error = resolve(&manifest, &[broken]).unwrap_err().to_string();
        assert!(error.contains("variable v") && error.contains(".env: bad"), "{error}");
        assert_eq!(read_dotenv(Path::new("/nowhere/.env")), Ok(HashMap::new()));
        assert!(read_dotenv(Path::new("/")).is_err());
    }

    #[test]
    fn a_flag_gives_one_value() {
        assert_eq!(from_flag("k=a=b").unwrap()["k"], "a=b");
        assert!(from_flag("k").is_err());
        assert!(from_flag("@x.yaml").is_err());
    }
}
