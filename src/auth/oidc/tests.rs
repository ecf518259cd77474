//! Tokens that are taken and tokens that are not.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};

use super::*;

const NOW: i64 = 1_800_000_000;

fn now() -> Timestamp {
    Timestamp::from_micros(NOW * 1_000_000)
}

enum Signer {
    Es256(EcdsaKeyPair),
    EdDsa(Ed25519KeyPair),
}

impl Signer {
    fn es256() -> Self {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        Self::Es256(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).unwrap())
    }

    fn eddsa() -> Self {
        let der = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).unwrap();
        Self::EdDsa(Ed25519KeyPair::from_pkcs8(der.as_ref()).unwrap())
    }

    fn jwk(&self, id: &str) -> Value {
        match self {
            Self::Es256(pair) => {
                let point = pair.public_key().as_ref();
                json!({"kty": "EC", "crv": "P-256", "kid": id, "use": "sig",
                       "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..65])})
            }
            Self::EdDsa(pair) => {
                json!({"kty": "OKP", "crv": "Ed25519", "kid": id, "x": BASE64.encode(pair.public_key().as_ref())})
            }
        }
    }

    fn sign(&self, text: &[u8]) -> Vec<u8> {
        match self {
            Self::Es256(pair) => pair.sign(&SystemRandom::new(), text).unwrap().as_ref().to_vec(),
            Self::EdDsa(pair) => pair.sign(text).as_ref().to_vec(),
        }
    }

    fn token(&self, header: &Value, claims: &Value) -> String {
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
        let signature = BASE64.encode(self.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }
}

fn header(id: &str) -> Value {
    json!({"alg": "ES256", "kid": id, "typ": "JWT"})
}

fn claims() -> Value {
    json!({"iss": "https://idp.example", "aud": ["other", "holdgate"], "exp": NOW + 300, "iat": NOW, "sub": "copilot",
           "realm_access": {"roles": ["analytics"]}, "https://idp.example/team": "red"})
}

fn expectation() -> Expectation {
    Expectation {
        issuer: "https://idp.example".into(),
        audiences: vec!["holdgate".into()],
        algorithms: Vec::new(),
        skew: Duration::from_secs(60),
    }
}

fn write_keys(dir: &Path, keys: &[Value]) -> Source {
    let path = dir.join("jwks.json");
    std::fs::write(&path, json!({ "keys": keys }).to_string()).unwrap();
    Source::file(path)
}

/// What a token comes to where one ES256 key `k` is the provider's.
async fn judge(make: impl FnOnce(&Signer) -> String) -> Result<Claims, TokenError> {
    let (dir, signer) = (tempfile::tempdir().unwrap(), Signer::es256());
    let verifier = Verifier::new(expectation(), write_keys(dir.path(), &[signer.jwk("k")]));
    verifier.verify(&make(&signer), now()).await
}

#[tokio::test]
async fn a_token_of_the_provider_for_us_and_of_now_is_taken() {
    let claims = judge(|signer| signer.token(&header("k"), &claims())).await.unwrap();
    assert_eq!(claims.text("sub"), Some("copilot"));
    assert_eq!(claims.list("realm_access.roles"), ["analytics"]);
    assert_eq!(claims.text("https://idp.example/team"), Some("red"));
}

#[tokio::test]
async fn issuer_audience_and_time_are_checked_with_the_skew() {
    let with = |name: &'static str, value: Value| async move {
        let mut claims = claims();
        claims[name] = value;
        judge(|signer| signer.token(&header("k"), &claims)).await
    };
    assert!(matches!(with("iss", json!("https://idp.example/")).await, Err(TokenError::Issuer)));
    assert!(matches!(with("aud", json!("holdgate2")).await, Err(TokenError::Audience)));
    assert!(matches!(with("aud", json!([])).await, Err(TokenError::Audience)));
    assert!(with("exp", json!(NOW - 59)).await.is_ok());
    assert!(matches!(with("exp", json!(NOW - 60)).await, Err(TokenError::Expired)));
    assert!(matches!(with("exp", json!(null)).await, Err(TokenError::Claim("exp"))));
    assert!(matches!(with("exp", json!("soon")).await, Err(TokenError::Claim("exp"))));
    assert!(matches!(with("exp", json!(-1)).await, Err(TokenError::Claim("exp"))));
    assert!(with("nbf", json!(NOW + 60)).await.is_ok());
    assert!(matches!(with("nbf", json!(NOW + 61)).await, Err(TokenError::Early)));
    assert!(matches!(with("iat", json!(NOW + 3600)).await, Err(TokenError::Early)));
}

#[tokio::test]
async fn symmetric_algorithms_and_none_are_refused() {
    for alg in ["none", "None", "HS256", "HS512", "RSA-OAEP", ""] {
        let token = judge(|signer| signer.token(&json!({"alg": alg, "kid": "k"}), &claims())).await;
        assert!(matches!(token, Err(TokenError::Algorithm)), "{alg}");
    }
}

#[tokio::test]
async fn a_public_key_is_no_shared_secret() {
    let judged = judge(|signer| {
        let header = json!({"alg": "HS256", "kid": "k"});
        let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims().to_string()));
        let Signer::Es256(pair) = signer else { panic!("an ECDSA key") };
        let secret = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, pair.public_key().as_ref());
        let signature = BASE64.encode(ring::hmac::sign(&secret, signed.as_bytes()));
        format!("{signed}.{signature}")
    });
    assert!(matches!(judged.await, Err(TokenError::Algorithm)));
}

#[tokio::test]
async fn a_key_checks_its_own_algorithm_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (curve, edwards) = (Signer::es256(), Signer::eddsa());
    let verifier = Verifier::new(expectation(), write_keys(dir.path(), &[curve.jwk("k"), edwards.jwk("e")]));
    let good = edwards.token(&json!({"alg": "EdDSA", "kid": "e"}), &claims());
    assert!(verifier.verify(&good, now()).await.is_ok());
    for header in [json!({"alg": "EdDSA", "kid": "k"}), json!({"alg": "RS256", "kid": "k"})] {
        let judged = verifier.verify(&edwards.token(&header, &claims()), now()).await;
        assert!(matches!(judged, Err(TokenError::UnknownKey)), "{header}");
    }
    let only = Expectation { algorithms: vec![Algorithm::Es256], ..expectation() };
    let verifier = Verifier::new(only, write_keys(dir.path(), &[edwards.jwk("e")]));
    assert!(matches!(verifier.verify(&good, now()).await, Err(TokenError::Algorithm)));
}

#[tokio::test]
async fn a_changed_token_is_refused() {
    let judged = judge(|signer| {
        let token = signer.token(&header("k"), &claims());
        let parts: Vec<_> = token.split('.').collect();
        let mut other = claims();
        other["sub"] = json!("root");
        format!("{}.{}.{}", parts[0], BASE64.encode(other.to_string()), parts[2])
    });
    assert!(matches!(judged.await, Err(TokenError::Signature)));
    let unsigned = judge(|signer| {
        let token = signer.token(&header("k"), &claims());
        token.rsplit_once('.').unwrap().0.to_owned() + "."
    });
    assert!(matches!(unsigned.await, Err(TokenError::Signature)));
    let stranger = judge(|_| Signer::es256().token(&header("k"), &claims()));
    assert!(matches!(stranger.await, Err(TokenError::Signature)));
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let long = "a".repeat(TOKEN_MAX + 1);
    for text in ["", ".", "..", "a.b", "a.b.c.d", "e30.e30.e30", "\0.\0.\0", "ä.ö.ü", long.as_str()] {
        assert!(matches!(judge(|_| text.to_owned()).await, Err(TokenError::Malformed)), "{text}");
    }
    let critical = json!({"alg": "ES256", "kid": "k", "crit": ["b64"], "b64": false});
    assert!(matches!(judge(|signer| signer.token(&critical, &claims())).await, Err(TokenError::Malformed)));
    let log_out = json!({"alg": "ES256", "kid": "k", "typ": "logout+jwt"});
    assert!(matches!(judge(|signer| signer.token(&log_out, &claims())).await, Err(TokenError::Malformed)));
    assert!(matches!(judge(|signer| signer.token(&header("k"), &json!([1]))).await, Err(TokenError::Malformed)));
}

#[tokio::test]
async fn no_error_repeats_the_token() {
    let token = Signer::es256().token(&header("k"), &claims());
    let error = judge(|_| token.clone()).await.unwrap_err();
    let said = format!("{error} {error:?}");
    assert!(token.split('.').all(|part| !said.contains(part)), "{said}");
}

#[test]
fn keys_for_other_uses_are_left_out() {
    let signer = Signer::es256();
    let mut other = signer.jwk("k");
    other["use"] = json!("enc");
    let symmetric = json!({"kty": "oct", "k": "c2VjcmV0", "kid": "k"});
    let set = |keys: &[Value]| KeySet::read(json!({ "keys": keys }).to_string().as_bytes());
    assert!(matches!(set(&[other, symmetric]), Err(KeysError::Empty)));
    assert!(set(&[signer.jwk("k"), json!(7)]).is_ok());
    assert!(matches!(KeySet::read(b"[]"), Err(KeysError::Malformed)));
}

/// Answers every request with what `body` gives; counts them.
fn provider(body: impl Fn(usize) -> String + Send + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/jwks", listener.local_addr().unwrap());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = asked.clone();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            let _read = socket.read(&mut [0; 4096]).unwrap();
            let body = body(count.fetch_add(1, Ordering::SeqCst));
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
            socket.write_all((head + &body).as_bytes()).unwrap();
        }
    });
    (url, asked)
}

#[tokio::test]
async fn an_unknown_key_id_makes_keys_be_read_again_but_not_for_each_token() {
    let (old, new) = (Signer::es256(), Signer::es256());
    let sets = [json!({"keys": [old.jwk("old")]}).to_string(), json!({"keys": [new.jwk("new")]}).to_string()];
    let (url, asked) = provider(move |count| sets[count.min(1)].clone());
    let source = Source::url(&url, None).unwrap();
    let verifier = Verifier::new(expectation(), source.clone());
    assert!(verifier.verify(&old.token(&header("old"), &claims()), now()).await.is_ok());
    for _ in 0..20 {
        let judged = verifier.verify(&new.token(&header("new"), &claims()), now()).await;
        assert!(matches!(judged, Err(TokenError::UnknownKey)));
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1, "a stranger's key ids do not reach the provider at will");
    source.reread().await;
    assert!(verifier.verify(&new.token(&header("new"), &claims()), now()).await.is_ok());
    assert_eq!(asked.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn keys_are_not_fetched_in_clear_from_another_machine_nor_over_redirects() {
    assert!(Source::url("http://idp.example/jwks", None).is_err());
    assert!(Source::url("ftp://localhost/jwks", None).is_err());
    assert!(Source::url("jwks", None).is_err());
    let (long, _) = provider(|_| " ".repeat(SET_TOO_LONG));
    assert!(matches!(Source::url(&long, None).unwrap().current().await, Err(KeysError::Fetch(..))));
}

/// One answer over TLS, with a certificate of `authority` for `localhost`.
async fn https(authority: &rcgen::CertifiedIssuer<'_, rcgen::KeyPair>, body: String) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap().signed_by(&key, authority).unwrap();
    let key = rustls_pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        // A client that does not trust the authority ends the handshake.
        let Ok(mut stream) = acceptor.accept(socket).await else { return };
        let _read = stream.read(&mut [0; 4096]).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
    });
    format!("https://localhost:{port}/jwks")
}

#[tokio::test]
async fn keys_are_fetched_by_https_from_whom_the_configured_authority_vouches_for() {
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = rcgen::CertifiedIssuer::self_signed(params, rcgen::KeyPair::generate().unwrap()).unwrap();
    let body = json!({"keys": [Signer::es256().jwk("k")]}).to_string();
    let url = https(&authority, body.clone()).await;
    assert!(Source::url(&url, Some(authority.pem().as_bytes())).unwrap().current().await.is_ok());
    let url = https(&authority, body).await;
    assert!(matches!(Source::url(&url, None).unwrap().current().await, Err(KeysError::Fetch(..))));
    assert!(Source::url(&url, Some(b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n")).is_err());
}

const SET_TOO_LONG: usize = 1024 * 1024 + 1;
