//! Who is calling is asked at every path that the server has, whichever it is and whatever comes
//! with the question: the list is the server's own, so that a path that is added is asked for, too.

use pulseboard::{
    http::routes::{Kind, ROUTES},
    settings::{Settings, Token},
};
use pulseboard_shared::Role;
use reqwest::Method;

use crate::{
    access::{bearer, with_tokens},
    support::{TestServer, problem},
};

/// What everybody is answered, and why.
const OPEN: &[(&str, &str)] = &[
    ("api/login", "one shows a token there"),
    ("api/logout", "ends what one has"),
    ("api/session", "says who one is"),
    ("api/openapi.json", "the description"),
    ("healthz", "alive or not"),
    ("readyz", "ready or not"),
    ("-/healthy", "alive or not"),
    ("-/ready", "ready or not"),
    ("ping", "the version, asked before one logs in"),
    ("health", "alive or not"),
    ("ready", "ready or not"),
    ("api/v2/ping", "the version"),
    ("api/v2/ready", "ready or not"),
    ("api/v2/setup", "is set up already"),
    ("graph", "leads to the page"),
    ("alerts", "leads to the page"),
];

/// What has nothing of a tenant, so that its name is not looked at.
const NO_TENANTS: &[&str] = &[
    "api/stats",
    "api/metrics",
    "api/metrics/recent",
    "api/metrics/stream",
    "api/tokens",
    "api/tokens/{id}",
    "api/tickets",
    "api/v1/alertmanagers",
    "api/v1/status/buildinfo",
    "version",
    "api/v1/status/runtimeinfo",
    "api/v1/status/flags",
    "query",
    "api/v2/orgs",
    "api/v2/buckets",
    "datadog/api/v1/validate",
    "datadog/intake",
    "metrics",
    "internal/history",
];

/// What is the server's as a whole, and so nobody's who is bound to a tenant.
const SERVERS: &[&str] = &["-/reload", "ws/control", "api/cluster"];

/// An address of the path, and the methods that are described there.
fn asked(path: &str) -> (String, Vec<Method>) {
    let description: serde_json::Value =
        serde_json::from_str(pulseboard::http::docs::OPENAPI).expect("JSON");
    let described = format!("/{}", path.replace("{**", "{"));
    let operations = description["paths"][&described]
        .as_object()
        .unwrap_or_else(|| panic!("{described} is not described"));
    let methods = ["get", "post", "put", "delete"].into_iter();
    let methods = methods.filter(|method| operations.contains_key(*method));
    let methods = methods.map(|method| method.to_uppercase().parse().expect("a method"));
    let address = described
        .split('/')
        .map(|part| if part.starts_with('{') { "x" } else { part })
        .collect::<Vec<_>>()
        .join("/");
    (address, methods.collect())
}

/// What is answered to this question, of which nothing but the status is read.
async fn status(
    server: &TestServer,
    kind: Kind,
    (method, address): (&Method, &str),
    headers: &[(&'static str, &str)],
) -> u16 {
    if kind == Kind::Socket {
        return match server.try_ws(address, headers).await {
            Ok(_) => 101,
            Err(answer) => answer.status().as_u16(),
        };
    }
    let mut request = server.request(method.clone(), address);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = request.send().await.expect("an answer");
    answer.status().as_u16()
}

#[tokio::test]
async fn every_path_asks_for_a_token() {
    let server = TestServer::start_with(with_tokens).await;
    let mut wrong = Vec::new();
    for route in ROUTES {
        let is_open = OPEN.iter().any(|(path, _)| *path == route.path);
        let (address, methods) = asked(route.path);
        for method in methods {
            let question = (&method, address.as_str());
            let nobody = status(&server, route.kind, question, &[]).await;
            // Of no role: they are known, and may do nothing.
            let token = [("authorization", &*bearer(Role::None))];
            let powerless = status(&server, route.kind, question, &token).await;
            let is_right = match is_open {
                true => ![401, 403].contains(&nobody),
                // Datadog's agent takes a 401 for something else.
                false => [401, 403].contains(&nobody) && powerless == 403,
            };
            if !is_right {
                wrong.push(format!(
                    "{method} {address}: {nobody}, with a token of no role {powerless}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.stop().await;
}

/// One token is bound to a tenant; whoever has none may do what an operator may.
fn with_a_bound_token(settings: &mut Settings) {
    settings.anonymous_role = Some(Role::Operator);
    settings.tokens = [
        ("admin-of-shop-0123456789", Some("shop")),
        ("admin-of-all-01234567890", None),
    ]
    .map(|(secret, tenant)| Token {
        secret: secret.to_owned(),
        role: Role::Admin,
        tenant: tenant.map(str::to_owned),
    })
    .to_vec();
}

#[tokio::test]
async fn every_path_confines_to_a_tenant_and_those_without_a_token_to_theirs() {
    let server = TestServer::start_with(with_a_bound_token).await;
    let mut wrong = Vec::new();
    for route in ROUTES {
        if OPEN.iter().any(|(path, _)| *path == route.path) || NO_TENANTS.contains(&route.path) {
            continue;
        }
        let (address, methods) = asked(route.path);
        let foreign = format!("{address}?tenant=bank");
        for method in methods {
            let nobody = status(&server, route.kind, (&method, &foreign), &[]).await;
            let header = [("x-tenant-id", "bank")];
            let by_header = status(&server, route.kind, (&method, &address), &header).await;
            let bound = [("authorization", "Bearer admin-of-shop-0123456789")];
            let own = format!("{address}?tenant=shop");
            let of_server = match SERVERS.contains(&route.path) {
                true => status(&server, route.kind, (&method, &own), &bound).await,
                false => 403,
            };
            let bound = status(&server, route.kind, (&method, &foreign), &bound).await;
            if ![401, 403].contains(&nobody)
                || by_header != nobody
                || bound != 403
                || of_server != 403
            {
                wrong.push(format!(
                    "{method} {address}: without a token {nobody}, by header {by_header}, of another tenant {bound}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    server.stop().await;
}

/// Below `/api/v1` everything is as Prometheus has it, so our own questions are not there.
#[tokio::test]
async fn our_own_questions_are_at_their_own_paths_alone() {
    let server = TestServer::start().await;
    server.push("default", "a 1").await;
    for path in ["series", "range", "windows", "ingest"] {
        let own = server.get(&format!("/api/{path}?match=a")).await;
        assert_eq!(own.status(), 200, "{path}");
        let below = server
            .get(&format!("/api/v1/{path}?match=a&match[]=a"))
            .await;
        if path == "series" {
            let answer: serde_json::Value = below.json().await.expect("JSON");
            assert_eq!(
                answer,
                serde_json::json!({"status": "success", "data": [{"__name__": "a"}]})
            );
        } else {
            problem(below, 404).await;
        }
    }
    server.stop().await;
}
