//! Names like one that no series has.

use yew::prelude::*;

use super::series_link;
use crate::{markup::html, net::json::Json, words};

/// Names offered at most.
const NEAR_MAX: usize = 5;

/// How much two names have in common: pairs of neighbouring characters that both have.
fn likeness(one: &str, other: &str) -> usize {
    let pairs = |text: &str| -> Vec<[u8; 2]> {
        let text = text.to_ascii_lowercase();
        text.as_bytes()
            .windows(2)
            .map(|pair| [pair[0], pair[1]])
            .collect()
    };
    let mut others = pairs(other);
    let common = pairs(one).into_iter().filter(|pair| {
        let place = others.iter().position(|other| other == pair);
        place.map(|place| others.swap_remove(place)).is_some()
    });
    common.count()
}

/// Those of `names` that are most like `name`, each once; such as have half of it in common.
fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut near: Vec<(usize, &str)> = Vec::new();
    for other in names {
        let likeness = likeness(name, other);
        if 2 * likeness + 1 >= name.len() && !near.iter().any(|(_, known)| *known == other) {
            let place = near.partition_point(|(known, _)| *known >= likeness);
            near.insert(place, (likeness, other));
            near.truncate(NEAR_MAX);
        }
    }
    near.into_iter().map(|(_, name)| name).collect()
}

/// No series has this name: some that have one like it, of those that `json` lists.
pub(crate) fn near_names(name: &str, json: &Json) -> Html {
    let list = json.get("series").list().iter();
    let near = nearest(name, list.map(|series| series.text_of("name")));
    html! {
        <div class="open-series__note" role="status">
            <p>{ words::NO_SUCH_SERIES }</p>
            if !near.is_empty() {
                <p>{ "Similar names: " }{ for near.into_iter().map(|name| series_link(name, name, "")) }</p>
            }
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered() {
        let names = [
            "http_requests_total",
            "http_errors_total",
            "queue_depth",
            "http_requests_total",
        ];
        assert_eq!(
            nearest("http_requets_total", names.into_iter()),
            ["http_requests_total", "http_errors_total"]
        );
        assert_eq!(nearest("zz", names.into_iter()), [""; 0]);
    }
}
