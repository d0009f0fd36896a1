//! Another origin that serves the page as plain files, as a content delivery network does.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context, Result};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

use crate::setting;

/// Serves the built page with a `config.json` of its own. Gone when dropped.
#[derive(Debug)]
pub struct Site {
    port: u16,
    serving: AbortHandle,
    hidden: Hidden,
}

/// How the names of files end that are not there; none where it is empty.
type Hidden = Arc<Mutex<String>>;

impl Site {
    /// Serves the page from a free port, told that its backend is at `backend`.
    ///
    /// # Errors
    /// The page was not built, or there is no free port.
    pub async fn start(backend: &str) -> Result<Self> {
        let mut files = BTreeMap::new();
        let folder = setting("PULSEBOARD_PAGE")?;
        read(&folder, &folder, &mut files)
            .with_context(|| format!("{} cannot be served", folder.display()))?;
        let config = serde_json::json!({ "backend": backend });
        files.insert("/config.json".to_owned(), config.to_string().into_bytes());
        let index = files
            .get("/index.html")
            .cloned()
            .context("the built page has no index.html")?;
        files.insert("/".to_owned(), index);

        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let port = listener.local_addr()?.port();
        let hidden = Hidden::default();
        let serving = serve(listener, Arc::new(files), Arc::clone(&hidden));
        let serving = tokio::spawn(serving).abort_handle();
        Ok(Self {
            port,
            serving,
            hidden,
        })
    }

    /// Answers from now on as if there were no files whose names end so; all are there again where
    /// `end` is empty.
    pub fn hide(&self, end: &str) {
        end.clone_into(&mut self.hidden.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Its origin.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Reads all files below `folder` under the paths they are asked for by.
fn read(top: &Path, folder: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path: PathBuf = entry?.path();
        if path.is_dir() {
            read(top, &path, files)?;
        } else {
            let name = format!("/{}", path.strip_prefix(top)?.display());
            files.insert(name, std::fs::read(&path)?);
        }
    }
    Ok(())
}

async fn serve(listener: TcpListener, files: Arc<BTreeMap<String, Vec<u8>>>, hidden: Hidden) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (files, hidden) = (Arc::clone(&files), Arc::clone(&hidden));
        // A browser that went away in the middle is no concern of the site's.
        connections.spawn(async move { answer(stream, &files, &hidden).await.ok() });
    }
}

/// One request, one answer, and the connection is closed.
async fn answer(
    mut stream: TcpStream,
    files: &BTreeMap<String, Vec<u8>>,
    hidden: &Mutex<String>,
) -> Result<()> {
    let mut reader = BufReader::new(&mut stream);
    let mut request = String::new();
    reader.read_line(&mut request).await?;
    let mut header = String::new();
    while reader.read_line(&mut header).await? > 2 {
        header.clear();
    }
    let path = request
        .split_whitespace()
        .nth(1)
        .unwrap_or("/")
        .split('?')
        .next()
        .unwrap_or("/");
    let is_hidden = {
        let end = hidden.lock().unwrap_or_else(PoisonError::into_inner);
        !end.is_empty() && path.ends_with(end.as_str())
    };
    let (status, body) = match files.get(path).filter(|_| !is_hidden) {
        Some(body) => ("200 OK", body.as_slice()),
        None => ("404 Not Found", b"not here".as_slice()),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nCache-Control: no-cache\r\nConnection: close\r\n\r\n",
        content_type(path),
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body).await?;
    stream.shutdown().await?;
    Ok(())
}

/// WebAssembly and modules are only accepted under their right names.
fn content_type(path: &str) -> &'static str {
    match path.rsplit('.').next() {
        Some("css") => "text/css",
        Some("ico") => "image/x-icon",
        Some("js") => "text/javascript",
        Some("json") => "application/json",
        Some("png") => "image/png",
        Some("svg") => "image/svg+xml",
        Some("wasm") => "application/wasm",
        Some("webmanifest") => "application/manifest+json",
        Some("woff2") => "font/woff2",
        _ => "text/html; charset=utf-8",
    }
}
