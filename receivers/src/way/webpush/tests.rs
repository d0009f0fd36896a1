//! Web push beside a second implementation, and RFC 8291's own example.

use std::collections::BTreeMap;

use aes_gcm::{Aes128Gcm, KeyInit as _, aead::Aead as _};
use hkdf::Hkdf;
use p256::{
    PublicKey, SecretKey,
    ecdsa::{Signature, VerifyingKey, signature::Verifier as _},
};
use serde_json::Value;
use sha2::Sha256;

use super::*;

/// Those of RFC 8291, appendix A.
const OURS: &str =
    "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8";
const BROWSER: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const BROWSER_PRIVATE: &str = "q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94";
const SALT: &str = "DGv6ra1nlYgDCS1FRnbzlw";
const AUTH: &str = "BTBZMqHH6r4Tts7J_aSIgg";
const BODY: &str = "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN";

fn bytes(text: &str) -> Vec<u8> {
    decode(text).expect("base64url")
}

/// As a browser does it, with other crates than ours.
fn decrypt(body: &[u8]) -> Vec<u8> {
    let (salt, rest) = body.split_at(16);
    let (record, rest) = rest.split_at(4);
    assert_eq!(record, 4096_u32.to_be_bytes());
    let (length, rest) = rest.split_at(1);
    let (ours, sealed) = rest.split_at(usize::from(length[0]));
    let secret = SecretKey::from_slice(&bytes(BROWSER_PRIVATE)).expect("a key");
    let public = PublicKey::from_sec1_bytes(ours).expect("a key");
    let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), public.as_affine());
    let mut info = b"WebPush: info\0".to_vec();
    info.extend(bytes(BROWSER));
    info.extend(ours);
    let mut input = [0; 32];
    Hkdf::<Sha256>::new(Some(&bytes(AUTH)), shared.raw_secret_bytes().as_slice())
        .expand(&info, &mut input)
        .expect("32 bytes");
    let keys = Hkdf::<Sha256>::new(Some(salt), &input);
    let (mut key, mut nonce) = ([0; 16], [0; 12]);
    keys.expand(b"Content-Encoding: aes128gcm\0", &mut key)
        .expect("16 bytes");
    keys.expand(b"Content-Encoding: nonce\0", &mut nonce)
        .expect("12 bytes");
    let cipher = Aes128Gcm::new_from_slice(&key).expect("a key");
    let mut plain = cipher.decrypt(&nonce.into(), sealed).expect("ours");
    assert_eq!(plain.pop(), Some(2), "the delimiter of the last record");
    plain
}

#[test]
fn the_example_of_the_standard_comes_out_byte_by_byte() {
    let secret = SecretKey::from_slice(&bytes(BROWSER_PRIVATE)).expect("a key");
    let public = PublicKey::from_sec1_bytes(&bytes(OURS)).expect("a key");
    let shared = p256::ecdh::diffie_hellman(secret.to_nonzero_scalar(), public.as_affine());
    let salt: [u8; 16] = bytes(SALT).try_into().expect("16 bytes");
    let plain = b"When I grow up, I want to be a watermelon";
    let sealed = seal(
        plain,
        shared.raw_secret_bytes().as_slice(),
        &bytes(OURS),
        &bytes(BROWSER),
        &bytes(AUTH),
        &salt,
    );
    let sealed = sealed.expect("it can be");
    assert_eq!(BASE64URL.encode(&sealed), BODY);
    assert_eq!(decrypt(&sealed), plain);
}

struct Plain;

impl Texts for Plain {
    fn text(&self, template: &str) -> Result<String, String> {
        Ok(match template {
            "long" => "\"ü\n".repeat(4000),
            other => other.to_owned(),
        })
    }

    fn html(&self, template: &str) -> Result<String, String> {
        self.text(template)
    }
}

fn notification() -> Notification {
    Notification {
        key: "key-1".to_owned(),
        tenant: "default".into(),
        receiver: "phones".to_owned(),
        group_key: "{}:{}".to_owned(),
        group_labels: BTreeMap::new(),
        alerts: Vec::new(),
        truncated: 0,
        external_url: "https://pulse.example.org".to_owned(),
        created_ms: 0,
        note: None,
        page: None,
    }
}

#[test]
fn a_browser_can_read_it_and_its_push_service_knows_who_sends() {
    let keys = Keys::generate().expect("random numbers");
    for message in ["short", "long"] {
        let config = WebPushConfig {
            endpoint: Some(Secret::new(
                "https://push.example.org:8443/send/SECRETSECRET",
            )),
            p256dh: Some(Secret::new(BROWSER)),
            auth: Some(Secret::new(format!("{AUTH}=="))),
            vapid_private_key: Some(keys.private.clone()),
            subject: "mailto:ops@example.org".to_owned(),
            title: "down".to_owned(),
            message: message.to_owned(),
            click: "https://pulse.example.org/a".to_owned(),
            urgency: "high".to_owned(),
            ..WebPushConfig::default()
        };
        let post = post(&config, &notification(), &Plain, 1_000_000).expect("it can be");
        assert!(post.body.len() <= 4096, "{}", post.body.len());
        let told: Value = serde_json::from_slice(&decrypt(&post.body)).expect("JSON");
        assert_eq!(told["title"], "down");
        assert_eq!(told["url"], "https://pulse.example.org/a");
        assert_eq!(told["key"], "key-1");
        let body = told["body"].as_str().expect("a text");
        assert_eq!(body.ends_with('…'), message == "long", "{body}");
        let header = |name: &str| post.headers[name].to_str().expect("a text").to_owned();
        assert_eq!(header("content-encoding"), "aes128gcm");
        assert_eq!(header("ttl"), "86400");
        assert_eq!(header("urgency"), "high");
        assert_eq!(header("topic").len(), 32);

        let authorization = header("authorization");
        let rest = authorization.strip_prefix("vapid t=").expect("VAPID");
        let (token, public) = rest.split_once(", k=").expect("a key");
        assert_eq!(public, keys.public);
        let (said, signature) = token.rsplit_once('.').expect("a signature");
        let key = VerifyingKey::from_sec1_bytes(&bytes(public)).expect("a key");
        let signature = Signature::from_slice(&bytes(signature)).expect("a signature");
        key.verify(said.as_bytes(), &signature).expect("it is ours");
        let (head, claims) = said.split_once('.').expect("two parts");
        let head: Value = serde_json::from_slice(&bytes(head)).expect("JSON");
        assert_eq!(head, json!({"typ": "JWT", "alg": "ES256"}));
        let claims: Value = serde_json::from_slice(&bytes(claims)).expect("JSON");
        let wanted = json!({
            "aud": "https://push.example.org:8443",
            "exp": 1000 + 12 * 3600,
            "sub": "mailto:ops@example.org",
        });
        assert_eq!(claims, wanted);
        assert!(!format!("{post:?} {config:?} {keys:?}").contains("SECRETSECRET"));
    }
}

#[test]
fn a_key_that_is_none_is_told() {
    assert!(Keys::of(Secret::new("AAAA")).is_err());
    let config = WebPushConfig {
        endpoint: Some(Secret::new("https://push.example.org/")),
        p256dh: Some(Secret::new("AAAA")),
        auth: Some(Secret::new(AUTH)),
        vapid_private_key: Some(Keys::generate().expect("random numbers").private),
        ..WebPushConfig::default()
    };
    let why = post(&config, &notification(), &Plain, 0).expect_err("no key");
    assert_eq!(why, "p256dh is no public key");
}
