//! The runtime configuration file: settings of the place where the application runs, not of the application.
//!
//! The format is Spin's. Keys that this host does not have are refused by name.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};
use rustls::pki_types::{CertificateDer, pem::PemObject as _};
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use toml::{Table, Value};

use crate::address::Network;
use crate::manifest::only;
use crate::variables::Provider;

/// The file's settings; the defaults stand for no file.
#[derive(Default)]
pub(crate) struct RuntimeConfig {
    /// The directory of databases and stores if no flag sets it; empty: they are in memory.
    state_dir: Option<String>,
    /// Where Spin would write the output of components. This host prints it on its own stderr only.
    pub(crate) log_dir: Option<String>,
    /// Bytes of memory that one instance may have if no flag sets them.
    pub(crate) max_instance_memory: Option<usize>,
    /// Databases by label. `None`: in memory.
    pub(crate) sqlite_databases: BTreeMap<String, Option<PathBuf>>,
    /// Key-value stores by label. `None`: in memory.
    pub(crate) key_value_stores: BTreeMap<String, Option<PathBuf>>,
    /// Where variables come from, first to last.
    pub(crate) providers: Vec<Provider>,
    /// Networks that are blocked in addition to those that always are.
    pub(crate) blocked: Vec<Network>,
    /// Certificates that components trust.
    client_tls: Vec<ClientTls>,
}

/// `[[client_tls]]`: the certificates that some components trust at some hosts.
struct ClientTls {
    component_ids: Vec<String>,
    /// In lower case.
    hosts: Vec<String>,
    config: Arc<ClientConfig>,
}

#[derive(Deserialize)]
struct RawClientTls {
    component_ids: Vec<String>,
    hosts: Vec<String>,
    ca_roots_file: Option<PathBuf>,
    ca_use_webpki_roots: Option<bool>,
}

impl RuntimeConfig {
    /// Reads the file. As in Spin, paths of stores and certificates are relative to it, and paths of databases to the
    /// current directory.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let home = path.parent().unwrap_or(Path::new("."));
        Self::parse(&text, home).with_context(|| format!("in the runtime configuration {}", path.display()))
    }

    /// The directory of databases and stores. `None`: they are in memory.
    pub(crate) fn state_dir(&self, flag: Option<&str>, home: &Path) -> Option<PathBuf> {
        match flag.or(self.state_dir.as_deref()) {
            None => Some(home.join(".spin")),
            Some("") => None,
            // Absolute, since SQLite would take a name such as `file:state` for a URI.
            Some(path) => Some(std::path::absolute(path).unwrap_or_else(|_| path.into())),
        }
    }

    /// The file of a database. `None`: it is in memory.
    pub(crate) fn database(&self, label: &str, flag: Option<&str>, home: &Path) -> Option<PathBuf> {
        match self.sqlite_databases.get(label) {
            Some(path) => path.clone(),
            None => self.state_dir(flag, home).map(|path| path.join("sqlite_db.db")),
        }
    }

    /// The TLS settings of a component, by host.
    pub(crate) fn client_tls_of(&self, component: &str) -> HashMap<String, Arc<ClientConfig>> {
        let mut found = HashMap::new();
        for tls in self.client_tls.iter().filter(|tls| tls.component_ids.iter().any(|id| id == component)) {
            for host in &tls.hosts {
                // The first entry for a host is the one that counts.
                found.entry(host.clone()).or_insert_with(|| tls.config.clone());
            }
        }
        found
    }

    fn parse(text: &str, home: &Path) -> Result<Self> {
        let file: Table = text.parse()?;
        let known = [
            "state_dir",
            "log_dir",
            "max_instance_memory",
            "sqlite_database",
            "key_value_store",
            "variables_provider",
            "config_provider",
            "outbound_networking",
            "client_tls",
        ];
        only("the file", &file, &known)?;
        let providers = file.get("variables_provider").or_else(|| file.get("config_provider"));
        let blocked = match file.get("outbound_networking") {
            Some(value) => blocked(value)?,
            None => Vec::new(),
        };
        let text = |key: &str| match file.get(key) {
            Some(value) => Ok(Some(value.as_str().with_context(|| format!("`{key}` must be a string"))?.to_owned())),
            None => Ok::<_, anyhow::Error>(None),
        };
        let memory = file.get("max_instance_memory").map(|value| {
            let bytes = value.as_integer().and_then(|bytes| usize::try_from(bytes).ok());
            bytes.context("`max_instance_memory` must be a number of bytes")
        });
        Ok(Self {
            state_dir: text("state_dir")?,
            log_dir: text("log_dir")?,
            max_instance_memory: memory.transpose()?,
            sqlite_databases: stores("sqlite_database", &file, Path::new(""))?,
            key_value_stores: stores("key_value_store", &file, home)?,
            providers: list(providers).iter().map(provider).collect::<Result<_>>()?,
            blocked,
            client_tls: list(file.get("client_tls"))
                .iter()
                .map(|entry| client_tls(entry, home))
                .collect::<Result<_>>()?,
        })
    }
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn stores(kind: &str, file: &Table, home: &Path) -> Result<BTreeMap<String, Option<PathBuf>>> {
    let Some(entries) = file.get(kind) else { return Ok(BTreeMap::new()) };
    let entries = entries.as_table().with_context(|| format!("[{kind}] must hold tables"))?;
    let store = |(label, entry): (&String, &Value)| {
        let place = format!("[{kind}.{label}]");
        let entry = entry.as_table().with_context(|| format!("{place} must be a table"))?;
        let engine = entry.get("type").and_then(Value::as_str).unwrap_or_default();
        ensure!(engine == "spin", "{place}: type {engine:?} is not a feature of accredit-host");
        only(&place, entry, &["type", "path"])?;
        Ok((label.clone(), entry.get("path").and_then(Value::as_str).map(|path| home.join(path))))
    };
    entries.iter().map(store).collect()
}

fn provider(entry: &Value) -> Result<Provider> {
    let entry = entry.as_table().context("[[variables_provider]] must be a table")?;
    let text = |key: &str| entry.get(key).and_then(Value::as_str);
    match text("type").unwrap_or_default() {
        "env" => {
            only("[[variables_provider]] env", entry, &["type", "prefix", "dotenv_path"])?;
            Ok(Provider::environment(text("prefix").map(ToOwned::to_owned), text("dotenv_path").map(Path::new)))
        }
        "static" => {
            only("[[variables_provider]] static", entry, &["type", "values"])?;
            let values = entry.get("values").cloned().context("[[variables_provider]] static needs `values`")?;
            Ok(Provider::Static(HashMap::deserialize(values)?))
        }
        other => bail!("[[variables_provider]]: type {other:?} is not a feature of accredit-host"),
    }
}

fn blocked(value: &Value) -> Result<Vec<Network>> {
    let entry = value.as_table().context("[outbound_networking] must be a table")?;
    only("[outbound_networking]", entry, &["block_networks"])?;
    let networks = list(entry.get("block_networks")).iter().map(|network| network.as_str().unwrap_or_default());
    networks.filter(|network| *network != "private").map(Network::parse).collect()
}

fn client_tls(entry: &Value, home: &Path) -> Result<ClientTls> {
    let known = ["component_ids", "hosts", "ca_roots_file", "ca_use_webpki_roots"];
    only("[[client_tls]]", entry.as_table().context("[[client_tls]] must be a table")?, &known)?;
    let raw = RawClientTls::deserialize(entry.clone()).context("in [[client_tls]]")?;
    let mut roots = RootCertStore::empty();
    // Roots from a file replace the public ones, unless the entry asks for both.
    if raw.ca_use_webpki_roots.unwrap_or(raw.ca_roots_file.is_none()) {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    if let Some(path) = raw.ca_roots_file {
        let path = home.join(path);
        for certificate in
            CertificateDer::pem_file_iter(&path).with_context(|| format!("cannot read {}", path.display()))?
        {
            roots.add(certificate.with_context(|| format!("in {}", path.display()))?)?;
        }
    }
    let hosts = raw.hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
    Ok(ClientTls { component_ids: raw.component_ids, hosts, config: tls_config(roots)? })
}

/// A TLS client that trusts these roots.
pub(crate) fn tls_config(roots: RootCertStore) -> Result<Arc<ClientConfig>> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RuntimeConfig> {
        RuntimeConfig::parse(text, Path::new("/home"))
    }

    #[test]
    fn stores_and_providers_are_read() {
        let config = parse(
            "[sqlite_database.two]\ntype='spin'\npath='/data/two.db'\n[key_value_store.cache]\ntype='spin'\npath='kv.db'\n\
             [[variables_provider]]\ntype='static'\nvalues={a='1'}\n[outbound_networking]\nblock_networks=['private','1.2.3.0/24']",
        )
        .unwrap();
        assert_eq!(config.sqlite_databases["two"].as_deref(), Some(Path::new("/data/two.db")));
        assert_eq!(config.key_value_stores["cache"].as_deref(), Some(Path::new("/home/kv.db")));
        assert_eq!(config.providers.len(), 1);
        assert_eq!(config.blocked, [Network::parse("1.2.3.0/24").unwrap()]);
    }

    #[test]
    fn directories_and_the_memory_limit_are_read() {
        let config = parse("state_dir='data'\nlog_dir=''\nmax_instance_memory=33554432").unwrap();
        assert_eq!((config.state_dir.as_deref(), config.log_dir.as_deref()), (Some("data"), Some("")));
        assert_eq!(config.max_instance_memory, Some(32 << 20));
        // R588: SQLite takes no absolute path for a URI.
        let here = std::env::current_dir().unwrap();
        for (flag, wanted) in [(None, "data"), (Some("file:state"), "file:state")] {
            assert_eq!(
                config.database("default", flag, Path::new("/home")),
                Some(here.join(wanted).join("sqlite_db.db"))
            );
        }
        for wrong in ["state_dir=1", "log_dir=false", "max_instance_memory='1'", "max_instance_memory=-1"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_feature_that_the_host_does_not_have_is_refused_by_name() {
        for (text, name) in [
            ("[sqlite_database.x]\ntype='libsql'", "libsql"),
            ("[key_value_store.x]\ntype='redis'", "redis"),
            ("[[variables_provider]]\ntype='vault'", "vault"),
            ("[llm_compute]\ntype='spin'", "llm_compute"),
            ("[outbound_networking]\nmax_socket_connections=1", "max_socket_connections"),
            ("[[client_tls]]\ncomponent_ids=['a']\nhosts=['b']\nca_use_platform_roots=true", "ca_use_platform_roots"),
        ] {
            assert!(format!("{:#}", parse(text).err().unwrap()).contains(name), "{text}");
        }
    }
}
