//! An exporter of a few lines.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// Answers every request with the text that it was given last; without one it hangs.
#[derive(Clone)]
pub(crate) struct Exporter {
    pub(crate) address: String,
    says: Arc<Mutex<Option<String>>>,
}

impl Exporter {
    pub(crate) async fn start(body: Option<&str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let exporter = Self {
            address: listener.local_addr().expect("an address").to_string(),
            says: Arc::new(Mutex::new(body.map(str::to_owned))),
        };
        let served = exporter.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(served.clone().serve(stream));
            }
        });
        exporter
    }

    pub(crate) fn say(&self, body: &str) {
        *self.says.lock() = Some(body.to_owned());
    }

    async fn serve(self, mut stream: TcpStream) {
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            request.extend_from_slice(&piece[..read]);
            if !request.ends_with(b"\r\n\r\n") {
                continue;
            }
            request.clear();
            let Some(body) = self.says.lock().clone() else {
                return std::future::pending().await;
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {length}\r\n\r\n{body}"
            );
            if stream.write_all(answer.as_bytes()).await.is_err() {
                return;
            }
        }
    }
}
