//! Mail: the message as RFC 5322 has it, and to whom it goes over which server.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use lettre::{
    Address, Message,
    address::Envelope,
    message::{
        Mailboxes, MultiPart, SinglePart,
        header::{ContentType, From, HeaderName, HeaderValue, To},
    },
};
use pulseboard_outbound::{Secret, config::TlsConfig};

use super::common::group_hash;
use crate::{
    config::{EmailConfig, reveal, split_host},
    notification::Notification,
    render::{Texts, with_note},
    text::{civil, cut, escape_html},
};

/// Characters of a subject.
const SUBJECT_CHARS: usize = 400;
/// Who gets one mail at most.
const RECIPIENTS: usize = 100;
const DAY_MS: i64 = 86_400_000;

/// A mail and how it goes. Nothing of what is said is printed.
pub struct Mail {
    pub host: String,
    pub port: u16,
    /// Who we say we are.
    pub hello: String,
    /// TLS begins with the connection.
    pub implicit_tls: bool,
    /// Nothing is sent without TLS.
    pub require_tls: bool,
    pub tls: TlsConfig,
    pub login: Option<Login>,
    pub from: String,
    pub to: Vec<String>,
    /// Headers and body, with CRLF.
    pub bytes: Vec<u8>,
}

/// Who we are to the server.
pub struct Login {
    pub identity: String,
    pub username: String,
    pub password: Secret,
    /// For CRAM-MD5.
    pub secret: Secret,
}

impl fmt::Debug for Mail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mail")
            .field("host", &self.host)
            .field("to", &self.to.len())
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").finish_non_exhaustive()
    }
}

pub(super) fn mail(
    config: &EmailConfig,
    notification: &Notification,
    texts: &dyn Texts,
    now_ms: i64,
) -> Result<Mail, String> {
    let (host, port) = split_host(&config.smarthost).ok_or("smarthost is no host:port")?;
    let from = mailboxes("from", &texts.text(&config.from)?)?;
    let to = mailboxes("to", &texts.text(&config.to)?)?;
    let sender = from.iter().next().map(|one| one.email.clone());
    let sender = sender.ok_or("from names nobody")?;
    let recipients: Vec<Address> = to.iter().map(|one| one.email.clone()).collect();
    if recipients.is_empty() || recipients.len() > RECIPIENTS {
        return Err(format!("to names nobody, or more than {RECIPIENTS}"));
    }
    let domain = sender.domain().to_owned();
    let envelope = Envelope::new(Some(sender.clone()), recipients.clone());
    let envelope = envelope.map_err(|error| format!("to: {error}"))?;
    let created = u64::try_from(notification.created_ms).unwrap_or_default();
    let mut builder = Message::builder()
        .envelope(envelope)
        .date(SystemTime::UNIX_EPOCH + Duration::from_millis(created))
        .message_id(Some(format!("<{}@{domain}>", local(&notification.key))));
    let mut has = (false, false, false);
    for (name, template) in &config.headers {
        let value = one_line(&texts.text(template)?);
        match name.as_str() {
            "Subject" => {
                has.0 = true;
                builder = builder.subject(cut(&subject(notification, value), SUBJECT_CHARS));
            }
            "From" => {
                has.1 = true;
                builder = builder.header(From::from(mailboxes("headers: From", &value)?));
            }
            "To" => {
                has.2 = true;
                builder = builder.header(To::from(mailboxes("headers: To", &value)?));
            }
            // Ours say what the message is.
            "Date"
            | "Message-Id"
            | "Mime-Version"
            | "Content-Type"
            | "Content-Transfer-Encoding" => {}
            _ => {
                let name = HeaderName::new_from_ascii(name.clone())
                    .map_err(|_error| format!("headers: {name:?} is no name of a header"))?;
                builder = builder.raw_header(HeaderValue::new(name, value));
            }
        }
    }
    if !has.0 {
        let text = texts.text("{{ template \"email.default.subject\" . }}")?;
        let text = subject(notification, one_line(&text));
        builder = builder.subject(cut(&text, SUBJECT_CHARS));
    }
    if !has.1 {
        builder = builder.header(From::from(from));
    }
    if !has.2 {
        builder = builder.header(To::from(to));
    }
    if let Some(thread) = thread(config, notification, now_ms) {
        let id = format!("<{thread}@{domain}>");
        builder = builder.references(id.clone()).in_reply_to(id);
    }
    let text = texts.text(&config.text)?;
    let html = texts.html(&config.html)?;
    let built = match (text.is_empty(), html.is_empty()) {
        (false, false) => builder.multipart(MultiPart::alternative_plain_html(
            with_note(notification, text),
            noted(notification, html),
        )),
        (true, false) => builder.singlepart(html_part(noted(notification, html))),
        (_, true) => builder.singlepart(SinglePart::plain(with_note(notification, text))),
    };
    let built = built.map_err(|error| error.to_string())?;
    Ok(Mail {
        host: host.to_owned(),
        port,
        hello: one_line(&config.hello),
        implicit_tls: config.force_implicit_tls.unwrap_or(port == 465),
        require_tls: config.require_tls.unwrap_or(true),
        tls: config.tls_config.clone().unwrap_or_default(),
        login: login(config)?,
        from: sender.to_string(),
        to: recipients.iter().map(ToString::to_string).collect(),
        bytes: built.formatted(),
    })
}

fn html_part(html: String) -> SinglePart {
    SinglePart::builder()
        .content_type(ContentType::TEXT_HTML)
        .body(html)
}

fn login(config: &EmailConfig) -> Result<Option<Login>, String> {
    if config.auth_username.is_empty() {
        return Ok(None);
    }
    let password = reveal(
        config.auth_password.as_ref(),
        config.auth_password_file.as_ref(),
    )?;
    Ok(Some(Login {
        identity: config.auth_identity.clone(),
        username: config.auth_username.clone(),
        password,
        secret: reveal(
            config.auth_secret.as_ref(),
            config.auth_secret_file.as_ref(),
        )?,
    }))
}

fn mailboxes(name: &str, text: &str) -> Result<Mailboxes, String> {
    let text = one_line(text);
    // A comma at the end is no further address.
    let text = text.trim().trim_end_matches(',');
    text.parse()
        .map_err(|_error| format!("{name}: {text:?} is no list of addresses"))
}

fn subject(notification: &Notification, subject: String) -> String {
    match &notification.note {
        Some(note) => format!("{subject} ({})", one_line(note)),
        None => subject,
    }
}

/// No header has lines.
fn one_line(text: &str) -> String {
    let words = text.split(['\r', '\n']).map(str::trim);
    words
        .filter(|line| !line.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

/// A key as the left part of an address.
fn local(key: &str) -> String {
    let letters = key.chars().take(128);
    letters
        .map(|letter| match letter {
            'A'..='Z' | 'a'..='z' | '0'..='9' | '-' | '_' => letter,
            _ => '-',
        })
        .collect()
}

/// What all mails of a group answer to, where they are one thread.
fn thread(config: &EmailConfig, notification: &Notification, now_ms: i64) -> Option<String> {
    let how = config.threading.as_ref().filter(|how| how.enabled)?;
    let group = group_hash(notification);
    let group = group.get(..32)?;
    if how.thread_by_date == "none" {
        return Some(format!("group-{group}"));
    }
    let (year, month, day) = civil(now_ms.div_euclid(DAY_MS));
    Some(format!("group-{group}-{year:04}-{month:02}-{day:02}"))
}

/// What is said beside the alerts stands first in what is shown.
fn noted(notification: &Notification, html: String) -> String {
    let Some(note) = &notification.note else {
        return html;
    };
    let note = format!("<p>{}</p>", escape_html(note));
    let body = html.find("<body").and_then(|at| {
        let end = html[at..].find('>')?;
        Some(at + end + 1)
    });
    let at = body.unwrap_or(0);
    format!("{}{note}{}", &html[..at], &html[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_one_line() {
        assert_eq!(
            one_line("a\r\nBcc: evil@example.org\n\n"),
            "a Bcc: evil@example.org"
        );
        assert_eq!(local("a/b c"), "a-b-c");
        let mailboxes = mailboxes("to", "Ops <ops@example.org>,\n b@example.org, ").expect("two");
        assert_eq!(mailboxes.iter().count(), 2);
    }
}
