//! Silences as Alertmanager's API has them, and as they are written in the form: who is not told of
//! what, from when to when, and why.

use super::{answers::utc, hosts::Trouble, targets::moment};
use crate::{
    net::json::{Json, quote, write},
    words,
};

/// What a label has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    /// The label.
    pub name: String,
    /// Its value, or a pattern of it.
    pub value: String,
    /// The value is a pattern.
    pub is_pattern: bool,
    /// It has to be so; else it must not.
    pub is_equal: bool,
}

impl Matcher {
    /// Reads one.
    #[must_use]
    pub fn read(json: &Json) -> Self {
        Self {
            name: json.text_of("name").to_owned(),
            value: json.text_of("value").to_owned(),
            is_pattern: json.get("isRegex").is_true(),
            is_equal: *json.get("isEqual") != Json::Bool(false),
        }
    }

    const fn operator(&self) -> &'static str {
        match (self.is_equal, self.is_pattern) {
            (true, false) => "=",
            (false, false) => "!=",
            (true, true) => "=~",
            (false, true) => "!~",
        }
    }

    /// As one writes it: `name="value"`.
    #[must_use]
    pub fn text(&self) -> String {
        [&self.name, self.operator(), &quote(&self.value)].concat()
    }

    /// Of a line; the value may stand in quotation marks.
    fn parse(line: &str) -> Option<Self> {
        let end = line.find(['=', '!'])?;
        let (name, rest) = line.split_at(end);
        let operators = [
            ("=~", true, true),
            ("!~", true, false),
            ("!=", false, false),
            ("=", false, true),
        ];
        let found = operators
            .into_iter()
            .find(|(operator, ..)| rest.starts_with(operator))?;
        let (operator, is_pattern, is_equal) = found;
        let value = rest[operator.len()..].trim();
        let value = match value.starts_with('"') {
            true => Json::parse(value)?.text()?.to_owned(),
            false => value.to_owned(),
        };
        let name = name.trim();
        (!name.is_empty() && !name.contains(char::is_whitespace)).then(|| Self {
            name: name.to_owned(),
            value,
            is_pattern,
            is_equal,
        })
    }

    /// As the server takes it.
    #[must_use]
    pub fn to_json(&self) -> Json {
        Json::Object(vec![
            ("name".to_owned(), Json::Text(self.name.clone())),
            ("value".to_owned(), Json::Text(self.value.clone())),
            ("isRegex".to_owned(), Json::Bool(self.is_pattern)),
            ("isEqual".to_owned(), Json::Bool(self.is_equal)),
        ])
    }
}

/// Matchers of lines, one of which at least says what a label is.
///
/// # Errors
/// What has to be written otherwise, in words.
pub fn matchers_of(text: &str) -> Result<Vec<Matcher>, String> {
    let lines = text.lines().map(str::trim);
    let mut matchers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let matcher = Matcher::parse(line);
        matchers.push(matcher.ok_or_else(|| format!("This is no matcher: {line}"))?);
    }
    let matches_anything = |matcher: &Matcher| match (matcher.is_equal, matcher.is_pattern) {
        (true, false) => matcher.value.is_empty(),
        (false, _) => true,
        (true, true) => matcher.value.is_empty() || matcher.value == ".*",
    };
    match matchers.iter().all(matches_anything) {
        true => Err("At least one matcher says what a label is, or all would be silent".to_owned()),
        false => Ok(matchers),
    }
}

/// One silence.
#[derive(Clone, Debug, PartialEq)]
pub struct Silence {
    /// Names it.
    pub id: String,
    /// `active`, `pending` or `expired`.
    pub state: String,
    /// What it silences.
    pub matchers: Vec<Matcher>,
    /// From when, Unix milliseconds.
    pub from_ms: f64,
    /// To when.
    pub to_ms: f64,
    /// Who made it.
    pub by: String,
    /// Why.
    pub comment: String,
}

impl Silence {
    /// Reads one; `None` for what is none.
    #[must_use]
    pub fn read(json: &Json) -> Option<Self> {
        Some(Self {
            id: json.get("id").text()?.to_owned(),
            state: json.get("status").text_of("state").to_owned(),
            matchers: json
                .get("matchers")
                .list()
                .iter()
                .map(Matcher::read)
                .collect(),
            from_ms: moment(json.text_of("startsAt"))?,
            to_ms: moment(json.text_of("endsAt"))?,
            by: json.text_of("createdBy").to_owned(),
            comment: json.text_of("comment").to_owned(),
        })
    }

    /// All of an answer: those that hold first, the next to end first; then those to come; what is
    /// over last, the newest first.
    #[must_use]
    pub fn read_all(json: &Json) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for silence in json.list().iter().filter_map(Self::read) {
            let place = all.partition_point(|other| other.order() <= silence.order());
            all.insert(place, silence);
        }
        all
    }

    fn order(&self) -> (u8, f64) {
        match self.state.as_str() {
            "active" => (0, self.to_ms),
            "pending" => (1, self.from_ms),
            _ => (2, -self.to_ms),
        }
    }

    /// It is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.state == "expired"
    }

    /// How it stands, in a word and a colour.
    #[must_use]
    pub fn standing(&self) -> (Trouble, &'static str) {
        match self.state.as_str() {
            "active" => (Trouble::Warning, "silent now"),
            "pending" => (Trouble::None, "to come"),
            _ => (Trouble::None, "over"),
        }
    }

    /// What it silences, as one writes it.
    #[must_use]
    pub fn text(&self) -> String {
        let texts: Vec<String> = self.matchers.iter().map(Matcher::text).collect();
        texts.join(" ")
    }
}

/// How long a silence may be chosen to last.
pub const LENGTHS: [(&str, f64); 7] = [
    ("30 min", 1_800_000.0),
    ("1 h", 3_600_000.0),
    ("2 h", 7_200_000.0),
    ("8 h", 28_800_000.0),
    ("1 d", 86_400_000.0),
    ("3 d", 259_200_000.0),
    ("7 d", 604_800_000.0),
];

/// How often a window may come again.
pub const REPEATS: [(&str, f64); 3] = [
    ("Once", 0.0),
    ("Every day", 86_400_000.0),
    ("Every week", 604_800_000.0),
];

/// Windows that are made at once.
pub const TIMES_MAX: u32 = 12;

/// A silence as it is being written.
#[derive(Clone, Debug, PartialEq)]
pub struct Draft {
    /// Matchers, a line each.
    pub matchers: String,
    /// When it begins, as one types it; empty for now.
    pub from: String,
    /// How long it lasts: a place in [`LENGTHS`].
    pub length: usize,
    /// How often it comes again: a place in [`REPEATS`].
    pub repeat: usize,
    /// How many times in all, where it comes again.
    pub times: u32,
    /// Why.
    pub comment: String,
    /// Who makes it.
    pub by: String,
}

impl Default for Draft {
    fn default() -> Self {
        Self {
            matchers: String::new(),
            from: String::new(),
            length: 2,
            repeat: 0,
            times: 4,
            comment: String::new(),
            by: String::new(),
        }
    }
}

impl Draft {
    /// What the server is to be sent, one text a window; `moment` reads what was typed as the
    /// beginning.
    ///
    /// # Errors
    /// What has to be written otherwise, in words.
    pub fn windows(
        &self,
        now_ms: f64,
        moment: impl Fn(&str) -> Option<f64>,
    ) -> Result<Vec<String>, String> {
        let matchers = matchers_of(&self.matchers)?;
        if self.comment.trim().is_empty() || self.by.trim().is_empty() {
            return Err(
                "Who makes it and why is said, for those who wonder at the silence".to_owned(),
            );
        }
        let from_ms = match self.from.trim() {
            "" => now_ms,
            typed => moment(typed).ok_or(words::NO_BEGINNING)?,
        };
        let (_, length_ms) = LENGTHS[self.length.min(LENGTHS.len() - 1)];
        let (_, every_ms) = REPEATS[self.repeat.min(REPEATS.len() - 1)];
        if from_ms + length_ms <= now_ms {
            return Err("It would be over already".to_owned());
        }
        if every_ms > 0.0 && length_ms > every_ms {
            return Err("It would last until it comes again".to_owned());
        }
        let times = if every_ms > 0.0 {
            self.times.clamp(1, TIMES_MAX)
        } else {
            1
        };
        let all = Json::List(matchers.iter().map(Matcher::to_json).collect());
        // No number is in it.
        let all = write(&all, |_number| String::new());
        let window = |index: u32| {
            let from_ms = from_ms + every_ms * f64::from(index);
            let place = match times {
                1 => String::new(),
                _ => format!(" ({} of {times})", index + 1),
            };
            format!(
                r#"{{"matchers":{},"startsAt":{},"endsAt":{},"createdBy":{},"comment":{}}}"#,
                all,
                quote(&utc(from_ms)),
                quote(&utc(from_ms + length_ms)),
                quote(self.by.trim()),
                quote(&[self.comment.trim(), &place].concat())
            )
        };
        Ok((0..times).map(window).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(matchers: &str) -> Draft {
        Draft {
            matchers: matchers.into(),
            comment: "new disk".into(),
            by: "ann".into(),
            ..Draft::default()
        }
    }

    fn windows(draft: &Draft) -> Result<Vec<Json>, String> {
        let windows = draft.windows(1_000.0, |text| text.parse().ok())?;
        let read = |text: &String| Json::parse(text).expect("JSON");
        Ok(windows.iter().map(read).collect())
    }

    #[test]
    fn matchers_are_read_as_they_are_written() {
        for text in [
            "instance=\"a\"",
            "job!=\"b \\\"c\\\"\"",
            "pod=~\"x.*\"",
            "pod!~\"\"",
        ] {
            assert_eq!(
                Matcher::parse(text).map(|one| one.text()).as_deref(),
                Some(text)
            );
        }
        let bare = Matcher::parse("instance = a:9100").expect("a matcher");
        assert_eq!(bare.text(), "instance=\"a:9100\"");
        for text in ["", "instance", "=a", "a b=c", "a=\"b"] {
            assert_eq!(Matcher::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_silence_says_who_and_why() {
        let sent = windows(&draft("instance=\"a\"\n\njob=~\"n.*\"")).expect("one");
        assert_eq!(sent.len(), 1);
        assert_eq!(sent[0].text_of("startsAt"), "1970-01-01T00:00:01.000Z");
        assert_eq!(sent[0].text_of("endsAt"), "1970-01-01T02:00:01.000Z");
        assert_eq!(sent[0].get("matchers").list().len(), 2);
        let anonymous = Draft {
            by: " ".into(),
            ..draft("a=\"b\"")
        };
        assert!(windows(&anonymous).is_err());
    }

    #[test]
    fn what_would_silence_everything_is_not_sent() {
        for matchers in ["", "a!=\"b\"", "a=~\".*\"", "a=", "nothing"] {
            assert!(windows(&draft(matchers)).is_err(), "{matchers}");
        }
    }

    #[test]
    fn a_window_comes_again() {
        let weekly = Draft {
            repeat: 2,
            times: 3,
            from: "5000".into(),
            ..draft("a=\"b\"")
        };
        let sent = windows(&weekly).expect("three");
        let begins: Vec<&str> = sent
            .iter()
            .map(|window| window.text_of("startsAt"))
            .collect();
        assert_eq!(
            begins,
            [
                "1970-01-01T00:00:05.000Z",
                "1970-01-08T00:00:05.000Z",
                "1970-01-15T00:00:05.000Z"
            ]
        );
        assert_eq!(sent[2].text_of("comment"), "new disk (3 of 3)");
        let endless = Draft {
            repeat: 1,
            length: 6,
            ..weekly
        };
        assert!(windows(&endless).is_err());
    }

    #[test]
    fn those_that_hold_stand_first() {
        let one = |id: &str, state: &str, to: u32| {
            format!(
                r#"{{"id":"{id}","status":{{"state":"{state}"}},"startsAt":"1970-01-01T00:00:00Z","endsAt":"1970-01-01T00:00:{to:02}Z","matchers":[]}}"#
            )
        };
        let text = format!(
            "[{},{},{},{}]",
            one("old", "expired", 10),
            one("late", "active", 40),
            one("next", "active", 20),
            one("older", "expired", 5)
        );
        let all = Silence::read_all(&Json::parse(&text).expect("JSON"));
        let ids: Vec<&str> = all.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids, ["next", "late", "old", "older"]);
    }
}
