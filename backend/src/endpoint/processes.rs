//! `GET /api/processes`: the processes of this machine that use most, over the last five minutes.

use pulseboard_engine::DEFAULT_TENANT;
use pulseboard_host::processes::{PERIOD, Process, Top};
use salvo::{Depot, Request, handler, writing::Json};
use serde::Serialize;

use crate::{
    base::error::AppError,
    http::{self, caller, tenant::borrowed},
};

/// What is kept of them.
#[derive(Debug, Serialize)]
struct Processes {
    /// What the machine is called in the label `instance` of its series.
    instance: String,
    /// Milliseconds between readings.
    interval_ms: u128,
    /// Oldest first; none where this machine is not measured.
    readings: Vec<Reading>,
}

/// One moment.
#[derive(Debug, Serialize)]
struct Reading {
    /// Unix milliseconds.
    ms: i64,
    /// How many processes there were.
    count: usize,
    /// The ten that used most processor time since the reading before, most first.
    cpu: Vec<Listed>,
    /// The ten that have most memory, most first.
    memory: Vec<Listed>,
}

/// One process at one moment.
#[derive(Debug, Serialize)]
struct Listed {
    pid: u32,
    name: String,
    /// Percent of one processor.
    cpu_percent: f64,
    memory_bytes: u64,
}

impl Listed {
    fn all(processes: &[Process]) -> Vec<Self> {
        let listed = processes.iter().map(|process| Self {
            pid: process.pid,
            name: process.name.clone(),
            cpu_percent: process.cpu_percent,
            memory_bytes: process.memory_bytes,
        });
        listed.collect()
    }
}

impl From<&Top> for Reading {
    fn from(top: &Top) -> Self {
        Self {
            ms: top.at_ms,
            count: top.count,
            cpu: Listed::all(&top.cpu),
            memory: Listed::all(&top.memory),
        }
    }
}

/// The readings after `since` (Unix milliseconds), or all that are kept.
#[handler]
pub async fn list_processes(
    request: &mut Request,
    depot: &mut Depot,
) -> Result<Json<impl Serialize + use<>>, AppError> {
    caller::require_read(depot)?;
    let app = http::app::app(depot)?;
    if borrowed(request, depot)? != DEFAULT_TENANT {
        return Err(AppError::forbidden(
            "only callers of the tenant \"default\" may see what runs on this machine",
        ));
    }
    let since_ms = match request.query::<String>("since") {
        Some(text) => text.parse::<i64>().ok().ok_or_else(|| {
            AppError::bad_query(
                "since",
                "it is no whole number of Unix milliseconds".to_owned(),
            )
        })?,
        None => i64::MIN,
    };
    let recent = app.processes.lock();
    let newer = recent.iter().filter(|top| top.at_ms > since_ms);
    Ok(Json(Processes {
        instance: app.settings.instance.clone(),
        interval_ms: PERIOD.as_millis(),
        readings: newer.map(Reading::from).collect(),
    }))
}
