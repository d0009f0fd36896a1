//! `GET /metrics`: this server's own figures in the Prometheus text format.

use salvo::{
    Depot, Response, handler,
    http::{HeaderValue, header},
};

use crate::{
    app::App,
    error::AppError,
    http::access,
    telemetry::{line, write_head},
};

/// The exposition format's media type, version 0.0.4.
const TEXT_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Counters of this server, and the newest value of every series it measures.
#[handler]
pub async fn get_own_metrics(depot: &mut Depot, response: &mut Response) -> Result<(), AppError> {
    access::require_read(depot)?;
    let app = App::of(depot)?;
    let mut text = app.telemetry.render();
    write_head(
        &mut text,
        "pulseboard_build_info",
        "gauge",
        "Always 1; the labels say what runs.",
    );
    line(
        &mut text,
        "pulseboard_build_info",
        &format!("{{version=\"{}\"}}", env!("CARGO_PKG_VERSION")),
        1,
    );
    write_head(
        &mut text,
        "pulseboard_uptime_seconds",
        "gauge",
        "Seconds since the start.",
    );
    line(
        &mut text,
        "pulseboard_uptime_seconds",
        "",
        app.uptime_seconds(),
    );
    write_head(
        &mut text,
        "pulseboard_streams_max",
        "gauge",
        "Streams that may be open at once.",
    );
    line(&mut text, "pulseboard_streams_max", "", app.registry.max());
    let newest = app.live.with_window(|window| window.newest().cloned());
    if let Some(tick) = newest {
        write_head(
            &mut text,
            "pulseboard_sample",
            "gauge",
            "Newest value of each measured series.",
        );
        for (series, value) in tick.series.iter().zip(&tick.values) {
            let own = [("metric", &*series.name), ("unit", &*series.unit)];
            let labels = own.into_iter().chain(
                series
                    .labels
                    .iter()
                    .map(|(name, value)| (&**name, &**value)),
            );
            let labels: Vec<String> = labels
                .map(|(name, value)| format!("{name}=\"{}\"", escape(value)))
                .collect();
            line(
                &mut text,
                "pulseboard_sample",
                &format!("{{{}}}", labels.join(",")),
                value,
            );
        }
    }
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(TEXT_FORMAT));
    response.body(text);
    Ok(())
}

fn escape(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}
