//! Servers of the tests that speak TLS, with certificates of an authority that the host is told to trust.

use std::{
    fs,
    io::BufReader,
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;

use crate::PATIENCE;

/// An authority, with a certificate of it for `localhost`.
pub struct Authority {
    config: Arc<ServerConfig>,
    files: TempDir,
}

impl Authority {
    /// A new one, which these components trust at `localhost` where the runtime configuration says so.
    pub fn new(components: &[&str]) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = params.self_signed(&key).expect("an authority");
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let names = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        let certificate = names.signed_by(&key, &issuer).expect("a certificate");

        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions of TLS")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], der)
            .expect("a certificate of its key");

        let files = tempfile::tempdir().expect("a temporary directory");
        let trust = format!(
            "[[client_tls]]\ncomponent_ids = {components:?}\nhosts = [\"localhost\"]\nca_roots_file = \"ca.pem\"\n"
        );
        for (name, text) in [
            ("ca.pem", authority.pem()),
            ("certificate.pem", certificate.pem()),
            ("key.pem", key.serialize_pem()),
            ("runtime-config.toml", trust),
        ] {
            fs::write(files.path().join(name), text).expect("to write a file");
        }
        Self { config: Arc::new(config), files }
    }

    /// A runtime configuration by which the components trust this authority.
    pub fn runtime_config(&self) -> PathBuf {
        self.files.path().join("runtime-config.toml")
    }

    /// The files `certificate.pem` and `key.pem`, for a server that is a program of its own.
    pub fn files(&self) -> &Path {
        self.files.path()
    }

    /// Serves on a free port of `localhost`, each connection in a thread of its own; returns the port. The threads end with the process.
    pub fn serve(&self, answer: impl Fn(&mut Stream) -> std::io::Result<()> + Send + Sync + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (config, answer) = (Arc::clone(&self.config), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, answer) = (Arc::clone(&config), Arc::clone(&answer));
                // A client that goes away is the test's affair.
                thread::spawn(move || drop(connect(stream, config).and_then(|mut stream| answer(&mut stream))));
            }
        });
        port
    }
}

/// A connection.
pub type Stream = BufReader<StreamOwned<ServerConnection, TcpStream>>;

fn connect(stream: TcpStream, config: Arc<ServerConfig>) -> std::io::Result<Stream> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let connection = ServerConnection::new(config).map_err(std::io::Error::other)?;
    Ok(BufReader::new(StreamOwned::new(connection, stream)))
}
