//! Attacks a server with one of the attacks while good callers are served by it, and says as JSON
//! what these met; started by `cargo xtask bench hostile`.
#![expect(
    clippy::print_stdout,
    reason = "a command line tool answers on standard output"
)]

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use pulseboard_bench::{
    hostile::{
        attack::{Attack, Target},
        good::Watch,
    },
    process::Server,
};
use serde_json::json;

/// Flags.
#[derive(Parser)]
struct Flags {
    /// Where the server listens.
    #[arg(long)]
    address: SocketAddr,
    /// The server's process.
    #[arg(long)]
    pid: u32,
    /// Which attack.
    #[arg(long)]
    attack: Attack,
    /// How long.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// The attack ends where the server has taken so much.
    #[arg(long, default_value_t = 3072)]
    rss_max_mb: u64,
}

fn main() -> Result<()> {
    let flags = Flags::parse();
    let watch = Watch::new(flags.address)?;
    let target = Target {
        to: flags.address,
        series: watch.series().to_owned(),
    };
    target.prepare(flags.attack)?;
    let server = Server::new(flags.pid);
    let (peak, is_enough, is_over) = (
        AtomicU64::new(0),
        AtomicBool::new(false),
        AtomicBool::new(false),
    );
    let report = thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                let bytes = server.resident_bytes();
                peak.fetch_max(bytes, Ordering::Relaxed);
                if bytes >> 20 >= flags.rss_max_mb {
                    is_enough.store(true, Ordering::Relaxed);
                }
                thread::sleep(Duration::from_millis(50));
            }
        });
        let report = watch.beside(Duration::from_secs_f64(flags.seconds), |until: Instant| {
            target.attack(flags.attack, until, &is_enough);
        });
        is_over.store(true, Ordering::Relaxed);
        report
    })?;
    let said = json!({
        "good": report,
        "rss_peak_bytes": peak.load(Ordering::Relaxed),
        "was_stopped": is_enough.load(Ordering::Relaxed),
    });
    println!("{said}");
    Ok(())
}
