//! Which endpoint answers at which path: a line each.

use salvo::{
    Handler, Router,
    routing::{Filter, filters},
};

use crate::{
    endpoint::{
        alertmanager, alerts, browsers, cluster, copied, datadog, health, incidents, influx,
        ingest_stats, login, maintenance, metrics, otlp, own_metrics, processes,
        prom::{
            admin, export, federate, labels, query, read, reload, rules as prom_rules, status,
            targets,
        },
        push, push_group, receivers, rooms, rules, series, stats,
        stream::{
            sse_alerts, sse_dashboard, sse_metrics, sse_operator, ws_chat, ws_control, ws_metrics,
            ws_rooms,
        },
        tickets, tokens, track,
    },
    http::{
        assets::Assets,
        docs,
        routes::{self, Owner},
    },
    ingest_log::COPY_PATH,
};

/// Everything that is served.
#[must_use]
pub fn router() -> Router {
    let page = Router::with_path("{**path}")
        .filter_fn(|request, _| routes::owner(request.uri().path()) == Owner::Page)
        .goal(Assets::embedded().handler());
    api().router.push(docs::router()).push(page)
}

/// Endpoints under their paths; each path is one of [`routes::ROUTES`].
#[derive(Default)]
struct Api {
    router: Router,
    paths: Vec<&'static str>,
}

impl Api {
    fn at(&mut self, path: &'static str, endpoints: impl FnOnce(Router) -> Router) {
        self.paths.push(path);
        let router = std::mem::take(&mut self.router);
        self.router = router.push(endpoints(Router::with_path(path)));
    }
}

fn api() -> Api {
    let mut api = Api::default();
    // A request is compared with one path after the other. Samples come most often, so that the
    // last of them would be asked for a tenth of what a short body costs.
    api.at("push", |at| at.post(push::push_samples));
    api.at("api/v1/write", |at| at.post(push::write_remote));
    api.at("write", |at| at.post(push::write_influx_v1));
    api.at("api/v2/write", |at| at.post(push::write_influx_v2));
    api.at("v1/metrics", |at| at.post(otlp::write_otlp));
    api.at("api/stats", |at| at.reads(stats::get_stats));
    api.at("api/metrics/since", |at| at.reads(metrics::poll_metrics));
    api.at("api/metrics/recent", |at| {
        at.reads(metrics::list_recent_metrics)
    });
    api.at("api/metrics", |at| at.reads(metrics::get_figures));
    api.at("api/metrics/stream", |at| {
        at.get(sse_operator::open_operator_stream)
    });
    api.at("api/rooms", |at| at.reads(rooms::list_rooms));
    api.at("api/rooms/{room}/events", |at| {
        at.post(rooms::trigger_event)
    });
    api.at("api/alerts", |at| at.reads(alerts::list_active_alerts));
    api.at("api/rules", |at| {
        at.reads(rules::list_rules).post(rules::make_rule)
    });
    api.at("api/rules/rehearse", |at| at.post(rules::rehearse_rule));
    api.at("api/rules/{id}", |at| {
        at.reads(rules::get_rule)
            .put(rules::change_rule)
            .delete(rules::remove_rule)
    });
    api.at("api/alerts/{incident}", |at| {
        at.reads(incidents::get_incident)
    });
    api.at("api/alerts/{incident}/ack", |at| {
        at.post(incidents::acknowledge)
            .delete(incidents::unacknowledge)
    });
    api.at("api/alerts/{incident}/comments", |at| {
        at.post(incidents::add_comment)
    });
    api.at("api/alerts/{incident}/capsule", |at| {
        at.reads(incidents::get_capsule)
    });
    api.at("api/incidents", |at| at.reads(incidents::list_incidents));
    api.at("api/receivers", |at| {
        at.reads(receivers::list_receivers)
            .post(receivers::make_receiver)
    });
    api.at("api/receivers/{name}", |at| {
        at.put(receivers::replace_receiver)
            .delete(receivers::remove_receiver)
    });
    api.at("api/receivers/{name}/test", |at| {
        at.post(receivers::test_receiver)
    });
    api.at("api/notifications", |at| {
        at.reads(receivers::list_notifications)
    });
    api.at("api/browsers", |at| {
        at.reads(browsers::list_browsers)
            .post(browsers::subscribe_browser)
    });
    api.at("api/browsers/{id}", |at| {
        at.delete(browsers::forget_browser)
    });
    api.at("api/browsers/{id}/test", |at| {
        at.post(browsers::test_browser)
    });
    api.at("api/maintenance", |at| {
        at.reads(maintenance::list_windows)
            .post(maintenance::make_window)
    });
    api.at("api/maintenance/{id}", |at| {
        at.reads(maintenance::get_window)
            .put(maintenance::replace_window)
            .delete(maintenance::remove_window)
    });
    api.at("api/login", |at| at.post(login::login));
    api.at("api/logout", |at| at.post(login::logout));
    api.at("api/session", |at| at.reads(login::get_session));
    api.at("api/tickets", |at| at.post(tickets::make_ticket));
    api.at("api/tokens", |at| {
        at.reads(tokens::list_tokens).post(tokens::make_token)
    });
    api.at("api/tokens/{id}", |at| at.delete(tokens::withdraw_token));
    api.at("api/series", |at| at.reads(series::list_series));
    api.at("api/range", |at| at.reads(series::get_range));
    api.at("api/windows", |at| at.reads(series::get_windows));
    api.at("api/ingest", |at| at.reads(ingest_stats::get_ingested));
    api.at("api/cluster", |at| at.reads(cluster::get_cluster));
    api.at("api/processes", |at| at.reads(processes::list_processes));
    api.at("api/v1/import", |at| at.post(push::import_series));
    api.at("api/v1/export", |at| at.asks(export::export));
    api.at("api/v1/read", |at| at.post(read::read));
    api.at("graph", |at| at.reads(status::graph));
    api.at("alerts", |at| at.reads(status::alerts));
    api.at("version", |at| at.reads(status::version));
    api.at("federate", |at| at.reads(federate::federate));
    api.at("api/v1/query", |at| at.asks(query::query));
    api.at("api/v1/query_range", |at| at.asks(query::query_range));
    api.at("api/v1/query_exemplars", |at| {
        at.asks(query::query_exemplars)
    });
    api.at("api/v1/format_query", |at| at.asks(query::format_query));
    api.at("api/v1/parse_query", |at| at.asks(query::parse_query));
    api.at("api/v1/series", |at| at.asks(labels::series));
    api.at("api/v1/labels", |at| at.asks(labels::labels));
    api.at("api/v1/label/{name}/values", |at| {
        at.reads(labels::label_values)
    });
    api.at("api/v1/rules", |at| at.reads(prom_rules::list_rules));
    api.at("api/v1/alerts", |at| at.reads(prom_rules::list_alerts));
    api.at("api/v1/metadata", |at| at.reads(labels::metadata));
    api.at("api/v1/targets", |at| at.reads(targets::targets));
    api.at("api/v1/targets/metadata", |at| at.reads(targets::metadata));
    api.at("api/v1/scrape_pools", |at| at.reads(targets::scrape_pools));
    api.at("api/v1/alertmanagers", |at| {
        at.reads(targets::alertmanagers)
    });
    api.at("api/v1/status/buildinfo", |at| at.reads(status::build_info));
    api.at("api/v1/status/runtimeinfo", |at| {
        at.reads(status::runtime_info)
    });
    api.at("api/v1/status/flags", |at| at.reads(status::flags));
    api.at("api/v1/status/config", |at| at.reads(status::config));
    api.at("api/v1/status/remote_write", |at| {
        at.reads(status::remote_write)
    });
    api.at("api/v1/admin/tsdb/snapshot", |at| at.post(admin::snapshot));
    api.at("api/v1/status/tsdb", |at| at.reads(status::tsdb));
    api.at("api/v1/admin/tsdb/delete_series", |at| {
        at.post(admin::delete_series).put(admin::delete_series)
    });
    api.at("api/v1/admin/tsdb/clean_tombstones", |at| {
        at.post(admin::clean_tombstones)
            .put(admin::clean_tombstones)
    });
    api.at("-/reload", |at| at.post(reload::reload).put(reload::reload));
    api.at("-/healthy", |at| at.reads(status::healthy));
    api.at("-/ready", |at| at.reads(status::ready));
    api.at("api/v2/alerts", |at| {
        at.reads(alertmanager::list_alerts)
            .post(alertmanager::take_alerts)
    });
    api.at("api/v2/alerts/groups", |at| {
        at.reads(alertmanager::list_groups)
    });
    api.at("api/v2/silences", |at| {
        at.reads(alertmanager::list_silences)
            .post(alertmanager::make_silence)
    });
    api.at("api/v2/silence/{id}", |at| {
        at.reads(alertmanager::get_silence)
            .delete(alertmanager::expire_silence)
    });
    api.at("api/v2/status", |at| at.reads(alertmanager::get_status));
    api.at("api/v2/receivers", |at| {
        at.reads(alertmanager::list_receivers)
    });
    api.at("ping", |at| at.reads(influx::ping));
    api.at("health", |at| at.reads(influx::get_health));
    api.at("ready", |at| at.reads(influx::get_ready));
    api.at("query", |at| at.asks(influx::query));
    api.at("api/v2/ping", |at| at.reads(influx::ping));
    api.at("api/v2/ready", |at| at.reads(influx::get_ready));
    api.at("api/v2/setup", |at| at.reads(influx::get_setup));
    api.at("api/v2/orgs", |at| at.reads(influx::list_orgs));
    api.at("api/v2/buckets", |at| {
        at.reads(influx::list_buckets).post(influx::make_bucket)
    });
    api.at("metrics/job/{**group}", |at| {
        at.pushes(push_group::push_to_group)
    });
    api.at("metrics/job@base64/{**group}", |at| {
        at.pushes(push_group::push_to_group)
    });
    api.at("datadog/api/v1/series", |at| {
        at.post(datadog::write_series_v1)
    });
    api.at("datadog/api/v2/series", |at| {
        at.post(datadog::write_series_v2)
    });
    api.at("datadog/api/v1/check_run", |at| {
        at.post(datadog::write_checks)
    });
    api.at("datadog/api/v1/validate", |at| {
        at.reads(datadog::validate_key)
    });
    api.at("datadog/intake", |at| at.post(datadog::take_intake));
    api.at("metrics/track", |at| at.post(track::track_item));
    api.at("dashboard/stream", |at| {
        at.get(sse_dashboard::open_dashboard_stream)
    });
    api.at("api/openapi.json", |at| at.reads(docs::get_openapi));
    api.at("ws", |at| at.get(ws_rooms::open_rooms_socket));
    api.at("ws/chat", |at| at.get(ws_chat::open_chat_socket));
    api.at("ws/control", |at| at.get(ws_control::open_control_socket));
    api.at("ws/metrics", |at| at.get(ws_metrics::open_metrics_socket));
    api.at("events/metrics", |at| {
        at.get(sse_metrics::open_metrics_stream)
    });
    api.at("events/alerts", |at| at.get(sse_alerts::open_alert_stream));
    api.at("metrics", |at| at.reads(own_metrics::get_own_metrics));
    api.at("healthz", |at| at.reads(health::get_health));
    api.at(COPY_PATH, |at| at.get(copied::get_history));
    api.at("readyz", |at| at.reads(health::get_readiness));
    api
}

trait Reads {
    /// What is answered to GET, and without its body to HEAD (RFC 9110 §9.3.2). Streams are GET
    /// alone.
    fn reads<H: Handler>(self, goal: H) -> Self;

    /// What is asked by an address or by a form.
    fn asks<H: Handler>(self, goal: H) -> Self;

    /// What is replaced, changed and ended.
    fn pushes<H: Handler>(self, goal: H) -> Self;
}

impl Reads for Router {
    fn reads<H: Handler>(self, goal: H) -> Self {
        self.push(Self::with_filter(filters::get().or(filters::head())).goal(goal))
    }

    fn asks<H: Handler>(self, goal: H) -> Self {
        let methods = filters::get().or(filters::head()).or(filters::post());
        self.push(Self::with_filter(methods).goal(goal))
    }

    fn pushes<H: Handler>(self, goal: H) -> Self {
        let methods = filters::put().or(filters::post()).or(filters::delete());
        self.push(Self::with_filter(methods).goal(goal))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_path_of_the_table_has_its_endpoint_and_no_other_has() {
        let served = api().paths;
        let listed: Vec<_> = routes::ROUTES.iter().map(|route| route.path).collect();
        assert_eq!(
            served.iter().collect::<BTreeSet<_>>(),
            listed.iter().collect()
        );
        assert_eq!(served.len(), listed.len(), "a path stands twice");
    }
}
