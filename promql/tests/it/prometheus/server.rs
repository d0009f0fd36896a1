//! A Prometheus of our own: started on a free port of the loopback, filled by remote write, asked
//! over its HTTP API.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use prost::Message as _;
use serde_json::Value;

use crate::generated::Series;

/// How long it may take until it takes samples.
const PATIENCE: Duration = Duration::from_secs(30);

/// It ends with this.
pub(super) struct Server {
    child: Child,
    port: u16,
    _data: tempfile::TempDir,
}

/// Remote write 1.0: what `prompb.WriteRequest` has of it.
#[derive(Clone, PartialEq, prost::Message)]
struct Write {
    #[prost(message, repeated, tag = "1")]
    series: Vec<WrittenSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WrittenSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<WrittenLabel>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<WrittenSample>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WrittenLabel {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct WrittenSample {
    /// The bits of the double that it is: as a double -0 would be left out, like all defaults.
    #[prost(fixed64, tag = "1")]
    value: u64,
    #[prost(int64, tag = "2")]
    time_ms: i64,
}

impl Server {
    /// Starts `program` with what a question's options say there.
    pub(super) fn start(program: &Path, lookback_ms: i64, subquery_step_ms: i64) -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let config = data.path().join("prometheus.yml");
        fs::write(
            &config,
            format!("global: {{evaluation_interval: {subquery_step_ms}ms}}\n"),
        )
        .expect("its configuration");
        // It cannot say which port it got, so it is given one that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let child = Command::new(program)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", data.path().display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg(format!("--query.lookback-delta={lookback_ms}ms"))
            .args(["--web.enable-remote-write-receiver", "--log.level=error"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus starts");
        let server = Self {
            child,
            port,
            _data: data,
        };
        let begun = Instant::now();
        while server
            .ask("GET /-/ready", "", &[])
            .map_or(true, |(status, _)| status != 200)
        {
            assert!(begun.elapsed() < PATIENCE, "Prometheus is not ready");
            thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Writes all series, stale markers among them.
    pub(super) fn fill(&self, all: &[Series]) {
        let series = all.iter().map(|(labels, samples)| WrittenSeries {
            labels: labels
                .iter()
                .map(|(name, value)| WrittenLabel {
                    name: name.to_owned(),
                    value: value.to_owned(),
                })
                .collect(),
            samples: samples
                .times
                .iter()
                .zip(&samples.values)
                .map(|(time_ms, value)| WrittenSample {
                    value: value.to_bits(),
                    time_ms: *time_ms,
                })
                .collect(),
        });
        let body = Write {
            series: series.collect(),
        }
        .encode_to_vec();
        let body = snap::raw::Encoder::new()
            .compress_vec(&body)
            .expect("it fits");
        let kind = "application/x-protobuf\r\nContent-Encoding: snappy";
        let (status, said) = self
            .ask("POST /api/v1/write", kind, &body)
            .expect("an answer");
        assert_eq!(status, 204, "{said}");
    }

    /// Asks an endpoint of the API, and returns what it said.
    pub(super) fn question(&self, path: &str, form: &[(&str, &str)]) -> Value {
        let body: Vec<String> = form
            .iter()
            .map(|(name, value)| format!("{name}={}", escaped(value)))
            .collect();
        let kind = "application/x-www-form-urlencoded";
        let (_, said) = self
            .ask(&format!("POST {path}"), kind, body.join("&").as_bytes())
            .expect("an answer");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// One request on a connection of its own; HTTP/1.0, so that the answer ends with it.
    fn ask(&self, what: &str, kind: &str, body: &[u8]) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let head = format!(
            "{what} HTTP/1.0\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut said = String::new();
        stream.read_to_string(&mut said)?;
        let status = said
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| io::Error::other(said.clone()))?;
        let body = said.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        Ok((status, body.to_owned()))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // What it holds is not looked at again.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// As forms have it: whatever is no letter or digit by its number.
fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte.is_ascii_alphanumeric() {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}
