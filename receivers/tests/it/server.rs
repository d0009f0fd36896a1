//! An HTTP server that writes down what it is sent, and answers as it is told.

use std::{collections::HashMap, sync::Arc, time::Duration};

use parking_lot::Mutex;
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Asked {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    pub(crate) fn form(&self) -> HashMap<String, String> {
        url::form_urlencoded::parse(&self.body)
            .into_owned()
            .collect()
    }
}

/// Status, header lines and body; of `None` nothing is ever answered.
pub(crate) type Says = Option<(u16, String, Vec<u8>)>;
type Answering = Arc<dyn Fn(&Asked) -> Says + Send + Sync>;

pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

pub(crate) fn says(status: u16, body: &str) -> Says {
    Some((status, String::new(), body.as_bytes().to_vec()))
}

impl Server {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (answer, told): (Answering, _) = (Arc::new(answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, told) = (Arc::clone(&answer), Arc::clone(&told));
                tokio::spawn(async move { serve(stream, answer, told).await });
            }
        });
        Self { url, asked }
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }

    /// The only request.
    pub(crate) fn only(&self) -> Asked {
        let mut asked = self.asked();
        assert_eq!(asked.len(), 1, "{asked:?}");
        asked.remove(0)
    }
}

async fn serve(
    mut stream: TcpStream,
    answer: Answering,
    told: Arc<Mutex<Vec<Asked>>>,
) -> Option<()> {
    let mut come = Vec::new();
    loop {
        let end = loop {
            if let Some(at) = come.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            let mut piece = [0; 4096];
            let count = stream
                .read(&mut piece)
                .await
                .ok()
                .filter(|count| *count > 0)?;
            come.extend_from_slice(&piece[..count]);
        };
        let head = String::from_utf8(come[..end].to_vec()).ok()?;
        let mut lines = head.lines();
        let mut first = lines.next()?.split(' ');
        let headers: HashMap<String, String> = lines
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers.get("content-length");
        let length: usize = length.map_or(0, |length| length.parse().expect("a number"));
        while come.len() < end + length {
            let mut piece = [0; 4096];
            let count = stream
                .read(&mut piece)
                .await
                .ok()
                .filter(|count| *count > 0)?;
            come.extend_from_slice(&piece[..count]);
        }
        let asked = Asked {
            method: first.next()?.to_owned(),
            path: first.next()?.to_owned(),
            headers,
            body: come[end..end + length].to_vec(),
        };
        come.drain(..end + length);
        told.lock().push(asked.clone());
        let Some((status, headers, body)) = answer(&asked) else {
            tokio::time::sleep(Duration::from_secs(600)).await;
            return None;
        };
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-length: {}\r\n{headers}\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).await.ok()?;
        stream.write_all(&body).await.ok()?;
    }
}
