//! Handing a mail to a server: RFC 5321 with STARTTLS (RFC 3207) and AUTH (RFC 4954) by PLAIN,
//! LOGIN and CRAM-MD5 (RFC 2195). Every answer is bounded; the deadline is the caller's.

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use md5::{Digest as _, Md5};
use pulseboard_outbound::{Error, Guard, Secret, plain::Plain};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    outcome::Outcome,
    text::said,
    way::mail::{Login, Mail},
};

/// An answer of a server is never longer.
const ANSWER_BYTES: usize = 16 * 1024;

/// Why a mail was not handed over.
enum Trouble {
    /// The server said no.
    Answer {
        step: &'static str,
        code: u16,
        text: String,
    },
    /// The connection cannot be made or broke off.
    Connection(String),
    /// It goes no better another time.
    Wrong(String),
}

impl From<std::io::Error> for Trouble {
    fn from(error: std::io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

/// Hands a mail over.
pub(crate) async fn send(mail: &Mail, guard: Guard) -> Outcome {
    match hand_over(mail, guard).await {
        Ok(()) => Outcome::Sent,
        Err(Trouble::Wrong(why)) => Outcome::Failed { why },
        Err(Trouble::Connection(why)) => Outcome::retry(format!("{}: {why}", mail.host)),
        Err(Trouble::Answer { step, code, text }) => {
            let why = format!("{step}: the server answered {code} {text}");
            match code {
                400..=499 => Outcome::retry(why),
                _ => Outcome::Failed { why },
            }
        }
    }
}

/// A connection with what has come and is not read yet.
struct Talk {
    stream: Plain,
    come: Vec<u8>,
    /// What is not to be shown.
    secrets: Vec<Secret>,
}

struct Answer {
    code: u16,
    lines: Vec<String>,
}

async fn hand_over(mail: &Mail, guard: Guard) -> Result<(), Trouble> {
    let connected = Plain::connect(&mail.host, mail.port, guard).await;
    let mut stream = connected.map_err(told)?;
    if mail.implicit_tls {
        stream = stream.secure(&mail.host, &mail.tls).await.map_err(told)?;
    }
    let secrets = mail.login.iter().flat_map(|login| {
        let plain = format!("\0{}\0{}", login.username, login.password.reveal());
        [
            login.password.clone(),
            login.secret.clone(),
            Secret::new(BASE64.encode(login.password.reveal())),
            Secret::new(BASE64.encode(plain)),
        ]
    });
    let mut talk = Talk {
        stream,
        come: Vec::new(),
        secrets: secrets.collect(),
    };
    talk.expect("greeting", 220).await?;
    let mut can = talk.hello(&mail.hello).await?;
    if !talk.stream.is_secure() && offers(&can, "STARTTLS").is_some() {
        talk.command("STARTTLS", "STARTTLS", 220).await?;
        // What came before the keys were made is from anybody.
        if !talk.come.is_empty() {
            return Err(Trouble::Connection(
                "STARTTLS: the server spoke out of turn".to_owned(),
            ));
        }
        let secured = talk.stream.secure(&mail.host, &mail.tls).await;
        talk.stream = secured.map_err(told)?;
        can = talk.hello(&mail.hello).await?;
    }
    if mail.require_tls && !talk.stream.is_secure() {
        return Err(Trouble::Wrong(
            "the server offers no STARTTLS, and require_tls is true".to_owned(),
        ));
    }
    if let Some(login) = &mail.login
        && let Some(ways) = offers(&can, "AUTH")
    {
        talk.log_in(login, &ways, is_here(&mail.host)).await?;
    }
    let ascii = mail.from.is_ascii() && mail.to.iter().all(|to| to.is_ascii());
    if !ascii && offers(&can, "SMTPUTF8").is_none() {
        return Err(Trouble::Wrong(
            "an address has other letters than ASCII, and the server takes none (SMTPUTF8)"
                .to_owned(),
        ));
    }
    let utf8 = if ascii { "" } else { " SMTPUTF8" };
    let from = format!("MAIL FROM:<{}>{utf8}", mail.from);
    talk.command("MAIL FROM", &from, 250).await?;
    for to in &mail.to {
        talk.command("RCPT TO", &format!("RCPT TO:<{to}>"), 250)
            .await?;
    }
    talk.command("DATA", "DATA", 354).await?;
    talk.write(&stuffed(&mail.bytes)).await?;
    talk.expect("DATA", 250).await?;
    // It is theirs now, whatever comes of saying goodbye.
    drop(talk.write(b"QUIT\r\n").await);
    Ok(())
}

fn told(error: Error) -> Trouble {
    match error {
        Error::Config(why) => Trouble::Wrong(why),
        Error::Forbidden { why, .. } => Trouble::Wrong(why),
        Error::Connect { why, .. } => Trouble::Connection(why),
        other => Trouble::Connection(other.to_string()),
    }
}

/// Whether a password on the wire stays on this machine.
fn is_here(host: &str) -> bool {
    let is_loopback = |host: &str| {
        host.parse()
            .is_ok_and(|at: std::net::IpAddr| at.is_loopback())
    };
    host.eq_ignore_ascii_case("localhost") || is_loopback(host)
}

/// What stands behind a word of the server's list, where it is there.
fn offers(can: &[String], word: &str) -> Option<String> {
    can.iter().find_map(|line| {
        let (first, rest) = line.split_once([' ', '=']).unwrap_or((line, ""));
        first
            .eq_ignore_ascii_case(word)
            .then(|| rest.to_ascii_uppercase())
    })
}

/// Lines that begin with a dot get another one; the end is a dot alone.
fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut stuffed = Vec::with_capacity(bytes.len() + 64);
    let mut starts = true;
    for byte in bytes {
        if starts && *byte == b'.' {
            stuffed.push(b'.');
        }
        stuffed.push(*byte);
        starts = *byte == b'\n';
    }
    if !stuffed.ends_with(b"\r\n") {
        stuffed.extend_from_slice(b"\r\n");
    }
    stuffed.extend_from_slice(b".\r\n");
    stuffed
}

/// HMAC (RFC 2104) of MD5, as hexadecimal digits.
fn hmac_md5(key: &[u8], text: &[u8]) -> String {
    let mut block = [0_u8; 64];
    match key.len() > block.len() {
        true => block[..16].copy_from_slice(&Md5::digest(key)),
        false => block[..key.len()].copy_from_slice(key),
    }
    let padded = |with: u8| block.map(|byte| byte ^ with);
    let inner = Md5::new().chain_update(padded(0x36)).chain_update(text);
    let outer = Md5::new()
        .chain_update(padded(0x5c))
        .chain_update(inner.finalize());
    let digits = outer.finalize();
    digits.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Talk {
    async fn hello(&mut self, name: &str) -> Result<Vec<String>, Trouble> {
        let name = if name.is_empty() { "localhost" } else { name };
        let answer = self.command("EHLO", &format!("EHLO {name}"), 250).await?;
        Ok(answer.lines.into_iter().skip(1).collect())
    }

    async fn log_in(&mut self, login: &Login, ways: &str, is_here: bool) -> Result<(), Trouble> {
        let offered = |way: &str| ways.split_whitespace().any(|one| one == way);
        let has_password = !login.password.reveal().is_empty();
        let has_secret = !login.secret.reveal().is_empty();
        if has_secret && offered("CRAM-MD5") {
            let challenge = self.command("AUTH", "AUTH CRAM-MD5", 334).await?;
            let challenge = challenge.lines.concat();
            let challenge = BASE64.decode(challenge.trim()).map_err(|_error| {
                Trouble::Connection("AUTH: the server's challenge is no base64".to_owned())
            })?;
            let digits = hmac_md5(login.secret.reveal().as_bytes(), &challenge);
            let line = BASE64.encode(format!("{} {digits}", login.username));
            self.command("AUTH", &line, 235).await?;
            return Ok(());
        }
        if !has_password || !(offered("PLAIN") || offered("LOGIN")) {
            return Err(Trouble::Wrong(format!(
                "AUTH: the server takes {ways:?}, and for none of them there is a password"
            )));
        }
        if !self.stream.is_secure() && !is_here {
            return Err(Trouble::Wrong(
                "AUTH: the connection is not encrypted, so the password is not sent".to_owned(),
            ));
        }
        if offered("PLAIN") {
            let (identity, name) = (&login.identity, &login.username);
            let line = BASE64.encode(format!("{identity}\0{name}\0{}", login.password.reveal()));
            self.command("AUTH", &format!("AUTH PLAIN {line}"), 235)
                .await?;
            return Ok(());
        }
        self.command("AUTH", "AUTH LOGIN", 334).await?;
        let name = BASE64.encode(&login.username);
        self.command("AUTH", &name, 334).await?;
        let password = BASE64.encode(login.password.reveal());
        self.command("AUTH", &password, 235).await?;
        Ok(())
    }

    async fn command(
        &mut self,
        step: &'static str,
        line: &str,
        code: u16,
    ) -> Result<Answer, Trouble> {
        if line.contains(['\r', '\n']) {
            return Err(Trouble::Wrong(format!("{step}: a line break in it")));
        }
        self.write(format!("{line}\r\n").as_bytes()).await?;
        self.expect(step, code).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await?;
        Ok(())
    }

    /// The next answer, which is to be this one (251 is as good as 250).
    async fn expect(&mut self, step: &'static str, code: u16) -> Result<Answer, Trouble> {
        let answer = self.answer().await?;
        if answer.code == code || (code == 250 && answer.code == 251) {
            return Ok(answer);
        }
        let text = said(answer.lines.join(" ").as_bytes(), &self.secrets);
        // What is neither yes nor no is no SMTP.
        if !(400..600).contains(&answer.code) {
            let code = answer.code;
            return Err(Trouble::Connection(format!(
                "{step}: it answered {code} {text}"
            )));
        }
        Err(Trouble::Answer {
            step,
            code: answer.code,
            text,
        })
    }

    async fn answer(&mut self) -> Result<Answer, Trouble> {
        let (mut lines, mut bytes) = (Vec::new(), 0);
        loop {
            let line = self.line().await?;
            bytes += line.len();
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let Some(code) = code.filter(|_| bytes <= ANSWER_BYTES) else {
                return Err(Trouble::Connection("it does not speak SMTP".to_owned()));
            };
            lines.push(line.get(4..).unwrap_or_default().to_owned());
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(Answer { code, lines });
            }
        }
    }

    async fn line(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(end) = self.come.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.come.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            if self.come.len() > ANSWER_BYTES {
                return Err(Trouble::Connection("it does not speak SMTP".to_owned()));
            }
            let mut piece = [0; 1024];
            let count = self.stream.read(&mut piece).await?;
            if count == 0 {
                return Err(Trouble::Connection("it broke off".to_owned()));
            }
            self.come.extend_from_slice(&piece[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_of_the_standard_is_answered_as_it_says() {
        // RFC 2195 §2.
        let challenge = b"<1896.697170952@postoffice.reston.mci.net>";
        assert_eq!(
            hmac_md5(b"tanstaaftanstaaf", challenge),
            "b913a602c7eda7a495b4e6e7334d3890"
        );
    }

    #[test]
    fn a_dot_at_the_beginning_of_a_line_ends_nothing() {
        assert_eq!(stuffed(b".a\r\nb.\r\n.\r\n"), b"..a\r\nb.\r\n..\r\n.\r\n");
        assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
    }

    #[test]
    fn what_a_server_can_is_found_in_any_case() {
        let can = ["SIZE 1000", "auth plain LOGIN", "AUTH=CRAM-MD5"].map(str::to_owned);
        assert_eq!(offers(&can, "AUTH").as_deref(), Some("PLAIN LOGIN"));
        assert_eq!(offers(&can, "STARTTLS"), None);
    }
}
