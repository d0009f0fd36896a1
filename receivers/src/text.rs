//! Texts: cut to what a receiver takes, without what is secret, times as they are written.

use std::borrow::Cow;

use pulseboard_outbound::Secret;

/// What stands for the rest of a text that was cut.
const MORE: char = '…';
/// Characters of an answer that are shown.
const SAID_CHARS: usize = 200;
/// A secret that is shorter is not looked for in texts: it would be found everywhere.
const SECRET_BYTES_MIN: usize = 4;

/// The first characters of a text; the last is `…` where it was cut.
#[must_use]
pub fn cut(text: &str, chars: usize) -> Cow<'_, str> {
    let Some((_, _)) = text.char_indices().nth(chars) else {
        return Cow::Borrowed(text);
    };
    let mut cut: String = text.chars().take(chars.saturating_sub(1)).collect();
    cut.push(MORE);
    Cow::Owned(cut)
}

/// As [`cut`], but so many bytes of UTF-8 at most.
#[must_use]
pub fn cut_bytes(text: &str, bytes: usize) -> Cow<'_, str> {
    if text.len() <= bytes {
        return Cow::Borrowed(text);
    }
    let mut end = bytes.saturating_sub(MORE.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}{MORE}", &text[..end]))
}

/// As [`cut`] for HTML: no tag and no entity is cut through, and what is open is closed. A receiver
/// refuses HTML that does not close.
#[must_use]
pub fn cut_html(text: &str, chars: usize) -> Cow<'_, str> {
    if text.chars().nth(chars).is_none() {
        return Cow::Borrowed(text);
    }
    // What closes takes room of its own: fewer characters are kept until both fit.
    let mut keep = chars.saturating_sub(1);
    loop {
        let mut kept: String = text.chars().take(keep).collect();
        for (begins, ends) in [('<', '>'), ('&', ';')] {
            if let Some(at) = kept.rfind(begins)
                && !kept[at..].contains(ends)
                && (begins == '<' || kept.len() - at <= 10)
            {
                kept.truncate(at);
            }
        }
        let open = open_tags(&kept);
        kept.push(MORE);
        for tag in open.iter().rev() {
            kept.push_str(&format!("</{tag}>"));
        }
        let length = kept.chars().count();
        if length <= chars || keep == 0 {
            return Cow::Owned(kept);
        }
        keep = keep.saturating_sub(length - chars);
    }
}

fn open_tags(html: &str) -> Vec<String> {
    let mut open: Vec<String> = Vec::new();
    for piece in html.split('<').skip(1) {
        let Some((tag, _)) = piece.split_once('>') else {
            continue;
        };
        if let Some(name) = tag.strip_prefix('/') {
            let name = name.trim();
            if let Some(at) = open.iter().rposition(|one| one.eq_ignore_ascii_case(name)) {
                open.truncate(at);
            }
        } else if !tag.ends_with('/') {
            let name = tag.split([' ', '\n', '\t']).next().unwrap_or_default();
            if !name.is_empty() && !name.eq_ignore_ascii_case("br") {
                open.push(name.to_owned());
            }
        }
    }
    open
}

/// `& < > "` as HTML has them.
#[must_use]
pub fn escape_html(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// The first characters of what somebody answered, on one line, without control characters and
/// without what is secret.
#[must_use]
pub fn said(body: &[u8], secrets: &[Secret]) -> String {
    // Secrets are looked for before anything is cut, so that no half of one is shown.
    let text = scrub(&String::from_utf8_lossy(body), secrets);
    let words: String = text
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect();
    let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
    cut(&words, SAID_CHARS).into_owned()
}

/// A text with `<secret>` in the place of each secret, also where it is percent-encoded.
#[must_use]
pub fn scrub(text: &str, secrets: &[Secret]) -> String {
    let mut text = text.to_owned();
    let mut hide = |secret: &str| {
        if secret.len() >= SECRET_BYTES_MIN && text.contains(secret) {
            text = text.replace(secret, pulseboard_outbound::secret::HIDDEN);
        }
    };
    // The longest first: an address before the token that is in it.
    let mut all: Vec<&str> = secrets.iter().map(Secret::reveal).collect();
    all.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    for secret in all {
        hide(secret);
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        if encoded != *secret {
            hide(&encoded);
        }
    }
    text
}

/// What of an address is secret: the whole, its path with what follows, each longer piece of them,
/// and the password.
#[must_use]
pub fn secrets_of(url: &str) -> Vec<Secret> {
    let mut secrets = vec![Secret::new(url)];
    if let Ok(url) = url::Url::parse(url) {
        let after = &url[url::Position::BeforePath..];
        let pieces = after.split(['/', '?', '&', '=', '#']);
        // Short words of a path, such as `services`, are no secrets.
        let long = pieces.filter(|piece| piece.len() >= 16);
        secrets.extend(long.map(Secret::new));
        if after.len() > 1 {
            secrets.push(Secret::new(after));
        }
        secrets.extend(url.password().map(Secret::new));
    }
    secrets
}

/// Unix ms as RFC 3339 in UTC, as Go's JSON has times; nothing is Go's zero time.
#[must_use]
pub fn rfc3339(ms: Option<i64>) -> String {
    let Some(ms) = ms else {
        return "0001-01-01T00:00:00Z".to_owned();
    };
    // Years of four digits, as the format has them.
    let ms = ms.clamp(-62_135_596_800_000, 253_402_300_799_999);
    let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    let (year, month, day) = civil(days);
    let (seconds, milliseconds) = (in_day / 1000, in_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if milliseconds > 0 {
        let fraction = format!(".{milliseconds:03}");
        text.push_str(fraction.trim_end_matches('0'));
    }
    text.push('Z');
    text
}

/// Year, month and day of so many days after 1970-01-01, by the calendar's periods of 400 years
/// that begin in March.
pub(crate) fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
        assert_eq!(cut_bytes("äöüß", 8), "äöüß");
        assert_eq!(cut_bytes("äöüß", 7), "äö…");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn html_that_is_cut_still_closes() {
        assert_eq!(cut_html("<b>abc</b>", 10), "<b>abc</b>");
        assert_eq!(cut_html("<b>abcdefgh</b>", 12), "<b>abcd…</b>");
        let text = "<b>a</b> <a href=\"http://x/y\">link</a> &amp; <i>more and more</i>";
        for chars in 20..60 {
            let cut = cut_html(text, chars);
            assert!(cut.chars().count() <= chars, "{cut}");
            assert_eq!(cut.matches('<').count(), cut.matches('>').count(), "{cut}");
            assert!(open_tags(&cut).is_empty(), "{cut}");
            assert!(!cut.contains("&amp…") && !cut.contains("&a…"), "{cut}");
        }
    }

    #[test]
    fn no_secret_is_in_what_is_said() {
        let url =
            "https://me:hunter2@h.example/services/T0000000/B0000000/YYYYYYYYYYYYYYYYYYYYYYYY";
        let secrets = secrets_of(url);
        let body = format!(
            "no such hook {url} or /services/T0000000/B0000000/YYYYYYYYYYYYYYYYYYYYYYYY\n\u{1b}[31m hunter2"
        );
        let said = said(body.as_bytes(), &secrets);
        assert!(
            !said.contains("YYYY") && !said.contains("hunter2"),
            "{said}"
        );
        assert!(
            said.starts_with("no such hook <secret> or <secret>"),
            "{said}"
        );
        assert!(!said.contains('\u{1b}'));
        assert!(super::said(&[b'x'; 5000], &[]).chars().count() == 200);
    }

    #[test]
    fn times_are_written_as_go_does() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (1_796_083_200_120, "2026-12-01T00:00:00.12Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (i64::MAX, "9999-12-31T23:59:59.999Z"),
        ] {
            assert_eq!(rfc3339(Some(ms)), text);
        }
        assert_eq!(rfc3339(None), "0001-01-01T00:00:00Z");
    }
}
