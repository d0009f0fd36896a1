//! The file as a whole: read, checked, with errors that name file, line and column.

use std::{
    collections::HashSet,
    env, fs, io,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{
    global::{Alerting, Global},
    job::JobConfig,
    remote::{RemoteRead, RemoteWrite},
};

/// A larger file is something else.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// `prometheus.yml`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    pub global: Global,
    #[serde(skip_serializing)]
    pub runtime: Option<yaml_serde::Value>,
    pub alerting: Alerting,
    /// Globs, relative to the file's folder.
    pub rule_files: Vec<String>,
    /// Globs of files with further `scrape_configs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scrape_config_files: Vec<String>,
    pub scrape_configs: Vec<JobConfig>,
    #[serde(skip_serializing)]
    pub storage: Option<yaml_serde::Value>,
    #[serde(skip_serializing)]
    pub tracing: Option<yaml_serde::Value>,
    #[serde(skip_serializing)]
    pub otlp: Option<yaml_serde::Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_write: Vec<RemoteWrite>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remote_read: Vec<RemoteRead>,
    /// The file's folder: what is relative in it is relative to this.
    #[serde(skip)]
    pub folder: PathBuf,
}

/// A file of `scrape_config_files`.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Further {
    scrape_configs: Vec<JobConfig>,
}

/// Why a file is not taken: `FILE:LINE:COLUMN: what is wrong`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {what}", file.display(), place(*line))]
pub struct ConfigError {
    pub file: PathBuf,
    /// Line and column, from 1, where there is one.
    pub line: Option<(usize, usize)>,
    pub what: String,
}

fn place(line: Option<(usize, usize)>) -> String {
    line.map_or(String::new(), |(line, column)| format!(":{line}:{column}"))
}

impl ConfigError {
    fn new(file: &Path, what: impl Into<String>) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            what: what.into(),
        }
    }
}

/// Reads a file and those that it names.
///
/// # Errors
/// One is not there, is no YAML, or says what cannot be.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let folder = file.parent().unwrap_or(Path::new("")).to_owned();
    let mut config = parse(&read(file)?, file)?;
    for pattern in config.scrape_config_files.clone() {
        for further in files(&folder, &pattern).map_err(|what| ConfigError::new(file, what))? {
            let text = read(&further)?;
            let more: Further = from_yaml(&text, &further)?;
            config.scrape_configs.extend(more.scrape_configs);
        }
    }
    check(&mut config, file)?;
    Ok(config)
}

/// Reads the text of a file, and none of those that it names.
///
/// # Errors
/// It is no YAML, or says what cannot be.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let mut config: Config = from_yaml(text, file)?;
    config.folder = file.parent().unwrap_or(Path::new("")).to_owned();
    for value in config.global.external_labels.values_mut() {
        *value = expand(value);
    }
    check(&mut config, file)?;
    Ok(config)
}

impl Config {
    /// The file as it is used, defaults filled in and secrets hidden.
    #[must_use]
    pub fn to_yaml(&self) -> String {
        yaml_serde::to_string(self).unwrap_or_default()
    }

    /// What the file asks for that is not there, in words: each is left out and the rest is used.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for job in &self.scrape_configs {
            for kind in job.unsupported() {
                warnings.push(format!(
                    "job {:?}: {kind} is not supported; its targets are not found (file_sd_configs or http_sd_configs can stand in)",
                    job.job_name
                ));
            }
            for field in job.missing() {
                warnings.push(format!("job {:?}: {field} is not supported", job.job_name));
            }
        }
        for receiver in &self.remote_write {
            for field in receiver.unsupported() {
                warnings.push(format!(
                    "remote_write {:?}: {field} is not supported; nothing is sent to it",
                    receiver.told()
                ));
            }
        }
        let alerting = &self.alerting;
        for (section, is_there) in [
            ("rule_files: their rules are", !self.rule_files.is_empty()),
            ("alerting: what it says is", alerting.asks_for_something()),
        ] {
            if is_there {
                warnings.push(format!(
                    "{section} not used yet, and nobody is told of alerts by it"
                ));
            }
        }
        for (section, is_there) in [
            ("remote_read", !self.remote_read.is_empty()),
            ("tracing", self.tracing.is_some()),
        ] {
            if is_there {
                warnings.push(format!("{section} is not supported"));
            }
        }
        warnings
    }
}

fn read(file: &Path) -> Result<String, ConfigError> {
    let told = |error: io::Error| ConfigError::new(file, error.to_string());
    if fs::metadata(file).map_err(told)?.len() > FILE_BYTES_MAX {
        return Err(ConfigError::new(file, "larger than 16 MiB"));
    }
    fs::read_to_string(file).map_err(told)
}

fn from_yaml<T: DeserializeOwned + Default>(text: &str, file: &Path) -> Result<T, ConfigError> {
    // a file of nothing but comments is one that says nothing
    let parsed: Result<Option<T>, _> = yaml_serde::from_str(text);
    parsed.map(Option::unwrap_or_default).map_err(|error| {
        let text = error.to_string();
        let (what, _) = text.rsplit_once(" at line ").unwrap_or((&text, ""));
        // all the fields that there are help nobody
        let (what, _) = what.split_once(", expected one of").unwrap_or((what, ""));
        ConfigError {
            file: file.to_owned(),
            line: error.location().map(|at| (at.line(), at.column())),
            what: what.to_owned(),
        }
    })
}

fn check(config: &mut Config, file: &Path) -> Result<(), ConfigError> {
    let wrong = |what: String| ConfigError::new(file, what);
    let global = &config.global;
    if !global.scrape_timeout.is_zero() && global.scrape_timeout > global.scrape_interval {
        return Err(wrong(format!(
            "global: scrape_timeout {} is longer than scrape_interval {}",
            global.scrape_timeout, global.scrape_interval
        )));
    }
    let mut names = HashSet::new();
    for job in &mut config.scrape_configs {
        let told = |what: String| ConfigError::new(file, what);
        job.fill(&config.global)
            .and_then(|()| {
                let client = job.client(&config.folder);
                client.check().map_err(|error| error.to_string())
            })
            .map_err(|what| told(format!("job {:?}: {what}", job.job_name)))?;
        if !names.insert(job.job_name.clone()) {
            return Err(told(format!("two jobs are called {:?}", job.job_name)));
        }
    }
    let mut names = HashSet::new();
    for receiver in &config.remote_write {
        let client = receiver.client(&config.folder);
        receiver
            .check()
            .and_then(|()| client.check().map_err(|error| error.to_string()))
            .map_err(|what| wrong(format!("remote_write {:?}: {what}", receiver.told())))?;
        if let Some(name) = &receiver.name
            && !names.insert(name)
        {
            return Err(wrong(format!("two remote_write are called {name:?}")));
        }
    }
    for pattern in &config.rule_files {
        let folder = pattern.rsplit_once('/').map_or("", |(folder, _)| folder);
        if folder.contains('*') || pattern.matches('*').count() > 1 {
            return Err(wrong(format!(
                "rule_files: {pattern:?} has a * in a folder's name, or more than one"
            )));
        }
        glob::Pattern::new(pattern)
            .map_err(|error| wrong(format!("rule_files: {pattern:?}: {error}")))?;
    }
    Ok(())
}

/// The files that a glob stands for, in order. A name without wildcards stands for itself, whether
/// it is there or not.
///
/// # Errors
/// It is no glob; in words.
pub(crate) fn files(folder: &Path, pattern: &str) -> Result<Vec<PathBuf>, String> {
    let path = folder.join(pattern);
    if !pattern.contains(['*', '?', '[']) {
        return Ok(vec![path]);
    }
    let text = path.to_string_lossy();
    let found = glob::glob(&text).map_err(|error| format!("{pattern:?}: {error}"))?;
    Ok(found
        .filter_map(Result::ok)
        .filter(|path| path.is_file())
        .collect())
}

/// `$NAME` and `${NAME}` become what the environment says; `$$` is a dollar.
fn expand(text: &str) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        expanded.push_str(before);
        if let Some(after) = after.strip_prefix('$') {
            expanded.push('$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('{').and_then(|a| a.split_once('}'))
        {
            expanded.push_str(&env::var(name).unwrap_or_default());
            rest = after;
        } else {
            let length = after
                .bytes()
                .take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
                .count();
            let (name, after) = after.split_at(length);
            if name.is_empty() {
                expanded.push('$');
            }
            expanded.push_str(&env::var(name).unwrap_or_default());
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}
