//! Samples taken along and brought back: export, import, federation and remote read, each with two
//! tenants.

use pulseboard_series::STALE_MARKER_BITS;
use serde_json::{Value, json};

use crate::support::{START_MS, TestServer, problem};

async fn server() -> TestServer {
    let server = TestServer::start().await;
    let lines: String = (0..5)
        .map(|second| {
            let at_ms = START_MS - 5_000 + second * 1_000;
            format!("load{{host=\"=a\"}} {second}.5 {at_ms}\nqueue {second} {at_ms}\n")
        })
        .collect();
    server.push("red", lines).await;
    let last_ms = START_MS - 1;
    server.push("red", format!("odd +Inf {last_ms}\n")).await;
    server.push("blue", "secret 1").await;
    server
}

async fn get(server: &TestServer, tenant: &str, path: &str) -> String {
    let answer = server
        .request(reqwest::Method::GET, path)
        .header("x-tenant-id", tenant)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200, "{path}");
    answer.text().await.expect("text")
}

const ALL: &str = "match[]={__name__=~\".%2B\"}";

#[tokio::test]
async fn what_is_exported_can_be_imported() {
    let server = server().await;
    let exported = get(&server, "red", &format!("/api/v1/export?{ALL}")).await;
    let lines: Vec<Value> = exported
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 3, "{exported}");
    let load = lines
        .iter()
        .find(|line| line["metric"]["__name__"] == "load");
    let load = load.expect("the series");
    assert_eq!(load["metric"], json!({"__name__": "load", "host": "=a"}));
    assert_eq!(load["values"], json!([0.5, 1.5, 2.5, 3.5, 4.5]));
    assert_eq!(load["timestamps"][0], START_MS - 5_000);
    assert!(exported.contains("[\"+Inf\"]"), "{exported}");

    let imported = server
        .request(reqwest::Method::POST, "/api/v1/import")
        .header("x-tenant-id", "green")
        .body(exported.clone())
        .send()
        .await
        .expect("an answer");
    let imported: Value = imported.json().await.expect("JSON");
    assert_eq!(
        imported,
        json!({"accepted": 11, "refused": [], "refusedTotal": 0})
    );
    assert_eq!(
        get(&server, "green", &format!("/api/v1/export?{ALL}")).await,
        exported
    );
    let others = get(&server, "blue", &format!("/api/v1/export?{ALL}")).await;
    assert!(
        others.contains("secret") && !others.contains("load"),
        "{others}"
    );

    // A stretch of time, each series once however often it is named.
    let (start, end) = (START_MS - 4_000, START_MS - 3_000);
    let path = format!(
        "/api/v1/export?match[]=queue&match[]={{__name__=\"queue\"}}&start={}&end={}",
        start as f64 / 1000.0,
        end as f64 / 1000.0
    );
    let some = get(&server, "red", &path).await;
    let some: Value = serde_json::from_str(&some).expect("one line");
    assert_eq!(some["timestamps"], json!([start, end]));
    server.stop().await;
}

/// The bound of samples is of what is in memory at once, and not of all that is written.
#[tokio::test]
async fn an_export_has_all_samples_whatever_one_question_may_load() {
    let server = TestServer::start_with(|settings| settings.query_max_samples = 6).await;
    let at_ms = |second: i64| START_MS - 10_000 + second * 1_000;
    let lines: String = (0..5)
        .flat_map(|host| (0..5).map(move |second| (host, second)))
        .map(|(host, second)| format!("load{{host=\"{host}\"}} {second} {}\n", at_ms(second)))
        .collect();
    server.push("red", lines).await;
    // Named twice, of which the second time none is new.
    let selectors = "match[]=load&match[]={__name__=\"load\"}";
    let exported = get(&server, "red", &format!("/api/v1/export?{selectors}")).await;
    let samples = exported.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        line["values"].as_array().expect("values").len()
    });
    assert_eq!(samples.collect::<Vec<_>>(), [5; 5], "{exported}");
    let asked = server.request(reqwest::Method::GET, "/api/v1/query?query=load[1h]");
    let asked = asked.header("x-tenant-id", "red").send().await;
    assert_eq!(asked.expect("an answer").status(), 422, "25 at once");
    server.stop().await;
}

#[tokio::test]
async fn a_spreadsheet_takes_no_cell_for_a_formula() {
    let server = server().await;
    let text = get(&server, "red", "/api/v1/export?match[]=load&format=csv").await;
    let mut rows = text.split("\r\n");
    assert_eq!(rows.next(), Some("series,time,time_ms,value"));
    let row = rows.next().expect("a row");
    assert!(row.starts_with("\"load{host=\"\"=a\"\"}\","), "{row}");
    assert!(
        row.ends_with(&format!(",{},0.5", START_MS - 5_000)),
        "{row}"
    );
    server.stop().await;
}

#[tokio::test]
async fn questions_without_a_selector_or_of_another_form_are_refused() {
    let server = server().await;
    for path in [
        "/api/v1/export",
        "/federate?match[]=",
        "/federate?match[]=load&match[]=x%7B",
        "/api/v1/export?match[]=a&format=xml",
    ] {
        let answer = server.get(path).await;
        assert_eq!(answer.status(), 400, "{path}");
        let answer: Value = answer.json().await.expect("JSON");
        assert_eq!(answer["errorType"], "bad_data");
    }
    let answer = server
        .request(reqwest::Method::POST, "/api/v1/import")
        .body("{\"metric\":{\"__name__\":\"a\"},\"values\":[1,2],\"timestamps\":[1]}\n")
        .send()
        .await
        .expect("an answer");
    let answer = problem(answer, 400).await;
    assert_eq!(answer["refused"][0]["line"], 1);
    let reason = answer["refused"][0]["reason"].as_str().expect("a reason");
    assert!(reason.contains("2 values and 1 timestamps"), "{reason}");
    server.stop().await;
}

/// A dashboard's variable with all its values chosen is one long pattern, and what an expression
/// may have a selector of it may have, wherever it stands.
#[tokio::test]
async fn a_selector_is_as_long_as_an_expression_may_be() {
    let server = server().await;
    let hosts: Vec<String> = (0..150)
        .map(|host| format!("machine-{host:04}.rack.example.org"))
        .collect();
    let pattern = format!("{}|=a", hosts.join("|").replace('.', r"\\."));
    let many: String = (0..60).map(|label| format!(",l{label}=\"\"")).collect();
    for selector in [
        format!("load{{host=~\"{pattern}\"}}"),
        format!("load{{host=\"=a\"{many}}}"),
    ] {
        let escaped: String = selector
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        for (path, name) in [
            ("/api/v1/query", "query"),
            ("/api/v1/series", "match[]"),
            ("/api/v1/export", "match[]"),
        ] {
            let answer = server
                .request(reqwest::Method::POST, path)
                .header("x-tenant-id", "red")
                .header("content-type", "application/x-www-form-urlencoded")
                .body(format!("{name}={escaped}"))
                .send()
                .await
                .expect("an answer");
            let (status, text) = (answer.status(), answer.text().await.expect("text"));
            assert_eq!(status, 200, "{path}: {text}");
            assert!(text.contains("\"host\":\"=a\""), "{path}: {text}");
        }
    }
    server.stop().await;
}

#[tokio::test]
async fn a_prometheus_that_federates_gets_the_newest_of_each_series() {
    let server = server().await;
    let text = get(
        &server,
        "red",
        "/federate?match[]=load&match[]={__name__=\"queue\"}",
    )
    .await;
    let at_ms = START_MS - 1_000;
    let expected = format!(
        "# TYPE load untyped\nload{{host=\"=a\",instance=\"\"}} 4.5 {at_ms}\n# TYPE queue untyped\nqueue{{instance=\"\"}} 4 {at_ms}\n"
    );
    assert_eq!(text, expected);
    assert_eq!(get(&server, "blue", "/federate?match[]=load").await, "");
    assert_eq!(get(&server, "red", "/federate").await, "");
    // One that takes all of them, though it names nothing.
    for everything in ["{}", "{host=~\".*\"}"] {
        let text = get(&server, "red", &format!("/federate?match[]={everything}")).await;
        for line in expected.lines() {
            assert!(text.contains(line), "{everything}: {text}");
        }
        assert!(!text.contains("secret"), "{text}");
    }
    // One that has ended is not there any more.
    let stale =
        json!({"metric": {"__name__": "queue"}, "values": [null], "timestamps": [START_MS]});
    let ended = server
        .request(reqwest::Method::POST, "/api/v1/import")
        .header("x-tenant-id", "red")
        .body(stale.to_string());
    assert_eq!(ended.send().await.expect("an answer").status(), 200);
    assert_eq!(get(&server, "red", "/federate?match[]=queue").await, "");
    // Names that a Prometheus before 3 cannot read, which would refuse the whole answer for one.
    let odd = "{\"disk.used\",\"mount point\"=\"/\"} 1\n{\"1st:größe\"} 2\n";
    server.push("red", odd).await;
    let odd = "/federate?match[]={__name__=~\"disk.*|1.*\"}";
    let text = get(&server, "red", odd).await;
    for line in [
        "# TYPE disk_used untyped\ndisk_used{mount_point=\"/\",instance=\"\"} 1 ",
        "# TYPE _st:gr__e untyped\n_st:gr__e{instance=\"\"} 2 ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    let asked = server.request(reqwest::Method::GET, odd);
    let asked = asked.header("x-tenant-id", "red").header(
        "accept",
        "text/plain;version=1.0.0;escaping=allow-utf-8;q=0.6,*/*;q=0.1",
    );
    let text = asked.send().await.expect("an answer").text().await;
    let text = text.expect("text");
    for line in [
        "{\"disk.used\",\"mount point\"=\"/\",instance=\"\"} 1 ",
        "{\"1st:größe\",instance=\"\"} 2 ",
    ] {
        assert!(text.contains(line), "{text}");
    }
    server.stop().await;
}

/// `prometheus.ReadRequest` for all series of a name, at most 120 bytes long.
fn read_request(name: &str, is_streamed: bool) -> Vec<u8> {
    read_matching(&[("__name__", name)], is_streamed)
}

/// The same for all series with these labels.
fn read_matching(labels: &[(&str, &str)], is_streamed: bool) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| -> Vec<u8> {
        let mut all = vec![number << 3 | 2, bytes.len() as u8];
        all.extend_from_slice(bytes);
        all
    };
    let varint = |number: u8, mut value: u64| -> Vec<u8> {
        let mut all = vec![number << 3];
        while value >= 0x80 {
            all.push(value as u8 | 0x80);
            value >>= 7;
        }
        all.push(value as u8);
        all
    };
    let matchers = labels.iter().map(|(name, value)| {
        let matcher = [field(2, name.as_bytes()), field(3, value.as_bytes())];
        field(3, &matcher.concat())
    });
    let times = [
        varint(1, (START_MS - 4_000) as u64),
        varint(2, START_MS as u64),
    ];
    let query: Vec<u8> = times.into_iter().chain(matchers).flatten().collect();
    let mut request = field(1, &query);
    if is_streamed {
        request.extend(field(2, &[1]));
    }
    let packed = snap::raw::Encoder::new().compress_vec(&request);
    packed.expect("packs")
}

async fn read(server: &TestServer, tenant: &str, is_streamed: bool) -> (String, Vec<u8>) {
    ask(server, tenant, read_request("queue", is_streamed)).await
}

async fn ask(server: &TestServer, tenant: &str, request: Vec<u8>) -> (String, Vec<u8>) {
    let answer = server
        .request(reqwest::Method::POST, "/api/v1/read")
        .header("x-tenant-id", tenant)
        .header("content-encoding", "snappy")
        .header("content-type", "application/x-protobuf")
        .body(request)
        .send()
        .await
        .expect("an answer");
    assert_eq!(answer.status(), 200);
    let kind = answer.headers()["content-type"]
        .to_str()
        .expect("text")
        .to_owned();
    (kind, answer.bytes().await.expect("bytes").to_vec())
}

#[tokio::test]
async fn remote_read_answers_with_samples_and_in_frames() {
    let server = server().await;
    let (kind, packed) = read(&server, "red", false).await;
    assert_eq!(kind, "application/x-protobuf");
    let message = snap::raw::Decoder::new()
        .decompress_vec(&packed)
        .expect("snappy");
    // Four samples of one series: times are varints behind eight bytes of value.
    for second in 1_i32..5 {
        let value = f64::from(second).to_le_bytes();
        let found = message.windows(8).any(|bytes| bytes == value);
        assert!(found, "{second} in {message:02x?}");
    }
    let holds =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|one| one == text.as_bytes());
    assert!(holds(&message, "__name__") && holds(&message, "queue"));
    assert!(
        !message
            .windows(8)
            .any(|bytes| bytes == STALE_MARKER_BITS.to_le_bytes())
    );
    let (_, packed) = read(&server, "blue", false).await;
    let none = snap::raw::Decoder::new()
        .decompress_vec(&packed)
        .expect("snappy");
    assert_eq!(none, [0x0a, 0], "one result without series");

    let (kind, frames) = read(&server, "red", true).await;
    assert_eq!(
        kind,
        "application/x-streamed-protobuf; proto=prometheus.ChunkedReadResponse"
    );
    let length = usize::from(frames[0]);
    assert_eq!(frames.len(), 1 + 4 + length, "one frame");
    assert!(holds(&frames, "queue"));
    assert!(read(&server, "blue", true).await.1.is_empty());
    server.stop().await;
}

/// What goes out says where it is from, unless it says so itself; the other tenant's is as it is.
#[tokio::test]
async fn external_labels_are_told_outside_and_asked_for_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("prometheus.yml");
    let yaml = "global: {external_labels: {site: here, zone: z1}}\nscrape_configs: []\n";
    std::fs::write(&file, yaml).expect("written");
    let server = TestServer::start_with(|settings| settings.prometheus_config = Some(file)).await;
    let at_ms = START_MS - 1_000;
    let line = json!({"metric": {"__name__": "queue", "zone": "own"}, "values": [7], "timestamps": [at_ms]});
    for tenant in ["default", "red"] {
        let sent = server
            .request(reqwest::Method::POST, "/api/v1/import")
            .header("x-tenant-id", tenant)
            .body(line.to_string());
        assert_eq!(sent.send().await.expect("an answer").status(), 200);
    }
    let ours = get(&server, "default", "/federate?match[]=queue").await;
    let told = format!(
        "# TYPE queue untyped\nqueue{{site=\"here\",zone=\"own\",instance=\"\"}} 7 {at_ms}\n"
    );
    assert_eq!(ours, told);
    let theirs = get(&server, "red", "/federate?match[]=queue").await;
    assert!(!theirs.contains("site"), "{theirs}");

    let holds =
        |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|one| one == text.as_bytes());
    let unpacked = |packed: &[u8]| {
        snap::raw::Decoder::new()
            .decompress_vec(packed)
            .expect("snappy")
    };
    for (tenant, labels, is_found) in [
        (
            "default",
            &[("__name__", "queue"), ("site", "here")][..],
            true,
        ),
        (
            "default",
            &[("__name__", "queue"), ("site", "there")],
            false,
        ),
        ("default", &[("__name__", "queue"), ("zone", "own")], true),
        ("red", &[("__name__", "queue"), ("site", "here")], false),
    ] {
        let (_, packed) = ask(&server, tenant, read_matching(labels, false)).await;
        let message = unpacked(&packed);
        assert_eq!(holds(&message, "queue"), is_found, "{tenant} {labels:?}");
        assert_eq!(holds(&message, "here"), is_found, "{tenant} {labels:?}");
    }
    // A question inside knows nothing of them.
    let inside = server.json("/api/v1/series?match[]=queue").await;
    assert!(!inside.to_string().contains("here"), "{inside}");
    let (_, frames) = ask(&server, "default", read_request("queue", true)).await;
    assert!(holds(&frames, "site"));
    server.stop().await;
}
