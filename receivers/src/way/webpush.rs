//! Browsers: Web Push, encrypted for the browser alone (RFC 8291, RFC 8188) and signed as this
//! server (VAPID, RFC 8292).

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL};
use pulseboard_outbound::Secret;
use ring::{
    aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    agreement::{ECDH_P256, EphemeralPrivateKey, UnparsedPublicKey, agree_ephemeral},
    hmac,
    rand::{SecureRandom as _, SystemRandom},
    signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::json;

use super::common::group_hash;
use crate::{
    config::{Span, WebPushConfig, reveal},
    notification::Notification,
    outcome::{Outcome, Reply},
    post::Post,
    render::{Texts, with_note},
    text::{cut, cut_bytes},
};

/// Every push service takes so much of a body.
const BODY_BYTES: usize = 4096;
/// Salt, record size, length of the key, key; tag and delimiter of the one record.
const FRAME_BYTES: usize = 16 + 4 + 1 + 65 + 16 + 1;
/// Of the secret that a browser makes for its subscription.
const AUTH_BYTES: usize = 16;
const TITLE_CHARS: usize = 200;
/// A signature is good for so long; a day is the most that is taken.
const SIGNED_SECS: i64 = 12 * 3600;

/// The key that push services know this server by.
#[derive(Clone, Debug)]
pub struct Keys {
    /// PKCS#8 as base64url: what `vapid_private_key` holds.
    pub private: Secret,
    /// 65 bytes as base64url: what a browser wants as `applicationServerKey`.
    pub public: String,
}

impl Keys {
    /// New ones, made once for a server: browsers that have subscribed with others hear nothing.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub fn generate() -> Result<Self, String> {
        let random = SystemRandom::new();
        let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random)
            .map_err(|_error| "no key can be made".to_owned())?;
        Self::of(Secret::new(BASE64URL.encode(made.as_ref())))
    }

    /// Those of a `vapid_private_key`.
    ///
    /// # Errors
    /// It is none.
    pub fn of(private: Secret) -> Result<Self, String> {
        let pair = pair(&private)?;
        let public = BASE64URL.encode(pair.public_key().as_ref());
        Ok(Self { private, public })
    }
}

fn pair(private: &Secret) -> Result<EcdsaKeyPair, String> {
    let wrong = || "vapid_private_key is no PKCS#8 of a P-256 key as base64url".to_owned();
    let bytes = decode(private.reveal()).ok_or_else(wrong)?;
    let random = SystemRandom::new();
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &bytes, &random)
        .map_err(|_error| wrong())
}

/// Base64url, with or without `=` at its end, as browsers and tools write it.
fn decode(text: &str) -> Option<Vec<u8>> {
    let text = text.trim().trim_end_matches('=');
    let text = text.replace('+', "-").replace('/', "_");
    BASE64URL.decode(text).ok()
}

pub(super) fn post(
    config: &WebPushConfig,
    notification: &Notification,
    texts: &dyn Texts,
    now_ms: i64,
) -> Result<Post, String> {
    let endpoint = config.endpoint.clone().unwrap_or_default();
    let origin = url::Url::parse(endpoint.reveal())
        .map_err(|_error| "endpoint is no address".to_owned())?
        .origin()
        .ascii_serialization();
    let private = reveal(
        config.vapid_private_key.as_ref(),
        config.vapid_private_key_file.as_ref(),
    )?;
    let browser = config.p256dh.as_ref().and_then(|key| decode(key.reveal()));
    let browser = browser.ok_or("p256dh is no base64url")?;
    let auth = config.auth.as_ref().and_then(|key| decode(key.reveal()));
    let auth = auth.ok_or("auth is no base64url")?;
    let plain = message(config, notification, texts)?;
    let body = encrypt(&plain, &browser, &auth)?;
    let signed = vapid(&private, &origin, &config.subject, now_ms / 1000)?;
    let ttl = config.ttl.map_or(86_400, Span::as_secs);
    let urgency = texts.text(&config.urgency)?;
    let urgency = match urgency.trim() {
        known @ ("very-low" | "low" | "normal" | "high") => known,
        _ => "normal",
    };
    // A newer one about the same group takes the place of what is not delivered yet.
    let topic = group_hash(notification);
    let topic = topic.get(..32).unwrap_or_default();
    Post::bytes(endpoint, "application/octet-stream", body)
        .hiding(&private)
        .header("content-encoding", "aes128gcm")?
        .header("ttl", &ttl.to_string())?
        .header("urgency", urgency)?
        .header("topic", topic)?
        .secret_header("authorization", "", &signed)
}

/// What the page's service worker reads: `title`, `body`, `url` or else `page` (behind and with the
/// `#` of its own address), `status`, `tag` (the same for all of a group), `key`, `tenant`.
fn message(
    config: &WebPushConfig,
    notification: &Notification,
    texts: &dyn Texts,
) -> Result<Vec<u8>, String> {
    let title = texts.text(&config.title)?;
    let body = with_note(notification, texts.text(&config.message)?);
    let url = texts.text(&config.click)?;
    let url = cut_bytes(&url, 1024);
    let mut room = BODY_BYTES - FRAME_BYTES;
    loop {
        let message = json!({
            "title": cut(title.trim(), TITLE_CHARS),
            "body": cut_bytes(body.trim(), room),
            "url": url,
            "page": notification.page,
            "status": notification.status().as_str(),
            "tag": group_hash(notification).get(..32),
            "key": notification.key,
            "tenant": notification.tenant,
        });
        let bytes = serde_json::to_vec(&message).map_err(|error| error.to_string())?;
        if bytes.len() <= BODY_BYTES - FRAME_BYTES {
            return Ok(bytes);
        }
        if room == 0 {
            return Err("title and url are too long for a push message".to_owned());
        }
        // What is escaped in JSON is longer than it looks.
        room = room.saturating_sub(bytes.len() - (BODY_BYTES - FRAME_BYTES));
    }
}

fn encrypt(plain: &[u8], browser: &[u8], auth: &[u8]) -> Result<Vec<u8>, String> {
    let failed = || "the message cannot be encrypted".to_owned();
    let random = SystemRandom::new();
    let ours = EphemeralPrivateKey::generate(&ECDH_P256, &random).map_err(|_error| failed())?;
    let public = ours.compute_public_key().map_err(|_error| failed())?;
    let mut salt = [0; 16];
    random.fill(&mut salt).map_err(|_error| failed())?;
    let theirs = UnparsedPublicKey::new(&ECDH_P256, browser);
    let shared = agree_ephemeral(ours, &theirs, |shared| shared.to_vec())
        .map_err(|_error| "p256dh is no public key".to_owned())?;
    seal(plain, &shared, public.as_ref(), browser, auth, &salt)
}

/// RFC 8291 §3.4 and RFC 8188 §2, with all that is random given.
fn seal(
    plain: &[u8],
    shared: &[u8],
    ours: &[u8],
    browser: &[u8],
    auth: &[u8],
    salt: &[u8; 16],
) -> Result<Vec<u8>, String> {
    let failed = || "the message cannot be encrypted".to_owned();
    let mac = |key: &[u8], parts: &[&[u8]]| {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
        for part in parts {
            context.update(part);
        }
        context.sign()
    };
    let first = mac(auth, &[shared]);
    let input = mac(
        first.as_ref(),
        &[b"WebPush: info\0", browser, ours, b"\x01"],
    );
    let second = mac(salt, &[input.as_ref()]);
    let key = mac(
        second.as_ref(),
        &[b"Content-Encoding: aes128gcm\0", b"\x01"],
    );
    let nonce = mac(second.as_ref(), &[b"Content-Encoding: nonce\0", b"\x01"]);
    let key = UnboundKey::new(&AES_128_GCM, &key.as_ref()[..16]).map_err(|_error| failed())?;
    let nonce =
        Nonce::try_assume_unique_for_key(&nonce.as_ref()[..12]).map_err(|_error| failed())?;
    let mut sealed = plain.to_vec();
    // The delimiter of the last record.
    sealed.push(2);
    LessSafeKey::new(key)
        .seal_in_place_append_tag(nonce, Aad::empty(), &mut sealed)
        .map_err(|_error| failed())?;
    let mut body = Vec::with_capacity(sealed.len() + FRAME_BYTES);
    body.extend_from_slice(salt);
    body.extend_from_slice(&4096_u32.to_be_bytes());
    body.push(u8::try_from(ours.len()).map_err(|_error| failed())?);
    body.extend_from_slice(ours);
    body.extend_from_slice(&sealed);
    Ok(body)
}

/// The `Authorization` of RFC 8292 §3.
fn vapid(private: &Secret, origin: &str, subject: &str, now_secs: i64) -> Result<Secret, String> {
    let pair = pair(private)?;
    let mut claims = json!({"aud": origin, "exp": now_secs + SIGNED_SECS});
    if !subject.is_empty() {
        claims["sub"] = subject.into();
    }
    let head = BASE64URL.encode(r#"{"typ":"JWT","alg":"ES256"}"#);
    let token = format!("{head}.{}", BASE64URL.encode(claims.to_string()));
    let signature = pair
        .sign(&SystemRandom::new(), token.as_bytes())
        .map_err(|_error| "the message cannot be signed".to_owned())?;
    Ok(Secret::new(format!(
        "vapid t={token}.{}, k={}",
        BASE64URL.encode(signature.as_ref()),
        BASE64URL.encode(pair.public_key().as_ref())
    )))
}

/// A browser that has unsubscribed is gone for good. Of other answers the status alone is told: who
/// subscribes says whom this server asks, and is not to read there by that.
pub(super) fn judge(reply: &Reply<'_>) -> Outcome {
    match reply.status {
        404 | 410 => Outcome::Gone {
            why: "the browser has unsubscribed".to_owned(),
        },
        _ => Reply {
            body: &[],
            ..reply.clone()
        }
        .usual(),
    }
}

/// Whether a message can be encrypted for the browser that has these.
///
/// # Errors
/// Which of the two is wrong, `p256dh` or `auth`, and what is.
pub fn check(p256dh: &str, auth: &str) -> Result<(), (&'static str, String)> {
    let browser = decode(p256dh).ok_or(("p256dh", "is no base64url".to_owned()))?;
    let secret = decode(auth).ok_or(("auth", "is no base64url".to_owned()))?;
    if secret.len() != AUTH_BYTES {
        let what = format!("has {} bytes and not {AUTH_BYTES}", secret.len());
        return Err(("auth", what));
    }
    let sealed = encrypt(b"", &browser, &secret);
    sealed.map_err(|_wrong| ("p256dh", "is no public key on P-256".to_owned()))?;
    Ok(())
}

#[cfg(test)]
mod tests;
