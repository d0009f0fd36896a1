//! The tools a build needs, pinned and installed into `target/tools` only when missing.
//!
//! Versions are exact. A tool on the PATH with exactly that version is used as it is.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, Result, bail};

use crate::{npm, shell};

/// The newest Trunk that Rust 1.95 can compile.
const TRUNK: &str = "0.21.14";

/// The test runner; what a fresh machine gets when it has none. Any version on the PATH is used.
const NEXTEST: &str = "0.9.143";

/// Known faults, licences and sources of dependencies.
const DENY: &str = "0.20.2";

/// Dependencies that nobody uses.
const MACHETE: &str = "0.9.2";

/// The oldest `wasm-opt` that reads what today's compiler writes; Debian's 108 does not know
/// `table.fill`.
const WASM_OPT_MIN: u32 = 116;

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    crate::arguments::nothing(arguments)?;
    for_page()?;
    if let Some(wasm_opt) = wasm_opt() {
        println!(
            "wasm-opt {} at {}",
            wasm_opt.version,
            wasm_opt.program.display()
        );
    }
    println!("everything the build needs is there");
    Ok(())
}

/// Sees to everything that building the page needs.
///
/// # Errors
/// One of the tools is missing and cannot be installed.
pub(crate) fn for_page() -> Result<()> {
    wasm_target()?;
    trunk()?;
    wasm_bindgen()?;
    forget_intermediate_files();
    Ok(())
}

/// The compiler's target for the browser.
fn wasm_target() -> Result<()> {
    let libraries = shell::output(shell::command("rustc").args([
        "--print",
        "target-libdir",
        "--target",
        "wasm32-unknown-unknown",
    ]))?;
    // The folder is named whether or not it is there.
    let installed = fs::read_dir(libraries).is_ok_and(|mut files| files.next().is_some());
    if installed {
        return Ok(());
    }
    println!("The page is WebAssembly; adding that target to the Rust toolchain");
    shell::run(shell::command("rustup").args(["target", "add", "wasm32-unknown-unknown"])).context(
        "the Rust target wasm32-unknown-unknown is missing, which the page is compiled for. \
         Add it by hand (`rustup target add wasm32-unknown-unknown`, or your distribution's package), and run this again",
    )
}

fn trunk() -> Result<()> {
    // No default features: they bring TLS, for tools that Trunk would fetch by itself, and a check
    // for updates over the network.
    let flags = ["--locked", "--no-default-features"];
    install("trunk", TRUNK, &["trunk"], &flags, "three minutes")
}

fn wasm_bindgen() -> Result<()> {
    let version = locked_version("wasm-bindgen")?;
    // Without `--locked`: its own lock file names a crate version that was withdrawn.
    install(
        "wasm-bindgen-cli",
        &version,
        &["wasm-bindgen", "wasm-bindgen-test-runner"],
        &[],
        "one minute",
    )
}

/// Whether nextest is there already.
pub(crate) fn has_nextest() -> bool {
    shell::output(shell::cargo().args(["nextest", "--version"])).is_ok()
}

/// Whether nextest can be used, installing it when it is missing. Its absence is not an error:
/// `cargo test` runs the same tests, only slower and with one process for many.
pub(crate) fn nextest() -> bool {
    if has_nextest() {
        return true;
    }
    if let Err(error) = subcommand("cargo-nextest", NEXTEST, "five minutes") {
        println!("note: without nextest, `cargo test` runs the tests ({error:#})");
        return false;
    }
    true
}

/// Sees to cargo-deny.
///
/// # Errors
/// It cannot be installed.
pub(crate) fn deny() -> Result<()> {
    subcommand("cargo-deny", DENY, "five minutes")
}

/// Sees to cargo-machete.
///
/// # Errors
/// It cannot be installed.
pub(crate) fn machete() -> Result<()> {
    subcommand("cargo-machete", MACHETE, "one minute")
}

/// Installs a subcommand of cargo, by itself.
fn subcommand(package: &str, version: &str, takes: &str) -> Result<()> {
    let installed = install(package, version, &[package], &["--locked"], takes);
    forget_intermediate_files();
    installed
}

/// Installs `package` at `version` unless all its `programs` answer with exactly that version.
fn install(
    package: &str,
    version: &str,
    programs: &[&str],
    flags: &[&str],
    takes: &str,
) -> Result<()> {
    if programs
        .iter()
        .all(|program| version_of(program).is_some_and(|found| found == version))
    {
        return Ok(());
    }
    println!(
        "Installing {package} {version} into {} (once, about {takes} on two cores)",
        shell::tools().display()
    );
    let mut command = shell::cargo();
    command
        .args([
            "install",
            package,
            "--version",
            version,
            "--force",
            "--root",
        ])
        .arg(shell::tools())
        .args(flags)
        .env("CARGO_TARGET_DIR", intermediate_files())
        // Built to be there soon rather than to run fast; each runs for a second or two.
        .env("CARGO_PROFILE_RELEASE_LTO", "off")
        .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0")
        .env("CARGO_PROFILE_RELEASE_DEBUG", "false")
        .env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "4");
    shell::run(&mut command).with_context(|| {
        format!(
            "{package} {version} is needed and could not be installed. Usual reasons: crates.io cannot be reached, \
             or there is no C compiler (`cc`). When that is mended run this again, or have it on the PATH by \
             `cargo install {package} --version {version}`"
        )
    })
}

/// Where `cargo install` compiles; removed once all tools are there.
fn intermediate_files() -> PathBuf {
    shell::tools().join("build")
}

fn forget_intermediate_files() {
    if let Err(error) = fs::remove_dir_all(intermediate_files())
        && error.kind() != std::io::ErrorKind::NotFound
    {
        println!(
            "note: {} is no longer needed and could not be removed: {error}",
            intermediate_files().display()
        );
    }
}

/// The version in what `program --version` prints first, such as `trunk 0.21.14` or `0.9.2`.
fn version_of(program: &str) -> Option<String> {
    let said = shell::output(Command::new(shell::find(program)?).arg("--version")).ok()?;
    said.lines()
        .next()?
        .split_whitespace()
        .next_back()
        .map(str::to_owned)
}

/// The version of a package in `Cargo.lock`, so that a tool that must equal a crate cannot drift
/// from it.
fn locked_version(package: &str) -> Result<String> {
    let lock = fs::read_to_string(shell::root().join("Cargo.lock"))
        .context("Cargo.lock cannot be read")?;
    match version_in_lock(&lock, package) {
        Some(version) => Ok(version.to_owned()),
        None => bail!("Cargo.lock knows no package {package:?}"),
    }
}

fn version_in_lock<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name);
    lines
        .nth(1)?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

/// A `wasm-opt` that can be used.
pub(crate) struct WasmOpt {
    pub(crate) program: PathBuf,
    pub(crate) version: u32,
}

/// A recent `wasm-opt` from the PATH, else from npm. `None` after saying why: the page is then
/// about a third larger, and works.
pub(crate) fn wasm_opt() -> Option<WasmOpt> {
    if let Some(found) = shell::find("wasm-opt").and_then(probe_wasm_opt) {
        return Some(found);
    }
    if let Err(error) = npm::BINARYEN.install() {
        println!(
            "note: no wasm-opt {WASM_OPT_MIN} or newer, so the page stays a third larger than it could be ({error:#})"
        );
        return None;
    }
    let found = probe_wasm_opt(npm::BINARYEN.folder().join("bin").join("wasm-opt"));
    if found.is_none() {
        println!(
            "note: the wasm-opt from npm does not run here, so the page stays a third larger than it could be"
        );
    }
    found
}

fn probe_wasm_opt(program: PathBuf) -> Option<WasmOpt> {
    let said = shell::output(Command::new(&program).arg("--version")).ok()?;
    let version = wasm_opt_version(&said)?;
    (version >= WASM_OPT_MIN).then_some(WasmOpt { program, version })
}

/// The number in `wasm-opt version 132 (version_132)`.
fn wasm_opt_version(said: &str) -> Option<u32> {
    said.split_whitespace().find_map(|word| word.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locked_version_is_that_of_the_package_and_not_of_a_longer_name() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"0.2.9\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\nsource = \"registry\"\n";
        assert_eq!(version_in_lock(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(version_in_lock(lock, "yew"), None);
    }

    #[test]
    fn wasm_opt_tells_its_version_in_two_ways() {
        assert_eq!(wasm_opt_version("wasm-opt version 108"), Some(108));
        assert_eq!(
            wasm_opt_version("wasm-opt version 132 (version_132)"),
            Some(132)
        );
        assert_eq!(wasm_opt_version("something else"), None);
    }
}
