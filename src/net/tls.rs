//! TLS configurations, from PEM files to `rustls`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::client::{WebPkiServerVerifier, verify_server_name};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::{NoServerSessionStorage, ParsedCertificate, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, ServerConfig, SignatureScheme,
};

/// The protocol's name in TLS (registered with IANA; Postgres 17 wants it where no `SSLRequest` comes first).
pub const ALPN: &[u8] = b"postgresql";

/// What a listener does with TLS.
#[derive(Clone, Debug)]
pub struct ServerTls {
    /// Certificate, key, authorities of clients.
    pub config: Arc<ServerConfig>,
    /// What SCRAM binds to; `None` where the certificate has no binding.
    pub binding: Option<Arc<[u8]>>,
}

/// Whose certificates clients show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// None are asked for.
    Off,
    /// One may be shown; it must be signed by an authority of this PEM file.
    Optional(PathBuf),
    /// One must be shown.
    Required(PathBuf),
}

/// A certificate chain and its key, PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The chain.
    pub cert: PathBuf,
    /// The key.
    pub key: PathBuf,
}

/// How much a client side checks of the certificate that it is shown (libpq's `sslmode`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verify {
    /// Nothing: encryption alone (`prefer`, `require` without a root certificate).
    Nothing,
    /// That it leads to a trusted root (`verify-ca`).
    Chain,
    /// That, and that it names the host (`verify-full`).
    Full,
}

/// A TLS configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read or holds no PEM of the wanted sort.
    #[error("{path}: {reason}")]
    File {
        /// Which file.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key that do not go together, or a form that `rustls` refuses.
    #[error("unusable TLS configuration: {0}")]
    Rustls(#[from] Error),
    /// A check of certificates without anything to check against.
    #[error("sslmode verify-ca and verify-full need sslrootcert")]
    NoRoot,
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// What a listener presents, and whom it asks for a certificate.
///
/// # Errors
/// Files that cannot be read or do not go together.
pub fn server_config(identity: &Identity, clients: &ClientAuth) -> Result<ServerTls, TlsError> {
    let (chain, key) = identity.read()?;
    let binding = chain.first().and_then(super::end_point).map(Arc::from);
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let builder = match clients {
        ClientAuth::Off => builder.with_no_client_auth(),
        ClientAuth::Optional(ca) | ClientAuth::Required(ca) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider());
            let optional = matches!(clients, ClientAuth::Optional(_));
            let verifier = if optional { verifier.allow_unauthenticated() } else { verifier };
            builder.with_client_cert_verifier(verifier.build().map_err(|error| file_error(ca, &error))?)
        }
    };
    let mut config = builder.with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would bring a client's certificate that nobody looks at again, expired meanwhile or not.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(ServerTls { config: Arc::new(config), binding })
}

/// What we check of an upstream's certificate, and what we show. The root file `system` stands for the authorities that
/// the machine trusts.
///
/// # Errors
/// A file that cannot be read, or a check without a root.
pub fn client_config(
    verify: Verify,
    root: Option<&Path>,
    identity: Option<&Identity>,
) -> Result<Arc<ClientConfig>, TlsError> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let verifier = match (verify, root) {
        (Verify::Nothing, _) => Upstream { chain: None, pinned: Vec::new(), verify },
        (_, None) => return Err(TlsError::NoRoot),
        (_, Some(root)) => {
            let system = root == Path::new(SYSTEM);
            let (roots, pinned) =
                if system { (system_roots()?, Vec::new()) } else { (roots(root)?, certificates(root)?) };
            let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
                .build()
                .map_err(|error| file_error(root, &error))?;
            Upstream { chain: Some(chain), pinned, verify }
        }
    };
    let builder = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity.map(Identity::read).transpose()? {
        Some((chain, key)) => builder.with_client_auth_cert(chain, key)?,
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The word that libpq has for the machine's own store of authorities.
const SYSTEM: &str = "system";

fn system_roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() { Err(TlsError::NoRoot) } else { Ok(roots) }
}

fn roots(path: &Path) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).map_err(|error| file_error(path, &error))?;
    }
    Ok(roots)
}

impl Identity {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        let key = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| file_error(&self.key, &error))?;
        Ok((certificates(&self.cert)?, key))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| file_error(path, &error))
}

fn file_error(path: &Path, reason: &dyn std::fmt::Display) -> TlsError {
    TlsError::File { path: path.display().to_string(), reason: reason.to_string() }
}

/// Checks the chain, and the name where that is asked for. A server that presents the very certificate that was given as
/// root is who it says, although a certificate of an authority is none of a server: libpq takes it, and self-signed
/// servers are set up so.
#[derive(Debug)]
struct Upstream {
    /// `None`: encryption without a check of who is there, as libpq's `sslmode=require` has it.
    chain: Option<Arc<WebPkiServerVerifier>>,
    pinned: Vec<CertificateDer<'static>>,
    verify: Verify,
}

impl ServerCertVerifier for Upstream {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(chain) = &self.chain else { return Ok(ServerCertVerified::assertion()) };
        if self.pinned.contains(end_entity) {
            if self.verify == Verify::Full {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, name)?;
            }
            return Ok(ServerCertVerified::assertion());
        }
        match chain.verify_server_cert(end_entity, intermediates, name, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.verify != Verify::Full => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, dss, &algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = provider().signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, dss, &algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
