//! The server under test: the built binary as a child process.

use std::{
    fs,
    net::TcpListener,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{eventually, setting};

/// From start to the first answer. Far above what it takes, for machines that are busy.
const START_WITHIN: Duration = Duration::from_secs(15);

/// How many of the last lines of its log a failure shows.
const LOG_LINES: usize = 20;

/// A running server with a folder of its own. Killed when dropped.
#[derive(Debug)]
pub struct Server {
    /// `None` after [`Self::kill`].
    child: Option<Child>,
    program: PathBuf,
    port: u16,
    flags: Vec<String>,
    /// `AUTH_TOKENS`.
    tokens: String,
    /// Its working directory, and so the place of its data; gone when this is dropped.
    folder: TempDir,
}

impl Server {
    /// Starts the server with these flags on a free port, and returns once it answers.
    ///
    /// # Errors
    /// It ends at once or does not answer; the text has the end of its log.
    pub async fn start(flags: &[&str]) -> Result<Self> {
        Self::start_program(&setting("PULSEBOARD_BIN")?, flags).await
    }

    /// The same for a server other than the one that is tested.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_program(program: &Path, flags: &[&str]) -> Result<Self> {
        let mut server = Self {
            child: None,
            program: program.to_owned(),
            port: free_port()?,
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            tokens: String::new(),
            folder: tempfile::tempdir()?,
        };
        if server.restart().await.is_err() {
            // Somebody else may have taken the port between its being found free and now.
            server.port = free_port()?;
            server.restart().await?;
        }
        Ok(server)
    }

    /// The same server, on the same port, started again with other flags.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn with_flags(mut self, flags: &[&str]) -> Result<Self> {
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.restart().await?;
        Ok(self)
    }

    /// The same server started again with these tokens.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn with_tokens(mut self, tokens: &str) -> Result<Self> {
        tokens.clone_into(&mut self.tokens);
        self.restart().await?;
        Ok(self)
    }

    /// Starts it again on the same port and with the same folder; kills it first where it runs.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn restart(&mut self) -> Result<()> {
        self.kill().await?;
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())?;
        let mut command = Command::new(&self.program);
        command
            .arg("--bind")
            .arg(format!("127.0.0.1:{}", self.port))
            .args(&self.flags)
            .current_dir(self.folder.path())
            // The settings of whoever runs the tests must not become the tests'.
            .env_clear()
            .env("RUST_LOG", "info,pulseboard=debug")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true);
        if !self.tokens.is_empty() {
            command.env("AUTH_TOKENS", &self.tokens);
        }
        let mut child = command
            .spawn()
            .with_context(|| format!("{} could not be started", self.program.display()))?;
        let ready = self.address("/readyz");
        let answers = eventually("the server answers", START_WITHIN, async || {
            if child.try_wait()?.is_some() {
                // Nothing to wait for; what it said is told below.
                return Ok(Some(false));
            }
            Ok(reqwest::get(&ready)
                .await?
                .status()
                .is_success()
                .then_some(true))
        })
        .await;
        self.child = Some(child);
        match answers {
            Ok(true) => Ok(()),
            Ok(false) => bail!("the server ended at once:\n{}", self.log_end()),
            Err(error) => bail!("{error:#}:\n{}", self.log_end()),
        }
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// The process was lost.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child
                .kill()
                .await
                .context("the server could not be killed")?;
        }
        Ok(())
    }

    /// Where it listens.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its origin.
    #[must_use]
    pub fn url(&self) -> String {
        self.address("")
    }

    fn address(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Asks it, past the page.
    ///
    /// # Errors
    /// No answer, an error status, or no JSON.
    pub async fn get(&self, path: &str) -> Result<Value> {
        let answer = reqwest::get(self.address(path)).await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }

    /// Tells it something, past the page; a body that begins with a brace is JSON.
    ///
    /// # Errors
    /// No answer, or an error status.
    pub async fn post(&self, path: &str, body: impl Into<String>) -> Result<()> {
        let body = body.into();
        let kind = if body.starts_with('{') {
            "application/json"
        } else {
            "text/plain"
        };
        let request = reqwest::Client::new()
            .post(self.address(path))
            .header("content-type", kind)
            .body(body);
        request.send().await?.error_for_status()?;
        Ok(())
    }

    /// The link that the newest start printed, which makes one browser admin.
    ///
    /// # Errors
    /// It printed none.
    pub fn admin_link(&self) -> Result<String> {
        let text = fs::read_to_string(self.log())?;
        let link = text
            .split_whitespace()
            .rfind(|word| word.contains("/#admin="));
        link.map(str::to_owned)
            .with_context(|| format!("no link was printed:\n{}", self.log_end()))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log_end(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
    }
}

/// A port that nobody listens on now.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
