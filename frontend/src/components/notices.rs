//! What a reader should know of what comes in and how safe it is: a disk that fails, damage that
//! was found, samples that were refused. Nothing is dropped in silence.

use yew::prelude::*;

use crate::{
    format,
    hooks::{use_answer, use_selector},
    markup::html,
    net::{config::Endpoint, json::Json},
    platform,
    stores::connection::ConnectionStore,
};

/// Where nobody looks for them, refusals are news for so long.
const NEWS_MS: f64 = 600_000.0;

/// Asked for this often where refusals are shown, which somebody looks at who sends.
const EVERY_MS: u32 = 10_000;

/// Elsewhere: a disk fails seldom, and each open page asks.
const EVERY_MS_ELSEWHERE: u32 = 30_000;

/// Props of [`Notices`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
    /// The view is one of those who send: refusals are told however old they are.
    pub refusals: bool,
}

/// Such as `Refused 15 samples: 12 too old, 3 bad name`; `None` when nothing was.
fn refused(json: &Json) -> Option<String> {
    let mut all = 0.0;
    let mut reasons = Vec::new();
    for (reason, count) in json.get("refused").entries() {
        let count = count.number().filter(|count| *count > 0.0);
        if let Some(count) = count {
            all += count;
            reasons.push(format!(
                "{} {}",
                format::plain(count),
                format::spaced(reason)
            ));
        }
    }
    (all > 0.0).then(|| {
        let samples = if all == 1.0 { "sample" } else { "samples" };
        format!(
            "Refused {} {samples}: {}",
            format::plain(all),
            reasons.join(", ")
        )
    })
}

/// One refusal: when, where, which line, why.
pub(crate) fn refusal(json: &Json) -> String {
    let at_ms = json.get("at_ms").figure();
    #[expect(clippy::cast_possible_truncation, reason = "Unix ms")]
    let clock = format::clock(at_ms as i64, platform::zone_offset_min(at_ms));
    let mut words = format!("[{clock}] {}", json.text_of("endpoint"));
    for (before, name) in [(" from ", "sender"), (", line ", "line"), (": ", "reason")] {
        match json.get(name) {
            Json::Text(text) => words.push_str(&[before, text.as_str()].concat()),
            Json::Number(number) => {
                words.push_str(&[before, format::plain(*number).as_str()].concat());
            }
            _ => {}
        }
    }
    let times = json.get("times").number().unwrap_or(1.0);
    if times > 1.0 {
        words.push_str(&format!(" ({} times)", format::plain(times)));
    }
    words
}

/// What the server says of its disk, as a sentence.
fn disk(json: &Json) -> Option<String> {
    sentence(json.get("warning"))
}

fn sentence(text: &Json) -> Option<String> {
    let mut words = text.text()?.to_owned();
    words.get_mut(..1)?.make_ascii_uppercase();
    Some(words)
}

/// What is doubtful of what comes in, each as a sentence.
fn warnings(json: &Json) -> Vec<String> {
    json.get("warnings")
        .list()
        .iter()
        .filter_map(sentence)
        .collect()
}

/// What was found damaged when the server started: the first, and how many more.
fn damage(json: &Json) -> Option<String> {
    let complaints = json.get("complaints").list();
    let first = complaints.first()?.text()?;
    let more = match complaints.len() - 1 {
        0 => String::new(),
        more => format!(" (and {more} more)"),
    };
    Some(format!(
        "The history was damaged; what could be read is here. {first}{more}"
    ))
}

/// Notices of a disk that fails, of damage that was found, and of samples that were refused.
#[component]
pub fn Notices(props: &Props) -> Html {
    let recoveries = *use_selector(|store: &ConnectionStore| store.recoveries);
    let every_ms = if props.refusals {
        EVERY_MS
    } else {
        EVERY_MS_ELSEWHERE
    };
    let answer = use_answer(&props.endpoint, "/api/ingest".into(), every_ms, recoveries);
    // Until there is a newer one than was dismissed.
    let dismissed = use_state_eq(|| 0.0);
    let Some(json) = answer.json.as_ref() else {
        return Html::default();
    };
    let notice = |class: &'static str, role: &'static str, words: String| {
        html! { <p class={classes!("notice", class)} {role}>{ words }</p> }
    };
    let list = json.get("refusals").list();
    let newest_ms = list
        .first()
        .map_or(0.0, |newest| newest.get("at_ms").figure());
    let shown =
        newest_ms > *dismissed && (props.refusals || platform::now_ms() - newest_ms < NEWS_MS);
    let on_dismiss = move |_: MouseEvent| dismissed.set(newest_ms);
    html! {
        <>
            { disk(json).map(|words| notice("notice--disk", "alert", words)) }
            { for warnings(json).into_iter().map(|words| notice("notice--damage", "status", words)) }
            { damage(json).map(|words| notice("notice--damage", "status", words)) }
            { refused(json).filter(|_| shown).map(|words| html! {
                <div class="notice refusals">
                    <details>
                        <summary><span role="status">{ words }</span></summary>
                        <ol class="refusals__list">
                            { for list.iter().map(|one| html! { <li>{ refusal(one) }</li> }) }
                        </ol>
                    </details>
                    <button class="button button--small" type="button" aria-label="Dismiss these refusals" onclick={on_dismiss}>
                        { "×" }
                    </button>
                </div>
            }) }
        </>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json {
        Json::parse(text).expect("JSON")
    }

    #[test]
    fn names_each_reason() {
        let words = |text: &str| refused(&json(text));
        assert_eq!(words(r#"{"accepted":9,"refused":{}}"#), None);
        assert_eq!(words(r#"{"accepted":9,"refused":{"too_old":0}}"#), None);
        assert_eq!(
            words(r#"{"accepted":9,"refused":{"too_old":12,"bad_name":3}}"#),
            Some("Refused 15 samples: 12 too old, 3 bad name".into())
        );
    }

    #[test]
    fn a_disk_that_fails_is_said() {
        assert_eq!(disk(&json(r#"{"accepted":9}"#)), None);
        assert_eq!(
            disk(&json(r#"{"warning":"the history cannot be written"}"#)),
            Some("The history cannot be written".into())
        );
    }

    #[test]
    fn what_is_doubtful_is_said() {
        assert!(warnings(&json("{}")).is_empty());
        assert_eq!(
            warnings(&json(r#"{"warnings":["two agents send as one","b"]}"#)),
            ["Two agents send as one", "B"]
        );
    }

    #[test]
    fn damage_is_said() {
        assert_eq!(damage(&json("{}")), None);
        assert_eq!(
            damage(&json(r#"{"complaints":["log/7 is cut off at 12"]}"#)),
            Some(
                "The history was damaged; what could be read is here. log/7 is cut off at 12"
                    .into()
            )
        );
        let two = damage(&json(r#"{"complaints":["a","b"]}"#));
        assert!(two.is_some_and(|words| words.ends_with("a (and 1 more)")));
    }
}
