//! The file as a whole: read, checked, with errors that name file, line and column.

use std::{
    collections::HashSet,
    env, fs, io,
    path::{Path, PathBuf},
};

use pulseboard_yaml::{self as place, Place, Step};
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
#[error("{}{}: {what}", file.display(), shown(*line))]
pub struct ConfigError {
    pub file: PathBuf,
    /// Line and column, from 1, where there is one.
    pub line: Option<(usize, usize)>,
    pub what: String,
}

fn shown(line: Option<Place>) -> String {
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

/// A text that was read.
struct Source {
    file: PathBuf,
    text: String,
    /// Jobs in it.
    jobs: usize,
}

impl Source {
    /// What is wrong at the end of these steps.
    fn wrong(&self, steps: &[Step<'_>], what: String) -> ConfigError {
        ConfigError {
            file: self.file.clone(),
            line: place::find(&self.text, steps),
            what,
        }
    }
}

/// Reads a file and those that it names.
///
/// # Errors
/// One is not there, is no YAML, or says what cannot be.
pub fn load(file: &Path) -> Result<Config, ConfigError> {
    let (mut config, main) = begin(read(file)?, file)?;
    let mut sources = vec![main];
    for pattern in config.scrape_config_files.clone() {
        let found = files(&config.folder, &pattern);
        for further in found.map_err(|what| ConfigError::new(file, what))? {
            let text = read(&further)?;
            let more: Further = from_yaml(&text, &further)?;
            sources.push(Source {
                file: further,
                text,
                jobs: more.scrape_configs.len(),
            });
            config.scrape_configs.extend(more.scrape_configs);
        }
    }
    check(&mut config, &sources)?;
    Ok(config)
}

/// Reads the text of a file, and none of those that it names.
///
/// # Errors
/// It is no YAML, or says what cannot be.
pub fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let (mut config, main) = begin(text.to_owned(), file)?;
    check(&mut config, &[main])?;
    Ok(config)
}

/// Reads the text of a file as it stands there.
fn begin(text: String, file: &Path) -> Result<(Config, Source), ConfigError> {
    let mut config: Config = from_yaml(&text, file)?;
    config.folder = file.parent().unwrap_or(Path::new("")).to_owned();
    for value in config.global.external_labels.values_mut() {
        *value = expand(value);
    }
    let source = Source {
        file: file.to_owned(),
        text,
        jobs: config.scrape_configs.len(),
    };
    Ok((config, source))
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
        for (item, section) in self.alerting.alertmanagers.iter().enumerate() {
            for kind in section.unsupported() {
                warnings.push(format!(
                    "alerting: alertmanagers[{item}]: {kind} is not supported; its Alertmanagers are not found (file_sd_configs or http_sd_configs can stand in)"
                ));
            }
            for field in section.lacks() {
                warnings.push(format!(
                    "alerting: alertmanagers[{item}]: {field} is not supported; its Alertmanagers are not told of alerts"
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
    let parsed = place::check_keys(text).and_then(|()| place::from_str::<T>(text));
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

/// The field that what is wrong begins with.
fn field_of(what: &str) -> Step<'_> {
    let end = what.find(|at: char| !(at.is_ascii_lowercase() || at == '_'));
    Step::Key(what.get(..end.unwrap_or(what.len())).unwrap_or_default())
}

/// Fills in what is not said, and checks what holds for several fields.
fn check(config: &mut Config, sources: &[Source]) -> Result<(), ConfigError> {
    let Some(main) = sources.first() else {
        return Ok(());
    };
    config.global.fill().map_err(|what| {
        let steps = [Step::Key("global"), field_of(&what)];
        main.wrong(&steps, format!("global: {what}"))
    })?;
    let mut names = HashSet::new();
    let places = sources
        .iter()
        .flat_map(|source| (0..source.jobs).map(move |item| (source, item)));
    for (job, (source, item)) in config.scrape_configs.iter_mut().zip(places) {
        let told = |field: Step<'_>, what: String| {
            source.wrong(
                &[Step::Key("scrape_configs"), Step::Item(item), field],
                what,
            )
        };
        job.fill(&config.global)
            .and_then(|()| {
                let client = job.client(&config.folder);
                client.check().map_err(|error| error.to_string())
            })
            .map_err(|what| {
                let text = format!("job {:?}: {what}", job.job_name);
                told(field_of(&what), text)
            })?;
        if !names.insert(job.job_name.clone()) {
            let what = format!("two jobs are called {:?}", job.job_name);
            return Err(told(Step::Key("job_name"), what));
        }
    }
    for (item, section) in config.alerting.alertmanagers.iter().enumerate() {
        let client = section.client(&config.folder);
        let checked = client.check().map_err(|error| error.to_string());
        checked.and_then(|()| section.check()).map_err(|what| {
            let [alerting, all] = ["alerting", "alertmanagers"].map(Step::Key);
            let steps = [alerting, all, Step::Item(item), field_of(&what)];
            main.wrong(&steps, format!("alerting: {what}"))
        })?;
    }
    let mut names = HashSet::new();
    for (item, receiver) in config.remote_write.iter().enumerate() {
        let told = |field: Step<'_>, what: String| {
            main.wrong(&[Step::Key("remote_write"), Step::Item(item), field], what)
        };
        let client = receiver.client(&config.folder);
        receiver
            .check()
            .and_then(|()| client.check().map_err(|error| error.to_string()))
            .map_err(|what| {
                let text = format!("remote_write {:?}: {what}", receiver.told());
                told(field_of(&what), text)
            })?;
        if let Some(name) = &receiver.name
            && !names.insert(name)
        {
            let what = format!("two remote_write are called {name:?}");
            return Err(told(Step::Key("name"), what));
        }
    }
    for (item, pattern) in config.rule_files.iter().enumerate() {
        let wrong = |what: String| main.wrong(&[Step::Key("rule_files"), Step::Item(item)], what);
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
