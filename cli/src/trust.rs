//! What the certificate of a server is held against, and what to do where it does not hold.

use std::{ffi::OsString, path::Path};

use rustls::CertificateError;
use ureq::tls::{Certificate, PemItem, RootCerts, parse_pem};

use crate::{config::Url, fail::Failure, show};

/// The variable with a file of certificates.
const FILE: &str = "SSL_CERT_FILE";

/// The certificates that are trusted: those of the file in `SSL_CERT_FILE`, or else those of the machine beside Mozilla's. A machine
/// without any of its own has Mozilla's.
pub(crate) fn roots() -> Result<RootCerts, Failure> {
    match file() {
        Some(file) => of_file(Path::new(&file)),
        None => {
            // One that cannot be read is one that is not trusted.
            let own = rustls_native_certs::load_native_certs().certs;
            let own = own.iter().map(|one| Certificate::from_der(one).to_owned());
            let mozilla = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().map(|one| Certificate::from_der(one));
            Ok(RootCerts::new_with_certs(&own.chain(mozilla).collect::<Vec<_>>()))
        }
    }
}

fn file() -> Option<OsString> {
    std::env::var_os(FILE).filter(|file| !file.is_empty())
}

fn of_file(file: &Path) -> Result<RootCerts, Failure> {
    let wrong = |why: &str| {
        Failure::usage(format!("{FILE} names {}, which {why}", file.display()))
            .fix(format!("Set {FILE} to a file with certificates as PEM, or unset it."))
    };
    let pem = std::fs::read(file).map_err(|error| wrong(&format!("cannot be read: {error}")))?;
    let certificates: Vec<_> = parse_pem(&pem)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(certificate)) => Some(certificate),
            _ => None,
        })
        .collect();
    if certificates.is_empty() {
        return Err(wrong("holds no certificate as PEM."));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

/// A certificate that was refused. `None`: something else went wrong.
pub(crate) fn refused(url: &Url, error: &ureq::Error) -> Option<Failure> {
    told(url, error, file().as_deref().map(Path::new))
}

fn told(url: &Url, error: &ureq::Error, file: Option<&Path>) -> Option<Failure> {
    let error = match error {
        ureq::Error::Io(error) => error.get_ref()?.downcast_ref()?,
        ureq::Error::Rustls(error) => error,
        _ => return None,
    };
    let rustls::Error::InvalidCertificate(why) = error else { return None };
    let failure = |what: &str| {
        Failure::unreachable(format!("The certificate of {} {what}: {}", url.as_str(), show::line(&why.to_string())))
    };
    Some(match why {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => failure("is not valid now")
            .fix("Check the clock of this machine. If it is right, the server needs a new certificate."),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            failure("is for another name").fix("Use the address that the certificate is for.")
        }
        // It is trusted for what it signs, and for no server.
        _ if why.to_string().contains("CaUsedAsEndEntity") => failure("is a CA's own").fix(
            "Make the server one with basicConstraints=CA:FALSE (openssl req -x509 -addext basicConstraints=CA:FALSE), or let the CA sign \
             another one for it.",
        ),
        _ => failure("is not one that is trusted here").fix(step(file)),
    })
}

/// What to do where nobody known has signed.
fn step(file: Option<&Path>) -> String {
    match file {
        None => format!(
            "If your company's network or a CA of your own has signed it, set {FILE} to a file with the CA's certificate as PEM: it \
             is trusted instead of the usual ones. Otherwise check the address."
        ),
        Some(file) => format!(
            "{FILE} is set, so only the certificates in {} are trusted. Add the one of the CA that has signed the server's, or unset it.",
            file.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Error, ErrorKind},
        sync::Arc,
    };

    use rustls::{
        OtherError,
        pki_types::{ServerName, UnixTime},
    };

    use super::*;
    use crate::fail::Exit;

    /// What the one who looks at certificates says of a CA's own that a server has.
    #[derive(Debug)]
    struct CaUsedAsEndEntity;

    impl std::fmt::Display for CaUsedAsEndEntity {
        fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            std::fmt::Debug::fmt(self, formatter)
        }
    }

    impl std::error::Error for CaUsedAsEndEntity {}

    /// R107: a certificate that is refused is told with the step that helps: not every one needs another CA.
    #[test]
    fn a_certificate_that_is_refused_is_told() {
        let url = Url::parse("https://accredit.example").unwrap();
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        let name = ServerName::try_from("accredit.example").unwrap().to_owned();
        for (why, says, fix) in [
            (
                CertificateError::UnknownIssuer,
                "not one that is trusted here: UnknownIssuer",
                "set SSL_CERT_FILE to a file",
            ),
            // R658
            (
                CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity))),
                "a CA's own: ",
                "basicConstraints=CA:FALSE",
            ),
            (CertificateError::BadSignature, "not one that is trusted here: ", "SSL_CERT_FILE"),
            (CertificateError::ExpiredContext { time, not_after: time }, "not valid now: ", "clock"),
            (CertificateError::NotValidYet, "not valid now: ", "clock"),
            (
                CertificateError::NotValidForNameContext { expected: name, presented: vec!["b.example".to_owned()] },
                "for another name: ",
                "the address that the certificate is for",
            ),
        ] {
            let io = Error::new(ErrorKind::InvalidData, rustls::Error::InvalidCertificate(why));
            let failure = told(&url, &ureq::Error::Io(io), None).unwrap();
            assert!(failure.sentence.starts_with("The certificate of https://accredit.example is "), "{failure:?}");
            assert!(failure.sentence.contains(says) && failure.exit == Exit::Unreachable, "{failure:?}");
            assert!(failure.fix.as_deref().unwrap().contains(fix), "{failure:?}");
        }
        for other in [ureq::Error::HostNotFound, ureq::Error::Io(Error::from(ErrorKind::ConnectionReset))] {
            assert!(told(&url, &other, None).is_none());
        }
        assert!(step(Some(Path::new("/ca.pem"))).contains("only the certificates in /ca.pem are trusted"));
    }

    /// R107: a file of certificates that is none is told with its path, and nothing is asked with fewer certificates.
    #[test]
    fn a_file_of_certificates_is_read_or_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        let refused = |why: &str| {
            let failure = of_file(&file).err().unwrap();
            assert!(failure.sentence.contains(&format!("{}, which {why}", file.display())), "{failure:?}");
            assert!(failure.exit == Exit::Usage && failure.fix.as_deref().unwrap().contains("as PEM"), "{failure:?}");
        };
        refused("cannot be read: ");
        for text in ["", "no PEM"] {
            std::fs::write(&file, text).unwrap();
            refused("holds no certificate");
        }
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
        let RootCerts::Specific(read) = of_file(&file).unwrap() else { panic!("not those of the file") };
        assert_eq!(read.len(), 1);
    }

    /// R107: Mozilla's certificates are trusted on every machine, and each of them can be read.
    #[test]
    fn mozillas_certificates_are_among_them() {
        let mut store = rustls::RootCertStore::empty();
        let (added, ignored) =
            store.add_parsable_certificates(webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter().cloned());
        assert!(added > 100 && ignored == 0, "{added} {ignored}");
    }
}
