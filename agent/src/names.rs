//! What containers are called: asked of Docker and Podman over their sockets, where they may be
//! read.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::RwLock;
use pulseboard_host::containers::{Named, Names};
use pulseboard_outbound::{Client, ClientConfig, HeaderMap};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often they are asked: a container has its name this long after it began.
const PERIOD: Duration = Duration::from_secs(10);

/// How long an answer may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Of an answer: some kilobytes a container.
const ANSWER_BYTES: usize = 8 << 20;

/// Where the sockets are; the same by two names is asked once.
const SOCKETS: [&str; 3] = [
    "/run/docker.sock",
    "/var/run/docker.sock",
    "/run/podman/podman.sock",
];

/// One of `GET /containers/json` (Docker Engine API 1.24 and newer; Podman answers the same).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    id: String,
    #[serde(default)]
    names: Vec<String>,
    #[serde(default)]
    image: String,
}

/// Keeps `names` up to date until it is told to stop.
pub async fn keep(names: Arc<RwLock<Names>>, stopping: CancellationToken) {
    loop {
        let found = container_names().await;
        *names.write() = found;
        tokio::select! {
            () = tokio::time::sleep(PERIOD) => {}
            () = stopping.cancelled() => return,
        }
    }
}

/// The names of all containers that somebody tells of, by their ids.
async fn container_names() -> Names {
    let mut all = Names::new();
    for socket in sockets() {
        match of(&socket).await {
            Ok(found) => all.extend(found),
            Err(error) => tracing::debug!(error, ?socket, "containers are not named"),
        }
    }
    all
}

fn sockets() -> Vec<PathBuf> {
    let own = std::env::var_os("XDG_RUNTIME_DIR")
        .map(|folder| Path::new(&folder).join("podman/podman.sock"));
    let all = SOCKETS.iter().map(PathBuf::from).chain(own);
    let mut real: Vec<PathBuf> = all.filter_map(|path| path.canonicalize().ok()).collect();
    real.sort();
    real.dedup();
    real
}

async fn of(socket: &Path) -> Result<HashMap<String, Named>, String> {
    let config = ClientConfig {
        unix_socket: Some(socket.to_owned()),
        ..ClientConfig::default()
    };
    let client = Client::new(&config).map_err(|error| error.to_string())?;
    let deadline = Instant::now() + DEADLINE;
    let (url, headers) = ("http://localhost/containers/json", HeaderMap::new());
    let asked = client.get(url, &headers, deadline, ANSWER_BYTES).await;
    let answer = asked.map_err(|error| error.to_string())?;
    if !answer.is_success() {
        return Err(format!("answered {}", answer.status));
    }
    let listed: Vec<Listed> =
        serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
    let named = listed.into_iter().map(|one| {
        let name = one
            .names
            .first()
            .map(|name| name.trim_start_matches('/').to_owned());
        let named = Named {
            name: name.unwrap_or_default(),
            image: one.image,
        };
        (one.id, named)
    });
    Ok(named.collect())
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[cfg(unix)]
    #[tokio::test]
    async fn a_socket_says_what_containers_are_called() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("docker.sock");
        let listener = tokio::net::UnixListener::bind(&path).expect("a socket");
        let answering = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.expect("a client");
            let mut head = vec![0; 4096];
            let read = stream.read(&mut head).await.expect("a request");
            let body = r#"[{"Id":"abc","Names":["/web"],"Image":"nginx:1","State":"running"}]"#;
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.expect("written");
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let names = of(&path).await.expect("an answer");
        assert_eq!(
            (&*names["abc"].name, &*names["abc"].image),
            ("web", "nginx:1")
        );
        let head = answering.await.expect("no panic");
        assert!(head.starts_with("GET /containers/json HTTP/1.1"), "{head}");
    }
}
