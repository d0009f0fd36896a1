//! A Redis of its own, at one port and in one folder, that is killed and started again.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
};

use crate::{eventually, free_port};

const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A running Redis or Valkey. Killed when dropped.
#[derive(Debug)]
pub struct Redis {
    program: PathBuf,
    port: u16,
    more: Vec<String>,
    folder: TempDir,
    child: Option<Child>,
}

impl Redis {
    /// Starts one that keeps nothing on disk; `more` are further arguments.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn start(program: &Path, more: &[&str]) -> Result<Self> {
        let mut redis = Self::away(program, more)?;
        redis.again().await?;
        Ok(redis)
    }

    /// Not started yet.
    ///
    /// # Errors
    /// There is no free port, or no folder.
    pub fn away(program: &Path, more: &[&str]) -> Result<Self> {
        Ok(Self {
            program: program.to_owned(),
            port: free_port()?,
            more: more.iter().map(|&one| one.to_owned()).collect(),
            folder: tempfile::tempdir()?,
            child: None,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What replicas are told.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Starts it at the same port, empty unless it is told to keep what it has.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn again(&mut self) -> Result<()> {
        self.kill().await?;
        let mut command = Command::new(&self.program);
        command
            .args(["--bind", "127.0.0.1", "--save", "", "--port"])
            .arg(self.port.to_string())
            .arg("--dir")
            .arg(self.folder.path())
            .args(&self.more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true);
        let child = command.spawn();
        self.child = Some(child.with_context(|| format!("{} starts", self.program.display()))?);
        eventually("Redis answers", ANSWERS_WITHIN, async || {
            Ok(self.ask("PING").await? == ["PONG"])
        })
        .await?;
        Ok(())
    }

    /// As [`Self::again`], as the copy of another one.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn again_as_copy_of(&mut self, primary: u16) -> Result<()> {
        self.more = vec![
            "--replicaof".to_owned(),
            "127.0.0.1".to_owned(),
            primary.to_string(),
        ];
        self.again().await
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// The process was lost.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("Redis could not be killed")?;
        }
        Ok(())
    }

    /// Whether it was started, and not killed.
    #[must_use]
    pub fn runs(&self) -> bool {
        self.child.is_some()
    }

    /// Asks it something that is one line; the texts of its answer.
    ///
    /// # Errors
    /// No answer, or an error.
    pub async fn ask(&self, line: &str) -> Result<Vec<String>> {
        ask(self.port, line).await
    }

    /// Whether it is the copy of another one, and has heard it.
    ///
    /// # Errors
    /// No answer.
    pub async fn is_copying(&self) -> Result<bool> {
        let info = self.ask("INFO replication").await?.concat();
        Ok(info.contains("master_link_status:up"))
    }

    /// Whether it is a primary.
    ///
    /// # Errors
    /// No answer.
    pub async fn is_primary(&self) -> Result<bool> {
        let info = self.ask("INFO replication").await?.concat();
        Ok(info.contains("role:master"))
    }
}

/// Asks whoever listens there something that is one line.
///
/// # Errors
/// No answer within two seconds, or an error.
pub(crate) async fn ask(port: u16, line: &str) -> Result<Vec<String>> {
    let asked = async {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.write_all(format!("{line}\r\n").as_bytes()).await?;
        let mut reader = BufReader::new(stream);
        let mut texts = Vec::new();
        // How many values are still to come: one, and those of each list that does.
        let mut left = 1_usize;
        while left > 0 {
            left -= 1;
            left += read(&mut reader, &mut texts).await?;
        }
        anyhow::Ok(texts)
    };
    tokio::time::timeout(Duration::from_secs(2), asked)
        .await
        .with_context(|| format!("Redis at {port} does not answer {line:?}"))?
}

/// Reads one value; returns how many are within it.
async fn read(reader: &mut BufReader<TcpStream>, texts: &mut Vec<String>) -> Result<usize> {
    let mut head = String::new();
    if reader.read_line(&mut head).await? == 0 {
        bail!("Redis hung up");
    }
    let head = head.trim_end();
    let (kind, rest) = head.split_at(head.len().min(1));
    match kind {
        "*" => return Ok(rest.parse().unwrap_or_default()),
        "$" => {
            let Ok(length) = rest.parse::<usize>() else {
                texts.push(String::new());
                return Ok(0);
            };
            let mut bytes = vec![0; length + 2];
            reader.read_exact(&mut bytes).await?;
            bytes.truncate(length);
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
        "-" => bail!("Redis says {rest}"),
        _ => texts.push(rest.to_owned()),
    }
    Ok(0)
}
