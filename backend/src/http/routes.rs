//! Which paths are the server's: the one list from which everything else follows. The router gives
//! each a handler and a test holds both together; the page is served where nothing here is; a
//! ticket counts where a stream is opened; and `cargo xtask tidy` checks that `trunk serve` passes
//! each on.

/// One path of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Without the slash at its beginning; `{name}` stands for one segment,
    /// `{**name}` for all that follow.
    pub path: &'static str,
    /// What it answers with.
    pub kind: Kind,
}

/// What a path answers with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// One answer.
    Answer,
    /// A WebSocket, to who asks for the upgrade.
    Socket,
    /// An event stream.
    Events,
}

const fn answer(path: &'static str) -> Route {
    Route {
        path,
        kind: Kind::Answer,
    }
}

const fn socket(path: &'static str) -> Route {
    Route {
        path,
        kind: Kind::Socket,
    }
}

const fn events(path: &'static str) -> Route {
    Route {
        path,
        kind: Kind::Events,
    }
}

/// Every path of the API.
pub const ROUTES: &[Route] = &[
    answer("api/stats"),
    answer("api/metrics/since"),
    answer("api/metrics/recent"),
    answer("api/metrics"),
    events("api/metrics/stream"),
    answer("api/rooms"),
    answer("api/rooms/{room}/events"),
    answer("api/alerts"),
    answer("api/rules"),
    answer("api/rules/rehearse"),
    answer("api/rules/{id}"),
    answer("api/alerts/{incident}"),
    answer("api/alerts/{incident}/ack"),
    answer("api/alerts/{incident}/comments"),
    answer("api/alerts/{incident}/capsule"),
    answer("api/incidents"),
    answer("api/receivers"),
    answer("api/receivers/{name}"),
    answer("api/receivers/{name}/test"),
    answer("api/notifications"),
    answer("api/browsers"),
    answer("api/browsers/{id}"),
    answer("api/browsers/{id}/test"),
    answer("api/maintenance"),
    answer("api/maintenance/{id}"),
    answer("api/login"),
    answer("api/logout"),
    answer("api/session"),
    answer("api/tickets"),
    answer("api/tokens"),
    answer("api/tokens/{id}"),
    answer("api/series"),
    answer("api/range"),
    answer("api/windows"),
    answer("api/ingest"),
    answer("api/processes"),
    answer("api/cluster"),
    answer("internal/history"),
    answer("api/v1/write"),
    answer("api/v1/import"),
    answer("api/v1/export"),
    answer("api/v1/read"),
    answer("federate"),
    answer("graph"),
    answer("alerts"),
    answer("version"),
    answer("api/v1/query"),
    answer("api/v1/query_range"),
    answer("api/v1/query_exemplars"),
    answer("api/v1/format_query"),
    answer("api/v1/parse_query"),
    answer("api/v1/series"),
    answer("api/v1/labels"),
    answer("api/v1/label/{name}/values"),
    answer("api/v1/rules"),
    answer("api/v1/alerts"),
    answer("api/v1/metadata"),
    answer("api/v1/targets"),
    answer("api/v1/targets/metadata"),
    answer("api/v1/scrape_pools"),
    answer("api/v1/alertmanagers"),
    answer("api/v1/status/buildinfo"),
    answer("api/v1/status/runtimeinfo"),
    answer("api/v1/status/flags"),
    answer("api/v1/status/config"),
    answer("api/v1/status/remote_write"),
    answer("api/v1/status/tsdb"),
    answer("api/v1/admin/tsdb/delete_series"),
    answer("api/v1/admin/tsdb/clean_tombstones"),
    answer("api/v1/admin/tsdb/snapshot"),
    answer("-/reload"),
    answer("-/healthy"),
    answer("-/ready"),
    answer("api/v2/alerts"),
    answer("api/v2/alerts/groups"),
    answer("api/v2/silences"),
    answer("api/v2/silence/{id}"),
    answer("api/v2/status"),
    answer("api/v2/receivers"),
    answer("api/v2/write"),
    answer("write"),
    answer("v1/metrics"),
    answer("ping"),
    answer("health"),
    answer("ready"),
    answer("query"),
    answer("api/v2/ping"),
    answer("api/v2/ready"),
    answer("api/v2/setup"),
    answer("api/v2/orgs"),
    answer("api/v2/buckets"),
    answer("push"),
    answer("metrics/job/{**group}"),
    answer("metrics/job@base64/{**group}"),
    answer("datadog/api/v1/series"),
    answer("datadog/api/v2/series"),
    answer("datadog/api/v1/check_run"),
    answer("datadog/api/v1/validate"),
    answer("datadog/intake"),
    answer("metrics/track"),
    events("dashboard/stream"),
    answer("api/openapi.json"),
    socket("ws"),
    socket("ws/chat"),
    socket("ws/control"),
    socket("ws/metrics"),
    events("events/metrics"),
    events("events/alerts"),
    answer("metrics"),
    answer("healthz"),
    answer("readyz"),
];

/// The folder of the description that can be read in a browser.
const DOCS: &str = "docs";

/// Whose a path is, by its first segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// The API's: what is not answered there is an error.
    Api,
    /// The description's, whose files may be named as folders.
    Docs,
    /// The page's.
    Page,
}

/// Whose a path is; with or without the slash at its beginning.
#[must_use]
pub fn owner(path: &str) -> Owner {
    let first = first_segment(path.trim_start_matches('/'));
    let is_api = ROUTES
        .iter()
        .any(|route| first_segment(route.path) == first);
    if is_api {
        Owner::Api
    } else if first == DOCS {
        Owner::Docs
    } else {
        Owner::Page
    }
}

/// What is answered at this path, which begins with a slash; `None` where nothing is, or where a
/// segment stands for a name.
#[must_use]
pub fn kind(path: &str) -> Option<Kind> {
    let path = path.strip_prefix('/')?;
    let route = ROUTES.iter().find(|route| route.path == path);
    route.map(|route| route.kind)
}

fn first_segment(path: &str) -> &str {
    path.split('/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_whose_its_first_segment_says() {
        for path in [
            "/api",
            "/api/nothing",
            "/ws/x",
            "/v1/traces",
            "/datadog/x",
            "/federate",
            "/-/healthy",
            "metrics",
        ] {
            assert_eq!(owner(path), Owner::Api, "{path}");
        }
        for path in ["/", "", "/operator", "/apis", "/explore/ws"] {
            assert_eq!(owner(path), Owner::Page, "{path}");
        }
        assert_eq!(owner("/docs/style.css"), Owner::Docs);
    }

    #[test]
    fn streams_are_told_from_answers() {
        assert_eq!(kind("/ws"), Some(Kind::Socket));
        for path in ["/events/alerts", "/dashboard/stream"] {
            assert_eq!(kind(path), Some(Kind::Events), "{path}");
        }
        assert_eq!(kind("/api/stats"), Some(Kind::Answer));
        assert_eq!(
            (kind("ws"), kind("/ws/"), kind("/ws/x")),
            (None, None, None)
        );
    }
}
