//! All that is kept, as one file, and back.

use std::{fs, io, path::Path};

use pulseboard::{
    base::{
        clock::Clock,
        data_dir::{self, COPIED, SNAPSHOTS},
    },
    settings::{Connection, DataDir, Durability, Settings},
    storage::Storage,
};
use pulseboard_feed::Epoch;

use super::{
    archive,
    asked::{Asked, told},
    transfer::beside,
};

fn folder(settings: &Settings) -> Result<&Path, String> {
    match &settings.data_dir {
        DataDir::Path(folder) => Ok(folder),
        DataDir::Memory => Err("DATA_DIR=memory: nothing is kept there; name a folder".to_owned()),
    }
}

/// Copies what the server on `DATA_DIR` keeps into `to`. A server that runs is asked for the copy.
pub(super) async fn backup(
    settings: &Settings,
    from: &Connection,
    to: &Path,
) -> Result<String, String> {
    let folder = folder(settings)?;
    let wrong = |error: io::Error| format!("DATA_DIR={}: {error}", folder.display());
    if !data_dir::is_held(folder).map_err(wrong)? {
        // Nobody else may begin meanwhile.
        let _held = data_dir::open(folder).map_err(|error| error.to_string())?;
        return packed(folder, to);
    }
    let mut asked = Asked::new(settings, from)?;
    asked.become_admin(settings).await?;
    let answer = asked
        .post(
            "/api/v1/admin/tsdb/snapshot",
            "application/json",
            bytes::Bytes::new(),
        )
        .await?;
    let said: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let name = said["data"]["name"]
        .as_str()
        .filter(|name| {
            !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        })
        .ok_or_else(|| format!("the server makes no copy: {}", told(&answer)))?;
    let copy = folder.join(SNAPSHOTS).join(name);
    if !copy.is_dir() {
        return Err(format!(
            "{} is not there: the server that was asked keeps its data elsewhere; name its folder by DATA_DIR",
            copy.display()
        ));
    }
    let done = packed(&copy, to);
    if let Err(error) = fs::remove_dir_all(&copy) {
        return Err(format!("{} cannot be removed: {error}", copy.display()));
    }
    done
}

fn packed(folder: &Path, to: &Path) -> Result<String, String> {
    let part = beside(to);
    let bytes = archive::pack(folder, COPIED, &part)
        .and_then(|bytes| fs::rename(&part, to).map(|()| bytes))
        .map_err(|error| {
            fs::remove_file(&part).ok();
            format!("{}: {error}", to.display())
        })?;
    Ok(format!("{}: {bytes} bytes of data\n", to.display()))
}

/// Makes `DATA_DIR` what `from` says. Nothing of it is touched before all of the file was read and
/// the copy that it makes was opened as a server opens it.
pub(super) fn restore(settings: &Settings, from: &Path) -> Result<String, String> {
    let folder = folder(settings)?;
    let held = data_dir::open(folder).map_err(|error| error.to_string())?;
    let restored = restore_into(folder, settings, from);
    if restored.is_err() {
        held.give_up();
    }
    restored
}

/// The same, in a folder that nobody else has.
fn restore_into(folder: &Path, settings: &Settings, from: &Path) -> Result<String, String> {
    let now_ms = Clock::system().now_ms();
    let place = folder.join(format!("restoring-{now_ms}"));
    let wrong = |error: io::Error| format!("DATA_DIR={}: {error}", folder.display());
    fs::create_dir(&place).map_err(wrong)?;
    let checked = archive::unpack(from, COPIED, &place)
        .and_then(|bytes| check(settings, &place).map(|()| bytes));
    let bytes = match checked {
        Ok(bytes) => bytes,
        Err(why) => {
            fs::remove_dir_all(&place).map_err(wrong)?;
            return Err(format!("{why}; DATA_DIR={} is as it was", folder.display()));
        }
    };
    let aside = folder.join(format!("replaced-{now_ms}"));
    fs::create_dir(&aside).map_err(wrong)?;
    let kept = exchange(folder, &place, &aside).map_err(wrong)?;
    fs::remove_dir_all(&place).map_err(wrong)?;
    let kept = match kept {
        0 => {
            fs::remove_dir(&aside).map_err(wrong)?;
            String::new()
        }
        _ => format!("; what was there is in {}", aside.display()),
    };
    Ok(format!(
        "DATA_DIR={}: {bytes} bytes are restored{kept}\n",
        folder.display()
    ))
}

/// Opens a copy as a server does; what it would complain of is an error here.
fn check(settings: &Settings, place: &Path) -> Result<(), String> {
    let settings = Settings {
        data_dir: DataDir::Path(place.to_owned()),
        durability: Durability::Fsync,
        ..settings.clone()
    };
    let now_ms = Clock::system().now_ms();
    let epoch = Epoch::at(now_ms);
    let (storage, _restored) = Storage::open(&settings, epoch, now_ms)
        .map_err(|error| format!("what is in it cannot be opened: {error}"))?;
    if let Some(complaint) = storage.complaints().first() {
        return Err(format!("what is in it is damaged: {complaint}"));
    }
    for name in ["tokens.json", "operator.json"] {
        match fs::read(place.join(name)) {
            Ok(text) => {
                let read = serde_json::from_slice::<serde_json::Value>(&text);
                read.map_err(|error| format!("{name} in it is damaged: {error}"))?;
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{name} in it: {error}")),
        }
    }
    Ok(())
}

/// Puts what is in `place` into `folder`, and what was there into `aside`; how many of these there
/// were. Where one cannot be moved, all that were are moved back.
fn exchange(folder: &Path, place: &Path, aside: &Path) -> io::Result<usize> {
    let mut moved = Vec::new();
    let mut kept = 0;
    for (from, to, counts) in [(folder, aside, true), (place, folder, false)] {
        for name in COPIED {
            let (from, to) = (from.join(name), to.join(name));
            match fs::rename(&from, &to) {
                Ok(()) => {
                    kept += usize::from(counts);
                    moved.push((from, to));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    for (from, to) in moved.into_iter().rev() {
                        fs::rename(to, from)?;
                    }
                    return Err(error);
                }
            }
        }
    }
    Ok(kept)
}
