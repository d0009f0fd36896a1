//! Browsers that have subscribed to notifications, as `GET /api/browsers` tells of them, and how
//! this one says who it is.

use super::targets::moment;
use crate::net::json::Json;

/// One that has subscribed.
#[derive(Clone, Debug, PartialEq)]
pub struct Browser {
    /// Names it.
    pub id: String,
    /// How it calls itself.
    pub name: String,
    /// Who subscribed it.
    pub by: String,
    /// Since when, Unix milliseconds.
    pub since_ms: f64,
}

impl Browser {
    fn read(json: &Json) -> Option<Self> {
        Some(Self {
            id: json.get("id").text()?.to_owned(),
            name: json.text_of("name").to_owned(),
            by: json.text_of("by").to_owned(),
            since_ms: moment(json.text_of("since"))?,
        })
    }

    /// All of an answer.
    #[must_use]
    pub fn read_all(json: &Json) -> Vec<Self> {
        let all = json.get("browsers").list().iter();
        all.filter_map(Self::read).collect()
    }
}

/// What a browser is called for people, of what it says of itself to servers.
#[must_use]
pub fn browser_name(agent: &str) -> String {
    // What it says, and behind `=` what that is called where it is another word.
    let first = |names: &[&'static str]| {
        let mut names = names
            .iter()
            .map(|name| name.split_once('=').unwrap_or((*name, *name)));
        let found = names.find(|(part, _)| agent.contains(part));
        found.map(|(_, name)| name)
    };
    // Those that say who they are beside what they are made of stand first.
    let browser = first(&[
        "Edg=Edge",
        "OPR/=Opera",
        "SamsungBrowser=Samsung Internet",
        "Firefox",
        "FxiOS=Firefox",
        "Chrom=Chrome",
        "CriOS=Chrome",
        "Safari",
    ]);
    let system = first(&[
        "Android",
        "iPhone",
        "iPad",
        "Windows",
        "CrOS=ChromeOS",
        "Mac OS=Mac",
        "Linux",
    ]);
    let browser = browser.unwrap_or("Browser");
    system.map_or_else(
        || browser.to_owned(),
        |system| [browser, " on ", system].concat(),
    )
}

/// What the server is sent: what the browser says of its subscription, and how it is called;
/// nothing where it says none.
#[must_use]
pub fn subscription(told: &str, name: &str) -> Option<Json> {
    let Json::Object(mut entries) = Json::parse(told)? else {
        return None;
    };
    // A browser may say more some day.
    entries.retain(|(field, _)| field == "endpoint" || field == "keys");
    entries.push(("name".to_owned(), Json::Text(name.to_owned())));
    Some(Json::Object(entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::json::write;

    #[test]
    fn browsers_are_called_by_their_names() {
        for (agent, name) in [
            (
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36",
                "Chrome on Linux",
            ),
            (
                "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36 EdgA/140.0",
                "Edge on Android",
            ),
            (
                "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Safari/605.1.15",
                "Safari on Mac",
            ),
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0",
                "Firefox on Windows",
            ),
            ("", "Browser"),
        ] {
            assert_eq!(browser_name(agent), name);
        }
    }

    #[test]
    fn a_subscription_is_sent_with_its_name() {
        let told = r#"{"endpoint":"https://p/1","expirationTime":null,"keys":{"p256dh":"a","auth":"b"},"new":1}"#;
        let sent = subscription(told, "Chrome on Linux").expect("one");
        assert_eq!(
            write(&sent, |number| number.to_string()),
            r#"{"endpoint":"https://p/1","keys":{"p256dh":"a","auth":"b"},"name":"Chrome on Linux"}"#
        );
        assert_eq!(subscription("null", "a"), None);
    }

    #[test]
    fn browsers_are_read() {
        let json = r#"{"key":"k","browsers":[{"id":"a","name":"n","by":"b","since":"1970-01-01T00:00:01Z"},{"id":1}]}"#;
        let all = Browser::read_all(&Json::parse(json).expect("JSON"));
        assert_eq!(all.len(), 1);
        assert!((all[0].since_ms - 1_000.0).abs() < 0.5);
    }
}
