//! Three sentinels that watch a primary.

use std::{path::Path, process::Stdio, time::Duration};

use anyhow::{Context, Result};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{Redis, eventually, free_port, redis};

/// How soon a primary that is silent counts as dead, in milliseconds.
const DEAD_AFTER_MS: u32 = 1_000;

const KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// Three of them. Killed when dropped.
#[derive(Debug)]
pub struct Sentinels {
    ports: Vec<u16>,
    _children: Vec<Child>,
    _folder: TempDir,
}

impl Sentinels {
    /// Starts them, and waits until they know each other and the copy.
    ///
    /// # Errors
    /// They do not start, or do not find each other.
    pub async fn watching(program: &Path, primary: &Redis, copy: &Redis) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut sentinels = Self {
            ports: Vec::new(),
            _children: Vec::new(),
            _folder: folder,
        };
        for _ in 0..3 {
            let port = free_port()?;
            let folder = sentinels._folder.path();
            let file = folder.join(format!("{port}.conf"));
            let text = format!(
                "port {port}\nbind 127.0.0.1\ndir {}\nsentinel monitor main 127.0.0.1 {} 2\n\
                 sentinel down-after-milliseconds main {DEAD_AFTER_MS}\n\
                 sentinel failover-timeout main 2000\n",
                folder.display(),
                primary.port()
            );
            std::fs::write(&file, text)?;
            let child = Command::new(program)
                .arg(&file)
                .arg("--sentinel")
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .kill_on_drop(true)
                .spawn()
                .context("a sentinel starts")?;
            sentinels.ports.push(port);
            sentinels._children.push(child);
        }
        eventually("the copy hears its primary", KNOWN_WITHIN, async || {
            copy.is_copying().await
        })
        .await?;
        sentinels.know_the_copy().await?;
        Ok(sentinels)
    }

    /// Waits until all of them know each other, and a copy that is well.
    ///
    /// # Errors
    /// They do not.
    pub async fn know_the_copy(&self) -> Result<()> {
        let what = "the sentinels know each other and the copy";
        eventually(what, KNOWN_WITHIN, async || {
            for port in &self.ports {
                let master = redis::ask(*port, "SENTINEL MASTER main").await?;
                let copies = redis::ask(*port, "SENTINEL REPLICAS main").await?;
                let of = |texts: &[String], name: &str| {
                    let at = texts.iter().position(|text| text == name)?;
                    texts.get(at + 1).cloned()
                };
                let is_known = of(&master, "num-other-sentinels").as_deref() == Some("2")
                    && of(&master, "num-slaves").as_deref() == Some("1")
                    && of(&master, "flags").as_deref() == Some("master")
                    && of(&copies, "flags").as_deref() == Some("slave")
                    && of(&copies, "master-link-status").as_deref() == Some("ok");
                if !is_known {
                    return Ok(false);
                }
            }
            Ok(true)
        })
        .await?;
        Ok(())
    }

    /// What replicas are told.
    #[must_use]
    pub fn url(&self) -> String {
        let hosts = self.ports.iter().map(|port| format!("127.0.0.1:{port}"));
        let hosts: Vec<String> = hosts.collect();
        format!("redis-sentinel://{}/main", hosts.join(","))
    }
}
