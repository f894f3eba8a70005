//! Secrets of agents: credentials of other services, under names like those of environment variables.

use crate::error::{ApiError, Code};

/// Characters of a name at most.
const NAME: usize = 64;
/// Bytes of a value at most: a certificate's key or a service account in JSON fits.
const VALUE: usize = 8 * 1024;

/// Names that steer the shell, the loader, an interpreter, a tool or a client that reads them, and are no secrets: a caller that set one of them
/// could run code where the agent runs, or send its traffic elsewhere.
const RESERVED: &[&str] = &[
    "ANSIBLE_CONFIG",
    "AR",
    "AWS_SHARED_CREDENTIALS_FILE",
    "BASHOPTS",
    "BASH_ENV",
    "BASH_VERSINFO",
    "BROWSER",
    "BUNDLE_GEMFILE",
    "CC",
    "CLOUDSDK_CONFIG",
    "CLOUDSDK_PYTHON",
    "COMPOSE_FILE",
    "COMSPEC",
    "CONTAINERS_CONF",
    "CONTAINER_HOST",
    "CXX",
    "DBUS_SESSION_BUS_ADDRESS",
    "DENO_DIR",
    "DISPLAY",
    "DOCKER_CONFIG",
    "DOCKER_HOST",
    "DOTNET_ADDITIONAL_DEPS",
    "DOTNET_ROOT",
    "ELECTRON_RUN_AS_NODE",
    "ENV",
    "ERL_LIBS",
    "EUID",
    "EXECIGNORE",
    "EXINIT",
    "FCEDIT",
    "GCC_EXEC_PREFIX",
    "GH_HOST",
    "GLOBIGNORE",
    "GNUPGHOME",
    "GOBIN",
    "GOENV",
    "GOINSECURE",
    "GONOSUMDB",
    "GOPRIVATE",
    "GOPROXY",
    "GOROOT",
    "GOSUMDB",
    "GOTOOLCHAIN",
    "GSS_MECH_CONFIG",
    "GST_PLUGIN_SCANNER",
    "HELM_PLUGINS",
    "HGMERGE",
    "HOME",
    "HOSTALIASES",
    "IFS",
    "INPUTRC",
    "IPYTHONDIR",
    "KRB5_CONFIG",
    "KUBECONFIG",
    "KUBECTL_EXTERNAL_DIFF",
    "LDAPCONF",
    "LDAPRC",
    "LESSCLOSE",
    "LESSKEY",
    "LESSOPEN",
    "LIBMYSQL_PLUGINS",
    "LIBMYSQL_PLUGIN_DIR",
    "LOCALDOMAIN",
    "LOGNAME",
    "MAILCAPS",
    "MAKEFILES",
    "MYVIMRC",
    "NETRC",
    "NODE_EXTRA_CA_CERTS",
    "NODE_REPL_EXTERNAL_MODULE",
    "NODE_TLS_REJECT_UNAUTHORIZED",
    "NODE_V8_COVERAGE",
    "OCL_ICD_VENDORS",
    "ODBCINI",
    "ODBCINSTINI",
    "ODBCSYSINI",
    "OLDPWD",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPTIND",
    "PATHEXT",
    "PERLLIB",
    "PERL_UNICODE",
    "PGSERVICEFILE",
    "PGSYSCONFDIR",
    "PHPRC",
    "PHP_INI_SCAN_DIR",
    "POSIXLY_CORRECT",
    "PPID",
    "PS1",
    "PS2",
    "PS4",
    "PSQLRC",
    "PWD",
    "PYTEST_ADDOPTS",
    "PYTEST_PLUGINS",
    "RESOLV_HOST_CONF",
    "RSYNC_CONNECT_PROG",
    "RUBYGEMS_GEMDEPS",
    "RUBYLIB",
    "RUBYOPT",
    "RUBYSHELL",
    "RUSTDOC",
    "R_ENVIRON",
    "R_PROFILE",
    "SHELL",
    "SHELLOPTS",
    "SSH_AUTH_SOCK",
    "SSH_PKCS11_HELPER",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "SVN_SSH",
    "SYSTEMROOT",
    "TEMP",
    "TERMINFO",
    "TERMINFO_DIRS",
    "TF_CLI_ARGS",
    "TMP",
    "TMPDIR",
    "TNS_ADMIN",
    "UID",
    "USER",
    "UV_DEFAULT_INDEX",
    "UV_EXTRA_INDEX_URL",
    "UV_INDEX",
    "UV_INDEX_URL",
    "VIM",
    "VIMINIT",
    "VIMRUNTIME",
    "VIRTUAL_ENV",
    "VISUAL",
    "VK_ICD_FILENAMES",
    "WGETRC",
    "XAUTHORITY",
    "XDG_CONFIG_DIRS",
    "XDG_DATA_DIRS",
    "YARN_RC_FILENAME",
    "ZDOTDIR",
];
/// What such names begin with; and the names that a client of this server reads.
const RESERVED_BEGINNINGS: &[&str] = &[
    "ACCREDIT_",
    "BASH_FUNC_",
    "CARGO_",
    "DYLD_",
    "GIT_",
    "LD_",
    "LUA_",
    "MALLOC_",
    "NIX_LD",
    "NPM_CONFIG_",
    "PERL5",
    "PIP_",
    "PYTHON",
    "R_LIBS",
    "RUSTC",
    "RUSTUP_",
    "SSH_SK_",
];
/// What they end with: tools that are not listed name theirs like this, and no secret is named so.
const RESERVED_ENDINGS: &[&str] = &[
    "_ASKPASS",
    "_CA_BUNDLE",
    "COMMAND",
    "_CONFIG_DIR",
    "_CONFIG_FILE",
    "EDITOR",
    "FLAGS",
    "HISTFILE",
    "_HISTORY",
    "_HOME",
    "_HOOKS",
    "_MODULES",
    "OPTIONS",
    "_OPTS",
    "PAGER",
    "PATH",
    "_PRELOAD",
    "_PROFILER",
    "_PROXY",
    "_RSH",
    "_TUNABLES",
    "_WRAPPER",
];

/// A secret's name: 1 to 64 upper-case letters, digits and `_`, not beginning with a digit, and none that steers a program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(transparent)]
pub struct SecretName(String);

impl SecretName {
    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_good = (1..=NAME).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
            && !text.starts_with(|c: char| c.is_ascii_digit())
            && text != "_"
            && !RESERVED.contains(&text)
            && !RESERVED_BEGINNINGS.iter().any(|beginning| text.starts_with(beginning))
            && !RESERVED_ENDINGS.iter().any(|ending| text.ends_with(ending));
        is_good.then(|| Self(text.to_owned()))
    }

    /// The same, as a refusal of what a caller sent.
    pub fn read(text: &str) -> Result<Self, ApiError> {
        Self::parse(text).ok_or_else(|| Code::InvalidSecretName.into())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A secret's value. It cannot be copied, printed or serialised by habit: [`SecretValue::reveal`] is the one exit.
pub struct SecretValue(String);

impl SecretValue {
    /// Takes what a caller sent: 1 to 8192 bytes, lines and tabs, and no other control characters. No body may hold a credential of our own,
    /// so none of them reaches another server.
    pub fn parse(text: String) -> Option<Self> {
        let is_good = (1..=VALUE).contains(&text.len())
            && text.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'));
        is_good.then_some(Self(text))
    }

    /// The same, as a refusal that names the secret and nothing of its value.
    pub fn read(name: &SecretName, text: String) -> Result<Self, ApiError> {
        let invalid = || Code::InvalidSecretValue.with("name", name.as_str()).extra("secret", name.as_str());
        Self::parse(text).ok_or_else(invalid)
    }

    /// What the vault has opened.
    pub fn opened(text: String) -> Self {
        Self(text)
    }

    /// The plaintext, for the agent alone, the vault, and the header of a probe. Grep for this name to see every use.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The line of a POSIX shell that puts it into the environment. In single quotes nothing has a meaning but the single quote, so lines,
    /// `$`, backticks and backslashes stay as they are (POSIX.1-2017, Shell Command Language, 2.2.2).
    pub fn to_shell(&self, name: &SecretName) -> String {
        format!("export {}='{}'\n", name.as_str(), self.0.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R511.
    #[test]
    fn a_name_is_one_of_an_environment_variable_and_steers_no_program() {
        for good in [
            "A",
            "_A",
            "GITHUB_TOKEN",
            "S3_KEY_2",
            &"X".repeat(64),
            "LDAP_PASSWORD",
            "HOME_TOKEN",
            "PROXY_PASSWORD",
            "PGPASSWORD",
            "RUBYGEMS_API_KEY",
            "UV_PUBLISH_TOKEN",
            "RESTIC_PASSWORD",
            "FIREBASE_CONFIG",
            "__",
        ] {
            assert!(SecretName::parse(good).is_some(), "{good}");
        }
        for bad in [
            "",
            "_",
            "a",
            "Github",
            "1A",
            "A-B",
            "A B",
            "A=B",
            "A\n",
            "A'",
            "\u{c4}",
            &"X".repeat(65),
            "PATH",
            "IFS",
            "ENV",
            "BASH_ENV",
            "LD_PRELOAD",
            "DYLD_INSERT_LIBRARIES",
            "PYTHONSTARTUP",
            "NODE_OPTIONS",
            "GIT_SSH_COMMAND",
            "UID",
            "PPID",
            "LOCALDOMAIN",
            "ACCREDIT_TOKEN",
            "ACCREDIT_URL",
            "HTTPS_PROXY",
            "PERLLIB",
            "GLIBC_TUNABLES",
            "OPENSSL_CONF",
            "LESSOPEN",
            "SSH_ASKPASS",
            "RUSTC_WRAPPER",
            "NPM_CONFIG_REGISTRY",
            "COMPOSE_FILE",
            "GH_HOST",
            "HELM_PLUGINS",
            "KUBECONFIG",
            "DOTNET_STARTUP_HOOKS",
            "SOME_TOOL_OPTIONS",
            "GRPC_PROXY",
            "values",
            "RUSTFLAGS",
            "PSQLRC",
            "MYSQL_HOME",
            "PGSERVICEFILE",
            "KRB5_CONFIG",
            "ELECTRON_RUN_AS_NODE",
            "PGOPTIONS",
            "LDFLAGS",
            "RESTIC_PASSWORD_COMMAND",
            "SSLKEYLOGFILE",
            "NODE_TLS_REJECT_UNAUTHORIZED",
            "SSH_SK_PROVIDER",
            "SVN_SSH",
            "MAKEFILES",
            "TF_CLI_CONFIG_FILE",
            "GOPATH",
        ] {
            assert!(SecretName::parse(bad).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn a_value_is_a_text_of_some_kilobytes() {
        for good in ["x", " ", "a\nb\r\n\tc", "'\"$(`\\", "\u{1f600}", &"x".repeat(VALUE)] {
            assert!(SecretValue::parse(good.to_owned()).is_some(), "{good:?}");
        }
        for bad in ["", "a\0b", "a\u{1b}[2J", "\u{85}", &"x".repeat(VALUE + 1), &"\u{e9}".repeat(VALUE / 2 + 1)] {
            assert!(SecretValue::parse(bad.to_owned()).is_none(), "{} bytes", bad.len());
        }
    }

    /// R111: whatever a value holds, a real shell gets exactly that, and runs nothing of it.
    #[test]
    fn a_shell_reads_back_what_was_stored() {
        let name = SecretName::parse("SECRET").unwrap();
        for value in [
            "plain",
            "it's",
            "'",
            "''",
            "'; echo run; '",
            "$(echo run) `echo run` ${HOME}",
            "a\nb\n",
            "\n",
            "a\\",
            "\\'",
            "\"",
            "!x",
            "-n",
            "a=b",
            "\t \r",
            "#no",
            "\u{e9}\u{1f600}",
            "x'\n export OTHER='y",
        ] {
            let script = format!("{}printf %s. \"$SECRET\"", SecretValue::opened(value.to_owned()).to_shell(&name));
            let out = std::process::Command::new("sh").arg("-c").arg(&script).output().unwrap();
            assert_eq!(String::from_utf8(out.stdout).unwrap(), format!("{value}."), "{script}");
            assert!(out.stderr.is_empty() && out.status.success());
        }
    }
}
