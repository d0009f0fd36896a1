//! `/federate`: the newest samples, as text for a Prometheus that scrapes them.

use std::collections::BTreeMap;

use pulseboard_engine::query::QueryError;
use pulseboard_promql::parse_any_selector;
use pulseboard_series::{is_stale_marker, key::write_quoted};
use salvo::{Depot, Request, Response, handler, http::header};

use super::{
    answer::{ApiError, number, send},
    asking::Asking,
    export::each_series,
    outside::Outside,
};
use crate::http::pieces::Pieces;

/// A federating Prometheus is told what came in this time, as instant questions are.
const LOOKBACK_MS: i64 = 300_000;

/// The newest sample of every series that `match[]` names, as Prometheus text.
#[handler]
pub async fn federate(request: &mut Request, depot: &mut Depot, response: &mut Response) {
    if let Err(error) = try_federate(request, depot, response).await {
        send(response, Err(error));
    }
}

async fn try_federate(
    request: &mut Request,
    depot: &mut Depot,
    response: &mut Response,
) -> Result<(), ApiError> {
    let asking = Asking::begin(request, depot).await?;
    // Nothing named is nothing told, as a Prometheus answers it; a selector that is empty is
    // refused.
    let now_ms = asking.app.clock.now_ms();
    let content_type = "text/plain; version=0.0.4; charset=utf-8";
    let mut accepted = request.headers().get_all(header::ACCEPT).iter();
    let takes_any = accepted.any(|one| {
        let text = one.to_str().unwrap_or_default();
        text.contains("escaping=allow-utf-8")
    });
    let write = move |asking: &Asking, answer: &mut Pieces| {
        let external = Outside::of(asking);
        let mut families: BTreeMap<String, String> = BTreeMap::new();
        let stretch = (now_ms - LOOKBACK_MS + 1, now_ms + 1);
        let named = asking.params.selectors_by(parse_any_selector)?;
        let asked = (asking, &*named);
        each_series(asked, answer, stretch, &mut |key, samples, answer| {
            let newest = samples.last().filter(|(_, value)| !is_stale_marker(*value));
            let Some((at_ms, value)) = newest else {
                return Ok(());
            };
            let labels = external.federated(key);
            let (name, series) = exposed(key.name(), &labels, takes_any);
            let line = format!("{series} {} {at_ms}\n", number(*value));
            let bytes = line.len() + name.len();
            answer.cost.hold(bytes).map_err(QueryError::from)?;
            families.entry(name).or_default().push_str(&line);
            Ok(())
        })?;
        // A family's samples stand together.
        for (name, lines) in families {
            if fits(&name, ":_") {
                answer.write(format!("# TYPE {name} untyped\n").as_bytes())?;
            }
            answer.write(lines.as_bytes())?;
        }
        Ok(())
    };
    asking.write(request, response, content_type, write).await
}

/// A series' name, and the series as a scraper reads it: one that does not say that it takes any
/// names is given `_` for what no name of a Prometheus before 3 had, and else reads nothing at all.
fn exposed(name: &str, labels: &[(&str, &str)], takes_any: bool) -> (String, String) {
    let is_plain = fits(name, ":_");
    let name = match is_plain || takes_any {
        true => name.to_owned(),
        false => underscored(name, ":_"),
    };
    let mut text = String::new();
    let mut mark = "{";
    match is_plain || !takes_any {
        true => text.push_str(&name),
        false => {
            text.push('{');
            write_quoted(&name, &mut text);
            mark = ",";
        }
    }
    for (label, value) in labels {
        text.push_str(mark);
        mark = ",";
        match (fits(label, "_"), takes_any) {
            (true, _) => text.push_str(label),
            (false, true) => write_quoted(label, &mut text),
            (false, false) => text.push_str(&underscored(label, "_")),
        }
        text.push('=');
        write_quoted(value, &mut text);
    }
    if mark == "," {
        text.push('}');
    }
    (name, text)
}

/// Whether it is letters, digits and these marks, and begins with no digit.
fn fits(name: &str, marks: &str) -> bool {
    let begins = name.starts_with(|one: char| !one.is_ascii_digit());
    begins
        && name
            .chars()
            .all(|one| one.is_ascii_alphanumeric() || marks.contains(one))
}

fn underscored(name: &str, marks: &str) -> String {
    let all = name.chars().enumerate();
    all.map(|(at, one)| match one {
        one if one.is_ascii_digit() && at == 0 => '_',
        one if one.is_ascii_alphanumeric() || marks.contains(one) => one,
        _ => '_',
    })
    .collect()
}
