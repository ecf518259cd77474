//! What a provider says and is not believed, against one that says whatever a test wants.

use std::sync::{Arc, Mutex};

use axum::routing::{get, post};
use axum::{Json, Router};
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::super::Pendings;
use super::*;

const CLIENT: &str = "holdgate";

/// A provider, and the ID token that it gives for any code.
struct Scene {
    provider: Provider,
    pending: Pending,
    issuer: String,
    key: EcdsaKeyPair,
    token: Arc<Mutex<String>>,
}

impl Scene {
    async fn new() -> Self {
        let random = SystemRandom::new();
        let der = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.as_ref(), &random).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let token = Arc::new(Mutex::new(String::new()));
        serve(listener, &issuer, &jwk(&key), Arc::clone(&token));
        let (pending, _) = Pendings::new(Clock::System).begin("/holds");
        Self { provider: provider(&issuer), pending, issuer, key, token }
    }

    fn claims(&self) -> Value {
        let now = Clock::System.now().as_micros() / 1_000_000;
        json!({"iss": self.issuer, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300, "nonce": self.pending.nonce})
    }

    fn signed(&self, claims: &Value) -> String {
        let text = text(&json!({"alg": "ES256", "kid": "k"}), claims);
        let signature = self.key.sign(&SystemRandom::new(), text.as_bytes()).unwrap();
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
    }

    async fn says(&self, token: String) -> Result<String, ProviderError> {
        *self.token.lock().unwrap() = token;
        self.provider.subject(&self.pending, "code", None).await
    }

    /// With some claims changed; null takes one away.
    async fn claims_that(&self, changes: Value) -> Result<String, ProviderError> {
        let mut claims = self.claims();
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        self.says(self.signed(&claims)).await
    }
}

fn text(header: &Value, claims: &Value) -> String {
    format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims.to_string()))
}

fn jwk(key: &EcdsaKeyPair) -> Value {
    let point = key.public_key().as_ref();
    let part = |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&point[range]);
    json!({"kty": "EC", "crv": "P-256", "kid": "k", "use": "sig", "x": part(1..33), "y": part(33..65)})
}

fn serve(listener: TcpListener, issuer: &str, jwk: &Value, token: Arc<Mutex<String>>) {
    let metadata = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/jwks"),
    });
    let keys = json!({"keys": [jwk]});
    let app = Router::new()
        .route("/.well-known/openid-configuration", get(async move || Json(metadata)))
        .route("/jwks", get(async move || Json(keys)))
        .route("/token", post(async move || Json(json!({"id_token": *token.lock().unwrap(), "token_type": "Bearer"}))));
    tokio::spawn(async move { axum::serve(listener, app).await });
}

fn provider(issuer: &str) -> Provider {
    let options = OidcOptions {
        issuer: issuer.to_owned(),
        client_id: CLIENT.to_owned(),
        client_secret: None,
        redirect_url: "http://127.0.0.1/back".to_owned(),
        subjects: HashMap::new(),
    };
    Provider::new(options, Clock::System).unwrap()
}

#[tokio::test]
async fn a_token_of_this_sign_in_for_us_is_believed() {
    let scene = Scene::new().await;
    assert_eq!(scene.claims_that(json!({})).await.unwrap(), "1");
    assert_eq!(scene.claims_that(json!({"azp": CLIENT})).await.unwrap(), "1");
    assert_eq!(scene.claims_that(json!({"aud": [CLIENT, "other"], "azp": CLIENT})).await.unwrap(), "1");
}

#[tokio::test]
async fn a_token_of_another_sign_in_is_not_believed() {
    let scene = Scene::new().await;
    for nonce in [json!("another"), json!(""), Value::Null] {
        assert!(matches!(scene.claims_that(json!({ "nonce": nonce })).await, Err(ProviderError::Nonce)));
    }
}

#[tokio::test]
async fn a_token_that_is_made_for_another_client_is_not_believed() {
    let scene = Scene::new().await;
    let other = scene.claims_that(json!({"azp": "other"})).await;
    assert!(matches!(other, Err(ProviderError::Party)));
    let shared = scene.claims_that(json!({"aud": [CLIENT, "other"]})).await;
    assert!(matches!(shared, Err(ProviderError::Party)));
    let foreign = scene.claims_that(json!({"aud": "other", "azp": CLIENT})).await;
    assert!(matches!(foreign, Err(ProviderError::Token(TokenError::Audience))));
}

#[tokio::test]
async fn another_provider_is_not_believed_wherever_it_says_so() {
    let scene = Scene::new().await;
    let token = scene.claims_that(json!({"iss": "https://evil.example"})).await;
    assert!(matches!(token, Err(ProviderError::Token(TokenError::Issuer))));
    let answer = scene.provider.subject(&scene.pending, "code", Some("https://evil.example")).await;
    assert!(matches!(answer, Err(ProviderError::Issuer)));
    // Its own configuration names another issuer than ours does.
    let posing = provider(&format!("{}/", scene.issuer)).subject(&scene.pending, "code", None).await;
    assert!(matches!(posing, Err(ProviderError::Issuer)));
}

#[tokio::test]
async fn a_token_that_the_provider_has_not_signed_is_not_believed() {
    let scene = Scene::new().await;
    let claims = scene.claims();
    let unsigned = format!("{}.", text(&json!({"alg": "none"}), &claims));
    let by_public_key = {
        let text = text(&json!({"alg": "HS256", "kid": "k"}), &claims);
        let key = hmac::Key::new(hmac::HMAC_SHA256, scene.key.public_key().as_ref());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, text.as_bytes()).as_ref()))
    };
    let other = Scene::new().await.signed(&claims);
    for token in [unsigned, by_public_key, other, String::new(), "..".to_owned()] {
        assert!(matches!(scene.says(token.clone()).await, Err(ProviderError::Token(_))), "{token}");
    }
    assert!(scene.claims_that(json!({"exp": 1})).await.is_err());
    assert!(scene.claims_that(json!({"sub": null})).await.is_err());
}
