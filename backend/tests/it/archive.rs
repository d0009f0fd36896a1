//! An archive beside the own history: it gets everybody's samples, and questions go on into it
//! where the own ones end. The archive here is another Pulseboard, by the same protocols.

use std::{path::Path, time::Duration};

use pulseboard::settings::{DataDir, Settings};
use reqwest::Method;
use serde_json::Value;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{START_MS, TestServer};

const HOUR_MS: i64 = 3_600_000;

/// Samples of the metric lie between these.
const BEGIN_MS: i64 = START_MS / HOUR_MS * HOUR_MS - 4 * HOUR_MS;

/// When it is looked again: of the first samples only rollups are left where they are kept for two
/// days.
const LATER_MS: i64 = START_MS + 60 * HOUR_MS;

/// Keeps all samples.
fn keeps_all(settings: &mut Settings) {
    settings.keep_raw = Duration::from_secs(400 * 86_400);
}

fn with_archive(settings: &mut Settings, folder: &Path, url: &str) {
    settings.data_dir = DataDir::Path(folder.to_owned());
    settings.archive_write_url = Some(format!("{url}/api/v1/write"));
    settings.archive_read_url = Some(url.to_owned());
}

async fn ask(server: &TestServer, tenant: &str, path: &str, query: &[(&str, &str)]) -> Value {
    let answer = server
        .request(Method::GET, path)
        .header("x-tenant-id", tenant)
        .query(query)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200, "{path} {query:?}");
    answer.json().await.expect("JSON")
}

async fn over_all(server: &TestServer, tenant: &str, query: &str) -> Value {
    let (start, end) = (BEGIN_MS / 1_000, LATER_MS / 1_000);
    let (start, end) = (start.to_string(), end.to_string());
    let parameters = [
        ("query", query),
        ("start", &*start),
        ("end", &*end),
        ("step", "600"),
    ];
    ask(server, tenant, "/api/v1/query_range", &parameters).await
}

/// A counter that begins again now and then; each tenant's grows by another number.
fn counter(from_ms: i64, steps: i64, by: i64) -> String {
    (0..steps)
        .map(|number| {
            let at_ms = from_ms + 2_500 + number * 5_000;
            let count = number % 500 * by;
            format!("jobs_total{{host=\"a\"}} {count} {at_ms}\n")
        })
        .collect()
}

async fn archived(server: &TestServer, samples: u64) {
    server
        .eventually("the archive has all", async || {
            server.own_metric("pulseboard_archive_sent_total").await >= samples
        })
        .await;
}

#[tokio::test]
async fn a_question_goes_on_into_the_archive_as_if_one_server_had_it_all() {
    let folders = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
    let [own, whole, kept] = folders.each_ref().map(tempfile::TempDir::path);
    let store = TestServer::start_with(|settings| {
        keeps_all(settings);
        settings.data_dir = DataDir::Path(kept.to_owned());
    })
    .await;
    let url = format!("http://{}", store.address);
    let start = async |now_ms: i64| {
        let server = TestServer::start_at(now_ms, |settings| with_archive(settings, own, &url));
        let all = TestServer::start_at(now_ms, |settings| {
            keeps_all(settings);
            settings.data_dir = DataDir::Path(whole.to_owned());
        });
        (server.await, all.await)
    };
    let (server, all) = start(START_MS).await;
    for one in [&server, &all] {
        one.push("red", counter(BEGIN_MS, 4 * 720, 3)).await;
        one.push("blue", counter(BEGIN_MS, 4 * 720, 7)).await;
        one.push("red", format!("gone{{tenant=\"own\"}} 1 {BEGIN_MS}\n"))
            .await;
    }
    archived(&server, 2 * 4 * 720 + 1).await;
    server.stop().await;
    all.stop().await;

    store.clock.advance(Duration::from_secs(60 * 3_600));
    let (server, all) = start(LATER_MS).await;
    for one in [&server, &all] {
        let newest_ms = LATER_MS - HOUR_MS;
        one.push("red", counter(newest_ms, 700, 3)).await;
        one.push("blue", counter(newest_ms, 700, 7)).await;
    }
    server
        .eventually("the samples are gone here", async || {
            server.clock.advance(Duration::from_secs(5));
            let path = format!(
                "/api/v1/export?tenant=red&match[]=jobs_total&end={}",
                (BEGIN_MS + 4 * HOUR_MS) / 1_000
            );
            let raw = server.get(&path).await.text().await.expect("text");
            raw.is_empty()
        })
        .await;
    for tenant in ["red", "blue"] {
        for query in [
            "jobs_total",
            "rate(jobs_total[5m])",
            "sum by (host) (count_over_time(jobs_total[10m]))",
            "quantile_over_time(0.9, jobs_total[30m])",
            "gone",
        ] {
            let (told, expected) = (
                over_all(&server, tenant, query).await,
                over_all(&all, tenant, query).await,
            );
            assert_eq!(told, expected, "{tenant} {query}");
        }
    }
    assert!(over_all(&server, "green", "jobs_total").await["data"]["result"][0].is_null());
    for path in [
        "/api/v1/series",
        "/api/v1/labels",
        "/api/v1/label/__name__/values",
        "/api/v1/label/tenant/values",
    ] {
        let end = ((BEGIN_MS + HOUR_MS) / 1_000).to_string();
        let start = (BEGIN_MS / 1_000).to_string();
        let query = [
            ("match[]", "{host=~\".*\"}"),
            ("start", &*start),
            ("end", &*end),
        ];
        let told = ask(&server, "red", path, &query).await;
        assert_eq!(told, ask(&all, "red", path, &query).await, "{path}");
    }

    // Without it there is what the own history has, and the answer says so.
    store.stop().await;
    let told = over_all(&server, "red", "jobs_total").await;
    assert_eq!(told["status"], "success", "{told}");
    let warning = told["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("partial: the archive"), "{told}");
    assert!(!told["data"]["result"][0].is_null(), "{told}");
    let newest = ask(&server, "red", "/api/v1/query", &[("query", "jobs_total")]).await;
    assert!(newest.get("warnings").is_none(), "{newest}");
}

/// Something that answers every request with this, a connection each.
async fn answering(json: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 16 << 10];
            drop(stream.read(&mut head).await);
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{json}",
                json.len()
            );
            drop(stream.write_all(answer.as_bytes()).await);
        }
    });
    format!("http://{address}")
}

/// Whatever it is asked, this archive answers with everybody's.
#[tokio::test]
async fn what_an_archive_answers_of_others_is_nobodys_answer() {
    let url = answering(
        r#"{"status":"success","data":{"resultType":"matrix","result":[
          {"metric":{"__name__":"up","tenant":"blue","secret":"s"},"values":[[1700000000,"1"]]},
          {"metric":{"__name__":"up","secret":"s"},"values":[[1700000000,"1"]]},
          {"metric":{"__name__":"up","tenant":"red","host":"own"},"values":[[1700000000,"1"]]}
        ]}}"#,
    )
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let server = TestServer::start_with(|settings| {
        settings.data_dir = DataDir::Path(folder.path().to_owned());
        settings.archive_read_url = Some(url);
    })
    .await;
    let query = [("query", "up"), ("time", "1700000001")];
    let told = ask(&server, "red", "/api/v1/query", &query).await;
    let result = told["data"]["result"].as_array().expect("a list");
    assert_eq!(result.len(), 1, "{told}");
    assert_eq!(result[0]["metric"]["host"], "own");
    assert!(!told.to_string().contains("secret"), "{told}");
    let foreign = "pulseboard_archive_foreign_series_total";
    assert_eq!(server.own_metric(foreign).await, 2);
}
