//! `image`: the container image, with nothing in it but the server, linked statically, and what it
//! reads: whom this machine's certificates believe, and who its user is.
//!
//! `target/image/pulseboard.tar` (an OCI archive) is what `podman load` and `docker load` take. It
//! is tried before it is packed: its folder is started as the root of a file system that nobody can
//! write to, as the image's user, where this machine allows that.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

use crate::{page, shell};

/// The image's user; no file of its own is writable but `/data`.
const USER: u32 = 65_532;
/// Of the packed image.
const BYTES_MAX: u64 = 25_000_000;
/// Where systems keep whom they believe.
const AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];
/// Starts the image's folder, asks whether it is ready, and stops it: `$1` is the folder, `$2` the
/// user, `$3` whether it can be made one that nobody can write to.
const TRY: &str = r#"
set -eu
if [ "$3" = read-only ]; then
    mount --bind "$1" "$1"
    mount -o remount,bind,ro "$1"
    mount -t tmpfs -o "mode=0700,uid=$2,gid=$2" none "$1/data"
fi
inside() { env -i BIND_ADDR=127.0.0.1:0 DATA_DIR=/data METRIC_SOURCE=none chroot --userspec="$user:$user" "$root" /usr/local/bin/pulseboard "$@"; }
root=$1 user=$2
inside &
server=$!
ready=no
for _ in $(seq 100); do
    if inside ready 2> /dev/null; then ready=yes; break; fi
    kill -0 "$server" || break
    sleep 0.1
done
# The server is what the shell's job became, or its child.
for one in $(cat "/proc/$server/task/$server/children") "$server"; do kill -TERM "$one" || true; done
wait "$server" || [ "$ready" = yes ]
[ "$ready" = yes ]
"#;

pub(crate) fn start(arguments: &[String]) -> Result<()> {
    let root_only = match arguments {
        [] => false,
        [flag] if flag == "--root-only" => true,
        _ => bail!("`cargo xtask image` takes `--root-only` and nothing else"),
    };
    let folder = shell::target().join("image");
    let root = folder.join("root");
    let server = server()?;
    assemble(&root, &server)?;
    try_out(&root)?;
    if root_only {
        println!("\n{} is the image's file system", root.display());
        return Ok(());
    }
    let archive = pack(&folder, &root)?;
    let bytes = fs::metadata(&archive)?.len();
    if bytes > BYTES_MAX {
        bail!(
            "{} has {bytes} bytes; an image has at most {BYTES_MAX}",
            archive.display()
        );
    }
    println!(
        "\n{} ({:.1} MB): `podman load --input` and `docker load --input` take it",
        archive.display(),
        bytes as f64 / 1e6
    );
    Ok(())
}

/// The server for a system that has nothing else.
fn server() -> Result<PathBuf> {
    let target = format!("{}-unknown-linux-musl", std::env::consts::ARCH);
    let Some(compiler) = shell::find("musl-gcc") else {
        bail!(
            "musl-gcc is not there, which compiles zstd and ring for the image; `apt-get install musl-tools` brings it"
        );
    };
    page::build()?;
    shell::run(shell::command("rustup").args(["target", "add", &target]))
        .with_context(|| format!("{target} cannot be had"))?;
    let name = target.replace('-', "_");
    shell::run(
        shell::cargo()
            .env(format!("CC_{name}"), compiler)
            .args(["build", "--release", "--package", "pulseboard"])
            .args(["--target", &target]),
    )
    .context("the server could not be built")?;
    Ok(shell::target().join(target).join("release/pulseboard"))
}

/// The image's file system.
fn assemble(root: &Path, server: &Path) -> Result<()> {
    shell::remove(root)?;
    for folder in ["usr/local/bin", "etc/ssl/certs", "data"] {
        fs::create_dir_all(root.join(folder))?;
    }
    fs::copy(server, root.join("usr/local/bin/pulseboard"))
        .with_context(|| format!("{} is not there", server.display()))?;
    let authorities = AUTHORITIES
        .iter()
        .map(Path::new)
        .find(|file| file.is_file());
    let authorities = authorities.context(
        "this machine has no certificates of authorities, which go into the image; `apt-get install ca-certificates` brings them",
    )?;
    fs::copy(authorities, root.join("etc/ssl/certs/ca-certificates.crt"))?;
    let user = format!("pulseboard:x:{USER}:{USER}::/data:/sbin/nologin\n");
    fs::write(root.join("etc/passwd"), user)?;
    fs::write(root.join("etc/group"), format!("pulseboard:x:{USER}:\n"))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        fs::set_permissions(root.join("data"), fs::Permissions::from_mode(0o700))?;
        // Without the right to it, `buildah copy` does it.
        chown(root.join("data"), Some(USER), Some(USER)).ok();
    }
    Ok(())
}

/// Starts it as a container would.
fn try_out(root: &Path) -> Result<()> {
    let is_root = shell::output(shell::command("id").arg("-u"))?.trim() == "0";
    if !is_root || shell::find("chroot").is_none() {
        println!("Not tried: only root can start a folder as a file system of its own");
        return Ok(());
    }
    let apart = ["--mount", "--propagation", "private"];
    let mounts = "mount --bind / /mnt && umount /mnt";
    let can_mount = shell::find("unshare").is_some()
        && shell::succeeds(
            shell::command("unshare")
                .args(apart)
                .args(["sh", "-c", mounts]),
        )?;
    let mut command = if can_mount {
        let mut command = shell::command("unshare");
        command.args(apart).arg("sh");
        command
    } else {
        println!(
            "This machine lets nobody mount: the image is tried as a folder that can be written to"
        );
        shell::command("sh")
    };
    let how = if can_mount { "read-only" } else { "as-it-is" };
    shell::run(
        command
            .args(["-c", TRY, "sh"])
            .arg(root)
            .args([&USER.to_string(), how]),
    )
    .context("the server does not start in the image")?;
    // What it left where there was no other place.
    for entry in fs::read_dir(root.join("data"))? {
        let path = entry?.path();
        match path.is_dir() {
            true => fs::remove_dir_all(path)?,
            false => fs::remove_file(path)?,
        }
    }
    Ok(())
}

/// Packs it with buildah, which leaves nothing behind outside of `target`.
fn pack(folder: &Path, root: &Path) -> Result<PathBuf> {
    if shell::find("buildah").is_none() {
        bail!(
            "buildah is not there; `apt-get install buildah` brings it, and `--root-only` does without"
        );
    }
    let storage = folder.join("storage");
    let buildah = || {
        let mut command = shell::command("buildah");
        command.args(["--storage-driver", "vfs"]);
        command.arg("--root").arg(storage.join("root"));
        command.arg("--runroot").arg(storage.join("run"));
        command
    };
    let container = shell::output(buildah().args(["from", "scratch"]))?;
    let container = container.trim();
    shell::run(
        buildah()
            .args(["copy", "--quiet", container])
            .arg(root)
            .arg("/"),
    )?;
    // Its own folder has its owner, whoever packs.
    shell::run(
        buildah()
            .args(["copy", "--quiet", "--chmod", "0700", "--chown"])
            .args([&format!("{USER}:{USER}"), container])
            .arg(root.join("data"))
            .arg("/data"),
    )?;
    let version = format!(
        "org.opencontainers.image.version={}",
        env!("CARGO_PKG_VERSION")
    );
    let user = format!("{USER}:{USER}");
    shell::run(buildah().arg("config").args([
        "--user",
        &user,
        "--workingdir",
        "/data",
        "--volume",
        "/data",
        "--port",
        "3000",
        "--stop-signal",
        "SIGTERM",
        // Inside a container loopback is nobody's; what is published is decided outside.
        "--env",
        "BIND_ADDR=0.0.0.0:3000",
        "--env",
        "DATA_DIR=/data",
        "--label",
        "org.opencontainers.image.title=Pulseboard",
        "--label",
        &version,
        "--entrypoint",
        r#"["/usr/local/bin/pulseboard"]"#,
        container,
    ]))?;
    let archive = folder.join("pulseboard.tar");
    if archive.exists() {
        fs::remove_file(&archive)?;
    }
    let to = format!(
        "oci-archive:{}:localhost/pulseboard:latest",
        archive.display()
    );
    shell::run(buildah().args([
        "commit", "--quiet", "--rm", "--format", "oci", container, &to,
    ]))?;
    shell::remove(&storage)?;
    Ok(archive)
}
