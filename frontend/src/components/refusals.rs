//! What the server refused to take, by reason: nothing is dropped in silence.

use yew::prelude::*;

use crate::{
    format,
    hooks::use_answer,
    net::{config::Endpoint, json::Json},
};

/// Counts are asked for this often.
const EVERY_MS: u32 = 10_000;

/// Such as `Refused 15 samples: 12 too old, 3 bad name`; `None` when nothing was.
fn words(json: &Json) -> Option<String> {
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

/// See the module.
#[hook]
pub fn use_refusals(endpoint: &Endpoint) -> Html {
    let answer = use_answer(endpoint, "/api/v1/ingest".into(), EVERY_MS, 0);
    let words = answer.json.as_ref().and_then(|json| words(json));
    words.map_or_else(Html::default, |words| {
        html! { <p class="refusals" role="status">{ words }</p> }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_reason() {
        let words = |text: &str| words(&Json::parse(text).expect("JSON"));
        assert_eq!(words(r#"{"accepted":9,"refused":{}}"#), None);
        assert_eq!(words(r#"{"accepted":9,"refused":{"too_old":0}}"#), None);
        assert_eq!(
            words(r#"{"accepted":9,"refused":{"too_old":12,"bad_name":3}}"#),
            Some("Refused 15 samples: 12 too old, 3 bad name".into())
        );
    }
}
