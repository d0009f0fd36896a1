//! `file_sd_configs`: groups in files, read again when they change.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tokio::{task::spawn_blocking, time::sleep};

use super::publish::Publish;
use crate::{
    config::{FileDiscovery, StaticGroup, files},
    target::Group,
};

/// Files are looked at so often, whatever `refresh_interval` says: a change is to be seen soon.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A larger file is something else.
const FILE_BYTES_MAX: u64 = 64 << 20;

type Stamp = (Option<SystemTime>, u64);

/// What each file says, and its state when it was read.
#[derive(Debug, Default)]
struct Known(BTreeMap<PathBuf, (Stamp, Vec<Group>)>);

pub(super) async fn run(section: FileDiscovery, folder: PathBuf, publish: Publish) {
    let every = section.refresh_interval.as_duration().min(LOOK_EVERY);
    let mut known = Known::default();
    let mut is_first = true;
    loop {
        let (section, folder) = (section.clone(), folder.clone());
        let looked = spawn_blocking(move || {
            let looked = known.look(&section, &folder);
            (known, looked)
        });
        let Ok((after, looked)) = looked.await else {
            return;
        };
        known = after;
        match looked {
            Ok(false) if !is_first => {}
            Ok(_) => publish.found(Ok(known.groups())),
            Err(problem) => {
                publish.found(Ok(known.groups()));
                publish.found(Err(problem));
            }
        }
        is_first = false;
        sleep(every).await;
    }
}

impl Known {
    /// Reads what has changed; whether anything has. A file that cannot be read keeps saying what
    /// it said.
    fn look(&mut self, section: &FileDiscovery, folder: &Path) -> Result<bool, String> {
        let mut before = std::mem::take(&mut self.0);
        let (mut is_changed, mut problem) = (false, None);
        for pattern in &section.files {
            for path in files(folder, pattern)? {
                let Ok(data) = fs::metadata(&path) else {
                    continue;
                };
                let stamp = (data.modified().ok(), data.len());
                let mut entry = before.remove(&path).unwrap_or_default();
                if entry.0 != stamp {
                    match read(&path, data.len()) {
                        Ok(groups) => {
                            entry = (stamp, groups);
                            is_changed = true;
                        }
                        Err(why) => problem = Some(format!("{}: {why}", path.display())),
                    }
                }
                self.0.insert(path, entry);
            }
        }
        is_changed |= !before.is_empty();
        problem.map_or(Ok(is_changed), Err)
    }

    fn groups(&self) -> Vec<Group> {
        self.0
            .values()
            .flat_map(|(_, groups)| groups)
            .cloned()
            .collect()
    }
}

fn read(path: &Path, bytes: u64) -> Result<Vec<Group>, String> {
    if bytes > FILE_BYTES_MAX {
        return Err("larger than 64 MiB".to_owned());
    }
    let text = fs::read_to_string(path).map_err(|error| error.to_string())?;
    let groups: Option<Vec<StaticGroup>> = if path.extension().is_some_and(|end| end == "json") {
        serde_json::from_str(&text).map_err(|error| error.to_string())?
    } else {
        yaml_serde::from_str(&text).map_err(|error| error.to_string())?
    };
    let told = path.to_string_lossy();
    let groups = groups.unwrap_or_default();
    Ok(groups
        .iter()
        .map(|group| {
            let mut group = Group::from(group);
            group.labels.set("__meta_filepath", &told);
            group
        })
        .collect())
}
