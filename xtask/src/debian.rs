//! Programs of Debian packages, unpacked and not installed: nothing starts as a service, nothing
//! changes outside of `target`, and no rights are needed.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::shell;

/// The program of Prometheus: one that is installed, else Debian's.
///
/// # Errors
/// There is neither.
pub(crate) fn prometheus() -> Result<PathBuf> {
    match shell::find("prometheus") {
        Some(installed) => Ok(installed),
        None => Ok(unpacked("prometheus", &["prometheus"])?.join("usr/bin/prometheus")),
    }
}

/// Unpacks `packages` into one folder below `target` and returns it; what is there already stays.
/// Their dependencies are the caller's to name.
///
/// # Errors
/// This is no Debian, or a package cannot be fetched; the text says which.
pub(crate) fn unpacked(name: &str, packages: &[&str]) -> Result<PathBuf> {
    let folder = shell::target().join("debian").join(name);
    // Written last, so that a folder without it is one that was interrupted.
    let complete = folder.join(".complete");
    if complete.is_file() {
        return Ok(folder);
    }
    let apt = shell::find("apt-get").context("there is no apt-get here")?;
    let dpkg = shell::find("dpkg-deb").context("there is no dpkg-deb here")?;
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let fetched = folder.join("packages");
    fs::create_dir_all(&fetched)?;
    let fetch = || {
        let mut command = shell::command(&apt);
        command
            .current_dir(&fetched)
            .args(["--quiet", "--quiet", "download"])
            .args(packages);
        shell::run(&mut command)
    };
    if fetch().is_err() {
        // A fresh machine has no package lists; only root may fetch them.
        shell::run(shell::command(&apt).args(["--quiet", "--quiet", "update"]))?;
        fetch()?;
    }
    let mut found = 0;
    for entry in fs::read_dir(&fetched)? {
        let package = entry?.path();
        if package.extension().is_some_and(|ending| ending == "deb") {
            shell::run(
                shell::command(&dpkg)
                    .arg("--extract")
                    .arg(&package)
                    .arg(&folder),
            )?;
            found += 1;
        }
    }
    if found != packages.len() {
        bail!("apt-get reported success, and left {found} of {packages:?}");
    }
    fs::remove_dir_all(&fetched)?;
    fs::write(complete, "")?;
    Ok(folder)
}

/// A program that finds what it is linked with in the folder that its packages were unpacked to:
/// where such a folder has libraries, a script that says so and then becomes the program.
///
/// # Errors
/// The program is not there, or the script cannot be written.
pub(crate) fn wrapped(folder: &Path, program: &Path) -> Result<PathBuf> {
    if !program.is_file() {
        bail!("the packages have no {}", program.display());
    }
    let libraries = ["usr/lib", "lib"].map(|place| folder.join(place));
    let mut places = Vec::new();
    for folder in libraries.iter().filter(|folder| folder.is_dir()) {
        for entry in fs::read_dir(folder)? {
            let place = entry?.path();
            // Such as `x86_64-linux-gnu`.
            if place.is_dir() && shell::file_name(&place).contains("-linux-") {
                places.push(place.display().to_string());
            }
        }
    }
    if places.is_empty() {
        return Ok(program.to_owned());
    }
    let scripts = folder.join("run");
    fs::create_dir_all(&scripts)?;
    let script = scripts.join(shell::file_name(program));
    fs::write(
        &script,
        format!(
            "#!/bin/sh\nLD_LIBRARY_PATH=\"{}\" exec \"{}\" \"$@\"\n",
            places.join(":"),
            program.display()
        ),
    )?;
    make_executable(&script)?;
    Ok(script)
}

/// A program that has the path of a folder of its package compiled in, and finds it where that
/// package was unpacked to: a copy with a path in the place of that one which means the folder that
/// it is started in, and a script that starts it there.
///
/// # Errors
/// The program has no such path, or the copy cannot be written.
pub(crate) fn started_in(folder: &Path, program: &Path, inside: &str) -> Result<PathBuf> {
    let mut bytes = fs::read(program)?;
    // As long as the other, and, with its many slashes, the folder that one is in.
    let here = format!(".{}", "/".repeat(inside.len().saturating_sub(1)));
    let places: Vec<usize> = bytes
        .windows(inside.len())
        .enumerate()
        .filter(|(_, found)| *found == inside.as_bytes())
        .map(|(at, _)| at)
        .collect();
    if places.is_empty() {
        bail!("{} has no path {inside}", program.display());
    }
    for at in places {
        if let Some(place) = bytes.get_mut(at..at + inside.len()) {
            place.copy_from_slice(here.as_bytes());
        }
    }
    let scripts = folder.join("run");
    fs::create_dir_all(&scripts)?;
    let name = shell::file_name(program);
    let (copy, script) = (scripts.join(format!("{name}.moved")), scripts.join(&name));
    fs::write(&copy, bytes)?;
    make_executable(&copy)?;
    fs::write(
        &script,
        format!(
            "#!/bin/sh\ncd \"{}\" && exec \"{}\" \"$@\"\n",
            folder.join(inside.trim_start_matches('/')).display(),
            copy.display()
        ),
    )?;
    make_executable(&script)?;
    Ok(script)
}

/// Lets everybody run a file, where systems ask for that.
///
/// # Errors
/// It cannot be changed.
pub(crate) fn make_executable(file: &Path) -> Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;

        fs::set_permissions(file, fs::Permissions::from_mode(0o755))?;
    }
    #[cfg(not(unix))]
    drop(file);
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_finds_the_libraries_that_came_with_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("usr/bin/tell");
        fs::create_dir_all(folder.path().join("usr/bin")).expect("made");
        fs::write(&program, "#!/bin/sh\necho \"$LD_LIBRARY_PATH\" \"$@\"\n").expect("written");
        make_executable(&program).expect("changed");
        let plain = wrapped(folder.path(), &program).expect("it is there");
        assert_eq!(plain, program, "nothing came with it");
        let libraries = folder.path().join("usr/lib/any-linux-gnu");
        fs::create_dir_all(&libraries).expect("made");
        let script = wrapped(folder.path(), &program).expect("it is there");
        let said = shell::output(std::process::Command::new(script).args(["a b", "c"]));
        assert_eq!(
            said.expect("it runs"),
            format!("{} a b c", libraries.display())
        );
        assert!(wrapped(folder.path(), &folder.path().join("none")).is_err());
    }

    #[test]
    fn a_program_finds_what_lies_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let inside = folder.path().join("usr/share/thing");
        fs::create_dir_all(&inside).expect("a folder");
        fs::write(inside.join("words"), "found").expect("written");
        let program = folder.path().join("thing");
        fs::write(&program, "#!/bin/sh\ncat /usr/share/thing/words\n").expect("written");
        let script = started_in(folder.path(), &program, "/usr/share/thing").expect("moved");
        let said = shell::output(&mut shell::command(&script)).expect("it runs");
        assert_eq!(said, "found");
        assert!(started_in(folder.path(), &program, "/usr/share/other").is_err());
    }
}
