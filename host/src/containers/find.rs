//! Which control groups are containers'.

use std::{fs, path::Path};

/// Control groups that are looked at, at most, and how deep: pods of Kubernetes are four levels
/// down.
const GROUPS_MAX: usize = 10_000;
const LEVELS_MAX: usize = 8;

/// Containers that are told, at most.
const CONTAINERS_MAX: usize = 1_000;

/// Hexadecimal digits of a container's id.
const ID_DIGITS: usize = 64;

/// A container's control group.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Found {
    /// From the root of all groups on, with a slash at its beginning.
    pub(super) path: String,
    /// The container's id, in full.
    pub(super) id: String,
}

/// All of them, by path.
pub(super) fn containers(root: &Path) -> Vec<Found> {
    let mut found = Vec::new();
    let mut left = GROUPS_MAX;
    look(root, "", 0, &mut left, &mut found);
    found.sort_unstable();
    found
}

fn look(root: &Path, path: &str, level: usize, left: &mut usize, found: &mut Vec<Found>) {
    let Ok(entries) = fs::read_dir(root.join(path.trim_start_matches('/'))) else {
        return;
    };
    for entry in entries.flatten() {
        if *left == 0 || found.len() == CONTAINERS_MAX {
            return;
        }
        let is_group = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let Some(name) = entry
            .file_name()
            .to_str()
            .filter(|_| is_group)
            .map(str::to_owned)
        else {
            continue;
        };
        *left -= 1;
        let path = format!("{path}/{name}");
        match id(&name) {
            // What is inside it is a part of it.
            Some(id) => found.push(Found {
                path,
                id: id.to_owned(),
            }),
            None if level < LEVELS_MAX => look(root, &path, level + 1, left, found),
            None => {}
        }
    }
}

/// The id in names such as `docker-ID.scope`, `libpod-ID.scope`, `cri-containerd-ID.scope`, `ID`.
fn id(name: &str) -> Option<&str> {
    let stem = name.strip_suffix(".scope").unwrap_or(name);
    // Podman's watcher of a container, and its `container` inside.
    if stem.starts_with("libpod-conmon-") || stem.starts_with("crio-conmon-") {
        return None;
    }
    let id = stem.rsplit_once('-').map_or(stem, |(_, id)| id);
    let is_id = id.len() == ID_DIGITS && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_found_in_the_names_of_all_engines() {
        let one = "ab".repeat(32);
        for name in [
            format!("docker-{one}.scope"),
            format!("libpod-{one}.scope"),
            format!("cri-containerd-{one}.scope"),
            format!("crio-{one}.scope"),
            one.clone(),
        ] {
            assert_eq!(id(&name), Some(&*one), "{name}");
        }
        for name in [
            "ssh.service".to_owned(),
            format!("libpod-conmon-{one}.scope"),
            "kubepods-burstable-pod0b1c.slice".to_owned(),
            "ab".repeat(31),
        ] {
            assert_eq!(id(&name), None, "{name}");
        }
    }
}
