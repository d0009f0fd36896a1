//! Targets for `cargo xtask bench scrape`: many on one port, `/t/NUMBER`, each with its own series;
//! and `watch`, which says what a process used in some time.

use std::{
    fmt::Write as _,
    io::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::Duration,
};

use anyhow::Result;
use clap::{Parser, Subcommand};
use pulseboard_bench::process::Server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Serves targets, and prints the port.
    Serve {
        /// Series of each target.
        #[arg(long, default_value_t = 500)]
        series: usize,
    },
    /// Prints what a process used as JSON.
    Watch {
        #[arg(long)]
        pid: u32,
        #[arg(long)]
        seconds: u64,
    },
}

/// Requests that were answered; every second figure moves with it.
static ANSWERED: AtomicU64 = AtomicU64::new(0);

fn main() -> Result<()> {
    match Arguments::parse().task {
        Task::Serve { series } => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?
            .block_on(serve(series)),
        Task::Watch { pid, seconds } => watch(pid, seconds),
    }
}

async fn serve(series: usize) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    writeln!(io::stdout(), "{}", listener.local_addr()?.port())?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(answer(stream, series));
    }
}

async fn answer(mut stream: TcpStream, series: usize) {
    let mut request = Vec::new();
    let mut body = String::new();
    loop {
        request.clear();
        while !request.ends_with(b"\r\n\r\n") {
            match stream.read_buf(&mut request).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
        let answered = ANSWERED.fetch_add(1, Ordering::Relaxed);
        body.clear();
        body.push_str("# HELP app_requests_total Requests.\n# TYPE app_requests_total counter\n");
        for number in 0..series {
            let moves = if number % 2 == 0 { answered } else { 0 };
            let value = 1_000 * number as u64 + moves;
            let line = writeln!(
                body,
                "app_requests_total{{method=\"GET\",path=\"/api/items/{number}\",code=\"200\"}} {value}"
            );
            if line.is_err() {
                return;
            }
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let sent = async {
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(body.as_bytes()).await
        };
        if sent.await.is_err() {
            return;
        }
    }
}

fn watch(pid: u32, seconds: u64) -> Result<()> {
    let process = Server::new(pid);
    let before = process.cpu_ticks_us();
    let mut largest = 0;
    for _ in 0..seconds {
        thread::sleep(Duration::from_secs(1));
        largest = largest.max(process.resident_bytes());
    }
    let used = process.cpu_ticks_us() - before;
    writeln!(
        io::stdout(),
        "{}",
        serde_json::json!({
            "core_used": used as f64 / (seconds as f64 * 1e6),
            "resident_bytes": process.resident_bytes(),
            "largest_resident_bytes": largest,
        })
    )?;
    Ok(())
}
