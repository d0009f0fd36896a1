//! One server of several: the built binary at a port of its own, killed, paused, asked to stop,
//! started again.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{ExitStatus, Stdio},
    sync::LazyLock,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use reqwest::{Method, RequestBuilder, Response};
use rustix::process::{Pid, Signal};
use serde_json::Value;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{TOKEN, eventually, free_port, programs};

/// From start to the first answer. Far above what it takes, for machines that are busy.
const ANSWERS_WITHIN: Duration = Duration::from_secs(20);

/// How long they may need to find each other; one that was killed is waited for until it counts as
/// dead.
const JOINS_WITHIN: Duration = Duration::from_secs(20);

/// How many of the last lines of its log a failure shows.
const LOG_LINES: usize = 15;

static HTTP: LazyLock<reqwest::Client> = LazyLock::new(reqwest::Client::new);

/// A request that shows the token.
pub fn authorized(method: Method, url: &str) -> RequestBuilder {
    let request = HTTP.request(method, url).timeout(Duration::from_secs(10));
    request.header("authorization", format!("Bearer {TOKEN}"))
}

/// Asks whoever is at an address (`127.0.0.1:PORT`) for a path.
///
/// # Errors
/// No answer.
pub async fn ask(address: &str, path: &str) -> Result<Response> {
    let request = authorized(Method::GET, &format!("http://{address}{path}"));
    request
        .send()
        .await
        .with_context(|| format!("GET {path} of {address}"))
}

/// One server of several. Killed when dropped.
#[derive(Debug)]
pub struct Replica {
    name: String,
    port: u16,
    more: Vec<(String, String)>,
    folder: TempDir,
    program: PathBuf,
    child: Option<Child>,
}

impl Replica {
    /// Starts one that measures this machine, and returns once it answers; `more` are further
    /// variables, `REDIS_URL` among them.
    ///
    /// # Errors
    /// It ends at once or does not answer; the text has the end of its log.
    pub async fn start(name: &str, more: &[(&str, &str)]) -> Result<Self> {
        let more = more
            .iter()
            .map(|&(name, value)| (name.into(), value.into()));
        let mut replica = Self {
            name: name.to_owned(),
            port: free_port()?,
            more: more.collect(),
            folder: tempfile::tempdir()?,
            program: programs::server()?,
            child: None,
        };
        replica.again().await?;
        Ok(replica)
    }

    /// Several, which have found each other: `a`, `b`, …
    ///
    /// # Errors
    /// As [`Self::start`], or they have not found each other.
    pub async fn several(count: usize, more: &[(&str, &str)]) -> Result<Vec<Self>> {
        let mut all = Vec::new();
        for name in ["a", "b", "c", "d", "e"].iter().take(count) {
            all.push(Self::start(name, more).await?);
        }
        for replica in &all {
            replica.is_joined_by(count as u64).await?;
        }
        Ok(all)
    }

    /// The same server, at the same port and with the same folder, once more.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn again(&mut self) -> Result<()> {
        self.kill().await?;
        let log = File::options().create(true).append(true).open(self.log())?;
        let child = Command::new(&self.program)
            // The settings of whoever runs the tests must not become the tests'.
            .env_clear()
            .env("RUST_LOG", "info")
            .env("BIND_ADDR", self.address())
            .env("DATA_DIR", self.folder.path().join("data"))
            .env("INSTANCE", &self.name)
            .env("NODE_METRICS", "off")
            .env("METRIC_INTERVAL_MS", "200")
            .env("TRUSTED_PROXIES", "127.0.0.1")
            .env("AUTH_TOKENS", format!("{TOKEN}=admin"))
            .envs(self.more.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn();
        let mut child = child.with_context(|| format!("{} starts", self.program.display()))?;
        let answers = eventually("it answers", ANSWERS_WITHIN, async || {
            if let Some(ended) = child.try_wait()? {
                // Nothing to wait for; what it said is told below.
                bail!("it ended at once: {ended}");
            }
            self.ask("/healthz")
                .await
                .map(|answer| answer.status() == 200)
        })
        .await;
        self.child = Some(child);
        match answers {
            Ok(_) => Ok(()),
            Err(error) => Err(error.context(self.told())),
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens, with its port.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Ends it as a power cut would.
    ///
    /// # Errors
    /// The process was lost.
    pub async fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill().await.context("a server could not be killed")?;
        }
        Ok(())
    }

    /// Asks it to stop, and waits until it has.
    ///
    /// # Errors
    /// It has not stopped within 15 s.
    pub async fn stop(&mut self) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let mut child = self.child.take().context("it does not run")?;
        let ended = tokio::time::timeout(Duration::from_secs(15), child.wait()).await;
        Ok(ended.with_context(|| format!("it does not stop\n{}", self.told()))??)
    }

    /// Stops it where it is; it does not notice.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)
    }

    /// It goes on.
    ///
    /// # Errors
    /// It does not run.
    pub fn go_on(&self) -> Result<()> {
        self.signal(Signal::CONT)
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.id().context("it does not run")?;
        let id = Pid::from_raw(id.cast_signed()).context("it has no id")?;
        Ok(rustix::process::kill_process(id, signal)?)
    }

    /// Its process.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        self.child.as_ref().and_then(Child::id)
    }

    /// Whether it runs.
    ///
    /// # Errors
    /// The process was lost.
    pub fn runs(&mut self) -> Result<bool> {
        match &mut self.child {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Asks it, past any balancer.
    ///
    /// # Errors
    /// No answer.
    pub async fn ask(&self, path: &str) -> Result<Response> {
        ask(&self.address(), path).await
    }

    /// Asks it for JSON.
    ///
    /// # Errors
    /// No answer, an error status, or no JSON.
    pub async fn json(&self, path: &str) -> Result<Value> {
        Ok(self.ask(path).await?.error_for_status()?.json().await?)
    }

    /// One of its own figures.
    ///
    /// # Errors
    /// No answer, or there is none of that name.
    pub async fn figure(&self, name: &str) -> Result<f64> {
        let text = self.ask("/metrics").await?.text().await?;
        let line = text.lines().find(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with(' '))
        });
        let value = line.and_then(|line| line.rsplit(' ').next()?.parse().ok());
        value.with_context(|| format!("{} has no {name}", self.name))
    }

    /// How it stands: the status of `/readyz`, a word, and how many it counts.
    ///
    /// # Errors
    /// No answer.
    pub async fn standing(&self) -> Result<(u16, String, u64)> {
        let answer = self.ask("/readyz").await?;
        let status = answer.status().as_u16();
        let body: Value = answer.json().await?;
        let cluster = &body["cluster"];
        let state = cluster["state"].as_str().unwrap_or_default().to_owned();
        Ok((
            status,
            state,
            cluster["members"].as_u64().unwrap_or_default(),
        ))
    }

    /// Waits until it is one of so many; how long that took.
    ///
    /// # Errors
    /// It does not happen.
    pub async fn is_joined_by(&self, members: u64) -> Result<Duration> {
        let wanted = (200, "joined".to_owned(), members);
        let mut last = None;
        let what = format!("{} is one of {members}", self.name);
        let joined = eventually(&what, JOINS_WITHIN, async || {
            let now = self.standing().await?;
            let is_so = now == wanted;
            last = Some(now);
            Ok(is_so)
        })
        .await;
        joined.with_context(|| format!("it says {last:?}\n{}", self.told()))
    }

    /// Waits until it says that it is alone; how long that took.
    ///
    /// # Errors
    /// It does not happen.
    pub async fn is_alone(&self) -> Result<Duration> {
        let what = format!("{} is alone", self.name);
        eventually(&what, JOINS_WITHIN, async || {
            Ok(self.standing().await? == (200, "alone".to_owned(), 1))
        })
        .await
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// The last lines of its log.
    #[must_use]
    pub fn told(&self) -> String {
        let text = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
        format!("{} said last:\n{}", self.name, last.join("\n"))
    }
}
